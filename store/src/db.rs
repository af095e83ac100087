//! Where is the truth kept, and how does a unit of work reach it?
//!
//! Two drivers, one set of functions: a [`Link`] is one connection of either kind, and the modules
//! below hold one function per statement with both dialects side by side.

pub mod bulk;
mod error;
pub mod idempotency;
pub mod link;
pub mod meta;
pub mod migrate;
pub mod orders;
mod pool;
pub mod products;
pub mod reports;
pub mod stocks;
pub mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr, Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;

pub use self::error::DbError;
pub(crate) use self::error::seconds;
pub use self::link::{Link, Session, Tx};
pub use self::pool::Lent;
use self::pool::MysqlPool;
use crate::config::{Config, Connections, Database, Pool};
use crate::metrics::Metrics;
use crate::stage::Switches;

/// The database of this replica: pools that connect when they are needed.
#[derive(Debug)]
pub struct Db {
    pools: Pools,
    limits: Pool,
    switches: Arc<Switches>,
    metrics: Metrics,
    /// Set once the schema is there, cleared while the database does not answer.
    open: AtomicBool,
    /// What the database is watched over: a connection that no request can take.
    watching: Mutex<Option<Session>>,
}

#[derive(Debug)]
enum Pools {
    Mysql(MysqlPool),
    /// SQLite has one writer: its pool holds one connection, so that writers queue in order here
    /// instead of polling the file.
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
}

impl Db {
    /// Prepares the pools; opens nothing.
    pub fn new(
        config: &Config,
        switches: Arc<Switches>,
        metrics: Metrics,
    ) -> Result<Self, sqlx::Error> {
        let limits = config.pool;
        let pools = match &config.database {
            Database::Mysql(urls) => {
                let server = |url: &String| {
                    let options = url.parse::<MySqlConnectOptions>()?;
                    Ok(options.statement_cache_capacity(link::PREPARED))
                };
                let servers = urls.iter().map(server).collect::<Result<_, sqlx::Error>>()?;
                Pools::Mysql(MysqlPool::new(servers, limits, &metrics))
            }
            Database::Sqlite(path) => {
                let options = sqlite_options(path, limits)?;
                let pool = |options, max, min| {
                    let opened = metrics.connections_opened.clone();
                    SqlitePoolOptions::new()
                        .max_connections(max)
                        .min_connections(min)
                        .acquire_timeout(limits.acquire)
                        .test_before_acquire(false)
                        .after_connect(move |_, _| {
                            opened.inc();
                            Box::pin(async { Ok(()) })
                        })
                        .connect_lazy_with(options)
                };
                Pools::Sqlite {
                    // An empty file in the place of one that is gone would answer for it.
                    readers: pool(
                        options.clone().create_if_missing(false),
                        limits.max.max(2) - 1,
                        limits.min,
                    ),
                    writer: pool(options, 1, 0),
                }
            }
        };
        metrics.pool_max.set(i64::from(limits.max));
        Ok(Self {
            pools,
            limits,
            switches,
            metrics,
            open: AtomicBool::new(false),
            watching: Mutex::new(None),
        })
    }

    /// Lets requests through, or refuses them at once while there is nothing to wait for.
    pub fn set_open(&self, open: bool) {
        // Relaxed: a request that sees the old value is answered as one that came a moment earlier.
        self.open.store(open, Ordering::Relaxed);
    }

    /// Whether this is the embedded database.
    pub fn is_sqlite(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// Counts what the database refused and hands the error on.
    pub fn count<T>(&self, outcome: Result<T, DbError>) -> Result<T, DbError> {
        if let Err(error) = &outcome
            && !matches!(
                error,
                DbError::Fault(_)
                    | DbError::Absent
                    | DbError::Taken(_)
                    | DbError::Reference(_)
                    | DbError::KeyBusy
                    | DbError::KeyReused
            )
        {
            self.metrics.db_errors.get_or_create(&[("kind", error.kind())]).inc();
        }
        outcome
    }

    /// A connection for statements that each stand alone.
    pub async fn session(&self) -> Result<Session, DbError> {
        self.check_open()?;
        self.count(self.session_unchecked().await)
    }

    /// As [`Self::session`], also before the schema is there.
    pub async fn session_unchecked(&self) -> Result<Session, DbError> {
        match &self.pools {
            Pools::Mysql(pool) => Ok(Session::Mysql(match self.switches.now().connections {
                Connections::Pool => pool.acquire().await?,
                Connections::PerCall => pool.open().await?,
            })),
            Pools::Sqlite { readers, .. } => Ok(Session::Sqlite(self.pooled(readers).await?)),
        }
    }

    /// A transaction that writes; rolled back when it is dropped.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        self.check_open()?;
        self.count(self.begin_unchecked().await)
    }

