//! Which words may stand where one of a few is asked for?

use std::time::Duration;

use serde_json::{Map, Value};

use super::value::{Reader, nearest};
use crate::domain::stock::StockPolicy;

/// A variable that holds one of a few words.
pub(super) trait Choice: Copy + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

/// What a word stands for, or why it stands for nothing.
pub(super) fn chosen<T: Choice>(word: &str) -> Result<T, String> {
    if let Some((_, choice)) = T::WORDS.iter().find(|(it, _)| *it == word) {
        return Ok(*choice);
    }
    let words: Vec<_> = T::WORDS.iter().map(|(it, _)| *it).collect();
    let hint = nearest(word, words.iter().copied()).map(|it| format!(" (did you mean {it}?)"));
    Err(format!("not one of {}{}", words.join(", "), hint.unwrap_or_default()))
}

macro_rules! choice {
    (
        $(#[$doc:meta])* $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The word that chooses this.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl Choice for $name {
            const WORDS: &'static [(&'static str, Self)] =
                &[$(($word, Self::$variant), $(($alias, Self::$variant),)*)+];
        }
    };
}

choice! {
    /// Whose statuses are answered.
    Compat {
        /// Ours.
        #[default]
        Off = "off",
        /// Those of the 2026 edition of the lab.
        W26 = "w26" | "2026",
        /// Those of the 2025 edition.
        A25 = "a25" | "2025",
    }
}
choice! {
    /// How an order learns its prices.
    Lookup {
        /// One statement for all products.
        #[default]
        InList = "in_list",
        /// One statement per line.
        NPlusOne = "n_plus_one",
    }
}
choice! {
    /// How a report comes about.
    Reports {
        /// Stored results, refreshed when they are old.
        #[default]
        RedisCache = "redis_cache",
        /// Read out of every order in Redis, per call.
        RedisScan = "redis_scan",
        /// Aggregated in the database, per call.
        Mysql = "mysql",
    }
}
choice! {
    /// How the stock in Redis follows an order.
    StockSync {
        /// One script per product.
        #[default]
        Targeted = "targeted",
        /// After a walk through all keys.
        Scan = "scan",
    }
}
choice! {
    /// Where a unit of work gets its database connection.
    Connections {
        /// From one bounded pool.
        #[default]
        Pool = "pool",
        /// It opens one.
        PerCall = "per_call",
    }
}
choice! {
    /// What a report is built from.
    Build {
        /// The database.
        #[default]
        Mysql = "mysql",
        /// The orders in Redis.
        RedisScan = "redis_scan",
    }
}
choice! {
    /// What starts the build of a report.
    Refresh {
        /// A request that found it old.
        #[default]
        OnDemand = "on_demand",
        /// The end of its fresh time.
        Timer = "timer",
    }
}
choice! {
    /// Are missing tables created?
    Migrate {
        /// Yes.
        #[default]
        Auto = "auto",
        /// No: the schema is only checked.
        Off = "off",
    }
}
choice! {
    /// Which indexes beyond keys exist.
    Indexes {
        /// Those that make both reports index-only.
        #[default]
        Covering = "covering",
        /// None, as in the lab.
        Lab = "lab",
    }
}
choice! {
    /// What an empty database is filled with.
    Seed {
        /// `small` on SQLite, nothing elsewhere.
        #[default]
        Auto = "auto",
        /// Nothing.
        None = "none",
        /// Three users and four products.
        Small = "small",
        /// The volume of the lab.
        Lab = "lab",
    }
}
choice! {
    /// Shape of log lines.
    LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// For machines.
        Json = "json",
    }
}
choice! {
    /// Does an answer tell where its time went?
    ServerTiming {
        /// No.
        #[default]
        Off = "off",
        /// In a header `Server-Timing`.
        On = "on",
    }
}
choice! {
    /// The five steps of the lab, and ours.
    Preset {
        /// Ours.
        #[default]
        Fixed = "fixed",
        /// The first load test.
        One = "1",
        /// One price statement per order.
        Two = "2",
        /// Reports out of Redis.
        Three = "3",
        /// Reports kept for a minute.
        Four = "4",
        /// As 4, run with several replicas.
        Five = "5",
    }
}

