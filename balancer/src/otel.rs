//! Where do the spans of requests go? To a collector, in batches, off the threads that serve.
//!
//! A request pays for its span and for one short lock; it never waits. What the collector does not
//! take in time is dropped and counted, because a request that is served counts for more than one
//! that is told of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use tokio::sync::Notify;

use crate::conf::address::Address;
use crate::upstream::backend::add;

use self::proto::Span;

mod client;
pub mod context;
pub mod proto;
mod send;
mod tls;

/// Every exporter that still has holders or spans.
static OPEN: Mutex<Vec<Weak<Queue>>> = Mutex::new(Vec::new());

/// What became of spans since the program started, in the order of [`Fate::ALL`].
static FATES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// What becomes of a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The collector has it.
    Exported,
    /// The collector has refused it.
    Rejected,
    /// Its batch was lost: the collector was not reached, or did not answer.
    Failed,
    /// Too many waited.
    Dropped,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exported, Self::Rejected, Self::Failed, Self::Dropped];

    /// As metrics call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }

    fn count(self, spans: u64) {
        add(&FATES[self as usize], spans);
    }
}

/// How many spans had each fate since the program started.
pub fn fates() -> [(&'static str, u64); 4] {
    Fate::ALL.map(|it| (it.word(), FATES[it as usize].load(Ordering::Relaxed)))
}

/// Whom spans are sent to, and how: what `otel_exporter` and its relatives say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The collector.
    pub address: Address,
    /// Whether it is spoken to by TLS.
    pub is_tls: bool,
    /// What it is known by, as PEM; `None` trusts the system's authorities.
    pub trusted: Option<Vec<u8>>,
    /// Header lines that are sent along.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Longest wait of a span for others.
    pub interval: Duration,
    /// Most spans of a batch.
    pub batch_size: usize,
    /// Most batches that wait or are under way, for each worker.
    pub batch_count: usize,
    /// Threads that serve.
    pub workers: usize,
    /// Who we are.
    pub resource: Vec<(String, String)>,
}

impl Target {
    /// Spans that may wait or be under way.
    fn room(&self) -> usize {
        self.batch_size.saturating_mul(self.batch_count).saturating_mul(self.workers)
    }
}

/// Whether a file of certificates can be used; an error is a text.
pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
    tls::certificates(pem).map(drop)
}

/// Takes spans for a collector. What it has taken is still sent when the last holder is gone.
#[derive(Debug)]
pub struct Exporter {
    queue: Arc<Queue>,
}

/// What those who serve and the thread that sends share.
#[derive(Debug)]
struct Queue {
    target: Target,
    state: Mutex<State>,
    /// A batch is full, or all is wanted.
    ready: Notify,
    /// Nothing waits and nothing is under way.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Span>,
    under_way: usize,
    is_started: bool,
    /// Whether batches that are not full are to be sent as well.
    wants_all: bool,
    /// Whether nobody adds any more.
    is_closed: bool,
}

impl Exporter {
    /// One for a collector; it opens nothing before [`Self::start`].
    #[must_use]
    pub fn new(target: Target) -> Self {
        let queue =
            Queue { target, state: Mutex::default(), ready: Notify::new(), idle: Condvar::new() };
        Self { queue: Arc::new(queue) }
    }

    /// Whether it sends to the same collector in the same way.
    #[must_use]
    pub fn is_for(&self, target: &Target) -> bool {
        self.queue.target == *target
    }

    /// Starts the thread that sends; does nothing the second time.
    pub fn start(&self) {
        if std::mem::replace(&mut self.queue.lock().is_started, true) {
            return;
        }
        lock(&OPEN).push(Arc::downgrade(&self.queue));
        let queue = Arc::clone(&self.queue);
        let started =
            std::thread::Builder::new().name("otel".to_owned()).spawn(move || send::run(&queue));
        if let Err(error) = started {
            tracing::error!("Spans are not sent: no thread could be started: {error}");
        }
    }

    /// Takes a span, or drops and counts it when too many wait.
    pub fn add(&self, span: Span) {
        let target = &self.queue.target;
        let mut state = self.queue.lock();
        if target.room() <= state.waiting.len() + state.under_way {
            drop(state);
            return Fate::Dropped.count(1);
        }
        state.waiting.push(span);
        let is_full = state.waiting.len() == target.batch_size;
        drop(state);
        if is_full {
            self.queue.ready.notify_one();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.ready.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The next batch that is to be sent; those that are not full only with `all`.
    fn take(&self, all: bool) -> Option<Vec<Span>> {
        let mut state = self.lock();
        let size = self.target.batch_size;
        let waiting = state.waiting.len();
        if waiting == 0 || waiting < size && !(all || state.wants_all || state.is_closed) {
            return None;
        }
        let batch: Vec<_> = state.waiting.drain(..waiting.min(size)).collect();
        state.under_way += batch.len();
        Some(batch)
    }

    /// A batch is not under way any more.
    fn settle(&self, spans: usize) {
        let mut state = self.lock();
        state.under_way -= spans;
        if state.waiting.is_empty() && state.under_way == 0 {
            state.wants_all = false;
            self.idle.notify_all();
        }
    }
}

/// Sends what was taken, and waits for it, but not for a collector that does not answer.
pub fn finish(within: Duration) {
    let until = Instant::now() + within;
    let open: Vec<_> = lock(&OPEN).iter().filter_map(Weak::upgrade).collect();
    for queue in open {
        let mut state = queue.lock();
        if state.waiting.is_empty() && state.under_way == 0 {
            continue;
        }
        state.wants_all = true;
        queue.ready.notify_one();
        let left = until.saturating_duration_since(Instant::now());
        let is_busy = |it: &mut State| !it.waiting.is_empty() || it.under_way > 0;
        drop(queue.idle.wait_timeout_while(state, left, is_busy));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held while it is locked is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::address::Purpose;

    fn exporter(batch_size: usize, batch_count: usize) -> Exporter {
        Exporter::new(Target {
            address: Address::parse("127.0.0.1:1", Purpose::Peer).unwrap(),
            is_tls: false,
            trusted: None,
            headers: Vec::new(),
            interval: Duration::from_secs(5),
            batch_size,
            batch_count,
            workers: 1,
            resource: Vec::new(),
        })
    }

    fn add_spans(exporter: &Exporter, count: usize) {
        (0..count).for_each(|_| exporter.add(Span::default()));
    }

    #[test]
    fn a_batch_is_taken_when_it_is_full_or_its_time_has_come() {
        let exporter = exporter(3, 4);
        add_spans(&exporter, 2);
        assert_eq!(exporter.queue.take(false), None);
        add_spans(&exporter, 2);
        assert_eq!(exporter.queue.take(false).map(|it| it.len()), Some(3));
        assert_eq!(exporter.queue.take(false), None);
        assert_eq!(exporter.queue.take(true).map(|it| it.len()), Some(1));
        assert_eq!(exporter.queue.take(true), None);
    }

    #[test]
    fn spans_under_way_take_room_until_they_are_settled() {
        let exporter = exporter(2, 2);
        add_spans(&exporter, 6);
        let counts = || {
            let state = exporter.queue.lock();
            (state.waiting.len(), state.under_way)
        };
        assert_eq!(counts(), (4, 0));
        let batch = exporter.queue.take(false).unwrap();
        add_spans(&exporter, 1);
        assert_eq!(counts(), (2, 2));
        exporter.queue.settle(batch.len());
        add_spans(&exporter, 3);
        assert_eq!(counts(), (4, 0));
    }
}
