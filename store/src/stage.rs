//! Which steps of the lab does this instance take at the moment?
//!
//! Four switches, read by every request and changed by the admin listener. A switch changes what a
//! request costs, never what it answers.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Stage;

/// The switches as they stand now.
#[derive(Debug)]
pub struct Switches(ArcSwap<Stage>);

impl Switches {
    /// As the configuration has them.
    pub fn new(stage: Stage) -> Self {
        Self(ArcSwap::from_pointee(stage))
    }

    /// How they stand.
    pub fn now(&self) -> Stage {
        **self.0.load()
    }

    /// From here on a request that begins goes the new way; one that began goes on as it may.
    pub fn turn(&self, stage: Stage) {
        self.0.store(Arc::new(stage));
    }
}
