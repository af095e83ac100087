//! Showing and turning the switches of the stage, while requests are served.

use http::StatusCode;

use super::{Fields, Shared};
use crate::api_error::ApiError;
use crate::config::Redis;
use crate::repair;
use crate::reply::{self, Reply};

/// `GET /admin/stage`
pub fn show(app: &Shared) -> Reply {
    let now = app.stage();
    reply::object(StatusCode::OK, |it| {
        it.text("connections", now.connections.word());
        it.text("lookup", now.lookup.word());
        it.text("reports", now.reports.word());
        it.text("stage", now.name);
        it.text("stock_sync", now.stock_sync.word());
    })
}

/// `PUT /admin/stage`: for this instance only; limits and time-outs stay as they were configured.
pub async fn change(app: &Shared, body: &Fields) -> Result<Reply, ApiError> {
    let wanted = app.stage().turned(body).map_err(ApiError::bad_body)?;
    if wanted.walks() && matches!(app.config.redis, Some(Redis::Cluster { .. })) {
        let refusal = "redis_scan and scan walk through one Redis, not a cluster";
        return Err(ApiError::bad_body(refusal));
    }
    if wanted.walks() {
        // Who walks through the keys shall find all of them.
        repair::fill_once(app).await.map_err(|error| ApiError {
            cause: Some(error),
            ..ApiError::shed("database", 2, "The keys could not be filled, the switches stay.")
        })?;
    }
    app.switches.turn(wanted);
    app.metrics().show_stage(&app.config, wanted);
    tracing::info!(
        stage = wanted.name,
        lookup = wanted.lookup.word(),
        reports = wanted.reports.word(),
        stock_sync = wanted.stock_sync.word(),
        connections = wanted.connections.word(),
        "Stage is now {}",
        wanted.name
    );
    Ok(show(app))
}
