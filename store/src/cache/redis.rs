//! How is Redis spoken to, and what happens while it is gone?
//!
//! One multiplexed connection that reconnects by itself. After a failure every command is refused
//! at once until a ping succeeds, so that a dead Redis costs a request nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisError};
use thiserror::Error;

use crate::config::Config;
use crate::metrics::Metrics;

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

/// The shared Redis of all replicas.
pub struct Redis {
    connection: ConnectionManager,
    timeout: Duration,
    gone: AtomicBool,
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
        let timeout = config.redis_timeout;
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10))
            .set_max_delay(Duration::from_millis(100))
            .set_response_timeout(Some(timeout))
            .set_connection_timeout(Some(timeout));
        let client = Client::open(target.url.as_str())?;
        let connection = ConnectionManager::new_lazy_with_config(client, settings)?;
        Ok(Some(Self {
            connection,
            timeout,
            gone: AtomicBool::new(false),
            metrics: metrics.clone(),
        }))
    }

    /// Whether commands are refused until the next ping.
    pub fn is_gone(&self) -> bool {
        // Relaxed, here and below: the flag stands for itself and publishes no other memory.
        self.gone.load(Ordering::Relaxed)
    }

    /// Asks for a sign of life, whatever happened before. `true` when it came after an absence.
    pub async fn ping(&self) -> Result<bool, RedisFailure> {
        let mut connection = self.connection.clone();
        let command = redis::cmd("PING");
        let answer = command.query_async::<String>(&mut connection);
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(_)) => Ok(self.gone.swap(false, Ordering::Relaxed)),
            Ok(Err(error)) => {
                self.gone.store(true, Ordering::Relaxed);
                Err(error.into())
            }
            Err(_) => {
                self.gone.store(true, Ordering::Relaxed);
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
        let mut connection = self.open()?;
        self.judge(tokio::time::timeout(self.timeout, command.query_async(&mut connection)).await)
    }

    /// Sends several commands in one go; `names` says which, for the counter.
    pub async fn run_all<T: FromRedisValue>(
        &self,
        names: &[(&'static str, usize)],
        pipeline: &Pipeline,
    ) -> Result<T, RedisFailure> {
        for (name, count) in names {
            self.count(name, *count);
        }
        let mut connection = self.open()?;
        self.judge(tokio::time::timeout(self.timeout, pipeline.query_async(&mut connection)).await)
    }

    fn open(&self) -> Result<ConnectionManager, RedisFailure> {
        if self.is_gone() { Err(RedisFailure::Gone) } else { Ok(self.connection.clone()) }
    }

    fn judge<T>(
        &self,
        outcome: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, RedisFailure> {
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.metrics.redis_errors.inc();
                if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
                    self.gone.store(true, Ordering::Relaxed);
                }
                Err(error.into())
            }
            Err(_) => {
                self.metrics.redis_errors.inc();
                self.gone.store(true, Ordering::Relaxed);
                Err(RedisFailure::Gone)
            }
        }
    }

    fn count(&self, name: &'static str, count: usize) {
        let labels = [("command", name), ("backend", "redis")];
        self.metrics.redis_commands.get_or_create(&labels).inc_by(count as u64);
    }
}
