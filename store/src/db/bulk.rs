//! Statements that fill, empty and read a database as a whole.

use sqlx::AssertSqlSafe;

use super::link::dialects;
use super::{Db, DbError, Link};
use crate::domain::catalog::{Product, User};
use crate::domain::id::{OrderId, ProductId, UserId};
use crate::domain::money::Cents;
use crate::domain::order::{PricedLine, PricedOrder};
use crate::seed::generator::{Canonical, DatedOrder, StockedProduct};

/// Rows that one statement inserts or reads.
pub const ROWS: usize = 500;
/// The same, as statements take it.
pub const ROWS_I64: i64 = 500;

/// Repeats the marks of one row.
fn rows(insert: &str, marks: &str, count: usize) -> String {
    let list = vec![marks; count].join(", ");
    format!("{insert} VALUES {list}")
}

/// Adds users under the given ids.
pub async fn insert_users(link: Link<'_>, users: &[(UserId, User)]) -> Result<(), DbError> {
    let sql = rows("INSERT INTO users (id, name, email)", "(?, ?, ?)", users.len());
    dialects!(link, sql.clone(), |sql, it| {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (id, user) in users {
            query = query.bind(id.number()).bind(&user.name).bind(&user.email);
        }
        query.execute(it).await?;
    });
    Ok(())
}

/// Adds products under the given ids.
pub async fn insert_products(link: Link<'_>, products: &[StockedProduct]) -> Result<(), DbError> {
    dialects!(
        link,
        mysql: rows("INSERT INTO products (id, name, sku, price)", "(?, ?, ?, ? / 100)", products.len()),
        sqlite: rows("INSERT INTO products (id, name, sku, price_cents)", "(?, ?, ?, ?)", products.len()),
        |sql, it| {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in products {
                let Product { name, sku, price } = &row.product;
                query = query.bind(row.id.number()).bind(name).bind(sku).bind(price.number());
            }
            query.execute(it).await?;
        }
    );
    Ok(())
}

/// Adds the stock rows of products.
pub async fn insert_stocks(link: Link<'_>, products: &[StockedProduct]) -> Result<(), DbError> {
    let sql = rows("INSERT INTO stocks (product_id, quantity)", "(?, ?)", products.len());
    dialects!(link, sql.clone(), |sql, it| {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in products {
            query = query.bind(row.id.number()).bind(row.stock);
        }
        query.execute(it).await?;
    });
    Ok(())
}

/// Adds heads of orders under the given ids.
pub async fn insert_orders(link: Link<'_>, orders: &[DatedOrder]) -> Result<(), DbError> {
    dialects!(
        link,
        mysql: rows("INSERT INTO orders (id, user_id, total_amount, created_at)", "(?, ?, ? / 100, FROM_UNIXTIME(?))", orders.len()),
        sqlite: rows("INSERT INTO orders (id, user_id, total_cents, created_at)", "(?, ?, ?, ?)", orders.len()),
        |sql, it| {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in orders {
                let PricedOrder { user, total, .. } = &row.order;
                query = query.bind(row.id.number()).bind(user.number()).bind(total.number()).bind(row.created_at);
            }
            query.execute(it).await?;
        }
    );
    Ok(())
}

/// Adds lines of orders.
pub async fn insert_lines(link: Link<'_>, lines: &[(OrderId, PricedLine)]) -> Result<(), DbError> {
    dialects!(
        link,
        mysql: rows("INSERT INTO order_items (order_id, product_id, quantity, unit_price)", "(?, ?, ?, ? / 100)", lines.len()),
        sqlite: rows("INSERT INTO order_items (order_id, product_id, quantity, unit_price_cents)", "(?, ?, ?, ?)", lines.len()),
        |sql, it| {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (order, line) in lines {
                query = query
                    .bind(order.number())
                    .bind(line.product.number())
                    .bind(line.quantity)
                    .bind(line.unit_price.number());
            }
            query.execute(it).await?;
        }
    );
    Ok(())
}

/// Removes every row of the shop, and what is noted about its seed.
pub async fn delete_all(mut link: Link<'_>) -> Result<(), DbError> {
    for sql in [
        "DELETE FROM order_items",
        "DELETE FROM orders",
        "DELETE FROM stocks",
        "DELETE FROM products",
        "DELETE FROM users",
        "DELETE FROM idempotency_keys",
        "DELETE FROM store_meta WHERE name LIKE 'seed%'",
    ] {
        dialects!(&mut link, sql, |sql, it| {
            sqlx::query(sql).execute(&mut **it).await?;
        });
    }
    Ok(())
}

