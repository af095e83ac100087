//! Adding, showing and removing users.

use std::sync::Arc;

use super::once::Made;
use super::orders::{absent, deleted, found_status};
use super::{Fields, Shared, to_the_end};
use crate::api_error::ApiError;
use crate::db::idempotency::{self, Key};
use crate::db::{Attempts, DbError, users};
use crate::domain::catalog::User;
use crate::domain::fault::Fault;
use crate::domain::id::UserId;
use crate::json::Json;
use crate::repair;
use crate::reply::{self, Phases, Reply};

/// `POST /users`
pub async fn create(app: &Shared, body: &Fields, key: Option<Key>) -> Result<Reply, ApiError> {
    let user = User::parse(body)?;
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
                let id = users::insert(tx.link(db, "user_insert"), &user).await?;
                let body = Json::default().object(|it| it.plain("user_id", id)).finish();
                idempotency::settle(db, &mut tx, key.as_ref(), 201, &body).await?;
                tx.commit().await.map(|()| Made::Now(body, Phases::default()))
            };
            match attempt.await {
                Ok(made) => return Ok(made),
                Err(DbError::Taken(_)) => return Err(Fault::EmailTaken.into()),
                Err(error) => attempts.again(db, error).await?,
            }
        }
    };
    Ok(to_the_end(work).await?.into_reply(app))
}

/// `GET /users/{id}`
pub async fn show(app: &Shared, id: UserId) -> Result<Reply, ApiError> {
    let mut session = app.db.session().await?;
    let found = app.db.count(users::fetch(session.link(&app.db, "user"), id).await)?;
    Ok(match found {
        Some(user) => reply::object(found_status(app), |it| {
            it.text("email", &user.email);
            it.plain("id", id);
            it.text("name", &user.name);
        }),
        None => absent(app, "User", id.number()),
    })
}

/// `DELETE /users/{id}`
pub async fn delete(app: &Shared, id: UserId) -> Result<Reply, ApiError> {
    let shared = Arc::clone(app);
    let work = async move {
        let db = &shared.db;
        let mut attempts = Attempts::new(id.number().cast_unsigned());
        loop {
            let attempt = async {
                let mut tx = db.begin().await?;
                let orders = users::fetch_orders_for_delete(tx.link(db, "user_orders"), id).await?;
                users::delete(tx.link(db, "user_delete"), id).await?;
                tx.commit().await.map(|()| orders)
            };
            match attempt.await {
                Ok(orders) => {
                    if !orders.is_empty() {
                        repair::deleted(&shared, &orders, &[]).await;
                    }
                    return Ok(true);
                }
                Err(DbError::Absent) => return Ok(false),
                Err(error) => attempts.again(db, error).await?,
            }
        }
    };
    Ok(deleted(to_the_end(work).await?))
}
