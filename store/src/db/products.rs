//! Statements about products.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;

use super::link::{dialects, filled, marks};
use super::{DbError, Link};
use crate::domain::catalog::Product;
use crate::domain::id::ProductId;
use crate::domain::money::Cents;

/// One product, `None` when there is none.
pub async fn fetch(link: Link<'_>, id: ProductId) -> Result<Option<Product>, DbError> {
    let row: Option<(String, String, i64)> = dialects!(
        link,
        mysql: "SELECT name, sku, CAST(price * 100 AS SIGNED) FROM products WHERE id = ?",
        sqlite: "SELECT name, sku, price_cents FROM products WHERE id = ?",
        |sql, it| sqlx::query_as(sql).bind(id.number()).fetch_optional(it).await?
    );
    Ok(row.map(|(name, sku, cents)| Product { name, sku, price: Cents::new(cents) }))
}

/// Those of the given products that exist.
pub async fn fetch_list(
    link: Link<'_>,
    ids: &[ProductId],
) -> Result<HashMap<ProductId, Product>, DbError> {
    let ids = filled(ids);
    let marks = marks(ids.len());
    let rows: Vec<(i64, String, String, i64)> = dialects!(
        link,
        mysql: format!("SELECT id, name, sku, CAST(price * 100 AS SIGNED) FROM products WHERE id IN ({marks})"),
        sqlite: format!("SELECT id, name, sku, price_cents FROM products WHERE id IN ({marks})"),
        |sql, it| {
            let mut query = sqlx::query_as(AssertSqlSafe(sql));
            for id in &ids {
                query = query.bind(*id);
            }
            query.fetch_all(it).await?
        }
    );
    let product = |(id, name, sku, cents)| {
        (ProductId::new(id), Product { name, sku, price: Cents::new(cents) })
    };
    Ok(rows.into_iter().map(product).collect())
}

/// Adds a product.
pub async fn insert(link: Link<'_>, product: &Product) -> Result<ProductId, DbError> {
    let Product { name, sku, price } = product;
    let id = match link {
        Link::Mysql(it) => {
            sqlx::query("INSERT INTO products (name, sku, price) VALUES (?, ?, ? / 100)")
                .bind(name)
                .bind(sku)
                .bind(price.number())
                .execute(it)
                .await?
                .last_insert_id()
                .cast_signed()
        }
        Link::Sqlite(it) => {
            sqlx::query("INSERT INTO products (name, sku, price_cents) VALUES (?, ?, ?)")
                .bind(name)
                .bind(sku)
                .bind(price.number())
                .execute(it)
                .await?
                .last_insert_rowid()
        }
    };
    Ok(ProductId::new(id))
}

/// Removes a product; [`DbError::Absent`] when there is none, [`DbError::Reference`] when stock or
/// order rows name it.
pub async fn delete(link: Link<'_>, id: ProductId) -> Result<(), DbError> {
    let gone = dialects!(link, "DELETE FROM products WHERE id = ?", |sql, it| {
        sqlx::query(sql).bind(id.number()).execute(it).await?.rows_affected()
    });
    if gone == 0 { Err(DbError::Absent) } else { Ok(()) }
}
