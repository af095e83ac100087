//! One server behind the balancer: who it is, what runs on it, what has happened on it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use policy::{Candidate, Event, Record, SlowStart, Terms, Time, Transition};

use super::news::News;
use super::probe::Latencies;
use super::standing::Standing;

/// Where a server listens.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// IP address and port.
    Inet(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    /// As nginx logs it: `10.0.0.1:80`, `unix:/path`.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// Why an attempt on a server failed, as the metric's label `reason` names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// No connection.
    Connect,
    /// It took too long.
    Timeout,
    /// The connection ended before the answer did.
    Reset,
    /// The answer could not be read.
    Invalid,
    /// An answer whose status counts as a failure.
    Status,
}

impl Reason {
    /// Every reason, in the order of [`Counters::failures`].
    pub const ALL: [Self; 5] =
        [Self::Connect, Self::Timeout, Self::Reset, Self::Invalid, Self::Status];

    /// The label's value.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
            Self::Status => "status",
        }
    }
}

/// Upper bounds of the duration histograms, in milliseconds; a last bucket takes the rest.
pub const BUCKETS_MS: [u64; 14] =
    [5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000];

/// Durations counted in [`BUCKETS_MS`], without a lock.
#[derive(Debug, Default)]
pub struct Durations {
    /// How many fell into each bucket; the last is beyond the largest bound.
    pub counts: [AtomicU64; BUCKETS_MS.len() + 1],
    /// Sum of all, in nanoseconds.
    pub nanos: AtomicU64,
}

impl Durations {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MS.iter().position(|bound| nanos <= bound * 1_000_000);
        add(&self.counts[bucket.unwrap_or(BUCKETS_MS.len())], 1);
        add(&self.nanos, nanos);
    }
}

/// What is counted for one server, since the program started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests placed on it.
    pub picks: AtomicU64,
    /// When the last one was, a [`Time`] in nanoseconds; 0 before the first.
    pub picked_at: AtomicU64,
    /// Answers by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub requests: [AtomicU64; 5],
    /// Failed attempts by [`Reason`].
    pub failures: [AtomicU64; Reason::ALL.len()],
    /// Open connections, idle ones included.
    pub open: AtomicU32,
    /// Open connections that wait for a request.
    pub idle: AtomicU32,
    /// From the pick to the end of the answer.
    pub response: Durations,
    /// Sum of the times from the pick to the end of the head, in nanoseconds, over the answers in
    /// `response`.
    pub head_nanos: AtomicU64,
    /// From the pick to the connection, fresh ones only.
    pub connect: Durations,
    /// Bytes sent to it and received from it.
    pub sent: AtomicU64,
    /// Bytes received from it.
    pub received: AtomicU64,
}

/// Adds to a counter that is read for display only.
pub fn add(counter: &AtomicU64, amount: u64) {
    // Relaxed: a counter publishes no other memory.
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// One server of one upstream. It outlives reloads; its terms do not.
///
/// Aligned to two cache lines, so that the counts of neighbours do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub struct Backend {
    in_flight: AtomicU32,
    /// Failures the record counts, so that a pick need not lock a clean one.
    fails: AtomicU32,
    usable_from: AtomicU64,
    /// Until when it is out for another reason than its failures.
    pub(super) out_until: AtomicU64,
    record: Mutex<Record>,
    /// Those reasons.
    pub(super) standing: Mutex<Standing>,
    /// How long requests took, for policies that ask ahead.
    pub(super) latencies: Latencies,
    number: OnceLock<u32>,
    /// Who is told of changes, where the group is too large to be looked at for each pick.
    news: OnceLock<Arc<News>>,
    /// What is counted.
    pub counters: Counters,
    /// Where it listens.
    pub address: Address,
    /// Which of the servers of its group with that address it is, counted from 0.
    pub ordinal: u32,
    /// Its address as logs name it.
    pub name: String,
}

impl Backend {
    /// A server of which nothing is known.
    pub fn new(address: Address) -> Self {
        Self::nth(address, 0)
    }

