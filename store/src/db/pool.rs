//! How many connections to MySQL are there, who uses them, and to which server do they lead?
//!
//! A bounded pool of our own: it says at once why a server refused, knows several servers of one
//! cluster, and hands out no connection that has not worked a moment ago.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::DbError;
use crate::config::Pool;
use crate::metrics::Metrics;

/// A connection that worked so recently is handed out without asking it.
const FRESH: Duration = Duration::from_secs(1);

/// Longest wait for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Idle connections beyond the fewest are closed after so long.
const IDLE: Duration = Duration::from_mins(10);

/// Connections to one MySQL server, or to whichever of several answers; cloning shares them.
#[derive(Clone)]
pub(super) struct MysqlPool(Arc<Inner>);

struct Inner {
    servers: Vec<MySqlConnectOptions>,
    /// Position of the server that is asked first.
    server: AtomicUsize,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// Connections that were opened outside the pool for one unit of work.
    outside: AtomicUsize,
    /// Whether the servers are nodes of a Galera cluster; known with the first connection.
    galera: OnceLock<bool>,
    limits: Pool,
    metrics: Metrics,
}

struct Idle {
    connection: MySqlConnection,
    since: Instant,
}

impl fmt::Debug for MysqlPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlPool").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl MysqlPool {
    /// Opens nothing yet.
    pub(super) fn new(servers: Vec<MySqlConnectOptions>, limits: Pool, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            servers,
            server: AtomicUsize::new(0),
            slots: Arc::new(Semaphore::new(limits.max as usize)),
            idle: Mutex::default(),
            outside: AtomicUsize::new(0),
            galera: OnceLock::new(),
            limits,
            metrics: metrics.clone(),
        }))
    }

    /// A connection of the pool, an idle one or a new one.
    pub(super) async fn acquire(&self) -> Result<Lent, DbError> {
        let started = Instant::now();
        let outcome = self.take().await;
        self.0.metrics.pool_wait.observe(started.elapsed().as_secs_f64());
        outcome
    }

    /// A connection outside the pool, which ends with its use.
    pub(super) async fn open(&self) -> Result<Lent, DbError> {
        let mut lent = self.open_uncounted().await?;
        self.0.metrics.connections_opened.inc();
        // Relaxed: the number is only shown.
        self.0.outside.fetch_add(1, Ordering::Relaxed);
        lent.home = Some(Home::Outside { _counted: Outside(Arc::clone(&self.0)) });
        Ok(lent)
    }

    /// The same for one that serves no request.
    pub(super) async fn open_uncounted(&self) -> Result<Lent, DbError> {
        Ok(Lent { connection: Some(self.0.open().await?), home: None, in_transaction: false })
    }

    /// A transaction. A connection that turns out to be dead at its first word is replaced.
    pub(super) async fn begin(&self, pooled: bool) -> Result<Lent, DbError> {
        loop {
            let mut lent = if pooled { self.acquire().await? } else { self.open().await? };
            match sqlx::raw_sql("START TRANSACTION").execute(&mut *lent).await.map_err(Into::into) {
                Ok(_) => {
                    lent.in_transaction = true;
                    return Ok(lent);
                }
                Err(DbError::Lost(_)) if pooled && 0 < self.idle() => lent.discard(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the servers are nodes of a Galera cluster, as far as is known.
    pub(super) fn is_galera(&self) -> bool {
        self.0.galera.get() == Some(&true)
    }

    /// Idle connections.
    pub(super) fn idle(&self) -> usize {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Connections in use, in the pool and outside, and slots of those who are about to open one.
    pub(super) fn in_use(&self) -> usize {
        let max = self.0.limits.max as usize;
        let taken = max - self.0.slots.available_permits().min(max);
        taken + self.0.outside.load(Ordering::Relaxed)
    }

    /// The server in use is of no use: from now on the next one is asked first.
    pub(super) fn leave_server(&self) {
        if 1 < self.0.servers.len() {
            // Relaxed: whoever sees the old position tries one server in vain.
            self.0.server.fetch_add(1, Ordering::Relaxed);
            self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Closes what has been idle for long.
    pub(super) fn tend(&self) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The connection used last is taken first, so the oldest stand in front.
        let spare = idle.len().saturating_sub(self.0.limits.min as usize);
        let old = idle.iter().take_while(|it| IDLE <= it.since.elapsed()).count();
        let closed: Vec<_> = idle.drain(..old.min(spare)).collect();
        drop(idle);
        for it in closed {
            tokio::spawn(close(it.connection));
        }
    }

    /// Closes the pool once what is in use has come back, or after `patience`.
    pub(super) async fn close(&self, patience: Duration) {
        // Whether all came back or not, the program is about to end.
        let _ = timeout(patience, self.0.slots.acquire_many(self.0.limits.max)).await;
        self.0.slots.close();
        let idle = std::mem::take(&mut *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for it in idle {
            close(it.connection).await;
        }
    }

    async fn take(&self) -> Result<Lent, DbError> {
        let inner = &self.0;
        let slot =
            match timeout(inner.limits.acquire, Arc::clone(&inner.slots).acquire_owned()).await {
                Ok(Ok(slot)) => slot,
                Ok(Err(_)) => return Err(DbError::Unavailable(None)),
                Err(_) => {
                    let (max, waited) = (inner.limits.max, inner.limits.acquire);
                    return Err(DbError::PoolExhausted { max, waited });
                }
            };
        let connection = loop {
            let found = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match found {
                Some(mut it) => {
                    if it.since.elapsed() < FRESH || answers(&mut it.connection).await {
                        break it.connection;
                    }
                }
                None => {
                    let connection = inner.open().await?;
                    inner.metrics.connections_opened.inc();
                    break connection;
                }
            }
        };
        let home = Some(Home::Pool { inner: Arc::clone(inner), _slot: slot });
        Ok(Lent { connection: Some(connection), home, in_transaction: false })
    }
}

impl Inner {
    /// A new connection to the first server that has one.
    async fn open(&self) -> Result<MySqlConnection, DbError> {
        let count = self.servers.len();
        let first = self.server.load(Ordering::Relaxed);
        let mut failure = DbError::Unavailable(None);
        for position in (first..first + count).map(|it| it % count) {
            let opened = timeout(self.limits.connect, self.connect(&self.servers[position])).await;
            match opened
                .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
            {
                Ok(connection) => {
                    self.server.store(position, Ordering::Relaxed);
                    return Ok(connection);
                }
                // A refusal says more than a server that is not there.
                Err(error) => match DbError::from(error) {
                    DbError::Lost(error) => {
                        if matches!(failure, DbError::Unavailable(_)) {
                            failure = DbError::Unavailable(Some(error));
                        }
                    }
                    refused => failure = refused,
                },
            }
        }
        Err(failure)
    }

    async fn connect(&self, server: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = server.connect().await?;
        // InnoDB counts whole seconds, from 1.
        let lock_wait = self.limits.lock_wait.as_secs().max(1);
        let settings = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION innodb_lock_wait_timeout = {lock_wait}"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(&mut connection).await?;
        let galera = match self.galera.get() {
            Some(known) => *known,
            None => {
                let on = is_on(&mut connection, "SHOW VARIABLES LIKE 'wsrep_on'").await?;
                *self.galera.get_or_init(|| on)
            }
        };
        if galera {
            if !is_on(&mut connection, "SHOW STATUS LIKE 'wsrep_ready'").await? {
                let reason = "the node is not part of its cluster";
                return Err(std::io::Error::other(reason).into());
            }
            // What one node has acknowledged, the next reader of any node sees.
            sqlx::raw_sql("SET SESSION wsrep_sync_wait = 1").execute(&mut connection).await?;
        }
        Ok(connection)
    }

    fn put(&self, connection: MySqlConnection) {
        let idle = Idle { connection, since: Instant::now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }
}

/// A connection, until dropped; a transaction that is still open then is rolled back.
pub struct Lent {
    /// `None` once it is on its way back.
    connection: Option<MySqlConnection>,
    /// As what it is counted, if at all.
    home: Option<Home>,
    in_transaction: bool,
}

enum Home {
    /// The pool it goes back to, and its slot there.
    Pool { inner: Arc<Inner>, _slot: OwnedSemaphorePermit },
    /// It was opened for one unit of work and ends with it.
    Outside { _counted: Outside },
}

/// One connection outside the pool, until dropped.
struct Outside(Arc<Inner>);

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.outside.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lent {
    /// Commits; whatever becomes of that, the transaction is over.
    ///
    /// A connection of the pool is back there then. One that was opened for this alone is returned:
    /// it is closed when it is dropped.
    pub(super) async fn commit(mut self) -> Result<Option<Self>, sqlx::Error> {
        sqlx::raw_sql("COMMIT").execute(&mut *self).await?;
        self.in_transaction = false;
        let Some(Home::Pool { inner, .. }) = &self.home else { return Ok(Some(self)) };
        // It has just answered, so it may be used again without being asked.
        if let Some(connection) = self.connection.take() {
            inner.put(connection);
        }
        Ok(None)
    }

    /// Nobody uses this connection again.
    fn discard(mut self) {
        self.connection = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (home, in_transaction) = (self.home.take(), self.in_transaction);
        // Outside the runtime the program is ending, and the connection with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(give_back(connection, home, in_transaction));
        }
    }
}

impl Deref for Lent {
    type Target = MySqlConnection;

    fn deref(&self) -> &MySqlConnection {
        self.connection.as_ref().expect("a connection is lent until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut MySqlConnection {
        self.connection.as_mut().expect("a connection is lent until it is dropped")
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("in_transaction", &self.in_transaction).finish_non_exhaustive()
    }
}

/// Brings a connection back to its pool if it still works, or closes it; it counts until then.
async fn give_back(mut connection: MySqlConnection, home: Option<Home>, in_transaction: bool) {
    let Some(Home::Pool { inner, _slot }) = home else { return close(connection).await };
    let sound = if in_transaction {
        // A statement that nobody waits for any more may be waiting for a lock.
        let patience = inner.limits.lock_wait + SIGN_OF_LIFE;
        let rollback = sqlx::raw_sql("ROLLBACK").execute(&mut connection);
        timeout(patience, rollback).await.is_ok_and(|it| it.is_ok())
    } else {
        answers(&mut connection).await
    };
    if sound {
        inner.put(connection);
    }
}

async fn answers(connection: &mut MySqlConnection) -> bool {
    timeout(SIGN_OF_LIFE, connection.ping()).await.is_ok_and(|it| it.is_ok())
}

/// Takes leave of the server, so that it does not count an aborted client.
async fn close(connection: MySqlConnection) {
    // It is closed either way.
    let _ = timeout(SIGN_OF_LIFE, connection.close()).await;
}

/// Whether the one row that `sql` shows says ON; servers without Galera show none.
async fn is_on(connection: &mut MySqlConnection, sql: &'static str) -> Result<bool, sqlx::Error> {
    let row = sqlx::raw_sql(sql).fetch_optional(connection).await?;
    let value = row.map(|it| it.try_get_unchecked::<Vec<u8>, _>(1)).transpose()?;
    Ok(value.is_some_and(|it| it == b"ON"))
}
