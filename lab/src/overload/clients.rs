//! Those who ask: one after the other in a closed loop, or when they are due in an open one.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use policy::{Draw, SplitMix64};

use crate::experiment::connection::Connection;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether to go on.
const LOOK: Duration = Duration::from_millis(50);

/// Room of a thread: it keeps one answer of some lines, and a part that is read.
const STACK: usize = 128 << 10;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server\r\n\r\n";

/// An open loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests per second.
    pub(super) rate: f64,
    /// From the first to the last.
    pub(super) time: Duration,
    /// Who may be there at once.
    pub(super) clients: u32,
    pub(super) seed: u64,
}

/// What became of a request; times from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    pub(super) due: Duration,
    pub(super) sent: Duration,
    pub(super) done: Duration,
    /// 0 without an answer.
    pub(super) status: u16,
    /// Whether it said when to come again.
    pub(super) says_when: bool,
}

/// One client for each place asks again as soon as it is answered. How long each answer took.
pub(super) fn closed(
    target: SocketAddr,
    clients: u32,
    time: Duration,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Vec<f64>> {
    let (start, is_over) = (Instant::now(), AtomicBool::new(false));
    let all = Mutex::new(Vec::new());
    run(clients, &is_over, go_on, &|| {
        let mut connection = Connection::new(target, PATIENCE);
        let mut own = Vec::new();
        while start.elapsed() < time && !is_over.load(Ordering::Relaxed) {
            let sent = Instant::now();
            if connection.ask(REQUEST).is_ok_and(|it| it.status == 200) {
                own.push(sent.elapsed().as_secs_f64());
            }
        }
        all.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Requests come at random moments, whatever became of those before.
pub(super) fn open(
    target: SocketAddr,
    load: &Load,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Vec<Fate>> {
    let due = due(load);
    let (start, is_over) = (Instant::now(), AtomicBool::new(false));
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(due.len())));
    run(load.clients, &is_over, go_on, &|| {
        let mut connection = Connection::new(target, PATIENCE);
        let mut own = Vec::new();
        // Relaxed: each number is taken once, and nothing else is published by it or the flag.
        while let Some(due) = due.get(next.fetch_add(1, Ordering::Relaxed)).copied()
            && start.elapsed() < load.time
            && !is_over.load(Ordering::Relaxed)
        {
            thread::sleep(due.saturating_sub(start.elapsed()));
            let sent = start.elapsed();
            let answer = connection.ask(REQUEST);
            let (status, says_when) = answer.map_or((0, false), |it| (it.status, it.says_when));
            own.push(Fate { due, sent, done: start.elapsed(), status, says_when });
        }
        all.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn due(load: &Load) -> Vec<Duration> {
    let mut draw = SplitMix64::new(load.seed);
    let mut at = 0.0;
    let gaps = std::iter::from_fn(|| {
        at -= (1.0 - draw.unit()).ln() / load.rate;
        (at < load.time.as_secs_f64()).then(|| Duration::from_secs_f64(at))
    });
    gaps.collect()
}

/// Runs a client so many times at once, and has all of them end when it shall not go on.
fn run(
    clients: u32,
    is_over: &AtomicBool,
    go_on: &dyn Fn() -> Result<()>,
    client: &(dyn Fn() + Sync),
) -> Result<()> {
    thread::scope(|scope| {
        let threads: Result<Vec<_>, _> = (0..clients)
            .map(|_| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, client))
            .collect();
        let result = match &threads {
            Ok(threads) => loop {
                if threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                    break Ok(());
                }
                if let Err(error) = go_on() {
                    break Err(error);
                }
                thread::sleep(LOOK);
            },
            Err(_) => Ok(()),
        };
        if result.is_err() || threads.is_err() {
            is_over.store(true, Ordering::Relaxed);
        }
        result.and(threads.map(drop).map_err(Into::into))
    })
}
