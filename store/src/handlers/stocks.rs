//! Setting and showing stock levels.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

use super::orders::{absent, changed_stock, found_status};
use super::{Fields, Shared, to_the_end};
use crate::api_error::ApiError;
use crate::app::App;
use crate::config::Compat;
use crate::db::{Attempts, DbError, stocks};
use crate::domain::catalog::Product;
use crate::domain::fault::Fault;
use crate::domain::id::ProductId;
use crate::domain::stock::NewLevel;
use crate::json::Json;
use crate::repair;
use crate::reply::{self, Cut, Reply};

/// Products read at once for the overview: what bounds its memory.
const PAGE: i64 = 500;

/// `POST /stocks`
pub async fn set(app: &Shared, body: &Fields) -> Result<Reply, ApiError> {
    let level = NewLevel::parse(body, app.config.stock)?;
    if !level.product.fits_column() {
        return Err(Fault::UnknownProduct(level.product).into());
    }
    let shared = Arc::clone(app);
    let work = async move {
        let db = &shared.db;
        let mut attempts = Attempts::new(level.product.number().cast_unsigned());
        loop {
            let attempt = async {
                let mut tx = db.begin().await?;
                let existed = stocks::set(tx.link(db, "stock_set"), level).await?;
                let rows = changed_stock(&shared, &mut tx, &[level.product]).await?;
                tx.commit().await.map(|()| (existed, rows))
            };
            match attempt.await {
                Ok((existed, rows)) => {
                    repair::restocked(&shared, &rows).await;
                    return Ok(existed);
                }
                Err(DbError::Reference(_)) => {
                    return Err(Fault::UnknownProduct(level.product).into());
                }
                Err(error) => attempts.again(db, error).await?,
            }
        }
    };
    let result = match (to_the_end(work).await?, app.config.compat) {
        (true, _) => "rows updated: 1".to_owned(),
        (false, Compat::A25) => format!("rows added: {}", level.product),
        (false, _) => format!("rows added, product {}", level.product),
    };
    Ok(reply::object(StatusCode::CREATED, |it| it.text("result", &result)))
}

/// `GET /stocks/{product_id}`
pub async fn show(app: &Shared, id: ProductId) -> Result<Reply, ApiError> {
    let mut session = app.db.session().await?;
    let found = app.db.count(stocks::fetch(session.link(&app.db, "stock_read"), id).await)?;
    Ok(match found {
        Some(quantity) => reply::object(found_status(app), |it| {
            it.plain("product_id", id);
            it.plain("quantity", quantity);
        }),
        None => absent(app, "Stock", id.number()),
    })
}

/// `GET /stocks/reports/overview-stocks`
pub async fn overview(app: &Shared) -> Result<Reply, ApiError> {
    let first = page(app, ProductId::new(0)).await?;
    let (sender, receiver) = mpsc::channel(2);
    let shared = Arc::clone(app);
    tokio::spawn(async move { send_pages(&shared, first, &sender).await });
    Ok(reply::pieces(StatusCode::OK, receiver))
}

type Rows = Vec<(ProductId, Product, i64)>;

async fn page(app: &App, after: ProductId) -> Result<Rows, DbError> {
    let mut session = app.db.session().await?;
    app.db.count(stocks::fetch_page(session.link(&app.db, "overview"), after, PAGE).await)
}

/// Sends page after page; ends early when nobody listens.
async fn send_pages(app: &App, mut rows: Rows, sender: &mpsc::Sender<Result<Bytes, Cut>>) {
    let mut before = "[";
    while let Some((last, ..)) = rows.last() {
        let last = *last;
        let mut text = String::with_capacity(128 * rows.len());
        for (_, product, quantity) in &rows {
            text.push_str(before);
            before = ",";
            text.push_str(&article(product, *quantity));
        }
        if sender.send(Ok(text.into())).await.is_err() {
            return;
        }
        rows = match page(app, last).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "Stock overview cut short: {error}");
                // Nobody is left to tell when this fails.
                let _ = sender.send(Err(Cut)).await;
                return;
            }
        };
    }
    let end = if before == "[" { "[]\n" } else { "]\n" };
    let _ = sender.send(Ok(Bytes::from_static(end.as_bytes()))).await;
}

fn article(product: &Product, quantity: i64) -> String {
    let json = Json::with_capacity(128).object(|it| {
        it.text("Article", &product.name);
        it.text("Numéro SKU", &product.sku);
        it.plain("Prix unitaire", product.price);
        it.plain("Unités en stock", quantity);
    });
    json.into_text()
}
