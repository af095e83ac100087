//! How many connections may be open: `worker_connections`, for clients and servers together.
//!
//! The workers share what nginx's workers have each of their own. A client that finds no place takes
//! that of the connection that has been idle longest; without one it is refused. A connection to a
//! server is counted but never refused: whose request it is for has been admitted already.
//!
//! Source: nginx `ngx_connection.c`, `ngx_get_connection` and `ngx_drain_connections`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{clock, timer};

/// Connections that are open.
static OPEN: AtomicU64 = AtomicU64::new(0);
/// How many there may be.
static MOST: AtomicU64 = AtomicU64::new(u64::MAX);
/// What the configuration says of one worker.
static OF_WORKER: AtomicU64 = AtomicU64::new(0);
/// The last second in which the operator was told that there are not enough, of both kinds.
static TOLD: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// nginx closes at most so many idle connections for one that comes.
const MOST_AT_ONCE: usize = 32;

/// An open connection, counted until dropped.
#[derive(Debug)]
#[must_use = "the connection stops counting as soon as the place is dropped"]
pub struct Place(());

impl Place {
    /// A place for a client, `None` when there is none.
    pub fn take() -> Option<Self> {
        let most = MOST.load(Ordering::Relaxed);
        // Relaxed: the count publishes no other memory.
        let open = OPEN.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Self(());
        if most < open {
            return None;
        }
        if most - open < most / 16 {
            make_room(MOST_AT_ONCE);
        }
        Some(place)
    }

    /// A place for a connection to a server, beyond the limit if need be.
    pub fn claim() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sets the limit: connections of one worker, and the number of workers.
pub fn limit(of_worker: u32, workers: usize) {
    OF_WORKER.store(of_worker.into(), Ordering::Relaxed);
    MOST.store(u64::from(of_worker) * workers as u64, Ordering::Relaxed);
}

/// Closes connections of this worker that are idle, longest first; whether there was one.
pub fn make_room(at_most: usize) -> bool {
    let made = timer::expire_idle(at_most) > 0;
    if made && is_news(&TOLD[0]) {
        let each = OF_WORKER.load(Ordering::Relaxed);
        tracing::warn!("{each} worker_connections are not enough, reusing connections");
    }
    made
}

/// Tells that a client was refused, once a second.
pub fn tell_refusal() {
    if is_news(&TOLD[1]) {
        let each = OF_WORKER.load(Ordering::Relaxed);
        tracing::error!(severity = "alert", "{each} worker_connections are not enough");
    }
}

fn is_news(told: &AtomicU64) -> bool {
    let second = clock::unix_millis() / 1000;
    told.swap(second, Ordering::Relaxed) != second
}
