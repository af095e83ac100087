//! What is remembered, so that the database is asked less often?
//!
//! Nothing here is ever the source of a write, and a Redis that is gone is never an error.

pub mod redis;
pub mod reports;
pub mod rows;
pub mod shared;
pub mod space;
pub mod walk;

use std::sync::Arc;

use ::redis::RedisError;

use self::redis::Redis;
use self::reports::Reports;
use self::space::Space;
use self::walk::Walks;
use crate::config::Config;
use crate::metrics::Metrics;

/// The memory of this replica, and the one it shares.
#[derive(Debug)]
pub struct Cache {
    /// Reports that this replica finished or saw last.
    pub reports: Reports,
    /// The memory of all replicas, if there is one.
    pub redis: Option<Redis>,
    /// What stands in for it where keys are walked, if there is none.
    pub space: Arc<Space>,
    /// Connections for the expensive modes of the lab.
    pub walks: Walks,
}

impl Cache {
    /// Starts empty; opens nothing.
    pub fn new(config: &Config, metrics: &Metrics) -> Result<Self, RedisError> {
        let space = Arc::new(Space::new(metrics));
        Ok(Self {
            reports: Reports::new(config.reports),
            redis: Redis::new(config, metrics)?,
            walks: Walks::new(config, Arc::clone(&space), metrics),
            space,
        })
    }

    /// Whether anybody but the database has to learn of a change.
    pub fn is_told(&self) -> bool {
        self.redis.is_some() || self.space.is_in_use()
    }
}