/// The hash of the canonical text of everything in the database.
pub async fn hash(db: &Db) -> Result<String, DbError> {
    let mut session = db.session_unchecked().await?;
    let mut text = Canonical::default();
    let users: Vec<(i64, String, String)> = dialects!(
        session.link(db, "hash"),
        "SELECT id, name, email FROM users ORDER BY id",
        |sql, it| { sqlx::query_as(sql).fetch_all(it).await? }
    );
    for (id, name, email) in users {
        text.user(UserId::new(id), &User { name, email });
    }
    let products: Vec<(i64, String, String, i64, i64)> = dialects!(
        session.link(db, "hash"),
        mysql: "SELECT id, name, sku, CAST(price * 100 AS SIGNED), quantity FROM products JOIN stocks ON product_id = id ORDER BY id",
        sqlite: "SELECT id, name, sku, price_cents, quantity FROM products JOIN stocks ON product_id = id ORDER BY id",
        |sql, it| sqlx::query_as(sql).fetch_all(it).await?
    );
    for (id, name, sku, cents, stock) in products {
        let product = Product { name, sku, price: Cents::new(cents) };
        text.product(&StockedProduct { id: ProductId::new(id), product, stock });
    }
    let mut last = 0;
    loop {
        let orders = fetch_orders(session.link(db, "hash"), last).await?;
        let Some(newest) = orders.last() else {
            return Ok(text.finish());
        };
        last = newest.id.number();
        for order in &orders {
            text.order(order);
        }
    }
}

/// How many orders there are.
pub async fn count_orders(link: Link<'_>) -> Result<i64, DbError> {
    Ok(dialects!(link, "SELECT COUNT(*) FROM orders", |sql, it| {
        sqlx::query_scalar(sql).fetch_one(it).await?
    }))
}

/// Keeps the orders of a page from being deleted until the end of the transaction.
pub async fn lock_orders(link: Link<'_>, after: i64) -> Result<(), DbError> {
    match link {
        Link::Mysql(it) => {
            let sql = "SELECT id FROM orders WHERE id > ? ORDER BY id LIMIT ? LOCK IN SHARE MODE";
            let _: Vec<i64> =
                sqlx::query_scalar(sql).bind(after).bind(ROWS_I64).fetch_all(it).await?;
        }
        // Its transaction is the only one that writes.
        Link::Sqlite(_) => (),
    }
    Ok(())
}

/// Order, user, cents, time, and one line: product, quantity, cents.
type OrderColumns = (i64, i64, i64, i64, Option<i64>, Option<i64>, Option<i64>);

/// A page of orders with their lines, by ascending id above `after`.
pub async fn fetch_orders(link: Link<'_>, after: i64) -> Result<Vec<DatedOrder>, DbError> {
    let rows: Vec<OrderColumns> = dialects!(
        link,
        mysql: "SELECT o.id, user_id, CAST(total_amount * 100 AS SIGNED), CAST(COALESCE(UNIX_TIMESTAMP(created_at), 0) AS SIGNED), \
                product_id, quantity, CAST(unit_price * 100 AS SIGNED) \
                FROM (SELECT * FROM orders WHERE id > ? ORDER BY id LIMIT ?) AS o \
                LEFT JOIN order_items ON order_id = o.id ORDER BY o.id, order_items.id",
        sqlite: "SELECT o.id, user_id, total_cents, created_at, product_id, quantity, unit_price_cents \
                 FROM (SELECT * FROM orders WHERE id > ? ORDER BY id LIMIT ?) AS o \
                 LEFT JOIN order_items ON order_id = o.id ORDER BY o.id, order_items.id",
        |sql, it| sqlx::query_as(sql).bind(after).bind(ROWS_I64).fetch_all(it).await?
    );
    let mut orders: Vec<DatedOrder> = Vec::new();
    for (id, user, total, created_at, product, quantity, unit_price) in rows {
        // An order of somebody else's making may have no lines.
        let bought = product.zip(quantity).zip(unit_price).map(|((product, quantity), cents)| {
            PricedLine { product: ProductId::new(product), quantity, unit_price: Cents::new(cents) }
        });
        match orders.last_mut() {
            Some(last) if last.id.number() == id => last.order.lines.extend(bought),
            _ => orders.push(DatedOrder {
                id: OrderId::new(id),
                order: PricedOrder {
                    user: UserId::new(user),
                    total: Cents::new(total),
                    lines: Vec::from_iter(bought),
                },
                created_at,
            }),
        }
    }
    Ok(orders)
}

/// A page of users, by ascending id above `after`.
pub async fn fetch_users(link: Link<'_>, after: i64) -> Result<Vec<(UserId, User)>, DbError> {
    let sql = "SELECT id, name, email FROM users WHERE id > ? ORDER BY id LIMIT ?";
    let rows: Vec<(i64, String, String)> = dialects!(link, sql, |sql, it| {
        sqlx::query_as(sql).bind(after).bind(ROWS_I64).fetch_all(it).await?
    });
    Ok(rows.into_iter().map(|(id, name, email)| (UserId::new(id), User { name, email })).collect())
}
