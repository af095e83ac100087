//! The threads that serve: each has a runtime of its own, and connections stay on theirs.

use std::fmt;

use pingora_runtime::{BlockingPoolOpts, NoStealRuntime, RuntimeOpts};
use tokio::runtime::Handle;

/// Threads that serve, until the last who holds them lets go: every loop that accepts on them and
/// every connection they serve does.
pub struct Workers {
    /// One for each thread.
    pub handles: Vec<Handle>,
    /// Ends the threads when it is dropped.
    _runtime: NoStealRuntime,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("count", &self.handles.len()).finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts so many; they are who starts them.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let runtime = NoStealRuntime::new(
            count,
            "worker",
            BlockingPoolOpts::default(),
            RuntimeOpts::default(),
        );
        let handles = (0..count).map(|it| runtime.get_runtime_at(it).clone()).collect();
        Self { handles, _runtime: runtime }
    }
}
