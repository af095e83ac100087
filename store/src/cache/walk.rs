//! What does it cost to ask Redis everything, key by key?
//!
//! The two expensive modes of the lab, with real commands: reports out of every order, and a walk
//! through the whole key space after an order. Each takes one connection from a set that refuses
//! instead of waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::redis::Redis;
use super::rows;
use super::space::Space;
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

/// Commands in the key space of this process after which others get their turn.
const TURN: u32 = 256;

/// The set of connections for walks.
pub struct Walks {
    /// Stands in where there is no Redis.
    space: Arc<Space>,
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
    /// An empty set.
    pub fn new(config: &Config, space: Arc<Space>, metrics: &Metrics) -> Self {
        let (most, metrics) = (config.redis_pool_max, metrics.clone());
        Self { space, slots: Semaphore::new(most), most, idle: Mutex::default(), metrics }
    }

    /// A report out of every order: KEYS, then one HGETALL after another.
    pub async fn report(&self, redis: Option<&Redis>, report: Report) -> Result<Rows, WalkFailure> {
        let mut walk = self.start(redis).await?;
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
    pub async fn before_stock(
        &self,
        redis: Option<&Redis>,
        products: &[ProductId],
    ) -> Result<(), WalkFailure> {
        let mut walk = self.start(redis).await?;
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

    async fn start(&self, redis: Option<&Redis>) -> Result<Walk<'_>, WalkFailure> {
        let slot = self.slots.try_acquire().map_err(|_| WalkFailure::Limit(self.most))?;
        let Some(redis) = redis else {
            return Ok(Walk { set: self, means: Means::Space(0), _slot: slot });
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let means = match idle {
            Some(connection) => Means::Connection(connection),
            None => {
                let server = redis.server().await?;
                Means::Connection(server.get_multiplexed_async_connection().await?)
            }
        };
        Ok(Walk { set: self, means, _slot: slot })
    }
}

/// What a walk goes over.
enum Means {
    /// A connection of its own.
    Connection(MultiplexedConnection),
    /// The key space of this process, with the number of commands so far.
    Space(u32),
}

/// One connection for one walk.
struct Walk<'a> {
    set: &'a Walks,
    means: Means,
    _slot: SemaphorePermit<'a>,
}

impl Walk<'_> {
    async fn run<T: FromRedisValue>(
        &mut self,
        name: &'static str,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        match &mut self.means {
            Means::Connection(connection) => {
                let labels = [("command", name), ("backend", "redis")];
                self.set.metrics.redis_commands.get_or_create(&labels).inc();
                command.query_async(connection).await
            }
            Means::Space(commands) => {
                *commands += 1;
                if commands.is_multiple_of(TURN) {
                    tokio::task::yield_now().await;
                }
                Ok(T::from_redis_value(self.set.space.run(name, command)?)?)
            }
        }
    }

    /// Keeps a connection that worked to the end; a broken one is dropped with its walk.
    fn finish(self) {
        if let Means::Connection(connection) = self.means {
            self.set.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
