//! Which kind of database is at the other end?

use sqlx::pool::PoolConnection;
use sqlx::{MySqlConnection, Sqlite, SqliteConnection, Transaction};

use super::{Db, DbError, Lent};
use crate::domain::id::ProductId;

/// One connection for statements that each stand alone.
#[derive(Debug)]
pub enum Session {
    /// MySQL or MariaDB.
    Mysql(Lent),
    /// SQLite.
    Sqlite(PoolConnection<Sqlite>),
}

/// One transaction that writes; rolled back unless committed.
#[derive(Debug)]
pub enum Tx {
    /// MySQL or MariaDB, READ COMMITTED.
    Mysql(Lent),
    /// SQLite; the only writer while it lasts.
    Sqlite(Transaction<'static, Sqlite>),
}

/// A connection, lent for one statement.
#[derive(Debug)]
pub enum Link<'c> {
    /// MySQL or MariaDB.
    Mysql(&'c mut MySqlConnection),
    /// SQLite.
    Sqlite(&'c mut SqliteConnection),
}

impl Session {
    /// Lends the connection for a statement that is counted under `op`.
    pub fn link(&mut self, db: &Db, op: &'static str) -> Link<'_> {
        db.metrics().queries.get_or_create(&[("op", op)]).inc();
        match self {
            Self::Mysql(it) => Link::Mysql(it),
            Self::Sqlite(it) => Link::Sqlite(it),
        }
    }
}

impl Tx {
    /// Lends the connection for a statement that is counted under `op`.
    pub fn link(&mut self, db: &Db, op: &'static str) -> Link<'_> {
        db.metrics().queries.get_or_create(&[("op", op)]).inc();
        match self {
            Self::Mysql(it) => Link::Mysql(it),
            Self::Sqlite(it) => Link::Sqlite(it),
        }
    }

    /// Makes it so. A broken connection leaves the outcome unknown; a refusal leaves nothing.
    pub async fn commit(self) -> Result<(), DbError> {
        self.commit_keeping().await.map(drop)
    }

    /// As [`Self::commit`]; a connection that was opened for this transaction alone stays open until
    /// what is returned is dropped.
    pub async fn commit_keeping(self) -> Result<Option<Lent>, DbError> {
        let outcome = match self {
            Self::Mysql(it) => it.commit().await,
            Self::Sqlite(it) => it.commit().await.map(|()| None),
        };
        outcome.map_err(|error| match DbError::from(error) {
            DbError::Lost(error) => DbError::CommitUnknown(error),
            refused => refused,
        })
    }
}

/// Runs one statement on whichever database is at the other end.
///
/// `dialects!(link, "both", |sql, it| …)`, or with `mysql:` and `sqlite:` where the texts differ.
macro_rules! dialects {
    ($link:expr, mysql: $mysql:expr, sqlite: $sqlite:expr, |$sql:ident, $it:ident| $body:expr) => {
        match $link {
            $crate::db::Link::Mysql($it) => match $mysql {
                $sql => $body,
            },
            $crate::db::Link::Sqlite($it) => match $sqlite {
                $sql => $body,
            },
        }
    };
    ($link:expr, $both:expr, |$sql:ident, $it:ident| $body:expr) => {
        dialects!($link, mysql: $both, sqlite: $both, |$sql, $it| $body)
    };
}
pub(crate) use dialects;

/// `?, ?, ?` for a list of `count` values.
pub(super) fn marks(count: usize) -> String {
    let mut marks = "?, ".repeat(count);
    marks.truncate(marks.len().saturating_sub(2));
    marks
}

/// Rows that one statement of an order adds or changes at most. Each number of rows is a statement
/// that stays prepared.
pub(super) const ROWS_AT_ONCE: usize = 16;

/// Statements that a connection to MySQL keeps prepared: those of all lists, and all others.
///
/// One that is not kept is closed after its use. The server says nothing to that, so the next
/// statement waits until it has acknowledged the packet: 40 ms.
pub(super) const PREPARED: usize = 256;

/// A list as a statement takes it: longer ones are filled up with their last value to one of a few
/// lengths, as each length is a statement of its own.
pub(super) fn filled(ids: &[ProductId]) -> Vec<i64> {
    let length = if ids.len() <= ROWS_AT_ONCE { ids.len() } else { ids.len().next_power_of_two() };
    let last = ids.last().into_iter().cycle();
    ids.iter().chain(last).take(length).map(|it| it.number()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_come_in_few_lengths() {
        let length = |count| filled(&(0..count).map(ProductId::new).collect::<Vec<_>>()).len();
        assert_eq!([0, 1, 16, 17, 32, 33, 500].map(length), [0, 1, 16, 32, 32, 64, 512]);
        let ids: Vec<_> = (1..=17).map(ProductId::new).collect();
        assert!(filled(&ids)[16..].iter().all(|it| *it == 17));
    }
}
