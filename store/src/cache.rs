//! What is remembered, so that the database is asked less often?
//!
//! Nothing here is ever the source of a write.

pub mod reports;

use self::reports::Reports;
use crate::config::Config;

/// The memory of this replica.
#[derive(Debug)]
pub struct Cache {
    /// Finished reports.
    pub reports: Reports,
}

impl Cache {
    /// Starts empty.
    pub fn new(config: &Config) -> Self {
        Self { reports: Reports::new(config.reports) }
    }
}
