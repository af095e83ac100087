//! What is remembered, so that the database is asked less often?
//!
//! Nothing here is ever the source of a write, and a Redis that is gone is never an error.

pub mod redis;
pub mod reports;
pub mod rows;
pub mod shared;
pub mod walk;

use ::redis::RedisError;

use self::redis::Redis;
use self::reports::Reports;
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
    /// Connections for the expensive modes of the lab.
    pub walks: Option<Walks>,
}

impl Cache {
    /// Starts empty; opens nothing.
    pub fn new(config: &Config, metrics: &Metrics) -> Result<Self, RedisError> {
        Ok(Self {
            reports: Reports::new(config.reports),
            redis: Redis::new(config, metrics)?,
            walks: Walks::new(config, metrics)?,
        })
    }
}
