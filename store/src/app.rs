//! What may a handler use?

use crate::cache::Cache;
use crate::config::Config;
use crate::db::Db;
use crate::health::Health;
use crate::metrics::{Metrics, Registered};
use crate::repair::Queue;

/// Everything a request can reach.
#[derive(Debug)]
pub struct App {
    /// What the store was told.
    pub config: Config,
    /// The truth.
    pub db: Db,
    /// The memory.
    pub cache: Cache,
    /// What Redis still has to learn.
    pub repair: Queue,
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
        let cache = Cache::new(&config, &registered.metrics)?;
        let redis = if cache.redis.is_some() {
            "starting"
        } else {
            "not configured, reports are kept in the process"
        };
        let health = Health::new(redis);
        let repair = Queue::new();
        Ok(Self { config, db, cache, repair, health, registered })
    }

    /// Handles of every metric.
    pub fn metrics(&self) -> &Metrics {
        &self.registered.metrics
    }
}
