//! Does Redis say what the database says, and is every total the sum of its lines?

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::say;
use crate::app::App;
use crate::cache::redis::Redis;
use crate::cache::rows;
use crate::config::Config;
use crate::db::{bulk, meta, stocks};
use crate::domain::id::ProductId;

/// Differences that are named; more are only counted.
const NAMED: usize = 10;

/// Checks everything; fails with the first differences.
pub(super) async fn run(config: Config) -> Result<ExitCode> {
    let app = App::new(config)?;
    app.db.set_open(true);
    let mut session = app.db.session().await?;
    let wrong = meta::wrong_totals(session.link(&app.db, "verify")).await?;
    drop(session);
    if !wrong.is_empty() {
        bail!("orders whose total is not the sum of their lines: {wrong:?}");
    }
    if let Some(redis) = &app.cache.redis {
        let mut different = Vec::new();
        compare_stocks(&app, redis, &mut different).await?;
        compare_orders(&app, redis, &mut different).await?;
        if !different.is_empty() {
            let named = different[..different.len().min(NAMED)].join(", ");
            bail!(
                "{} keys differ from the database: {named} (store repair writes them again)",
                different.len()
            );
        }
    }
    say(&format!("sha256 {}", bulk::hash(&app.db).await?))
}

async fn compare_stocks(app: &App, redis: &Redis, different: &mut Vec<String>) -> Result<()> {
    let mut after = ProductId::new(0);
    loop {
        let mut session = app.db.session().await?;
        let page = stocks::fetch_rows_after(session.link(&app.db, "verify"), after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        let ids: Vec<_> = page.iter().map(|it| it.id).collect();
        let found = rows::fetch_stocks(redis, &ids).await?;
        for (row, found) in page.into_iter().zip(found) {
            if found != Some((row.product, row.quantity)) {
                different.push(format!("stock:{}", row.id));
            }
        }
    }
}

async fn compare_orders(app: &App, redis: &Redis, different: &mut Vec<String>) -> Result<()> {
    let mut after = 0;
    loop {
        let mut session = app.db.session().await?;
        let page = bulk::fetch_orders(session.link(&app.db, "verify"), after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id.number();
        let ids: Vec<_> = page.iter().map(|it| it.id).collect();
        let found = rows::fetch_orders(redis, &ids).await?;
        for (row, found) in page.iter().zip(found) {
            if found.as_ref() != Some(&row.order) {
                different.push(format!("order:{}", row.id));
            }
        }
    }
}
