//! What does the database know about itself? Facts by name, in `store_meta`.

use super::link::dialects;
use super::{DbError, Link};

/// The value of a fact, `None` when it was never noted.
pub async fn fetch(link: Link<'_>, name: &str) -> Result<Option<String>, DbError> {
    Ok(dialects!(link, "SELECT value FROM store_meta WHERE name = ?", |sql, it| {
        sqlx::query_scalar(sql).bind(name).fetch_optional(it).await?
    }))
}

/// Notes a fact, in place of an older value.
pub async fn store(link: Link<'_>, name: &str, value: &str) -> Result<(), DbError> {
    dialects!(link, "REPLACE INTO store_meta (name, value) VALUES (?, ?)", |sql, it| {
        sqlx::query(sql).bind(name).bind(value).execute(it).await?;
    });
    Ok(())
}

/// Answers when the database does.
pub async fn ping(link: Link<'_>) -> Result<(), DbError> {
    dialects!(link, "SELECT 1", |sql, it| {
        sqlx::query_scalar::<_, i64>(sql).fetch_one(it).await?;
    });
    Ok(())
}

/// Whether there is any user, product or order.
pub async fn is_empty(link: Link<'_>) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users) + EXISTS (SELECT 1 FROM products) + EXISTS (SELECT 1 FROM orders)";
    let found: i64 = dialects!(link, sql, |sql, it| sqlx::query_scalar(sql).fetch_one(it).await?);
    Ok(found == 0)
}

/// Forgets a fact.
pub async fn remove(link: Link<'_>, name: &str) -> Result<(), DbError> {
    dialects!(link, "DELETE FROM store_meta WHERE name = ?", |sql, it| {
        sqlx::query(sql).bind(name).execute(it).await?;
    });
    Ok(())
}

/// Notes the time of the database, in seconds since the epoch.
pub async fn store_now(link: Link<'_>, name: &str) -> Result<(), DbError> {
    dialects!(
        link,
        mysql: "REPLACE INTO store_meta (name, value) VALUES (?, UNIX_TIMESTAMP())",
        sqlite: "REPLACE INTO store_meta (name, value) VALUES (?, CAST(unixepoch() AS TEXT))",
        |sql, it| {
            sqlx::query(sql).bind(name).execute(it).await?;
        }
    );
    Ok(())
}

/// Up to ten orders whose total is not the sum of their lines.
pub async fn wrong_totals(link: Link<'_>) -> Result<Vec<i64>, DbError> {
    Ok(dialects!(
        link,
        mysql: "SELECT orders.id FROM orders JOIN order_items ON order_id = orders.id \
                GROUP BY orders.id, total_amount HAVING total_amount <> SUM(quantity * unit_price) LIMIT 10",
        sqlite: "SELECT orders.id FROM orders JOIN order_items ON order_id = orders.id \
                 GROUP BY orders.id HAVING total_cents <> SUM(quantity * unit_price_cents) LIMIT 10",
        |sql, it| sqlx::query_scalar(sql).fetch_all(it).await?
    ))
}

/// Connections the server allows, `None` where there is no server.
pub async fn max_connections(link: Link<'_>) -> Result<Option<i64>, DbError> {
    match link {
        Link::Mysql(it) => {
            let sql = "SELECT CAST(@@max_connections AS SIGNED)";
            Ok(Some(sqlx::query_scalar(sql).fetch_one(it).await?))
        }
        Link::Sqlite(_) => Ok(None),
    }
}
