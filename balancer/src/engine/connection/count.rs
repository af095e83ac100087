//! What `stub_status` counts of a connection, by guards that cannot forget.

use crate::engine::{self, WorkerStats};
use crate::upstream::backend::add;

/// Counts a connection as closed when it is, whatever ends it.
pub(in crate::engine) struct Closed<'a>(pub(in crate::engine) &'a WorkerStats);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        add(&self.0.closed, 1);
        // A panic ends the one connection it happens on.
        if std::thread::panicking() {
            add(&self.0.panics, 1);
            tracing::error!(severity = "alert", "A request panicked");
        }
    }
}

/// A state that `stub_status` counts, left when dropped.
pub(super) struct During<'a>(&'a [std::sync::atomic::AtomicU64; 2]);

impl<'a> During<'a> {
    pub(super) fn start(counts: &'a [std::sync::atomic::AtomicU64; 2]) -> Self {
        engine::count(&counts[0]);
        Self(counts)
    }
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        engine::count(&self.0[1]);
    }
}