impl Choice for StockPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("allow_negative", Self::AllowNegative), ("enforce", Self::Enforce)];
}

/// The four switches; each changes cost, never correctness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stage {
    /// The preset it began as.
    pub name: &'static str,
    /// How an order learns its prices.
    pub lookup: Lookup,
    /// How a report comes about.
    pub reports: Reports,
    /// How the stock in Redis follows an order.
    pub stock_sync: StockSync,
    /// Where a unit of work gets its connection.
    pub connections: Connections,
}

impl Stage {
    /// The single switches override the preset.
    pub(super) fn changed_by(self, read: &mut Reader<'_>) -> Self {
        Self {
            name: self.name,
            lookup: read.choice("STORE_LOOKUP").unwrap_or(self.lookup),
            reports: read.choice("STORE_REPORTS").unwrap_or(self.reports),
            stock_sync: read.choice("STORE_STOCK_SYNC").unwrap_or(self.stock_sync),
            connections: read.choice("STORE_CONNECTIONS").unwrap_or(self.connections),
        }
    }
}

/// Presets that differ in their switches; the fifth is the fourth on several replicas.
const PRESETS: [Preset; 5] = [Preset::Fixed, Preset::One, Preset::Two, Preset::Three, Preset::Four];

impl Stage {
    /// These switches with those that a JSON object names turned; `stage` turns all of them, before
    /// the others. Fails with a sentence about the first that cannot be turned so.
    pub fn turned(self, wanted: &Map<String, Value>) -> Result<Self, String> {
        let mut stage = self;
        if let Some(preset) = turn::<Preset>(wanted, "stage")? {
            stage = preset.stage();
        }
        stage.lookup = turn(wanted, "lookup")?.unwrap_or(stage.lookup);
        stage.reports = turn(wanted, "reports")?.unwrap_or(stage.reports);
        stage.stock_sync = turn(wanted, "stock_sync")?.unwrap_or(stage.stock_sync);
        stage.connections = turn(wanted, "connections")?.unwrap_or(stage.connections);
        let known = ["stage", "lookup", "reports", "stock_sync", "connections"];
        if let Some(name) = wanted.keys().find(|it| !known.contains(&it.as_str())) {
            return Err(format!("{name}: not one of {}.", known.join(", ")));
        }
        let same = |it: &Preset| Self { name: stage.name, ..it.stage() } == stage;
        let kept = chosen::<Preset>(stage.name).ok().filter(same);
        let preset = kept.or_else(|| PRESETS.into_iter().find(same));
        stage.name = preset.map_or(CUSTOM, Preset::word);
        Ok(stage)
    }

    /// Whether requests walk through the keys of Redis.
    pub fn walks(self) -> bool {
        self.reports == Reports::RedisScan || self.stock_sync == StockSync::Scan
    }
}

/// The name of switches that no preset has.
const CUSTOM: &str = "custom";

/// One switch of an object, `None` when it is not named.
fn turn<T: Choice>(wanted: &Map<String, Value>, name: &str) -> Result<Option<T>, String> {
    match wanted.get(name) {
        None => Ok(None),
        Some(Value::String(word)) => {
            chosen(word).map(Some).map_err(|reason| format!("{name}={word:?}: {reason}."))
        }
        Some(_) => Err(format!("{name} must be a word.")),
    }
}

impl Preset {
    pub(super) fn stage(self) -> Stage {
        let (lookup, reports) = match self {
            Self::One => (Lookup::NPlusOne, Reports::Mysql),
            Self::Two => (Lookup::InList, Reports::Mysql),
            Self::Three => (Lookup::InList, Reports::RedisScan),
            Self::Fixed | Self::Four | Self::Five => (Lookup::InList, Reports::RedisCache),
        };
        let (stock_sync, connections) = match self {
            Self::Fixed => (StockSync::Targeted, Connections::Pool),
            _ => (StockSync::Scan, Connections::PerCall),
        };
        Stage { name: self.word(), lookup, reports, stock_sync, connections }
    }

    pub(super) fn request_timeout(self) -> Option<Duration> {
        (self == Self::Fixed).then_some(Duration::from_secs(30))
    }

    pub(super) fn in_flight(self) -> Option<usize> {
        (self == Self::Fixed).then_some(1024)
    }
}
