//! Who spent most, what sold best: from memory, or freshly added up.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{AGE, HeaderValue};

use super::Shared;
use crate::api_error::ApiError;
use crate::app::App;
use crate::cache::redis::Redis;
use crate::cache::reports::{Freshness, Kept};
use crate::cache::shared;
use crate::cache::walk::WalkFailure;
use crate::config::{Build, Reports};
use crate::db::{DbError, reports};
use crate::domain::report::{Report, Rows};
use crate::json::Json;
use crate::repair;
use crate::reply::{self, Reply, X_STORE_CACHE};

/// Time between two looks at another replica's build.
const POLL: Duration = Duration::from_millis(20);

/// `GET /orders/reports/…`
pub async fn show(app: &Shared, report: Report) -> Result<Reply, ApiError> {
    let outcome = match app.stage().reports {
        Reports::Mysql => {
            let limit = match report {
                Report::HighestSpenders => Report::LIMIT,
                Report::BestSellers => Report::LIMIT_AGGREGATED,
            };
            read(app, report, limit)
                .await
                .map(|rows| finish(app, report, "off", body(&rows, Shape::Aggregated), None))
                .map_err(ApiError::from)
        }
        Reports::RedisScan => scanned(app, report).await,
        Reports::RedisCache => remembered(app, report).await,
    };
    if outcome.is_err() {
        count(app, report, "error");
    }
    outcome
}

/// Builds a report unless a fresh one is remembered.
pub async fn warm(app: &App, report: Report) -> Result<(), DbError> {
    let _only = app.cache.reports.lock(report).await;
    build_once(app, report).await.map(|_| ())
}

/// As the lab's third step: out of every order in Redis, for each call.
async fn scanned(app: &App, report: Report) -> Result<Reply, ApiError> {
    let (rows, result) = match walk(app, report).await? {
        Some(rows) => (rows, "off"),
        None => (read(app, report, Report::LIMIT).await?, "fallback"),
    };
    Ok(finish(app, report, result, body(&rows, Shape::Remembered), None))
}

/// The rows out of Redis, `None` when it cannot tell; a refusal for want of connections is one.
async fn walk(app: &App, report: Report) -> Result<Option<Rows>, ApiError> {
    if let Err(error) = repair::catch_up(app).await {
        tracing::debug!("The key space is as it was: {error:#}");
    }
    match app.cache.walks.report(app.cache.redis.as_ref(), report).await {
        Ok(rows) => Ok(Some(rows)),
        Err(limit @ WalkFailure::Limit(_)) => {
            Err(ApiError::shed("redis_pool", 1, limit.to_string()))
        }
        Err(failure) => {
            tracing::debug!(%failure, "Report built from the database: {failure}");
            Ok(None)
        }
    }
}

