//! Statements about answers that a client may ask for again.

use std::time::Duration;

use super::link::dialects;
use super::{Db, DbError, Link, Tx};

/// Longest wait for another request with the same key, in whole seconds.
const WAIT: u64 = 1;

/// What tells one use of a key from another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// As the client sent it: 1 to 255 visible ASCII characters.
    pub text: String,
    /// The template of the path.
    pub route: &'static str,
    /// SHA-256 of method, path and body.
    pub fingerprint: [u8; 32],
}

/// An answer that was given before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Its status.
    pub status: u16,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
}

/// Fingerprint, status, body.
type KeyRow = (Vec<u8>, Option<i64>, Option<Vec<u8>>);

/// Takes the key for this transaction, as its first statement. `Some` is the answer that somebody
/// with the same key got; [`DbError::KeyReused`] means that it was another request, and
/// [`DbError::KeyBusy`] that its first use is still running.
pub async fn claim(db: &Db, tx: &mut Tx, key: Option<&Key>) -> Result<Option<Stored>, DbError> {
    let Some(key) = key else { return Ok(None) };
    let usual_wait = db.lock_wait().as_secs().max(1);
    wait_for_locks(tx, WAIT).await?;
    let inserted = insert(tx.link(db, "key_insert"), key).await;
    // A deadlock or a broken connection ends the transaction and is answered as such.
    match inserted {
        Ok(()) => {
            wait_for_locks(tx, usual_wait).await?;
            return Ok(None);
        }
        Err(DbError::Taken(_)) => wait_for_locks(tx, usual_wait).await?,
        Err(DbError::Busy { reason: "lock_wait", .. }) => {
            wait_for_locks(tx, usual_wait).await?;
            return Err(DbError::KeyBusy);
        }
        Err(error) => {
            wait_for_locks(tx, usual_wait).await?;
            return Err(error);
        }
    }
    let sql =
        "SELECT fingerprint, status, body FROM idempotency_keys WHERE idem_key = ? AND route = ?";
    let row: Option<KeyRow> = dialects!(tx.link(db, "key_read"), sql, |sql, it| {
        sqlx::query_as(sql).bind(&key.text).bind(key.route).fetch_optional(it).await?
    });
    match row {
        Some((fingerprint, ..)) if fingerprint != key.fingerprint => Err(DbError::KeyReused),
        Some((_, Some(status), Some(body))) => {
            let status = u16::try_from(status).map_err(|_| DbError::KeyBusy)?;
            Ok(Some(Stored { status, body }))
        }
        _ => Err(DbError::KeyBusy),
    }
}

/// Keeps the answer with the key, in the transaction that made it true.
pub async fn settle(
    db: &Db,
    tx: &mut Tx,
    key: Option<&Key>,
    status: u16,
    body: &[u8],
) -> Result<(), DbError> {
    let Some(key) = key else { return Ok(()) };
    let sql = "UPDATE idempotency_keys SET status = ?, body = ? WHERE idem_key = ? AND route = ?";
    dialects!(tx.link(db, "key_settle"), sql, |sql, it| {
        let query =
            sqlx::query(sql).bind(i64::from(status)).bind(body).bind(&key.text).bind(key.route);
        query.execute(it).await?;
    });
    Ok(())
}

/// Forgets answers older than `age`, a thousand at a time.
pub async fn forget(link: Link<'_>, age: Duration) -> Result<(), DbError> {
    let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    dialects!(
        link,
        mysql: "DELETE FROM idempotency_keys WHERE created_at < FROM_UNIXTIME(GREATEST(UNIX_TIMESTAMP() - ?, 1)) LIMIT 1000",
        sqlite: "DELETE FROM idempotency_keys WHERE rowid IN \
                 (SELECT rowid FROM idempotency_keys WHERE created_at < unixepoch() - ? LIMIT 1000)",
        |sql, it| {
            sqlx::query(sql).bind(seconds).execute(it).await?;
        }
    );
    Ok(())
}

async fn insert(link: Link<'_>, key: &Key) -> Result<(), DbError> {
    let sql = "INSERT INTO idempotency_keys (idem_key, route, fingerprint) VALUES (?, ?, ?)";
    dialects!(link, sql, |sql, it| {
        sqlx::query(sql)
            .bind(&key.text)
            .bind(key.route)
            .bind(&key.fingerprint[..])
            .execute(it)
            .await?;
    });
    Ok(())
}

/// SQLite has one writer, who need not wait for rows.
async fn wait_for_locks(tx: &mut Tx, seconds: u64) -> Result<(), DbError> {
    if let Tx::Mysql(it) = tx {
        let sql = format!("SET SESSION innodb_lock_wait_timeout = {seconds}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut **it).await?;
    }
    Ok(())
}
