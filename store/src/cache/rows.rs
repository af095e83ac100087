//! Which rows does Redis know, and under which keys?
//!
//! Written after the commit, best effort. A stock level is written only over a lower version, so
//! that writes may arrive in any order and any number of times.

use std::collections::HashMap;

use redis::{Cmd, Value as Answer};
use serde_json::Value;

use super::redis::{Redis, RedisFailure};
use super::space::Space;
use crate::domain::catalog::{Product, User};
use crate::domain::id::{OrderId, ProductId, UserId};
use crate::domain::money::Cents;
use crate::domain::order::{PricedLine, PricedOrder};
use crate::domain::stock::StockRow;
use crate::json::Json;

/// Present once Redis was filled from the database.
const SEED_MARKER: &str = "store:seed";

/// Writes a level unless a newer one is there; a hash without a version is older than any.
pub(super) const WRITE_STOCK: &str = "local have = redis.call('HGET', KEYS[1], 'version') \
    if have and tonumber(have) >= tonumber(ARGV[1]) then return 0 end \
    redis.call('HSET', KEYS[1], 'version', ARGV[1], 'product_name', ARGV[2], 'product_sku', ARGV[3], \
    'product_unit_price', ARGV[4], 'quantity', ARGV[5]) return 1";

/// Writes what one transaction changed: an order that now exists, and stock rows.
pub async fn write(
    redis: &Redis,
    order: Option<(OrderId, &PricedOrder)>,
    stocks: &[StockRow],
) -> Result<(), RedisFailure> {
    let mut commands: Vec<_> = order.iter().map(|(id, order)| order_command(*id, order)).collect();
    commands.extend(stocks.iter().map(stock_command));
    let names = [("hset", usize::from(order.is_some())), ("eval", stocks.len())];
    send(redis, &names, commands).await
}

/// Removes orders that no longer exist, and writes stock rows.
pub async fn remove(
    redis: &Redis,
    orders: &[OrderId],
    stocks: &[StockRow],
) -> Result<(), RedisFailure> {
    let mut commands: Vec<_> = orders.iter().map(|id| Cmd::del(order_key(*id))).collect();
    commands.extend(stocks.iter().map(stock_command));
    send(redis, &[("del", orders.len()), ("eval", stocks.len())], commands).await
}

/// As [`write()`], in the key space of this process.
pub fn write_here(space: &Space, order: Option<(OrderId, &PricedOrder)>, stocks: &[StockRow]) {
    if let Some((id, order)) = order {
        here(space, "hset", &order_command(id, order));
    }
    for row in stocks {
        here(space, "eval", &stock_command(row));
    }
}

/// As [`remove`], in the key space of this process.
pub fn remove_here(space: &Space, orders: &[OrderId], stocks: &[StockRow]) {
    for id in orders {
        here(space, "del", &Cmd::del(order_key(*id)));
    }
    write_here(space, None, stocks);
}

/// Users and products, which nothing reads, so that a walk passes as many keys as in the lab.
pub fn write_catalog_here(
    space: &Space,
    users: &[(UserId, User)],
    products: &[(ProductId, Product)],
) {
    for (id, user) in users {
        let fields = [("name", user.name.as_str()), ("email", user.email.as_str())];
        here(space, "hset", &Cmd::hset_multiple(format!("user:{id}"), &fields));
    }
    for (id, product) in products {
        let price = product.price.to_string();
        let fields =
            [("name", product.name.as_str()), ("sku", product.sku.as_str()), ("price", &price)];
        here(space, "hset", &Cmd::hset_multiple(format!("product:{id}"), &fields));
    }
}

fn here(space: &Space, name: &'static str, command: &Cmd) {
    space.run(name, command).expect("the key space knows what is written");
}

/// An order, `None` when Redis does not have all of it.
pub async fn fetch_order(redis: &Redis, id: OrderId) -> Result<Option<PricedOrder>, RedisFailure> {
    let fields: HashMap<String, String> =
        redis.run("hgetall", &Cmd::hgetall(order_key(id))).await?;
    Ok(read_order(&fields))
}

/// A stock hash as it stands, `None` when it lacks a field.
pub async fn fetch_stock(
    redis: &Redis,
    id: ProductId,
) -> Result<Option<(Product, i64)>, RedisFailure> {
    let fields: HashMap<String, String> =
        redis.run("hgetall", &Cmd::hgetall(stock_key(id))).await?;
    Ok(read_stock(&fields))
}

/// Many orders in one go, in the order of their ids; see [`fetch_order`].
pub async fn fetch_orders(
    redis: &Redis,
    ids: &[OrderId],
) -> Result<Vec<Option<PricedOrder>>, RedisFailure> {
    let hashes = fetch_hashes(redis, ids.iter().map(|id| order_key(*id))).await?;
    Ok(hashes.iter().map(read_order).collect())
}

/// Many stock hashes in one go, in the order of their ids; see [`fetch_stock`].
pub async fn fetch_stocks(
    redis: &Redis,
    ids: &[ProductId],
) -> Result<Vec<Option<(Product, i64)>>, RedisFailure> {
    let hashes = fetch_hashes(redis, ids.iter().map(|id| stock_key(*id))).await?;
    Ok(hashes.iter().map(read_stock).collect())
}

async fn fetch_hashes(
    redis: &Redis,
    keys: impl ExactSizeIterator<Item = String>,
) -> Result<Vec<HashMap<String, String>>, RedisFailure> {
    redis.run_all(&[("hgetall", keys.len())], keys.map(Cmd::hgetall).collect()).await
}

/// Whether Redis was filled to the end.
pub async fn is_filled(redis: &Redis) -> Result<bool, RedisFailure> {
    redis.run("exists", &Cmd::exists(SEED_MARKER)).await
}

