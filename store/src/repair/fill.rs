//! How does an empty or outdated Redis get everything?
//!
//! Without the marker it is filled from the database, page by page, marker last; with it, all
//! stocks and the orders of the repair window are written again.

use anyhow::Result;

use crate::app::App;
use crate::cache::redis::Redis;
use crate::cache::rows;
use crate::db::{bulk, meta, orders, stocks};
use crate::domain::id::{OrderId, ProductId};

/// Keys between two lines of the log.
const LOG_EVERY: usize = 10_000;

pub(super) async fn run(app: &App, redis: &Redis) -> Result<()> {
    if rows::is_filled(redis).await? {
        let mut count = Progress::default();
        write_stocks(app, redis, &mut count).await?;
        let oldest = {
            let mut session = app.db.session().await?;
            orders::fetch_first_since(session.link(&app.db, "sweep"), app.config.repair_window)
                .await?
        };
        if let Some(first) = oldest {
            write_orders(app, redis, first.number() - 1, &mut count).await?;
        }
        return Ok(());
    }
    let mut count = Progress::default();
    let mut after = 0;
    loop {
        let mut session = app.db.session().await?;
        let users = bulk::fetch_users(session.link(&app.db, "fill"), after).await?;
        let Some((last, _)) = users.last() else { break };
        after = last.number();
        rows::write_catalog(redis, &users, &[]).await?;
        count.add(users.len());
    }
    let mut after = ProductId::new(0);
    loop {
        let mut session = app.db.session().await?;
        let page = stocks::fetch_page(session.link(&app.db, "fill"), after, bulk::ROWS_I64).await?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        let products: Vec<_> = page.into_iter().map(|(id, product, _)| (id, product)).collect();
        rows::write_catalog(redis, &[], &products).await?;
        count.add(products.len());
    }
    write_stocks(app, redis, &mut count).await?;
    let orders = write_orders(app, redis, 0, &mut count).await?;
    let mut session = app.db.session().await?;
    let mut fact = async |name| {
        meta::fetch(session.link(&app.db, "fill"), name).await.map(Option::unwrap_or_default)
    };
    let facts = [
        ("profile", fact("seed_profile").await?),
        ("value", fact("seed_value").await?),
        ("finished_at", fact("seed_finished_at").await?),
        ("orders", orders.to_string()),
    ];
    rows::mark_filled(redis, &facts).await?;
    tracing::info!(keys = count.0, "Redis filled with {} keys", count.0);
    Ok(())
}

/// Fills the key space of this process, once; changes are written to it from the beginning.
pub(super) async fn here(app: &App) -> Result<()> {
    let space = &app.cache.space;
    let _only = space.filling.lock().await;
    if space.put_in_use() { read_all(app).await } else { Ok(()) }
}

/// Adds what others ordered; starts anew when they deleted something.
pub(super) async fn catch_up(app: &App) -> Result<()> {
    let space = &app.cache.space;
    let _only = space.filling.lock().await;
    read_orders(app, space.last()).await?;
    let count = {
        let mut session = app.db.session().await?;
        bulk::count_orders(session.link(&app.db, "sweep")).await?
    };
    if usize::try_from(count).is_ok_and(|it| it < space.orders()) {
        space.clear();
        read_all(app).await?;
    }
    Ok(())
}

async fn read_all(app: &App) -> Result<()> {
    let space = &app.cache.space;
    let mut after = 0;
    loop {
        let mut session = app.db.session().await?;
        let users = bulk::fetch_users(session.link(&app.db, "fill"), after).await?;
        let Some((last, _)) = users.last() else { break };
        after = last.number();
        rows::write_catalog_here(space, &users, &[]);
    }
    let mut after = ProductId::new(0);
    loop {
        let mut session = app.db.session().await?;
        let page = stocks::fetch_page(session.link(&app.db, "fill"), after, bulk::ROWS_I64).await?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        let products: Vec<_> = page.into_iter().map(|(id, product, _)| (id, product)).collect();
        rows::write_catalog_here(space, &[], &products);
    }
    let mut after = ProductId::new(0);
    loop {
        let mut session = app.db.session().await?;
        let page = stocks::fetch_rows_after(session.link(&app.db, "fill"), after).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        rows::write_here(space, None, &page);
    }
    read_orders(app, 0).await
}

async fn read_orders(app: &App, mut after: i64) -> Result<()> {
    let space = &app.cache.space;
    loop {
        let mut tx = app.db.begin().await?;
        bulk::lock_orders(tx.link(&app.db, "fill"), after).await?;
        let page = bulk::fetch_orders(tx.link(&app.db, "fill"), after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id.number();
        for it in &page {
            rows::write_here(space, Some((it.id, &it.order)), &[]);
        }
        space.set_last(last.id);
    }
}

async fn write_stocks(app: &App, redis: &Redis, count: &mut Progress) -> Result<()> {
    let mut after = ProductId::new(0);
    loop {
        let mut session = app.db.session().await?;
        let page = stocks::fetch_rows_after(session.link(&app.db, "sweep"), after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        rows::write(redis, None, &page).await?;
        count.add(page.len());
    }
}

/// Writes the orders above an id. A page stays locked until Redis has it, so that nothing that is
/// deleted meanwhile comes back.
async fn write_orders(app: &App, redis: &Redis, after: i64, count: &mut Progress) -> Result<usize> {
    let (mut after, mut written) = (after, 0);
    loop {
        let mut tx = app.db.begin().await?;
        bulk::lock_orders(tx.link(&app.db, "sweep"), after).await?;
        let page = bulk::fetch_orders(tx.link(&app.db, "sweep"), after).await?;
        let Some(last) = page.last() else { return Ok(written) };
        after = OrderId::number(last.id);
        rows::write_orders(redis, page.iter().map(|it| (it.id, &it.order))).await?;
        written += page.len();
        count.add(page.len());
    }
}

/// Keys written so far.
#[derive(Default)]
struct Progress(usize);

impl Progress {
    fn add(&mut self, keys: usize) {
        let before = self.0 / LOG_EVERY;
        self.0 += keys;
        if before < self.0 / LOG_EVERY {
            tracing::info!(keys = self.0, "Redis has {} keys", self.0);
        }
    }
}
