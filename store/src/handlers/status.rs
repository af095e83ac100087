//! How is this replica?

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

use crate::api_error::ApiError;
use crate::app::App;
use crate::health::Status;
use crate::reply::{self, Body, Reply};

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// `GET /health-check`: alive, whatever else is wrong.
pub fn health() -> Reply {
    reply::json(StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}\n"))
}

/// `GET /ready`: may requests be sent here?
pub fn ready(app: &App) -> Reply {
    let (status, checks) = app.health.look();
    let code =
        if status == Status::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut reply = reply::object(code, |it| {
        it.object("checks", |it| {
            it.text("data", &checks.data);
            it.text("database", &checks.database);
            it.text("redis", &checks.redis);
        });
        it.text("status", status.word());
    });
    if status != Status::Ready {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}

/// `GET /metrics`: what was counted so far.
pub fn metrics(app: &App) -> Result<Reply, ApiError> {
    app.db.observe_pools();
    app.metrics().repair_queue.set(i64::try_from(app.repair.len()).unwrap_or(i64::MAX));
    let (status, checks) = app.health.look();
    let gauges = [
        ("overall", status == Status::Ready),
        ("database", checks.database == "ok"),
        ("data", status != Status::Starting),
        ("redis", checks.redis == "ok"),
    ];
    for (check, passes) in gauges {
        app.metrics().ready.get_or_create(&[("check", check)]).set(i64::from(passes));
    }
    let text = app.registered.print().map_err(ApiError::internal)?;
    Ok(reply::with_type(StatusCode::OK, Body::Whole(text.into()), OPENMETRICS))
}