async fn remembered(app: &Shared, report: Report) -> Result<Reply, ApiError> {
    let (found, shared_memory) = recall(app, report).await;
    if let Some(kept) = &found {
        let now = Instant::now();
        match app.cache.reports.freshness(kept, now) {
            Freshness::Fresh => {
                return Ok(serve(
                    app,
                    report,
                    if shared_memory { "hit" } else { "fallback" },
                    kept,
                    now,
                ));
            }
            Freshness::Stale => {
                refresh(app, report);
                return Ok(serve(app, report, "stale", kept, now));
            }
            Freshness::Expired => (),
        }
    }
    // Who waited in vain for the builder of this replica builds without it.
    let wait = app.config.reports.wait;
    let only = tokio::time::timeout(wait, app.cache.reports.lock(report)).await;
    let outcome = build_once(app, report).await;
    drop(only);
    let now = Instant::now();
    match (outcome, app.cache.reports.find(report)) {
        (Ok(kept), _) => {
            Ok(serve(app, report, if shared_memory { "miss" } else { "fallback" }, &kept, now))
        }
        // An old report says more than an error.
        (Err(error), Some(kept)) if error.is_outage() => {
            Ok(serve(app, report, "fallback", &kept, now))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The report that is remembered, and whether the memory it should come from answered.
async fn recall(app: &App, report: Report) -> (Option<Arc<Kept>>, bool) {
    let Some(redis) = &app.cache.redis else {
        return (app.cache.reports.find(report), true);
    };
    match shared::fetch(redis, report, app.config.compat).await {
        Ok(stored) => (stored.map(|it| app.cache.reports.remember(report, it.body, it.left)), true),
        Err(failure) => {
            tracing::debug!(%failure, "Report answered without Redis: {failure}");
            (app.cache.reports.find(report), false)
        }
    }
}

/// Builds a report unless somebody in the fleet does, or just did; the caller is the only builder
/// of this replica.
async fn build_once(app: &App, report: Report) -> Result<Arc<Kept>, DbError> {
    // Somebody may have finished it while this request waited.
    let (found, _) = recall(app, report).await;
    if let Some(kept) = found
        && app.cache.reports.freshness(&kept, Instant::now()) == Freshness::Fresh
    {
        return Ok(kept);
    }
    let Some(redis) = &app.cache.redis else {
        return build(app, report).await;
    };
    let compat = app.config.compat;
    let token = RandomState::new().hash_one(report.name());
    let waited = Instant::now();
    while let Ok(false) = shared::lock(redis, report, compat, token).await {
        tokio::time::sleep(POLL).await;
        if let Some(kept) = shared_and_fresh(app, report).await {
            return Ok(kept);
        }
        if app.config.reports.wait <= waited.elapsed() {
            break;
        }
    }
    // Who had the lock before may have finished since the report was looked for.
    let outcome = match shared_and_fresh(app, report).await {
        Some(kept) => Ok(kept),
        None => build_for_all(app, redis, report).await,
    };
    if let Err(failure) = shared::unlock(redis, report, compat, token).await {
        tracing::debug!(%failure, "The lock of the builder ends by itself: {failure}");
    }
    outcome
}

/// What the fleet remembers, where nothing needs to be built.
async fn shared_and_fresh(app: &App, report: Report) -> Option<Arc<Kept>> {
    let (Some(kept), true) = recall(app, report).await else { return None };
    let is_fresh = app.cache.reports.freshness(&kept, Instant::now()) == Freshness::Fresh;
    is_fresh.then_some(kept)
}

/// Builds a report and tells the fleet.
async fn build_for_all(app: &App, redis: &Redis, report: Report) -> Result<Arc<Kept>, DbError> {
    let kept = build(app, report).await?;
    let life = app.config.reports.ttl + app.config.reports.stale;
    if let Err(failure) = shared::store(redis, report, app.config.compat, &kept.body, life).await {
        tracing::debug!(%failure, "Report kept in this replica alone: {failure}");
    }
    Ok(kept)
}

/// Starts the one background build of a stale report.
fn refresh(app: &Shared, report: Report) {
    if !app.cache.reports.claim_refresh(report) {
        return;
    }
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let _claimed = app.cache.reports.claimed_refresh(report);
        let _only = app.cache.reports.lock(report).await;
        if let Err(error) = build_once(&app, report).await {
            tracing::warn!(%error, report = report.name(), "Report {} was not refreshed: {error}", report.name());
        }
    });
}

async fn build(app: &App, report: Report) -> Result<Arc<Kept>, DbError> {
    let started = Instant::now();
    let walked = match app.config.reports.build {
        Build::RedisScan => walk(app, report).await.ok().flatten(),
        Build::Mysql => None,
    };
    let (rows, source) = match walked {
        Some(rows) => (rows, "redis_scan"),
        None => (read(app, report, Report::LIMIT).await?, "mysql"),
    };
    let labels = [("report", report.name()), ("source", source)];
    app.metrics().report_build.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
    let body = body(&rows, Shape::Remembered);
    Ok(app.cache.reports.keep(report, body, started))
}

async fn read(app: &App, report: Report, limit: usize) -> Result<Rows, DbError> {
    let mut session = app.db.session().await?;
    app.db.count(reports::fetch(session.link(&app.db, "report"), report, limit).await)
}

fn serve(app: &App, report: Report, result: &'static str, kept: &Kept, now: Instant) -> Reply {
    finish(app, report, result, kept.body.clone(), Some(kept.age(now).as_secs()))
}

fn finish(app: &App, report: Report, result: &'static str, body: Bytes, age: Option<u64>) -> Reply {
    count(app, report, result);
    let mut reply = reply::json(StatusCode::OK, body);
    reply.headers_mut().insert(X_STORE_CACHE, HeaderValue::from_static(result));
    if let Some(age) = age {
        let gauge = app.metrics().report_age.get_or_create(&[("report", report.name())]).clone();
        gauge.set(age.cast_signed());
        reply.headers_mut().insert(AGE, HeaderValue::from(age));
    }
    reply
}

fn count(app: &App, report: Report, result: &'static str) {
    app.metrics()
        .report_requests
        .get_or_create(&[("report", report.name()), ("result", result)])
        .inc();
}

/// Whose field names a report has; they follow the setting, wherever the rows came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// As the lab's statements had them.
    Aggregated,
    /// As the lab's Redis reports had them.
    Remembered,
}

/// The JSON array of a report.
pub fn body(rows: &Rows, shape: Shape) -> Bytes {
    let json = Json::with_capacity(512);
    let json = match rows {
        Rows::Spenders(rows) => json.array(rows, |out, (user, spent)| {
            out.push_object(|it| {
                it.plain("total_expense", spent);
                it.plain("user_id", user);
            });
        }),
        Rows::Sellers(rows) => json.array(rows, |out, (product, sold)| {
            out.push_object(|it| {
                it.plain("product_id", product);
                match shape {
                    Shape::Aggregated => it.text("quantity", &format!("{sold}.00")),
                    Shape::Remembered => it.plain("quantity_sold", sold),
                }
            });
        }),
    };
    json.finish()
}
