//! Should this replica be sent requests?
//!
//! Checks run in the background and leave their verdicts here; a request to `/ready` only reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What `/ready` says first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// All checks pass.
    Ready,
    /// The schema, the seed or the reports are not there yet.
    Starting,
    /// The database does not answer.
    Unavailable,
    /// A signal came.
    Draining,
}

impl Status {
    /// The word in the answer.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
        }
    }
}

/// One sentence per part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checks {
    /// Schema, seed and reports.
    pub data: String,
    /// The database.
    pub database: String,
    /// Redis, or what stands in for it.
    pub redis: String,
}

/// The verdicts of the background checks.
#[derive(Debug)]
pub struct Health {
    checks: Mutex<Checks>,
    started: AtomicBool,
    database_up: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(redis: &str) -> Self {
        let starting = || "starting".to_owned();
        Self {
            checks: Mutex::new(Checks {
                data: starting(),
                database: starting(),
                redis: redis.to_owned(),
            }),
            started: AtomicBool::new(false),
            database_up: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// The status and the sentences behind it.
    pub fn look(&self) -> (Status, Checks) {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Relaxed, here and below: each flag stands for itself and publishes no other memory.
        let status = if self.is_draining() {
            Status::Draining
        } else if !self.started.load(Ordering::Relaxed) {
            Status::Starting
        } else if self.database_up.load(Ordering::Relaxed) {
            Status::Ready
        } else {
            Status::Unavailable
        };
        (status, checks)
    }

    /// Schema, seed and reports are there.
    pub fn set_started(&self, data: &str) {
        self.set_data(data);
        self.started.store(true, Ordering::Relaxed);
    }

    /// What is being waited for, or missing.
    pub fn set_data(&self, data: &str) {
        data.clone_into(&mut self.checks.lock().unwrap_or_else(PoisonError::into_inner).data);
    }

    /// The last word on the database: `Ok`, or the reason. `true` when this is news.
    pub fn set_database(&self, verdict: Result<(), &str>) -> bool {
        let sentence = verdict.err().unwrap_or("ok");
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let news = checks.database != sentence;
        sentence.clone_into(&mut checks.database);
        self.database_up.store(verdict.is_ok(), Ordering::Relaxed);
        news
    }

    /// The last word on Redis. `true` when this is news.
    pub fn set_redis(&self, sentence: &str) -> bool {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let news = checks.redis != sentence;
        sentence.clone_into(&mut checks.redis);
        news
    }

    /// From now on `/ready` says no and answers close their connections.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether a signal came.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
