//! What does it cost to ask Redis everything, key by key?
//!
//! The two expensive modes of the lab, with real commands: reports out of every order, and a walk
//! through the whole key space after an order. Each takes one connection from a set that refuses
//! instead of waiting.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue, RedisError};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::rows;
use crate::config::Config;
use crate::domain::id::ProductId;
use crate::domain::money::Cents;
use crate::domain::report::{Report, Rows};
use crate::metrics::Metrics;

/// Keys that Redis looks at per SCAN.
const SCAN_COUNT: usize = 10;

/// Why a walk did not get to its end.
#[derive(Debug, Error)]
pub enum WalkFailure {
    /// Every connection of the set is in use.
    #[error("Redis connection limit of {0} reached (STORE_REDIS_POOL_MAX).")]
    Limit(usize),
    /// Redis answered with an error, or not at all.
    #[error("Redis failed")]
    Failed(#[from] RedisError),
}

/// The set of connections for walks.
pub struct Walks {
    client: Client,
    slots: Semaphore,
    most: usize,
    idle: Mutex<Vec<MultiplexedConnection>>,
    metrics: Metrics,
}

impl std::fmt::Debug for Walks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walks").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Walks {
    /// An empty set; `None` when no Redis is configured.
    pub fn new(config: &Config, metrics: &Metrics) -> Result<Option<Self>, RedisError> {
        let Some(target) = &config.redis else { return Ok(None) };
        let most = config.redis_pool_max;
        Ok(Some(Self {
            client: Client::open(target.url.as_str())?,
            slots: Semaphore::new(most),
            most,
            idle: Mutex::default(),
            metrics: metrics.clone(),
        }))
    }

    /// A report out of every order: KEYS, then one HGETALL after another.
    pub async fn report(&self, report: Report) -> Result<Rows, WalkFailure> {
        let mut walk = self.start().await?;
        let keys: Vec<String> = walk.run("keys", &Cmd::keys("order:*")).await?;
        let mut sums: HashMap<i64, i64> = HashMap::new();
        for key in keys {
            let fields: HashMap<String, String> = walk.run("hgetall", &Cmd::hgetall(key)).await?;
            let Some(order) = rows::read_order(&fields) else { continue };
            match report {
                Report::HighestSpenders => {
                    *sums.entry(order.user.number()).or_default() += order.total.number();
                }
                Report::BestSellers => {
                    for line in order.lines {
                        *sums.entry(line.product.number()).or_default() += line.quantity;
                    }
                }
            }
        }
        walk.finish();
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_unstable_by_key(|(id, sum)| (std::cmp::Reverse(*sum), *id));
        sums.truncate(Report::LIMIT);
        Ok(match report {
            Report::HighestSpenders => Rows::Spenders(
                sums.into_iter().map(|(id, sum)| (id.into(), Cents::new(sum))).collect(),
            ),
            Report::BestSellers => {
                Rows::Sellers(sums.into_iter().map(|(id, sum)| (id.into(), sum)).collect())
            }
        })
    }

    /// What the lab did after each order: all keys are walked only to see whether a stock key
    /// exists, then each line is looked at by itself.
    pub async fn before_stock(&self, products: &[ProductId]) -> Result<(), WalkFailure> {
        let mut walk = self.start().await?;
        let (mut cursor, mut found) = (0_u64, 0);
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg("stock:*").arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = walk.run("scan", &command).await?;
            found += keys.len();
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        if 0 < found {
            for id in products {
                let _: Option<String> =
                    walk.run("hget", &Cmd::hget(format!("stock:{id}"), "quantity")).await?;
            }
        }
        walk.finish();
        Ok(())
    }

    async fn start(&self) -> Result<Walk<'_>, WalkFailure> {
        let slot = self.slots.try_acquire().map_err(|_| WalkFailure::Limit(self.most))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.client.get_multiplexed_async_connection().await?,
        };
        Ok(Walk { set: self, connection, _slot: slot })
    }
}

/// One connection for one walk.
struct Walk<'a> {
    set: &'a Walks,
    connection: MultiplexedConnection,
    _slot: SemaphorePermit<'a>,
}

impl Walk<'_> {
    async fn run<T: FromRedisValue>(
        &mut self,
        name: &'static str,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        let labels = [("command", name), ("backend", "redis")];
        self.set.metrics.redis_commands.get_or_create(&labels).inc();
        command.query_async(&mut self.connection).await
    }

    /// Keeps a connection that worked to the end; a broken one is dropped with its walk.
    fn finish(self) {
        self.set.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
    }
}
