//! What may a handler use?

use std::sync::Arc;

use crate::cache::Cache;
use crate::config::{Config, Stage};
use crate::db::Db;
use crate::health::Health;
use crate::metrics::{Metrics, Registered};
use crate::repair::Queue;
use crate::stage::Switches;

/// Everything a request can reach.
#[derive(Debug)]
pub struct App {
    /// What the store was told.
    pub config: Config,
    /// The switches that the admin listener turns.
    pub switches: Arc<Switches>,
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
        let switches = Arc::new(Switches::new(config.stage));
        let db = Db::new(&config, Arc::clone(&switches), registered.metrics.clone())?;
        let cache = Cache::new(&config, &registered.metrics)?;
        let redis = if cache.redis.is_some() {
            "starting"
        } else {
            "not configured, reports are kept in the process"
        };
        let health = Health::new(redis);
        let repair = Queue::new();
        Ok(Self { config, switches, db, cache, repair, health, registered })
    }

    /// How the switches stand.
    pub fn stage(&self) -> Stage {
        self.switches.now()
    }

    /// Handles of every metric.
    pub fn metrics(&self) -> &Metrics {
        &self.registered.metrics
    }
}
