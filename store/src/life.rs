//! What happens between the open listener and the first request, and what is watched after?
//!
//! A database that is down is never the end: liveness stays, readiness tells the reason, and
//! connecting is tried again without end.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::config::{Build, Refresh, Seed};
use crate::db::{DbError, idempotency, meta, migrate};
use crate::domain::report::Report;
use crate::handlers::reports;
use crate::repair;
use crate::seed::{self, Profile};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Time between two questions to the database, or to Redis.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// Longest wait for an answer: two failed checks and the time between them make five seconds.
const LONGEST_CHECK: Duration = Duration::from_secs(2);

/// Checks between two looks for answers that are kept no longer.
const FORGET_EVERY: u64 = 30;

/// Failed checks in a row after which the replica is not ready.
const FAILURES: u32 = 2;

/// Makes the data ready, then watches the database until the program ends.
pub async fn run(app: Arc<App>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let step = prepare(&app).await;
        match &step {
            Ok(data) => {
                app.health.set_database(Ok(()));
                app.health.set_started(data);
                tracing::info!(%data, "Ready");
                break;
            }
            Err(error) => report(&app, error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tokio::join!(watch(&app), repair::run(&app), refresh(&app));
}

/// With `STORE_REPORT_REFRESH=timer`, builds reports when their fresh time ends; of all replicas
/// the first one does, the others find the new one.
async fn refresh(app: &App) {
    if app.config.reports.refresh == Refresh::OnDemand {
        return;
    }
    loop {
        tokio::time::sleep(app.config.reports.ttl).await;
        for report in Report::ALL {
            if let Err(error) = reports::warm(app, report).await {
                tracing::warn!(%error, "Report {} was not refreshed: {error}", report.name());
            }
        }
    }
}

/// Asks Redis again and again; after an absence it is brought up to date.
pub async fn watch_redis(app: Arc<App>) {
    let Some(redis) = &app.cache.redis else { return };
    loop {
        let sentence = match redis.ping().await {
            Ok(back) => {
                if back {
                    app.repair.sweep();
                }
                "ok"
            }
            Err(_) => "unavailable, using the database",
        };
        if app.health.set_redis(sentence) {
            tracing::info!("redis: {sentence}");
        }
        tokio::time::sleep(BETWEEN_CHECKS).await;
    }
}

/// Migrations, seed, reports; the sentence about the data.
async fn prepare(app: &App) -> Result<String, DbError> {
    migrate::run(&app.db, app.config.migrate, app.config.indexes).await?;
    app.db.set_open(true);
    app.health.set_database(Ok(()));
    let wanted = match app.config.seed {
        Seed::Auto if app.db.is_sqlite() => Some(Profile::Small),
        Seed::Auto | Seed::None => None,
        Seed::Small => Some(Profile::Small),
        Seed::Lab => Some(Profile::lab(app.config.seed_value)),
    };
    if let Some(profile) = wanted {
        app.health.set_data("seeding");
        seed::fill_if_empty(&app.db, &profile).await?;
    }
    let data = data_sentence(app).await?;
    if app.stage().walks() || app.config.reports.build == Build::RedisScan {
        app.health.set_data("filling Redis");
        if let Err(error) = repair::fill(app).await {
            tracing::warn!("Redis was not filled: {error:#}");
        }
    }
    warn_of_budget(app).await?;
    for report in Report::ALL {
        reports::warm(app, report).await?;
    }
    Ok(data)
}

/// All replicas together must not want more connections than the server has.
async fn warn_of_budget(app: &App) -> Result<(), DbError> {
    let mut session = app.db.session().await?;
    let Some(allowed) = meta::max_connections(session.link(&app.db, "meta")).await? else {
        return Ok(());
    };
    let (replicas, pool) = (app.config.replicas, app.config.pool.max);
    let wanted = i64::from(replicas) * i64::from(pool);
    if allowed - 10 < wanted {
        tracing::warn!(
            "STORE_REPLICAS={replicas} x STORE_DB_POOL_MAX={pool} = {wanted}, but MySQL allows max_connections={allowed}"
        );
    }
    Ok(())
}

/// What the data is, or why it may not be used yet.
async fn data_sentence(app: &App) -> Result<String, DbError> {
    let mut session = app.db.session().await?;
    let profile = meta::fetch(session.link(&app.db, "meta"), "seed_profile").await?;
    let finished = meta::fetch(session.link(&app.db, "meta"), "seed_finished_at").await?;
    if profile.is_some() && finished.is_none() {
        app.health.set_data("a seed was started and not finished: run store seed --reset");
        return Err(DbError::Unavailable(None));
    }
    let empty = meta::is_empty(session.link(&app.db, "meta")).await?;
    Ok(if empty { "empty: run store seed lab" } else { "ok" }.to_owned())
}

/// Asks the database again and again; opens and closes the way for requests.
async fn watch(app: &App) {
    let mut failures = 0;
    for check in 1_u64.. {
        tokio::time::sleep(BETWEEN_CHECKS).await;
        match app.db.check(LONGEST_CHECK).await {
            Ok(()) => {
                app.db.tend();
                failures = 0;
                app.db.set_open(true);
                if check.is_multiple_of(FORGET_EVERY) {
                    forget_keys(app).await;
                }
                if app.health.set_database(Ok(())) {
                    tracing::info!("The database is back");
                }
            }
            // A full pool is a busy replica, not a lost database.
            Err(DbError::PoolExhausted { .. }) => (),
            Err(error) => {
                failures += 1;
                if FAILURES <= failures {
                    app.db.set_open(false);
                    report(app, &error);
                }
            }
        }
    }
}

async fn forget_keys(app: &App) {
    let work = async {
        let mut tx = app.db.begin().await?;
        idempotency::forget(tx.link(&app.db, "key_forget"), app.config.idempotency_ttl).await?;
        tx.commit().await
    };
    if let Err(error) = work.await {
        tracing::debug!(%error, "Old keys are forgotten later: {error}");
    }
}

fn report(app: &App, error: &DbError) {
    let sentence = sentence(app, error);
    if app.health.set_database(Err(&sentence)) {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%cause, "database: {sentence}");
    }
}

/// Why the database is not usable, naming the settings that decide.
fn sentence(app: &App, error: &DbError) -> String {
    match error {
        DbError::Refused(cause) => {
            let text = cause.to_string();
            let user = text.split_once("for user '").and_then(|(_, it)| it.split_once('\''));
            match user {
                Some((user, _)) => {
                    format!("access denied for user \"{user}\" (DB_USER, DB_PASSWORD)")
                }
                None => {
                    "access denied, or no such database (DB_NAME, DB_USER, DB_PASSWORD)".to_owned()
                }
            }
        }
        DbError::TooManyConnections(_) => "too many connections (max_connections)".to_owned(),
        DbError::Unavailable(_) if app.db.is_sqlite() => {
            "unavailable (DATABASE_URL, STORE_DATA)".to_owned()
        }
        DbError::Unavailable(_) | DbError::Lost(_) => {
            "unavailable (DATABASE_URL, DB_HOST, DB_PORT)".to_owned()
        }
        error => error.to_string(),
    }
}
