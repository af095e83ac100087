//! What Prometheus reads: counters that exist anyway, encoded when somebody asks.
//!
//! Nothing here is touched by a request. A family exists for exactly the servers of the snapshot in
//! force, so a server that goes takes its series along.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::admin::view::{LoadCounts, View};
use crate::engine::clock;
use crate::upstream::backend::add;

use self::exposition::Exposition;

mod exposition;
mod families;

/// How a view is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    #[default]
    OpenMetrics,
    /// Prometheus's own format, which is older and which more programs read.
    Prometheus,
}

impl Format {
    /// What a reader wants: what its query names, else what its `Accept` can take.
    pub fn wanted(query: Option<&str>, accept: Option<&str>) -> Self {
        let mut words = query.unwrap_or_default().split('&');
        match words.find_map(|it| it.strip_prefix("format=")) {
            Some("prometheus") => Self::Prometheus,
            Some(_) => Self::OpenMetrics,
            None => {
                let accept = accept.unwrap_or_default().to_ascii_lowercase();
                let is_plain = accept.contains("text/plain");
                let is_old = is_plain && !accept.contains("application/openmetrics-text");
                if is_old { Self::Prometheus } else { Self::OpenMetrics }
            }
        }
    }

    /// Of the text that [`write()`] makes.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What became of the configurations that were read since the program started.
#[derive(Debug)]
pub struct Reloads {
    successes: AtomicU64,
    failures: AtomicU64,
    last_succeeded: AtomicBool,
    loaded_unix_ms: AtomicU64,
}

impl Reloads {
    /// The first configuration has just come into force; it is not counted as a reload.
    pub fn new() -> Self {
        Self {
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_succeeded: AtomicBool::new(true),
            loaded_unix_ms: AtomicU64::new(clock::unix_millis()),
        }
    }

    /// Another configuration has just come into force.
    pub fn succeeded(&self) {
        add(&self.successes, 1);
        self.last_succeeded.store(true, Ordering::Relaxed);
        self.loaded_unix_ms.store(clock::unix_millis(), Ordering::Relaxed);
    }

    /// A configuration was refused; the one before it serves on.
    pub fn failed(&self) {
        add(&self.failures, 1);
        self.last_succeeded.store(false, Ordering::Relaxed);
    }

    /// The counts as they stand.
    pub fn counts(&self) -> LoadCounts {
        LoadCounts {
            succeeded: self.successes.load(Ordering::Relaxed),
            refused: self.failures.load(Ordering::Relaxed),
            last_succeeded: self.last_succeeded.load(Ordering::Relaxed),
            loaded_unix_ms: self.loaded_unix_ms.load(Ordering::Relaxed),
        }
    }
}

impl Default for Reloads {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a view, in portions of some ten kilobytes that `take` empties.
pub fn write(view: &View, format: Format, take: &mut dyn FnMut(&mut Vec<u8>)) {
    let mut out = Exposition::new(format, take);
    families::upstreams(&mut out, &view.upstreams);
    families::protections(&mut out, &view.upstreams);
    families::clients(&mut out, view);
    families::logs(&mut out, view);
    families::spans(&mut out, view);
    families::configuration(&mut out, view);
    families::process(&mut out, view);
    families::nginx(&mut out, view);
    out.finish();
}
