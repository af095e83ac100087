//! This worker's idle connections to upstreams.
//!
//! The most recently used one of a server is taken first. How many a group keeps is counted over
//! all workers; a connection that its server closes while idle is dropped within a tenth of a second,
//! and never used.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use policy::Time;

use crate::engine::clock;
use crate::engine::peer::Peer;
use crate::upstream::{Backend, Upstream, take_place};

/// Connections are kept apart by server and, for `local` ones, by location.
type Key = (usize, Option<u32>);

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

#[derive(Debug, Default)]
struct Pool {
    idle: HashMap<Key, Vec<Idle>, BuildHasherDefault<Fold>>,
}

/// Folds the parts of a key; addresses of our own differ enough without more.
#[derive(Debug, Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// A place among the idle connections of a group, given back when dropped.
#[derive(Debug)]
struct Place {
    places: Arc<AtomicU32>,
    backend: Arc<Backend>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.fetch_sub(1, Ordering::Relaxed);
        self.backend.counters.idle.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Idle {
    peer: Peer,
    until: Time,
    place: Place,
}

fn key(backend: &Arc<Backend>, location: Option<u32>) -> Key {
    (Arc::as_ptr(backend).addr(), location)
}

/// Takes an idle connection to a server.
pub fn take(backend: &Arc<Backend>, location: Option<u32>) -> Option<Peer> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.idle.get_mut(&key(backend, location))?;
        while let Some(Idle { mut peer, .. }) = idle.pop() {
            if peer.stream.is_quiet() {
                return Some(peer);
            }
        }
        None
    })
}

/// Keeps a connection for the next request, or closes it when its group has enough.
pub fn put(peer: Peer, upstream: &Upstream, location: Option<u32>, now: Time) {
    let keepalive = &upstream.keepalive;
    if peer.requests >= keepalive.requests || now.since(peer.opened) > keepalive.time {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if !take_place(&upstream.idle, keepalive.idle) && !pool.close_oldest(upstream) {
            return;
        }
        peer.backend.counters.idle.fetch_add(1, Ordering::Relaxed);
        let place =
            Place { places: Arc::clone(&upstream.idle), backend: Arc::clone(&peer.backend) };
        let key = key(&peer.backend, location);
        let until = now + keepalive.timeout;
        pool.idle.entry(key).or_default().push(Idle { peer, until, place });
    });
}

impl Pool {
    /// Closes this worker's least recently used connection of a group and takes its place.
    fn close_oldest(&mut self, upstream: &Upstream) -> bool {
        let same = |it: &Idle| Arc::ptr_eq(&it.place.places, &upstream.idle);
        let oldest = self
            .idle
            .iter()
            .filter_map(|(key, idle)| idle.first().filter(|it| same(it)).map(|it| (it.until, *key)))
            .min();
        if let Some(idle) = oldest.and_then(|(_, key)| self.idle.get_mut(&key)) {
            idle.remove(0);
        }
        take_place(&upstream.idle, upstream.keepalive.idle)
    }
}

/// Closes what has been idle for too long, and what its server has closed or has written to unasked.
///
/// Costs no system call: the runtime knows whether anything has arrived. Nobody is woken for it, as
/// that would cost each request more than a look now and then.
pub fn tidy() {
    let now = clock::now();
    POOL.with_borrow_mut(|pool| {
        pool.idle.retain(|_, idle| {
            idle.retain_mut(|it| now < it.until && it.peer.stream.is_quiet());
            !idle.is_empty()
        });
    });
}

/// Closes every idle connection; a stop does not wait for them.
pub fn close_all() {
    POOL.with_borrow_mut(|pool| pool.idle.clear());
}
