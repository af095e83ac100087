//! How does the connection of a client end?

use std::time::Duration;

use crate::conf::{Effect, Row};
use crate::http::{EVERYWHERE, put};

/// Whether a client that still sends is heard out before its connection is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lingering {
    Off,
    On,
    Always,
}

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lingering: Option<Lingering>,
    lingering_time: Option<Duration>,
    lingering_timeout: Option<Duration>,
    keepalive_min_timeout: Option<Duration>,
    resets: Option<bool>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one(
        "lingering_close",
        Effect::Set(|it, directive| {
            let choices =
                [("off", Lingering::Off), ("on", Lingering::On), ("always", Lingering::Always)];
            put(&mut it.lingering, directive.choice(&choices))
        }),
    ),
    one(
        "lingering_time",
        Effect::Set(|it, directive| put(&mut it.lingering_time, directive.milliseconds())),
    ),
    one(
        "lingering_timeout",
        Effect::Set(|it, directive| put(&mut it.lingering_timeout, directive.milliseconds())),
    ),
    one(
        "keepalive_min_timeout",
        Effect::Set(|it, directive| put(&mut it.keepalive_min_timeout, directive.milliseconds())),
    ),
    one(
        "reset_timedout_connection",
        Effect::Set(|it, directive| put(&mut it.resets, directive.flag())),
    ),
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            lingering: self.lingering.or(outer.lingering),
            lingering_time: self.lingering_time.or(outer.lingering_time),
            lingering_timeout: self.lingering_timeout.or(outer.lingering_timeout),
            keepalive_min_timeout: self.keepalive_min_timeout.or(outer.keepalive_min_timeout),
            resets: self.resets.or(outer.resets),
        }
    }

    /// What a request needs, with nginx's defaults.
    #[must_use]
    pub fn compile(&self) -> Closing {
        let default = Closing::default();
        Closing {
            lingers: self.lingering != Some(Lingering::Off),
            lingers_always: self.lingering == Some(Lingering::Always),
            time: self.lingering_time.unwrap_or(default.time),
            timeout: self.lingering_timeout.unwrap_or(default.timeout),
            least_idle: self.keepalive_min_timeout.unwrap_or_default(),
            resets: self.resets.unwrap_or_default(),
        }
    }
}

/// How the connections of a location's clients end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closing {
    /// Whether a client that still sends is heard out.
    pub lingers: bool,
    /// Whether a client is heard out even if it may have sent everything.
    pub lingers_always: bool,
    /// Longest time a client is heard out.
    pub time: Duration,
    /// Longest silence while it is.
    pub timeout: Duration,
    /// How long an idle connection stays although the program ends.
    pub least_idle: Duration,
    /// Whether a connection is reset whose client took too long.
    pub resets: bool,
}

impl Default for Closing {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            lingers: true,
            lingers_always: false,
            time: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            least_idle: Duration::ZERO,
            resets: false,
        }
    }
}
