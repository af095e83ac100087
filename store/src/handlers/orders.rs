//! Placing, showing and removing orders.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use super::once::Made;
use super::{Fields, Shared, to_the_end};
use crate::api_error::ApiError;
use crate::app::App;
use crate::cache::rows;
use crate::config::{Compat, Lookup, StockSync};
use crate::db::idempotency::{self, Key, Stored};
use crate::db::{Attempts, DbError, Lent, Tx, orders, products, stocks};
use crate::domain::fault::Fault;
use crate::domain::id::{OrderId, ProductId};
use crate::domain::order::{NewOrder, PricedOrder};
use crate::domain::stock::{StockPolicy, StockRow};
use crate::json::Json;
use crate::metrics::Metrics;
use crate::repair;
use crate::reply::{self, Phases, Reply};

/// `POST /orders`
pub async fn create(app: &Shared, body: &Fields, key: Option<Key>) -> Result<Reply, ApiError> {
    let order = match NewOrder::parse(body, app.config.limits.lines) {
        Ok(order) => order,
        Err(fault) => return Err(rejected(app, "invalid", fault)),
    };
    let shared = Arc::clone(app);
    Ok(to_the_end(async move { place(&shared, &order, key.as_ref()).await }).await?.into_reply(app))
}

/// `GET /orders/{id}`
pub async fn show(app: &Shared, id: OrderId) -> Result<Reply, ApiError> {
    Ok(match find(app, id).await? {
        Some(order) => reply::object(found_status(app), |it| {
            it.text("items", &rows::items(&order.lines));
            it.text("total_amount", &order.total.to_string());
            it.text("user_id", &order.user.to_string());
        }),
        None => absent(app, "Order", id.number()),
    })
}

/// `DELETE /orders/{id}`
pub async fn delete(app: &Shared, id: OrderId) -> Result<Reply, ApiError> {
    let shared = Arc::clone(app);
    let outcome = to_the_end(async move {
        let mut attempts = Attempts::new(id.number().cast_unsigned());
        loop {
            match remove(&shared, id).await {
                Ok(stocks) => {
                    repair::deleted(&shared, &[id], &stocks).await;
                    return Ok(true);
                }
                Err(DbError::Absent) => return Ok(false),
                Err(error) => attempts.again(&shared.db, error).await?,
            }
        }
    });
    Ok(deleted(outcome.await?))
}

/// The answer to a delete.
pub(super) fn deleted(done: bool) -> Reply {
    let status = if done { StatusCode::OK } else { StatusCode::NOT_FOUND };
    reply::object(status, |it| it.plain("deleted", done))
}

/// The status of a row that was found, which an edition of the lab got wrong.
pub(super) fn found_status(app: &App) -> StatusCode {
    if app.config.compat == Compat::A25 { StatusCode::CREATED } else { StatusCode::OK }
}

/// The answer about a row that is not there.
pub(super) fn absent(app: &App, what: &str, id: i64) -> Reply {
    match app.config.compat {
        Compat::Off => reply::object(StatusCode::NOT_FOUND, |it| {
            it.text("error", &format!("{what} ID {id} not found."));
        }),
        Compat::W26 | Compat::A25 => reply::object(found_status(app), |_| ()),
    }
}

async fn place(app: &App, order: &NewOrder, key: Option<&Key>) -> Result<Made, ApiError> {
    let mut attempts = Attempts::new(order.user.number().cast_unsigned());
    loop {
        let error = match place_once(app, order, key).await {
            Ok(Outcome::Replayed(stored)) => return Ok(Made::Before(stored)),
            Ok(Outcome::Placed(placed, mut laps)) => {
                app.metrics().orders_created.inc();
                repair::placed(app, placed.id, &placed.order, &placed.stocks).await;
                laps.lap("redis");
                return Ok(Made::Now(placed.body, laps.phases));
            }
            Err(DbError::Fault(fault)) => {
                let reason = match fault {
                    Fault::InsufficientStock { .. } => "stock",
                    Fault::UnknownProduct(_) | Fault::UnknownUser(_) => "unknown",
                    _ => "invalid",
                };
                return Err(rejected(app, reason, fault));
            }
            Err(error) => error,
        };
        attempts.again(&app.db, error).await?;
    }
}

/// Stops the time of each phase of an order.
struct Laps<'a> {
    metrics: &'a Metrics,
    since: Instant,
    phases: Phases,
}

impl<'a> Laps<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        Self { metrics, since: Instant::now(), phases: Phases::default() }
    }

    /// The phase that ends here; the next one begins.
    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        let took = now - self.since;
        self.metrics.phase(name, took);
        self.phases.0.push((name, took));
        self.since = now;
    }
}

/// An order after its commit, with the stock it left.
struct Placed {
    id: OrderId,
    order: PricedOrder,
    stocks: Vec<StockRow>,
    body: Bytes,
    /// The connection of the transaction, where the lab kept it open while it walked through Redis.
    _connection: Option<Lent>,
}

/// What one attempt came to.
enum Outcome<'a> {
    Placed(Placed, Laps<'a>),
    Replayed(Stored),
}

