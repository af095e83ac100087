//! What becomes of a request, and what does a backend tell?

use std::time::Duration;

/// What happens to a request that was placed, and what a backend tells about itself.
///
/// Each placed request ends in exactly one [`Self::Success`], [`Self::Failure`] or
/// [`Self::Abandoned`].
///
/// Durations count from the pick, connecting included.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The head of an answer came and the request goes on. Only for [`crate::Hears::Heads`].
    Head {
        /// Until the end of the head, which is the first byte where there is no head.
        elapsed: Duration,
    },
    /// A whole answer came back, whatever its status, and nothing was charged to the backend.
    Success {
        /// Until the end of the head, as in [`Self::Head`].
        head: Duration,
        /// Until the end of the body.
        total: Duration,
        /// Status of the answer; 200 for a protocol without one.
        status: u16,
    },
    /// The backend is charged with a failure: see [`crate::Class::is_charged`].
    Failure {
        /// Until the end of the head, `None` if it did not come.
        head: Option<Duration>,
        /// Until the failure was known.
        total: Duration,
    },
    /// The request ended and says nothing about the backend: the client left, or we stopped.
    Abandoned {
        /// Until the end of the head, `None` if it did not come.
        head: Option<Duration>,
        /// Until the end.
        total: Duration,
    },
    /// A probe came back.
    Probe {
        /// Requests in progress on the backend, from wherever they came.
        in_flight: u32,
        /// How long requests take there at this load.
        latency: Duration,
    },
    /// The backend has nothing to do.
    Idle,
    /// The backend says how it fares.
    Report(Report),
}

/// A backend's load as it sees it, in the terms of ORCA.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Requests per second, from wherever they came.
    pub requests: f64,
    /// Errors among them per second.
    pub errors: f64,
    /// Part of its capacity in use, of 1: the application's measure if it has one, else the CPU's.
    pub utilization: f64,
}

impl Event {
    /// A failure known at once, such as a refused connection.
    pub const FAILURE: Self = Self::Failure { head: None, total: Duration::ZERO };

    /// How long it took to fail or to be answered with a status of 429 or from 500 on, `None` for
    /// whatever else has happened.
    pub(crate) const fn error(self) -> Option<Duration> {
        match self {
            Self::Success { total, status, .. } if status == 429 || 500 <= status => Some(total),
            Self::Failure { total, .. } => Some(total),
            _ => None,
        }
    }

    /// An answer with status 200 which came in one piece after `total`.
    #[must_use]
    pub const fn success(total: Duration) -> Self {
        Self::Success { head: total, total, status: 200 }
    }
}
