//! Is the schema there, and if not, who makes it?
//!
//! Every statement may run twice and nothing is ever dropped; a database made by an edition of the
//! lab is adopted by adding what it lacks. One replica works at a time: on SQLite because it
//! writes, on MySQL because it holds a named lock. Galera has none: there each statement is carried
//! out everywhere in one order, and the second of two that are equal changes nothing.

use sqlx::{AssertSqlSafe, MySqlConnection, SqliteConnection};

use super::{Db, DbError, Pools, Session, Tx, meta};
use crate::config::{Indexes, Migrate};

/// Raised with every change of the schema.
const VERSION: &str = "1";

const META_SQLITE: &str =
    "CREATE TABLE IF NOT EXISTS store_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT";
const META_MYSQL: &str = "CREATE TABLE IF NOT EXISTS store_meta (name VARCHAR(64) PRIMARY KEY, value VARCHAR(255) NOT NULL) \
     ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci";

/// Makes the schema current, or checks that it is.
pub async fn run(db: &Db, migrate: Migrate, indexes: Indexes) -> Result<(), DbError> {
    if migrate == Migrate::Off {
        let mut session = db.session_unchecked().await?;
        let found = meta::fetch(session.link(db, "migrate"), "schema_version").await?;
        return if found.as_deref() == Some(VERSION) {
            Ok(())
        } else {
            Err(DbError::Unavailable(None))
        };
    }
    if let Pools::Sqlite { writer, .. } = &db.pools {
        // Readers and the writer do not wait for each other in this mode, which the file remembers.
        sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(writer).await?;
        let mut tx = db.begin_unchecked().await?;
        if let Tx::Sqlite(it) = &mut tx {
            sqlite(it, indexes).await?;
        }
        meta::store(tx.link(db, "migrate"), "schema_version", VERSION).await?;
        return tx.commit().await;
    }
    let mut session = db.session_unchecked().await?;
    if let Session::Mysql(it) = &mut session {
        if db.is_galera() {
            // A cluster has no named locks, and each statement waits for the ones before it.
            mysql(it, indexes).await?;
            return meta::store(session.link(db, "migrate"), "schema_version", VERSION).await;
        }
        // A name may have 64 characters, as many as that of a database. MySQL 9 has no MD5 any more.
        let locked: Option<i64> = sqlx::query_scalar(
            "SELECT GET_LOCK(CONCAT('store migrate ', LEFT(SHA2(DATABASE(), 256), 32)), 60)",
        )
        .fetch_one(&mut **it)
        .await?;
        if locked != Some(1) {
            return Err(DbError::Unavailable(None));
        }
        let outcome = mysql(it, indexes).await;
        sqlx::query("DO RELEASE_LOCK(CONCAT('store migrate ', LEFT(SHA2(DATABASE(), 256), 32)))")
            .execute(&mut **it)
            .await?;
        outcome?;
    }
    meta::store(session.link(db, "migrate"), "schema_version", VERSION).await
}

async fn sqlite(connection: &mut SqliteConnection, indexes: Indexes) -> Result<(), DbError> {
    let extra = match indexes {
        Indexes::Covering => include_str!("../../migrations/sqlite/covering.sql"),
        Indexes::Lab => include_str!("../../migrations/sqlite/lab.sql"),
    };
    for text in [META_SQLITE, include_str!("../../migrations/sqlite/0001_schema.sql"), extra] {
        sqlx::raw_sql(text).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn mysql(connection: &mut MySqlConnection, indexes: Indexes) -> Result<(), DbError> {
    for text in [META_MYSQL, include_str!("../../migrations/mysql/0001_schema.sql")] {
        for statement in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
    }
    let column = "SELECT COUNT(*) FROM information_schema.columns \
                  WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?";
    let index = "SELECT COUNT(*) FROM information_schema.statistics \
                 WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?";
    let mut wanted = vec![
        (
            column,
            "stocks",
            "version",
            "ALTER TABLE stocks ADD COLUMN version BIGINT UNSIGNED NOT NULL DEFAULT 0",
        ),
        (
            index,
            "orders",
            "orders_created_at",
            "ALTER TABLE orders ADD INDEX orders_created_at (created_at)",
        ),
    ];
    if indexes == Indexes::Covering {
        wanted.extend([
            (index, "orders", "orders_user_total", "ALTER TABLE orders ADD INDEX orders_user_total (user_id, total_amount)"),
            (
                index,
                "order_items",
                "order_items_product_quantity",
                "ALTER TABLE order_items ADD INDEX order_items_product_quantity (product_id, quantity)",
            ),
        ]);
    }
    for (count, table, name, statement) in wanted {
        let found: i64 =
            sqlx::query_scalar(count).bind(table).bind(name).fetch_one(&mut *connection).await?;
        if found == 0 {
            match sqlx::raw_sql(statement).execute(&mut *connection).await {
                // Another node of a cluster was quicker.
                Err(sqlx::Error::Database(error)) if is_there_already(&*error) => (),
                outcome => {
                    outcome?;
                }
            }
        }
    }
    Ok(())
}

/// Whether a column or an index of that name exists.
fn is_there_already(error: &dyn sqlx::error::DatabaseError) -> bool {
    let mysql = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
    mysql.is_some_and(|it| matches!(it.number(), 1060 | 1061))
}