    /// As [`Self::new`], for a line whose address lines before it have, too.
    pub fn nth(address: Address, ordinal: u32) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            fails: AtomicU32::new(0),
            usable_from: AtomicU64::new(0),
            out_until: AtomicU64::new(0),
            record: Mutex::default(),
            standing: Mutex::default(),
            latencies: Latencies::default(),
            number: OnceLock::new(),
            news: OnceLock::new(),
            counters: Counters::default(),
            name: address.to_string(),
            address,
            ordinal,
        }
    }

    /// What metrics name it by: its address, with a number from the second of that address on.
    pub fn label(&self) -> String {
        match self.ordinal {
            0 => self.name.clone(),
            before => format!("{}#{}", self.name, u64::from(before) + 1),
        }
    }

    /// What tells it from the other servers of its group, 0 before it is in one.
    pub fn id(&self) -> u32 {
        self.number().unwrap_or_default()
    }

    pub(super) fn number(&self) -> Option<u32> {
        self.number.get().copied()
    }

    /// Gives it a number, unless it has one.
    pub(super) fn set_number(&self, number: u32) {
        let _ = self.number.set(number);
    }

    pub(super) fn news(&self) -> Option<&Arc<News>> {
        self.news.get()
    }

    /// Has its changes told, unless they are told already.
    pub(super) fn tell_by(&self, news: &Arc<News>) {
        let _ = self.news.set(Arc::clone(news));
    }

    /// Tells that something has changed by which [`Self::candidate_at`] goes.
    pub(super) fn tell(&self) {
        if let Some(news) = self.news.get() {
            news.tell(self.id());
        }
    }

    /// Requests in progress on it.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// From when on it may be picked, [`Time::ZERO`] unless it failed too often, does not pass its
    /// health checks or is ejected.
    pub fn usable_from(&self) -> Time {
        let out_until = self.out_until.load(Ordering::Relaxed);
        Time::from_nanos(self.usable_from.load(Ordering::Relaxed).max(out_until))
    }

    /// The facts, as they stand.
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    /// What a policy may know of it now; reads atomics only.
    pub fn candidate_at(&self, now: Time, terms: &Terms) -> Candidate {
        terms.candidate(self.in_flight(), self.usable_from(), now)
    }

    /// What a policy may know of it where health is ignored.
    pub(super) fn candidate_in_panic(&self, terms: &Terms) -> Candidate {
        terms.candidate(self.in_flight(), Time::ZERO, Time::ZERO)
    }

    /// Which part of its weight it gets now, up to 1.
    pub(super) fn share_at(&self, now: Time, terms: &Terms) -> f64 {
        let Some(window) = terms.slow_start else { return 1.0 };
        let recovered = self.lock().recovered_at();
        recovered.map_or(1.0, |it| SlowStart::linear(window).share(now.since(it)))
    }

    /// Takes note that it is back without having answered: its name leads to it again.
    pub(super) fn recover(&self, now: Time) {
        self.lock().recover(now);
    }

    /// Takes note that it is out for another reason than its failures.
    pub(super) fn go_out(&self, now: Time) {
        self.lock().go_out(now);
    }

    /// Takes note of a probe that passed and had begun at `began`. What failed later stays.
    pub(super) fn heal(&self, began: Time, now: Time, terms: &Terms) -> Option<Transition> {
        if self.fails.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut record = self.lock();
        if record.down_since().is_some_and(|it| began < it) {
            return None;
        }
        let transition = record.heal(now, terms);
        self.publish(&record, terms);
        transition
    }

    /// Starts to count a request, under the lock of the chooser that picked it.
    pub(super) fn start(&self, now: Time, terms: &Terms) {
        // Relaxed: the count steers a choice and publishes no other memory.
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        add(&self.counters.picks, 1);
        self.counters.picked_at.store(now.as_nanos(), Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) > 0 {
            let mut record = self.lock();
            record.placed(now, terms);
            self.publish(&record, terms);
        }
        self.tell();
    }

    /// Stops counting a request. Only a lease calls this.
    pub(super) fn stop(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.tell();
    }

    /// Learns how a request ended.
    pub(super) fn observe(&self, event: Event, now: Time, terms: &Terms) -> Option<Transition> {
        // A good answer changes nothing about a server without failures: no lock for it.
        if matches!(event, Event::Success { .. }) && self.fails.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut record = self.lock();
        let transition = record.observe(event, now, terms);
        self.publish(&record, terms);
        transition
    }

    fn publish(&self, record: &Record, terms: &Terms) {
        self.fails.store(record.fails(), Ordering::Relaxed);
        self.usable_from.store(record.usable_from(terms).as_nanos(), Ordering::Relaxed);
        self.tell();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        // A panic while the record was locked cannot have left it half-changed for good.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        for millis in [5, 6, 10_000, 10_001] {
            durations.observe(Duration::from_millis(millis));
        }
        let counts = durations.counts.each_ref().map(|it| it.load(Ordering::Relaxed));
        assert_eq!([counts[0], counts[1], counts[13], counts[14]], [1, 1, 1, 1]);
        assert_eq!(durations.nanos.load(Ordering::Relaxed), 20_012_000_000);
    }
}
