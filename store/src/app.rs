//! What may a handler use?

use crate::cache::Cache;
use crate::config::Config;
use crate::db::Db;
use crate::health::Health;
use crate::metrics::{Metrics, Registered};

/// Everything a request can reach.
#[derive(Debug)]
pub struct App {
    /// What the store was told.
    pub config: Config,
    /// The truth.
    pub db: Db,
    /// The memory.
    pub cache: Cache,
    /// The verdicts behind `/ready`.
    pub health: Health,
    /// The registry behind `/metrics`.
    pub registered: Registered,
}

impl App {
    /// Puts the parts together; opens nothing.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let registered = Registered::new(&config);
        let db = Db::new(&config, registered.metrics.clone())?;
        let cache = Cache::new(&config);
        let health = Health::new("not configured, reports are kept in the process");
        Ok(Self { config, db, cache, health, registered })
    }

    /// Handles of every metric.
    pub fn metrics(&self) -> &Metrics {
        &self.registered.metrics
    }
}
