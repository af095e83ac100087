//! Which words may stand where one of a few is asked for?

use std::time::Duration;

use super::value::Reader;
use crate::domain::stock::StockPolicy;

/// A variable that holds one of a few words.
pub(super) trait Choice: Copy + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
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