/// One attempt: all of the order in one transaction, or nothing.
async fn place_once<'a>(
    app: &'a App,
    order: &NewOrder,
    key: Option<&Key>,
) -> Result<Outcome<'a>, DbError> {
    let db = &app.db;
    let mut laps = Laps::new(app.metrics());
    let demand = order.demand();
    let ids: Vec<ProductId> = demand.keys().copied().collect();
    let mut tx = db.begin().await?;
    laps.lap("acquire");
    if let Some(stored) = idempotency::claim(db, &mut tx, key).await? {
        return Ok(Outcome::Replayed(stored));
    }

    let found = match app.stage().lookup {
        Lookup::InList => products::fetch_list(tx.link(db, "lookup"), &ids).await?,
        Lookup::NPlusOne => {
            let mut found = std::collections::HashMap::with_capacity(ids.len());
            for line in &order.lines {
                if let Some(product) = products::fetch(tx.link(db, "lookup"), line.product).await? {
                    found.insert(line.product, product);
                }
            }
            found
        }
    };
    let priced = order.price(&found)?;
    laps.lap("lookup");

    let unknown_user = || DbError::Fault(Fault::UnknownUser(order.user));
    if !order.user.fits_column() {
        return Err(unknown_user());
    }
    let id = orders::insert(tx.link(db, "order"), &priced).await.map_err(|error| match error {
        DbError::Reference(_) => unknown_user(),
        error => error,
    })?;
    orders::insert_lines(tx.link(db, "order_lines"), id, &priced.lines).await?;
    laps.lap("insert");

    if app.config.stock == StockPolicy::Enforce {
        let levels = stocks::fetch_locked(tx.link(db, "stock_check"), &ids).await?;
        for (product, requested) in &demand {
            let left = levels.get(product).copied().unwrap_or(0);
            if left < *requested {
                return Err(Fault::InsufficientStock {
                    product: *product,
                    left,
                    requested: *requested,
                }
                .into());
            }
        }
    }
    // The hot rows are locked last, so that they are locked for as short as possible.
    let taken = demand.iter().map(|(id, quantity)| (*id, -quantity)).collect();
    stocks::change(tx.link(db, "stock"), &taken).await.map_err(|error| match error {
        DbError::Range(_) => Fault::StockOutOfRange.into(),
        error => error,
    })?;
    let stocks = changed_stock(app, &mut tx, &ids).await?;
    let body = Json::default().object(|it| it.plain("order_id", id)).finish();
    idempotency::settle(db, &mut tx, key, 201, &body).await?;
    laps.lap("stock");
    let scans = app.stage().stock_sync == StockSync::Scan;
    let connection = tx.commit_keeping().await?.filter(|_| scans);
    laps.lap("commit");
    let placed = Placed { id, order: priced, stocks, body, _connection: connection };
    Ok(Outcome::Placed(placed, laps))
}

/// Stock rows as this transaction leaves them; nobody asks when nobody is to be told.
pub(super) async fn changed_stock(
    app: &App,
    tx: &mut Tx,
    ids: &[ProductId],
) -> Result<Vec<StockRow>, DbError> {
    if !app.cache.is_told() || ids.is_empty() {
        return Ok(Vec::new());
    }
    stocks::fetch_rows(tx.link(&app.db, "stock_rows"), ids).await
}

/// The order out of Redis when it is complete there, else out of the database.
async fn find(app: &App, id: OrderId) -> Result<Option<PricedOrder>, ApiError> {
    if let Some(redis) = &app.cache.redis {
        match rows::fetch_order(redis, id).await {
            Ok(Some(order)) => return Ok(Some(order)),
            Ok(None) => (),
            Err(failure) => tracing::debug!(%failure, "Order read from the database: {failure}"),
        }
    }
    let mut session = app.db.session().await?;
    let found = app.db.count(orders::fetch(session.link(&app.db, "order"), id).await)?;
    if found.is_some() && app.cache.redis.is_some() {
        // Not written from here: a plain write could bring a deleted order back.
        app.repair.order(id);
    }
    Ok(found)
}

async fn remove(app: &App, id: OrderId) -> Result<Vec<StockRow>, DbError> {
    let db = &app.db;
    let mut tx = db.begin().await?;
    orders::lock(tx.link(db, "order_lock"), id).await?;
    let restored = orders::fetch_demand(tx.link(db, "order_lines"), id).await?;
    if !restored.is_empty() {
        stocks::change(tx.link(db, "stock"), &restored).await?;
    }
    orders::delete(tx.link(db, "order_delete"), id).await?;
    let products: Vec<_> = restored.into_keys().collect();
    let stocks = changed_stock(app, &mut tx, &products).await?;
    tx.commit().await?;
    Ok(stocks)
}

fn rejected(app: &App, reason: &'static str, fault: Fault) -> ApiError {
    app.metrics().orders_rejected.get_or_create(&[("reason", reason)]).inc();
    // One edition failed on its own list before it could say which product it missed.
    if app.config.compat == Compat::A25 && matches!(fault, Fault::UnknownProduct(_)) {
        return ApiError { message: "list index out of range".to_owned(), ..fault.into() };
    }
    fault.into()
}
