//! One exchange: head in, phases, forward or answer, lease out.
//!
//! The engine is hosted by pingora-core: its seam is a [`ServerApp`](pingora_core::apps::ServerApp)
//! that is given each accepted stream, plain sockets without Pingora's wrapping around them. A connection lives and dies on the worker that accepted it; what workers
//! share is [`Shared`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::metrics::Reloads;
use crate::snapshot::Snapshot;
use crate::upstream::check;

pub use self::stream::{Ends, Stream};

mod admit;
pub mod ahead;
pub mod answer;
pub mod buffer;
pub mod clock;
pub mod coding;
pub mod connection;
pub mod exchange;
pub mod failure;
mod file;
pub mod forward;
pub mod h1;
pub mod head;
mod linger;
pub mod look;
mod mirror;
pub mod pace;
pub mod peer;
mod phases;
pub mod places;
pub mod pool;
pub mod relay;
pub mod session;
pub mod spool;
mod stream;
mod subrequest;
pub mod tcp_info;
pub mod timer;

/// What all workers look at.
#[derive(Debug)]
pub struct Shared {
    /// The configuration in force; [`Shared::install`] is the one place where it is swapped.
    pub snapshot: ArcSwap<Snapshot>,
    /// That of `snapshot`, to be compared without holding it.
    generation: AtomicU64,
    /// Client connections and requests.
    pub stats: Stats,
    /// What became of the configurations that were read.
    pub reloads: Reloads,
    stopping: AtomicBool,
    /// Connections of this generation and of those before it end at once.
    cut: AtomicU64,
}

impl Shared {
    /// Starts with a configuration, for a number of workers.
    pub fn new(snapshot: Snapshot, workers: usize) -> Self {
        check::prepare(&snapshot);
        snapshot.exporter.iter().for_each(|it| it.start());
        Self {
            generation: AtomicU64::new(snapshot.generation),
            snapshot: ArcSwap::from_pointee(snapshot),
            stats: Stats::new(workers),
            reloads: Reloads::new(),
            stopping: AtomicBool::new(false),
            cut: AtomicU64::new(0),
        }
    }

    /// Puts a configuration in force.
    pub fn install(&self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        check::prepare(&snapshot);
        snapshot.exporter.iter().for_each(|it| it.start());
        self.snapshot.store(Arc::new(snapshot));
        // Release: whoever sees the number finds at least this configuration.
        self.generation.store(generation, Ordering::Release);
    }

    /// The generation of the configuration in force.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether connections end as soon as they are idle.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether connections that were accepted under a generation end at once, idle or not.
    pub fn is_cut(&self, generation: u64) -> bool {
        generation <= self.cut.load(Ordering::Relaxed)
    }

    /// The newest generation whose connections end at once.
    pub fn cut_generation(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Ends every connection that was accepted under a generation or one before it; each worker's
    /// next tick tells them.
    pub fn cut(&self, generation: u64) {
        self.cut.fetch_max(generation, Ordering::Relaxed);
    }

    /// Lets every connection end when it is idle next; each worker's next tick tells those that are.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Takes [`Shared::stop`] back.
    pub fn resume(&self) {
        self.stopping.store(false, Ordering::Relaxed);
    }
}

/// Counts of one worker, on cache lines of its own; nobody else writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections served, all that were accepted unless a limit was met.
    pub handled: AtomicU64,
    /// Requests whose head was read.
    pub requests: AtomicU64,
    /// Connections that were closed.
    pub closed: AtomicU64,
    /// Connections that began to wait for a request, and that ended to.
    pub waiting: [AtomicU64; 2],
    /// Connections that began to read a head, and that ended to.
    pub reading: [AtomicU64; 2],
    /// Requests that panicked.
    pub panics: AtomicU64,
}

/// Adds one to a count that only one thread writes: cheaper than a step that nobody can interrupt.
pub(crate) fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The counts of `stub_status`, kept per worker and added up when asked for.
#[derive(Debug)]
pub struct Stats {
    workers: Vec<Arc<WorkerStats>>,
    serial: AtomicU64,
}

/// What `stub_status` shows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words of stub_status")]
pub struct Totals {
    pub accepted: u64,
    pub handled: u64,
    pub requests: u64,
    pub active: u64,
    pub reading: u64,
    pub writing: u64,
    pub waiting: u64,
    pub panics: u64,
}

impl Stats {
    fn new(workers: usize) -> Self {
        let workers = (0..workers.max(1)).map(|_| Arc::default()).collect();
        Self { workers, serial: AtomicU64::new(0) }
    }

    /// The counts of one worker.
    pub fn worker(&self, number: usize) -> Arc<WorkerStats> {
        Arc::clone(&self.workers[number % self.workers.len()])
    }

    /// A number no other connection has.
    pub fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds all workers up.
    pub fn totals(&self) -> Totals {
        let sum = |pick: fn(&WorkerStats) -> &AtomicU64| {
            self.workers.iter().map(|it| pick(it).load(Ordering::Relaxed)).sum::<u64>()
        };
        let accepted = sum(|it| &it.accepted);
        let handled = sum(|it| &it.handled);
        let active = handled.saturating_sub(sum(|it| &it.closed));
        let reading = sum(|it| &it.reading[0]).saturating_sub(sum(|it| &it.reading[1]));
        let waiting = sum(|it| &it.waiting[0]).saturating_sub(sum(|it| &it.waiting[1]));
        Totals {
            accepted,
            handled,
            requests: sum(|it| &it.requests),
            active,
            reading,
            writing: active.saturating_sub(reading + waiting),
            waiting,
            panics: sum(|it| &it.panics),
        }
    }
}
