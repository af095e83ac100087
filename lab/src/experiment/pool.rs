//! How do the replicas of a pool differ from each other, and what happens to them?

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::shop::Shop;

/// A turn of a replica that does not have the CPU all the time.
const TURN: Duration = Duration::from_millis(20);

/// From one crash of a flapping replica to the next; it is away for half of it.
const FLAP: Duration = Duration::from_secs(4);

/// What a pool is like.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// All alike.
    Equal,
    /// The first is paused for 13 of every 20 ms.
    OneSlow,
    /// The first is paused for 18 of every 20 ms: ten times slower.
    OneTenth,
    /// The first crashes every 4 s and is started again 2 s later.
    OneFlapping,
    /// Each has less of the CPU than the one before: all, two thirds, a third, and again.
    CpuLimits,
}

impl Pool {
    /// Its name in plans and rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::OneSlow => "one_slow",
            Self::OneTenth => "one_tenth",
            Self::OneFlapping => "one_flapping",
            Self::CpuLimits => "cpu_limits",
        }
    }

    /// The share of time that the replica at `position` may use.
    pub fn awake(self, position: usize) -> f64 {
        match (self, position) {
            (Self::OneSlow, 0) => 0.35,
            (Self::OneTenth, 0) => 0.1,
            (Self::CpuLimits, _) => [1.0, 2.0 / 3.0, 1.0 / 3.0][position % 3],
            _ => 1.0,
        }
    }
}

/// A pool that is kept as it should be, until dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    pool: Pool,
    over: Arc<AtomicBool>,
    throttles: Vec<JoinHandle<()>>,
    is_down: bool,
}

impl Keeper {
    /// Takes over a pool whose replicas all run.
    pub(super) fn new(pool: Pool, shop: &Shop) -> Self {
        let over = Arc::default();
        let replicas = shop.replicas().iter().enumerate();
        let slow = replicas.filter(|(position, _)| pool.awake(*position) < 1.0);
        let throttles = slow
            .map(|(position, it)| throttle(it.pid(), pool.awake(position), Arc::clone(&over)))
            .collect();
        Self { pool, over, throttles, is_down: false }
    }

    /// Lets happen what is due so long after the start.
    pub(super) fn tend(&mut self, shop: &mut Shop, elapsed: Duration) -> Result<()> {
        if self.pool == Pool::OneFlapping {
            let phase = Duration::from_nanos(
                u64::try_from(elapsed.as_nanos() % FLAP.as_nanos()).unwrap_or(0),
            );
            let away = FLAP / 4 <= phase && phase < 3 * FLAP / 4;
            match (self.is_down, away) {
                (false, true) => shop.kill_replica(0),
                (true, false) => shop.restart_replica(0, &|| Ok(()))?,
                _ => (),
            }
            self.is_down = away;
        }
        Ok(())
    }

    /// Has all replicas run again.
    pub(super) fn end(mut self, shop: &mut Shop) -> Result<()> {
        if std::mem::take(&mut self.is_down) {
            shop.restart_replica(0, &|| Ok(()))?;
        }
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Relaxed: the flag publishes no other memory.
        self.over.store(true, Ordering::Relaxed);
        for it in self.throttles.drain(..) {
            // A panic in there has been printed, and there is nothing to undo.
            _ = it.join();
        }
    }
}

/// Pauses a process for the rest of each turn; it runs when the thread ends.
fn throttle(pid: u32, awake: f64, over: Arc<AtomicBool>) -> JoinHandle<()> {
    let send = move |signal| {
        let pid = Pid::from_raw(i32::try_from(pid).expect("Linux process ids fit in an i32"));
        // The shop waits for its replicas only after this thread, so the id is still theirs.
        _ = signal::kill(pid, signal);
    };
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            send(Signal::SIGSTOP);
            thread::sleep(TURN.mul_f64(1.0 - awake));
            send(Signal::SIGCONT);
            thread::sleep(TURN.mul_f64(awake));
        }
    })
}
