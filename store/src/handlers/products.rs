//! Adding, showing and removing products.

use std::sync::Arc;

use super::once::Made;
use super::orders::{absent, deleted, found_status};
use super::{Fields, Shared, to_the_end};
use crate::api_error::ApiError;
use crate::db::idempotency::{self, Key};
use crate::db::{Attempts, DbError, products};
use crate::domain::catalog::Product;
use crate::domain::fault::Fault;
use crate::domain::id::ProductId;
use crate::json::Json;
use crate::reply::{self, Phases, Reply};

/// `POST /products`
pub async fn create(app: &Shared, body: &Fields, key: Option<Key>) -> Result<Reply, ApiError> {
    let product = Product::parse(body)?;
    let shared = Arc::clone(app);
    let work = async move {
        let db = &shared.db;
        let mut attempts = Attempts::new(0);
        loop {
            let attempt = async {
                let mut tx = db.begin().await?;
                if let Some(stored) = idempotency::claim(db, &mut tx, key.as_ref()).await? {
                    return Ok(Made::Before(stored));
                }
                let id = products::insert(tx.link(db, "product_insert"), &product).await?;
                let body = Json::default().object(|it| it.plain("product_id", id)).finish();
                idempotency::settle(db, &mut tx, key.as_ref(), 201, &body).await?;
                tx.commit().await.map(|()| Made::Now(body, Phases::default()))
            };
            match attempt.await {
                Ok(made) => return Ok(made),
                Err(error) => attempts.again(db, error).await?,
            }
        }
    };
    Ok(to_the_end(work).await?.into_reply(app))
}

/// `GET /products/{id}`
pub async fn show(app: &Shared, id: ProductId) -> Result<Reply, ApiError> {
    let mut session = app.db.session().await?;
    let found = app.db.count(products::fetch(session.link(&app.db, "product"), id).await)?;
    Ok(match found {
        Some(product) => reply::object(found_status(app), |it| {
            it.plain("id", id);
            it.text("name", &product.name);
            it.plain("price", product.price);
            it.text("sku", &product.sku);
        }),
        None => absent(app, "Product", id.number()),
    })
}

/// `DELETE /products/{id}`
pub async fn delete(app: &Shared, id: ProductId) -> Result<Reply, ApiError> {
    let shared = Arc::clone(app);
    let work = async move {
        let db = &shared.db;
        let mut attempts = Attempts::new(id.number().cast_unsigned());
        loop {
            let attempt = async {
                let mut tx = db.begin().await?;
                products::delete(tx.link(db, "product_delete"), id).await?;
                tx.commit().await
            };
            match attempt.await {
                Ok(()) => return Ok(true),
                Err(DbError::Absent) => return Ok(false),
                Err(DbError::Reference(_)) => return Err(Fault::ProductReferenced(id).into()),
                Err(error) => attempts.again(db, error).await?,
            }
        }
    };
    Ok(deleted(to_the_end(work).await?))
}
