//! Statements about stock levels.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use super::bulk::ROWS_I64;
use super::link::{ROWS_AT_ONCE, dialects, filled, marks};
use super::{DbError, Link};
use crate::domain::catalog::Product;
use crate::domain::id::ProductId;
use crate::domain::money::Cents;
use crate::domain::stock::{NewLevel, StockRow};

/// The level of one product, `None` when it has no stock row.
pub async fn fetch(link: Link<'_>, id: ProductId) -> Result<Option<i64>, DbError> {
    Ok(dialects!(link, "SELECT quantity FROM stocks WHERE product_id = ?", |sql, it| {
        sqlx::query_scalar(sql).bind(id.number()).fetch_optional(it).await?
    }))
}

/// Levels of the given products that have a row, locked in ascending id until the end of the
/// transaction.
pub async fn fetch_locked(
    link: Link<'_>,
    ids: &[ProductId],
) -> Result<BTreeMap<ProductId, i64>, DbError> {
    let ids = filled(ids);
    let marks = marks(ids.len());
    let sql = format!(
        "SELECT product_id, quantity FROM stocks WHERE product_id IN ({marks}) ORDER BY product_id"
    );
    let rows: Vec<(i64, i64)> = dialects!(
        link,
        mysql: format!("{sql} FOR UPDATE"),
        sqlite: sql,
        |sql, it| {
            let mut query = sqlx::query_as(AssertSqlSafe(sql));
            for id in &ids {
                query = query.bind(*id);
            }
            query.fetch_all(it).await?
        }
    );
    Ok(rows.into_iter().map(|(id, quantity)| (ProductId::new(id), quantity)).collect())
}

/// Adds to levels, making rows that are missing; locks rows in ascending id.
pub async fn change(mut link: Link<'_>, changes: &BTreeMap<ProductId, i64>) -> Result<(), DbError> {
    let changes: Vec<_> = changes.iter().collect();
    for changes in changes.chunks(ROWS_AT_ONCE) {
        change_some(&mut link, changes).await?;
    }
    Ok(())
}

async fn change_some(link: &mut Link<'_>, changes: &[(&ProductId, &i64)]) -> Result<(), DbError> {
    let mut rows = "(?, ?, 1), ".repeat(changes.len());
    rows.truncate(rows.len().saturating_sub(2));
    let insert = format!("INSERT INTO stocks (product_id, quantity, version) VALUES {rows}");
    dialects!(
        link,
        mysql: format!("{insert} ON DUPLICATE KEY UPDATE quantity = quantity + VALUES(quantity), version = version + 1"),
        sqlite: format!("{insert} ON CONFLICT (product_id) DO UPDATE SET quantity = quantity + excluded.quantity, version = version + 1"),
        |sql, it| {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (id, change) in changes {
                query = query.bind(id.number()).bind(**change);
            }
            query.execute(&mut **it).await?;
        }
    );
    Ok(())
}

/// Sets a level. `true` when the product had a row before; [`DbError::Reference`] when there is no
/// such product.
pub async fn set(mut link: Link<'_>, level: NewLevel) -> Result<bool, DbError> {
    let updated = dialects!(
        &mut link,
        "UPDATE stocks SET quantity = ?, version = version + 1 WHERE product_id = ?",
        |sql, it| {
            let query = sqlx::query(sql).bind(level.quantity).bind(level.product.number());
            query.execute(&mut **it).await?.rows_affected()
        }
    );
    if updated != 0 {
        return Ok(true);
    }
    dialects!(
        link,
        mysql: "INSERT INTO stocks (product_id, quantity, version) VALUES (?, ?, 1) \
                ON DUPLICATE KEY UPDATE quantity = VALUES(quantity), version = version + 1",
        sqlite: "INSERT INTO stocks (product_id, quantity, version) VALUES (?, ?, 1) \
                 ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity, version = version + 1",
        |sql, it| {
            sqlx::query(sql).bind(level.product.number()).bind(level.quantity).execute(it).await?;
        }
    );
    Ok(false)
}

