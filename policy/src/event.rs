//! What becomes of a request?

use std::time::Duration;

/// The end of a request that was placed. Each placed request ends in exactly one of these.
///
/// Durations count from the pick, connecting included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A whole answer came back, whatever its status, and nothing was charged to the backend.
    Success {
        /// Until the end of the head of the answer, which is the first byte where there is no head.
        head: Duration,
        /// Until the end of the body.
        total: Duration,
        /// Status of the answer; 200 for a protocol without one.
        status: u16,
    },
    /// The backend is charged with a failure: see [`crate::Class::is_charged`].
    Failure {
        /// Until the failure was known.
        total: Duration,
    },
    /// The request ended and says nothing about the backend: the client left, or we stopped.
    Abandoned {
        /// Until the end.
        total: Duration,
    },
}

impl Event {
    /// A failure known at once, such as a refused connection.
    pub const FAILURE: Self = Self::Failure { total: Duration::ZERO };

    /// An answer with status 200 which came in one piece after `total`.
    #[must_use]
    pub const fn success(total: Duration) -> Self {
        Self::Success { head: total, total, status: 200 }
    }
}
