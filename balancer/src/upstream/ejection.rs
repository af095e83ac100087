//! Which server sits out because it does worse than the others?
//!
//! The decision is [`policy::Outlier`]'s; here it is told of every end of a request. It outlives
//! reloads, so that a server does not come back because of one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy::{Ejection, Event, Outlier, Time};

use super::{Backend, Server};

/// Watches the servers of a group, whichever configuration is in force.
#[derive(Debug)]
pub struct Ejector {
    watched: Mutex<Watched>,
    /// Ejections after answers with a status from 500 on, and after failures.
    pub counts: [AtomicU64; 2],
}

/// What the ejections are counted by, in the order of [`Ejector::counts`].
pub const REASONS: [&str; 2] = ["5xx", "error"];

#[derive(Debug)]
struct Watched {
    outlier: Outlier,
    /// Where each server stands, by its address in memory.
    places: HashMap<usize, usize>,
}

fn key(backend: &Arc<Backend>) -> usize {
    Arc::as_ptr(backend).addr()
}

impl Ejector {
    /// Watches nobody yet.
    pub(super) fn new(rules: Ejection) -> Self {
        let watched = Watched { outlier: Outlier::new(rules, 0), places: HashMap::new() };
        Self { watched: Mutex::new(watched), counts: Default::default() }
    }

    /// Goes by other rules from now on.
    pub(super) fn set_rules(&self, rules: Ejection) {
        self.lock().outlier.set_rules(rules);
    }

    /// Takes over a new list of servers.
    pub(super) fn relist<'a>(&self, servers: impl Iterator<Item = &'a Server>) {
        let mut watched = self.lock();
        let (mut places, mut from) = (HashMap::new(), Vec::new());
        for server in servers.filter(|it| !it.terms.down) {
            let key = key(&server.backend);
            places.entry(key).or_insert_with(|| {
                from.push(watched.places.get(&key).copied());
                from.len() - 1
            });
        }
        watched.outlier.relist(&from);
        watched.places = places;
    }

    /// Learns the end of a request, and says until when its server sits out if that begins now.
    pub(super) fn learn(&self, backend: &Arc<Backend>, event: Event, now: Time) -> Option<Time> {
        let mut watched = self.lock();
        watched.outlier.compare(now);
        let place = *watched.places.get(&key(backend))?;
        let until = watched.outlier.learn(place, event, now)?;
        let reason = usize::from(!matches!(event, Event::Success { .. }));
        // Relaxed: a counter publishes no other memory.
        self.counts[reason].fetch_add(1, Ordering::Relaxed);
        Some(until)
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // A panic in it leaves counts behind that are one off at worst.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
