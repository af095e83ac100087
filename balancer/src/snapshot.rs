//! All that a request may look up: one value, swapped whole by a reload.

use std::sync::Arc;

use crate::conf::ConfError;
use crate::http::server::Servers;
use crate::upstream::Upstream;
use crate::upstream::resolve::Roster;

pub mod build;
pub mod listen;

pub use listen::{Bind, ListenOptions};

/// What listens on one address.
#[derive(Debug)]
pub struct Listener {
    /// The address as the configuration means it.
    pub bind: Bind,
    /// Options of its socket.
    pub options: ListenOptions,
    /// The servers behind it.
    pub servers: Servers,
}

/// One configuration, ready to serve.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts up with each reload.
    pub generation: u64,
    /// Every address that is listened on.
    pub listeners: Vec<Listener>,
    /// Every group, implicit ones included.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Groups with names that could not be resolved.
    pub unresolved: Vec<Arc<Roster>>,
    /// What the operator is told of this configuration beside what reading it told.
    pub warnings: Vec<ConfError>,
}

impl Snapshot {
    /// The listener of an address, `None` when this configuration has none.
    pub fn listener(&self, bind: &Bind) -> Option<&Listener> {
        self.listeners.iter().find(|it| it.bind == *bind)
    }
}
