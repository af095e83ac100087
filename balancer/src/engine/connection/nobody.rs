//! The connection of a request of ours that runs beside another one: nobody is at its other end.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::connection::Connection;
use crate::engine::exchange::Client;
use crate::engine::timer::Deadline;
use crate::engine::{Shared, Stream, WorkerStats};
use crate::http::closing::Closing;
use crate::snapshot::{Bind, Snapshot};

impl<'a> Connection<'a> {
    /// One that says nothing, takes everything, and never leaves.
    pub(in crate::engine) fn of_nobody(
        shared: &'a Shared,
        stats: &'a WorkerStats,
        bind: &'a Bind,
        client: Arc<Client>,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        Self {
            shared,
            stats,
            bind,
            address: bind.clone(),
            stream: Stream::Nobody,
            client,
            deadline: Deadline::new(),
            unwatched: None,
            served: 0,
            idle_timeout: Duration::ZERO,
            closing: Closing::default(),
            sends_at_once: true,
            holds_last: false,
            generation: snapshot.generation,
            snapshot,
            early: Vec::new(),
        }
    }

    /// The address of the socket it came by.
    pub(in crate::engine) fn bind_of_socket(&self) -> &Bind {
        self.bind
    }

    /// The configuration that serves it.
    pub(in crate::engine) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }
}
