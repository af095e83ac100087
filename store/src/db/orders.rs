//! Statements about orders.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::link::{ROWS_AT_ONCE, dialects};
use super::{DbError, Link};
use crate::domain::id::{OrderId, ProductId, UserId};
use crate::domain::money::Cents;
use crate::domain::order::{PricedLine, PricedOrder};

/// Adds the head of an order; [`DbError::Reference`] or [`DbError::Range`] when there is no such
/// user.
pub async fn insert(link: Link<'_>, order: &PricedOrder) -> Result<OrderId, DbError> {
    let (user, total) = (order.user.number(), order.total.number());
    let id = match link {
        Link::Mysql(it) => {
            sqlx::query("INSERT INTO orders (user_id, total_amount) VALUES (?, ? / 100)")
                .bind(user)
                .bind(total)
                .execute(it)
                .await?
                .last_insert_id()
                .cast_signed()
        }
        Link::Sqlite(it) => sqlx::query("INSERT INTO orders (user_id, total_cents) VALUES (?, ?)")
            .bind(user)
            .bind(total)
            .execute(it)
            .await?
            .last_insert_rowid(),
    };
    Ok(OrderId::new(id))
}

/// Adds the lines of an order.
pub async fn insert_lines(
    mut link: Link<'_>,
    id: OrderId,
    lines: &[PricedLine],
) -> Result<(), DbError> {
    for lines in lines.chunks(ROWS_AT_ONCE) {
        let rows = |row: &str| row.repeat(lines.len()).trim_end_matches(", ").to_owned();
        dialects!(
            &mut link,
            mysql: format!("INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES {}", rows("(?, ?, ?, ? / 100), ")),
            sqlite: format!("INSERT INTO order_items (order_id, product_id, quantity, unit_price_cents) VALUES {}", rows("(?, ?, ?, ?), ")),
            |sql, it| {
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for line in lines {
                    query = query
                        .bind(id.number())
                        .bind(line.product.number())
                        .bind(line.quantity)
                        .bind(line.unit_price.number());
                }
                query.execute(&mut **it).await?;
            }
        );
    }
    Ok(())
}

/// User, total, and one line: product, quantity, price.
type OrderRow = (i64, i64, Option<i64>, Option<i64>, Option<i64>);

/// One order with its lines in the order they were sent, `None` when there is none.
pub async fn fetch(mut link: Link<'_>, id: OrderId) -> Result<Option<PricedOrder>, DbError> {
    let rows: Vec<OrderRow> = dialects!(
        &mut link,
        mysql: "SELECT user_id, CAST(total_amount * 100 AS SIGNED), product_id, quantity, CAST(unit_price * 100 AS SIGNED) \
                FROM orders LEFT JOIN order_items ON order_items.order_id = orders.id \
                WHERE orders.id = ? ORDER BY order_items.id",
        sqlite: "SELECT user_id, total_cents, product_id, quantity, unit_price_cents \
                 FROM orders LEFT JOIN order_items ON order_items.order_id = orders.id \
                 WHERE orders.id = ? ORDER BY order_items.id",
        |sql, it| sqlx::query_as(sql).bind(id.number()).fetch_all(&mut **it).await?
    );
    let Some(&(user, total, ..)) = rows.first() else {
        return Ok(None);
    };
    let bought = |(_, _, product, quantity, cents): OrderRow| {
        let (product, unit_price) = (ProductId::new(product?), Cents::new(cents?));
        Some(PricedLine { product, quantity: quantity?, unit_price })
    };
    let lines = rows.into_iter().filter_map(bought).collect();
    Ok(Some(PricedOrder { user: UserId::new(user), total: Cents::new(total), lines }))
}

/// Locks an order against a second delete; [`DbError::Absent`] when there is none.
pub async fn lock(link: Link<'_>, id: OrderId) -> Result<(), DbError> {
    let found: Option<i64> = dialects!(
        link,
        mysql: "SELECT id FROM orders WHERE id = ? FOR UPDATE",
        sqlite: "SELECT id FROM orders WHERE id = ?",
        |sql, it| sqlx::query_scalar(sql).bind(id.number()).fetch_optional(it).await?
    );
    found.map(|_| ()).ok_or(DbError::Absent)
}

/// Pieces per product of an order, in ascending id.
pub async fn fetch_demand(
    link: Link<'_>,
    id: OrderId,
) -> Result<BTreeMap<ProductId, i64>, DbError> {
    let rows: Vec<(i64, i64)> = dialects!(
        link,
        mysql: "SELECT product_id, CAST(SUM(quantity) AS SIGNED) FROM order_items WHERE order_id = ? GROUP BY product_id",
        sqlite: "SELECT product_id, SUM(quantity) FROM order_items WHERE order_id = ? GROUP BY product_id",
        |sql, it| sqlx::query_as(sql).bind(id.number()).fetch_all(it).await?
    );
    Ok(rows.into_iter().map(|(id, quantity)| (ProductId::new(id), quantity)).collect())
}

/// Removes an order and, by cascade, its lines.
pub async fn delete(link: Link<'_>, id: OrderId) -> Result<(), DbError> {
    let gone = dialects!(link, "DELETE FROM orders WHERE id = ?", |sql, it| {
        sqlx::query(sql).bind(id.number()).execute(it).await?.rows_affected()
    });
    if gone == 0 { Err(DbError::Absent) } else { Ok(()) }
}

/// The first order that is at most `window` old, `None` when there is none.
pub async fn fetch_first_since(
    link: Link<'_>,
    window: Duration,
) -> Result<Option<OrderId>, DbError> {
    let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
    let first: Option<i64> = dialects!(
        link,
        mysql: "SELECT CAST(MIN(id) AS SIGNED) FROM orders WHERE created_at >= FROM_UNIXTIME(GREATEST(UNIX_TIMESTAMP() - ?, 1))",
        sqlite: "SELECT MIN(id) FROM orders WHERE created_at >= unixepoch() - ?",
        |sql, it| sqlx::query_scalar(sql).bind(seconds).fetch_one(it).await?
    );
    Ok(first.map(OrderId::new))
}