/// Stock rows of the given products, with names and prices, as this transaction sees them.
pub async fn fetch_rows(link: Link<'_>, ids: &[ProductId]) -> Result<Vec<StockRow>, DbError> {
    let ids = filled(ids);
    let marks = marks(ids.len());
    let rest = format!(
        "FROM stocks JOIN products ON products.id = stocks.product_id WHERE stocks.product_id IN ({marks})"
    );
    let rows: Vec<StockColumns> = dialects!(
        link,
        mysql: format!("SELECT stocks.product_id, name, sku, CAST(price * 100 AS SIGNED), quantity, CAST(version AS SIGNED) {rest}"),
        sqlite: format!("SELECT stocks.product_id, name, sku, price_cents, quantity, version {rest}"),
        |sql, it| {
            let mut query = sqlx::query_as(AssertSqlSafe(sql));
            for id in &ids {
                query = query.bind(*id);
            }
            query.fetch_all(it).await?
        }
    );
    Ok(rows.into_iter().map(stock_row).collect())
}

/// A page of stock rows, by ascending id above `after`.
pub async fn fetch_rows_after(link: Link<'_>, after: ProductId) -> Result<Vec<StockRow>, DbError> {
    let rows: Vec<StockColumns> = dialects!(
        link,
        mysql: "SELECT stocks.product_id, name, sku, CAST(price * 100 AS SIGNED), quantity, CAST(version AS SIGNED) \
                FROM stocks JOIN products ON products.id = stocks.product_id \
                WHERE stocks.product_id > ? ORDER BY stocks.product_id LIMIT ?",
        sqlite: "SELECT stocks.product_id, name, sku, price_cents, quantity, version \
                 FROM stocks JOIN products ON products.id = stocks.product_id \
                 WHERE stocks.product_id > ? ORDER BY stocks.product_id LIMIT ?",
        |sql, it| sqlx::query_as(sql).bind(after.number()).bind(ROWS_I64).fetch_all(it).await?
    );
    Ok(rows.into_iter().map(stock_row).collect())
}

/// Those of the given products that exist, with their levels where they have stock rows.
pub async fn fetch_products(
    link: Link<'_>,
    ids: &[ProductId],
) -> Result<Vec<(ProductId, Product, Option<i64>)>, DbError> {
    let ids = filled(ids);
    let rest = format!(
        "FROM products LEFT JOIN stocks ON product_id = id WHERE id IN ({})",
        marks(ids.len())
    );
    let rows: Vec<(i64, String, String, i64, Option<i64>)> = dialects!(
        link,
        mysql: format!("SELECT id, name, sku, CAST(price * 100 AS SIGNED), CAST(quantity AS SIGNED) {rest}"),
        sqlite: format!("SELECT id, name, sku, price_cents, quantity {rest}"),
        |sql, it| {
            let mut query = sqlx::query_as(AssertSqlSafe(sql));
            for id in &ids {
                query = query.bind(*id);
            }
            query.fetch_all(it).await?
        }
    );
    let row = |(id, name, sku, cents, level)| {
        (ProductId::new(id), Product { name, sku, price: Cents::new(cents) }, level)
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Id, name, SKU, cents, quantity, version.
type StockColumns = (i64, String, String, i64, i64, i64);

fn stock_row((id, name, sku, cents, quantity, version): StockColumns) -> StockRow {
    let product = Product { name, sku, price: Cents::new(cents) };
    StockRow { id: ProductId::new(id), product, quantity, version }
}

/// One page of the overview: up to `limit` products with an id above `after`, and their levels,
/// which are 0 for a product without a row.
pub async fn fetch_page(
    link: Link<'_>,
    after: ProductId,
    limit: i64,
) -> Result<Vec<(ProductId, Product, i64)>, DbError> {
    let rows: Vec<(i64, String, String, i64, i64)> = dialects!(
        link,
        mysql: "SELECT id, name, sku, CAST(price * 100 AS SIGNED), CAST(COALESCE(quantity, 0) AS SIGNED) FROM products \
                LEFT JOIN stocks ON product_id = id WHERE id > ? ORDER BY id LIMIT ?",
        sqlite: "SELECT id, name, sku, price_cents, COALESCE(quantity, 0) FROM products \
                 LEFT JOIN stocks ON product_id = id WHERE id > ? ORDER BY id LIMIT ?",
        |sql, it| sqlx::query_as(sql).bind(after.number()).bind(limit).fetch_all(it).await?
    );
    let row = |(id, name, sku, cents, quantity)| {
        (ProductId::new(id), Product { name, sku, price: Cents::new(cents) }, quantity)
    };
    Ok(rows.into_iter().map(row).collect())
}
