//! How is Redis spoken to, and what happens while it is gone?
//!
//! One multiplexed connection. After a failure it is dropped and every command is refused at once
//! until a ping finds a server again, so that a dead Redis costs a request nothing.

mod dial;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::dial::{Connection, Dialer};
use crate::config::Config;
use crate::metrics::Metrics;

/// Command deadlines that finding a server may take: a sentinel, the server it names, its role.
const STEPS: u32 = 4;

/// Why Redis did not do what it was asked; the caller goes on without it.
#[derive(Debug, Error)]
pub enum RedisFailure {
    /// It has not answered since it failed last.
    #[error("Redis is unavailable")]
    Gone,
    /// It answered with an error, or not in time.
    #[error("Redis failed")]
    Failed(#[from] RedisError),
}

impl RedisFailure {
    /// Whether the key holds a value of another type than the one asked for.
    pub fn is_wrong_type(&self) -> bool {
        matches!(self, Self::Failed(error) if error.code() == Some("WRONGTYPE"))
    }
}

/// The shared Redis of all replicas: one server, the master of a sentinel group, or a cluster.
pub struct Redis {
    dialer: Dialer,
    /// What commands go over; nothing before the first and after a failure.
    connection: ArcSwapOption<Connection>,
    /// Held by the one who opens the next connection.
    dialing: Mutex<()>,
    timeout: Duration,
    gone: AtomicBool,
    /// Counts the changes of a cluster; 0 before it is known.
    epoch: AtomicU64,
    metrics: Metrics,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("gone", &self.gone).finish_non_exhaustive()
    }
}

impl Redis {
    /// Prepares the connection; opens nothing. `None` when no Redis is configured.
    pub fn new(config: &Config, metrics: &Metrics) -> Result<Option<Self>, RedisError> {
        let Some(target) = &config.redis else { return Ok(None) };
        Ok(Some(Self {
            dialer: Dialer::new(target, config.redis_timeout)?,
            connection: ArcSwapOption::empty(),
            dialing: Mutex::new(()),
            timeout: config.redis_timeout,
            gone: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            metrics: metrics.clone(),
        }))
    }

    /// Whether commands are refused until the next ping.
    pub fn is_gone(&self) -> bool {
        // Relaxed, here and below: the flag stands for itself and publishes no other memory.
        self.gone.load(Ordering::Relaxed)
    }

    /// The server that takes writes now, for connections of the caller's own; a cluster has none.
    pub async fn server(&self) -> Result<Client, RedisError> {
        self.dialer.server().await
    }

    /// Asks for a sign of life, whatever happened before, and looks for a server when there is
    /// none. `true` when it came after an absence, or from another server than before.
    pub async fn ping(&self) -> Result<bool, RedisFailure> {
        let asked = async { self.open().await?.ping().await };
        match timeout(self.timeout * STEPS, asked).await {
            Ok(Ok(epoch)) => {
                let before = self.epoch.swap(epoch, Ordering::Relaxed);
                let changed = before != 0 && before != epoch;
                Ok(self.gone.swap(false, Ordering::Relaxed) || changed)
            }
            Ok(Err(error)) => {
                self.lose();
                Err(error.into())
            }
            Err(_) => {
                self.lose();
                Err(RedisFailure::Gone)
            }
        }
    }

    /// Sends one command.
    pub async fn run<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> Result<T, RedisFailure> {
        self.count(name, 1);
        self.judge(async { self.open().await?.run(command).await }).await
    }

    /// Sends several commands in one go, each with keys of one slot; `names` says which, for the
    /// counter.
    pub async fn run_all<T: FromRedisValue>(
        &self,
        names: &[(&'static str, usize)],
        commands: Vec<Cmd>,
    ) -> Result<Vec<T>, RedisFailure> {
        for (name, count) in names {
            self.count(name, *count);
        }
        self.judge(async { self.open().await?.run_all(commands).await }).await
    }

    /// The connection, opened when there is none.
    async fn open(&self) -> Result<Connection, RedisError> {
        if let Some(connection) = &*self.connection.load() {
            return Ok(Connection::clone(connection));
        }
        let _only = self.dialing.lock().await;
        if let Some(connection) = &*self.connection.load() {
            return Ok(Connection::clone(connection));
        }
        let connection = self.dialer.dial().await?;
        self.connection.store(Some(Arc::new(connection.clone())));
        Ok(connection)
    }

    async fn judge<T>(
        &self,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisFailure> {
        if self.is_gone() {
            return Err(RedisFailure::Gone);
        }
        match timeout(self.timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.metrics.redis_errors.inc();
                if is_lost(&error) {
                    self.lose();
                }
                Err(error.into())
            }
            Err(_) => {
                self.metrics.redis_errors.inc();
                self.lose();
                Err(RedisFailure::Gone)
            }
        }
    }

    /// Nobody uses this connection again: the next ping looks for a server.
    fn lose(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.connection.store(None);
    }

    fn count(&self, name: &'static str, count: usize) {
        let labels = [("command", name), ("backend", "redis")];
        self.metrics.redis_commands.get_or_create(&labels).inc_by(count as u64);
    }
}

/// Whether another server, or another connection, may do better.
fn is_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.is_timeout()
        || matches!(
            error.kind(),
            ErrorKind::ClusterConnectionNotFound
                | ErrorKind::Server(
                    // A former master that became a replica, or a server that is no use yet.
                    ServerErrorKind::ReadOnly
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::BusyLoading
                        | ServerErrorKind::ClusterDown
                )
        )
}