/// Lets the next fill write everything.
pub async fn forget_filled(redis: &Redis) -> Result<(), RedisFailure> {
    redis.run("del", &Cmd::del(SEED_MARKER)).await
}

/// Notes that Redis was filled to the end.
pub async fn mark_filled(redis: &Redis, facts: &[(&str, String)]) -> Result<(), RedisFailure> {
    redis.run("hset", &Cmd::hset_multiple(SEED_MARKER, facts)).await
}

/// Writes users and products, which nothing reads, as the lab's Redis has them.
pub async fn write_catalog(
    redis: &Redis,
    users: &[(UserId, User)],
    products: &[(ProductId, Product)],
) -> Result<(), RedisFailure> {
    let mut commands = Vec::with_capacity(users.len() + products.len());
    for (id, user) in users {
        let fields = [("name", user.name.as_str()), ("email", user.email.as_str())];
        commands.push(Cmd::hset_multiple(format!("user:{id}"), &fields));
    }
    for (id, product) in products {
        let price = product.price.to_string();
        let fields =
            [("name", product.name.as_str()), ("sku", product.sku.as_str()), ("price", &price)];
        commands.push(Cmd::hset_multiple(format!("product:{id}"), &fields));
    }
    send(redis, &[("hset", commands.len())], commands).await
}

/// Writes many orders that exist.
pub async fn write_orders<'a>(
    redis: &Redis,
    orders: impl ExactSizeIterator<Item = (OrderId, &'a PricedOrder)>,
) -> Result<(), RedisFailure> {
    let commands: Vec<_> = orders.map(|(id, order)| order_command(id, order)).collect();
    send(redis, &[("hset", commands.len())], commands).await
}

/// Sends commands whose answers say nothing, each with one key.
async fn send(
    redis: &Redis,
    names: &[(&'static str, usize)],
    commands: Vec<Cmd>,
) -> Result<(), RedisFailure> {
    redis.run_all::<Answer>(names, commands).await.map(|_| ())
}

/// The lines of an order as the JSON text that Redis and the answer hold.
pub fn items(lines: &[PricedLine]) -> String {
    let text = Json::default().array(lines, |out, line| {
        out.push_object(|it| {
            it.plain("product_id", line.product);
            it.plain("quantity", line.quantity);
            it.plain("unit_price", line.unit_price);
        });
    });
    text.into_text()
}

fn order_key(id: OrderId) -> String {
    format!("order:{id}")
}

fn stock_key(id: ProductId) -> String {
    format!("stock:{id}")
}

fn order_command(id: OrderId, order: &PricedOrder) -> Cmd {
    let fields = [
        ("user_id", order.user.to_string()),
        ("total_amount", order.total.to_string()),
        ("items", items(&order.lines)),
    ];
    Cmd::hset_multiple(order_key(id), &fields)
}

fn stock_command(row: &StockRow) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command
        .arg(WRITE_STOCK)
        .arg(1)
        .arg(stock_key(row.id))
        .arg(row.version)
        .arg(&row.product.name)
        .arg(&row.product.sku)
        .arg(row.product.price.to_string())
        .arg(row.quantity);
    command
}

/// Reads a stock hash; `None` when a field is missing.
fn read_stock(fields: &HashMap<String, String>) -> Option<(Product, i64)> {
    let product = Product {
        name: fields.get("product_name")?.clone(),
        sku: fields.get("product_sku")?.clone(),
        price: Cents::parse(fields.get("product_unit_price")?)?,
    };
    Some((product, fields.get("quantity")?.parse().ok()?))
}

/// Reads an order hash, also one the lab wrote with spaces and float noise; `None` when a field is
/// missing, as the price of a line was in the lab.
pub(super) fn read_order(fields: &HashMap<String, String>) -> Option<PricedOrder> {
    let lines: Vec<Value> = serde_json::from_str(fields.get("items")?).ok()?;
    let line = |it: &Value| {
        Some(PricedLine {
            product: ProductId::new(it.get("product_id")?.as_i64()?),
            quantity: it.get("quantity")?.as_i64()?,
            unit_price: Cents::parse(&it.get("unit_price")?.to_string())?,
        })
    };
    Some(PricedOrder {
        user: UserId::new(fields.get("user_id")?.parse().ok()?),
        total: Cents::parse(fields.get("total_amount")?)?,
        lines: lines.iter().map(line).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(items: &str, total: &str) -> HashMap<String, String> {
        [("user_id", "7"), ("total_amount", total), ("items", items)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn items_are_one_json_text_that_reads_back() {
        let line = |id, quantity, cents| PricedLine {
            product: ProductId::new(id),
            quantity,
            unit_price: Cents::new(cents),
        };
        let lines = [line(9, 3, 90_986), line(1, 1, 5950)];
        let text = items(&lines);
        assert_eq!(
            text,
            r#"[{"product_id":9,"quantity":3,"unit_price":909.86},{"product_id":1,"quantity":1,"unit_price":59.5}]"#
        );
        assert_eq!(read_order(&hash(&text, "2789.08")).unwrap().lines, lines);
    }

    #[test]
    fn a_hash_of_the_lab_loses_its_float_noise() {
        let items = r#"[{"product_id": 1, "quantity": 3, "unit_price": 257.97}]"#;
        let order = read_order(&hash(items, "773.9200000000001")).unwrap();
        assert_eq!(order.total, Cents::new(77_392));
    }

    #[test]
    fn an_incomplete_hash_counts_as_absent() {
        assert_eq!(read_order(&hash(r#"[{"product_id":1,"quantity":3}]"#, "1.0")), None);
        assert_eq!(read_order(&hash("not json", "1.0")), None);
        assert_eq!(read_order(&HashMap::new()), None);
    }
}
