//! What Prometheus reads: counters that exist anyway, encoded when somebody asks.
//!
//! Nothing here is touched by a request. A family exists for exactly the servers of the snapshot in
//! force, so a server that goes takes its series along.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use crate::admin::view::{LoadCounts, View};
use crate::engine::clock;
use crate::upstream::backend::add;

use self::exposition::Exposition;

mod exposition;
mod families;

/// Of the text [`encode`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

/// Writes a view in the OpenMetrics text format, `# EOF` included.
pub fn encode(view: View) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(view)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Families(View);

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Exposition::new(encoder);
        families::upstreams(&mut out, &self.0.upstreams)?;
        families::clients(&mut out, &self.0)?;
        families::logs(&mut out, &self.0)?;
        families::configuration(&mut out, &self.0)?;
        families::process(&mut out, &self.0)?;
        families::nginx(&mut out, &self.0)
    }
}
