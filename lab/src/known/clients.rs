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
const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is looked whether to go on.
const LOOK: Duration = Duration::from_millis(50);

/// Room of a thread: it keeps one answer of some lines, and a part that is read.
const STACK: usize = 128 << 10;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server\r\n\r\n";

/// An open loop.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// When each request is due, from the start of the run, and what it says.
    pub(crate) requests: Vec<(Duration, String)>,
    /// When the last may be sent.
    pub(crate) end: Duration,
    /// Who may be there at once.
    pub(crate) clients: u32,
}

/// What became of a request; times from the start of the run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fate {
    pub(crate) due: Duration,
    pub(crate) sent: Duration,
    pub(crate) done: Duration,
    /// 0 without an answer.
    pub(crate) status: u16,
    /// Whether it said when to come again.
    pub(crate) says_when: bool,
    /// Who answered, empty where nobody says so.
    pub(crate) server: String,
}

/// One client for each place asks again as soon as it is answered. How long each answer took.
pub(crate) fn closed(
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
            if connection.ask(REQUEST.as_bytes()).is_ok_and(|it| it.status == 200) {
                own.push(sent.elapsed().as_secs_f64());
            }
        }
        all.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Requests come when they are due, whatever became of those before; what became of them, as they were due.
pub(crate) fn open(
    target: SocketAddr,
    load: &Load,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Vec<Fate>> {
    let (start, is_over) = (Instant::now(), AtomicBool::new(false));
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(load.requests.len())));
    run(load.clients, &is_over, go_on, &|| {
        let mut connection = Connection::new(target, PATIENCE);
        let mut own = Vec::new();
        // Relaxed: each number is taken once, and nothing else is published by it or the flag.
        while let Some((due, request)) = load.requests.get(next.fetch_add(1, Ordering::Relaxed))
            && start.elapsed() < load.end
            && !is_over.load(Ordering::Relaxed)
        {
            let due = *due;
            thread::sleep(due.saturating_sub(start.elapsed()));
            let sent = start.elapsed();
            let answer = connection.ask(request.as_bytes());
            let done = start.elapsed();
            let (status, says_when, server) = answer
                .map_or_else(|_| Default::default(), |it| (it.status, it.says_when, it.instance));
            own.push(Fate { due, sent, done, status, says_when, server });
        }
        all.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
    })?;
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_by_key(|it| it.due);
    Ok(all)
}

/// Requests that come at random, so many per second until `end`, each for the same.
pub(crate) fn alike(rate: f64, end: Duration, seed: u64) -> Vec<(Duration, String)> {
    random(rate, end, &mut SplitMix64::new(seed))
        .into_iter()
        .map(|it| (it, REQUEST.to_owned()))
        .collect()
}

/// Random moments, so many per second until `end`.
pub(crate) fn random(rate: f64, end: Duration, draw: &mut SplitMix64) -> Vec<Duration> {
    let mut at = 0.0;
    let gaps = std::iter::from_fn(|| {
        at -= (1.0 - draw.unit()).ln() / rate;
        (at < end.as_secs_f64()).then(|| Duration::from_secs_f64(at))
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