    /// As [`Self::begin`], also before the schema is there.
    pub async fn begin_unchecked(&self) -> Result<Tx, DbError> {
        match &self.pools {
            Pools::Mysql(pool) => Ok(Tx::Mysql(
                pool.begin(self.switches.now().connections == Connections::Pool).await?,
            )),
            Pools::Sqlite { writer, .. } => {
                let connection = self.pooled(writer).await?;
                let begin = Some("BEGIN IMMEDIATE".into_sql_str());
                Ok(Tx::Sqlite(Transaction::begin(connection, begin).await?))
            }
        }
    }

    /// Asks the database for a sign of life, however busy the pool is.
    ///
    /// When there is none, the next server is tried from now on, if several are known.
    pub async fn check(&self, patience: Duration) -> Result<(), DbError> {
        let asked = async {
            let mut watching = self.watching.lock().await;
            // Taken out, so that a connection that fails, or is not waited for, is not used again.
            let mut session = match (watching.take(), &self.pools) {
                (Some(session), _) => session,
                (None, Pools::Mysql(pool)) => Session::Mysql(pool.open_uncounted().await?),
                (None, Pools::Sqlite { readers, .. }) => {
                    Session::Sqlite(self.pooled(readers).await?)
                }
            };
            meta::ping(session.link(self, "ping")).await?;
            // SQLite has no connection to lose, and few to keep.
            *watching = Some(session).filter(|_| !self.is_sqlite());
            Ok(())
        };
        let outcome =
            tokio::time::timeout(patience, asked).await.unwrap_or(Err(DbError::Unavailable(None)));
        if let (Err(_), Pools::Mysql(pool)) = (&outcome, &self.pools) {
            pool.leave_server();
        }
        outcome
    }

    /// Closes connections that nobody has needed for long.
    pub fn tend(&self) {
        if let Pools::Mysql(pool) = &self.pools {
            pool.tend();
        }
    }

    /// Whether MySQL is a Galera cluster, as far as is known: it has no named locks.
    pub fn is_galera(&self) -> bool {
        matches!(&self.pools, Pools::Mysql(pool) if pool.is_galera())
    }

    /// Handles for what is counted about statements.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Longest wait for a lock.
    pub fn lock_wait(&self) -> Duration {
        self.limits.lock_wait
    }

    /// Writes the state of the pools into their gauges.
    pub fn observe_pools(&self) {
        let (size, idle) = match &self.pools {
            Pools::Mysql(pool) => (pool.in_use() + pool.idle(), pool.idle()),
            Pools::Sqlite { readers, writer } => {
                ((readers.size() + writer.size()) as usize, readers.num_idle() + writer.num_idle())
            }
        };
        let set = |state, count: usize| {
            let count = i64::try_from(count).expect("a pool has fewer than 2^63 connections");
            self.metrics.pool_connections.get_or_create(&[("state", state)]).set(count);
        };
        set("idle", idle);
        set("in_use", size.saturating_sub(idle));
    }

    /// Closes the pools, waiting for what is in use.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Mysql(pool) => pool.close(self.limits.acquire).await,
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    fn check_open(&self) -> Result<(), DbError> {
        if self.open.load(Ordering::Relaxed) { Ok(()) } else { Err(DbError::Unavailable(None)) }
    }

    async fn pooled(&self, pool: &SqlitePool) -> Result<PoolConnection<Sqlite>, DbError> {
        let started = Instant::now();
        let connection = pool.acquire().await;
        self.metrics.pool_wait.observe(started.elapsed().as_secs_f64());
        connection.map_err(|error| match error {
            sqlx::Error::PoolTimedOut
                if pool.size() == pool.options().get_max_connections() && pool.num_idle() == 0 =>
            {
                DbError::PoolExhausted { max: self.limits.max, waited: self.limits.acquire }
            }
            error => error.into(),
        })
    }
}

fn sqlite_options(path: &str, limits: Pool) -> Result<SqliteConnectOptions, sqlx::Error> {
    Ok(format!("sqlite://{path}")
        .parse::<SqliteConnectOptions>()?
        .create_if_missing(true)
        .foreign_keys(true)
        .busy_timeout(limits.lock_wait)
        // Safe against a crash of the program; a power cut may take the last commits, never the file.
        .synchronous(SqliteSynchronous::Normal))
}

/// Pauses between the attempts of one transaction: 50 ms doubling, with full jitter, at most five
/// attempts.
#[derive(Debug)]
pub struct Attempts {
    made: u32,
    draw: u64,
}

impl Attempts {
    const MOST: u32 = 5;

    /// `salt` only keeps two requests from pausing in step.
    pub fn new(salt: u64) -> Self {
        Self { made: 1, draw: salt }
    }

    /// Waits before the next attempt and counts it; hands the error back when there is none.
    pub async fn again(&mut self, db: &Db, error: DbError) -> Result<(), DbError> {
        let Some(reason) = error.retry_reason().filter(|_| self.made < Self::MOST) else {
            return Err(error);
        };
        db.metrics.retries.get_or_create(&[("reason", reason)]).inc();
        let ceiling = 50_u64 << (self.made - 1);
        self.made += 1;
        self.draw = self
            .draw
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis((self.draw >> 33) % (ceiling + 1))).await;
        Ok(())
    }
}
