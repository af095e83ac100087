//! How does an empty or outdated Redis get everything?
//!
//! Without the marker it is filled from the database, page by page, marker last; with it, all
//! stocks and the orders of the repair window are written again.

use anyhow::Result;

use crate::app::App;
use crate::cache::redis::Redis;
use crate::cache::rows;
use crate::cache::space::Space;
use crate::db::{bulk, meta, orders, stocks};
use crate::domain::id::{OrderId, ProductId};

/// Keys between two lines of the log.
const LOG_EVERY: usize = 10_000;

pub(super) async fn run(app: &App, redis: &Redis) -> Result<()> {
    if rows::is_filled(redis).await? {
        let mut copy = Copy::new(app, Target::Redis(redis), "sweep");
        copy.stocks().await?;
        let oldest = {
            let mut session = app.db.session().await?;
            orders::fetch_first_since(session.link(&app.db, "sweep"), app.config.repair_window)
                .await?
        };
        if let Some(first) = oldest {
            copy.orders(first.number() - 1).await?;
        }
        return Ok(());
    }
    let mut copy = Copy::new(app, Target::Redis(redis), "fill");
    let orders = copy.all().await?;
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
    tracing::info!(keys = copy.keys, "Redis filled with {} keys", copy.keys);
    Ok(())
}

/// Fills the key space of this process, once; changes are written to it from the beginning.
pub(super) async fn here(app: &App) -> Result<()> {
    let space = &app.cache.space;
    let _only = space.filling.lock().await;
    if space.put_in_use() {
        Copy::new(app, Target::Here(space), "fill").all().await?;
    }
    Ok(())
}

/// Adds what others ordered; starts anew when they deleted something.
pub(super) async fn catch_up(app: &App) -> Result<()> {
    let space = &app.cache.space;
    let _only = space.filling.lock().await;
    let mut copy = Copy::new(app, Target::Here(space), "sweep");
    copy.orders(space.last()).await?;
    let count = {
        let mut session = app.db.session().await?;
        bulk::count_orders(session.link(&app.db, "sweep")).await?
    };
    if usize::try_from(count).is_ok_and(|it| it < space.orders()) {
        space.clear();
        copy.all().await?;
    }
    Ok(())
}

/// What is filled from the database.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// The memory of all replicas.
    Redis(&'a Redis),
    /// The key space of this process.
    Here(&'a Space),
}

/// Rows on their way out of the database, page by page.
struct Copy<'a> {
    app: &'a App,
    to: Target<'a>,
    /// Under which statements are counted.
    op: &'static str,
    /// Keys written so far.
    keys: usize,
}

impl<'a> Copy<'a> {
    fn new(app: &'a App, to: Target<'a>, op: &'static str) -> Self {
        Self { app, to, op, keys: 0 }
    }

    /// Everything; returns how many orders there are.
    async fn all(&mut self) -> Result<usize> {
        self.users().await?;
        self.products().await?;
        self.stocks().await?;
        self.orders(0).await
    }

    async fn users(&mut self) -> Result<()> {
        let db = &self.app.db;
        let mut after = 0;
        loop {
            let mut session = db.session().await?;
            let page = bulk::fetch_users(session.link(db, self.op), after).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = last.number();
            match self.to {
                Target::Redis(redis) => rows::write_catalog(redis, &page, &[]).await?,
                Target::Here(space) => rows::write_catalog_here(space, &page, &[]),
            }
            self.count(page.len());
        }
    }

    async fn products(&mut self) -> Result<()> {
        let db = &self.app.db;
        let mut after = ProductId::new(0);
        loop {
            let mut session = db.session().await?;
            let page = stocks::fetch_page(session.link(db, self.op), after, bulk::ROWS_I64).await?;
            let Some((last, ..)) = page.last() else { return Ok(()) };
            after = *last;
            let page: Vec<_> = page.into_iter().map(|(id, product, _)| (id, product)).collect();
            match self.to {
                Target::Redis(redis) => rows::write_catalog(redis, &[], &page).await?,
                Target::Here(space) => rows::write_catalog_here(space, &[], &page),
            }
            self.count(page.len());
        }
    }

    async fn stocks(&mut self) -> Result<()> {
        let db = &self.app.db;
        let mut after = ProductId::new(0);
        loop {
            let mut session = db.session().await?;
            let page = stocks::fetch_rows_after(session.link(db, self.op), after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            match self.to {
                Target::Redis(redis) => rows::write(redis, None, &page).await?,
                Target::Here(space) => rows::write_here(space, None, &page),
            }
            self.count(page.len());
        }
    }

    /// The orders above an id; returns how many there are. A page stays locked until it is written,
    /// so that nothing that is deleted meanwhile comes back.
    async fn orders(&mut self, mut after: i64) -> Result<usize> {
        let db = &self.app.db;
        let mut written = 0;
        loop {
            let mut tx = db.begin().await?;
            bulk::lock_orders(tx.link(db, self.op), after).await?;
            let page = bulk::fetch_orders(tx.link(db, self.op), after).await?;
            let Some(last) = page.last() else { return Ok(written) };
            after = OrderId::number(last.id);
            match self.to {
                Target::Redis(redis) => {
                    rows::write_orders(redis, page.iter().map(|it| (it.id, &it.order))).await?;
                }
                Target::Here(space) => {
                    for it in &page {
                        rows::write_here(space, Some((it.id, &it.order)), &[]);
                    }
                    space.set_last(last.id);
                }
            }
            written += page.len();
            self.count(page.len());
        }
    }

    /// Counts keys that were written, and tells of it now and then.
    fn count(&mut self, keys: usize) {
        let before = self.keys / LOG_EVERY;
        self.keys += keys;
        if let Target::Redis(_) = self.to
            && before < self.keys / LOG_EVERY
        {
            tracing::info!(keys = self.keys, "Redis has {} keys", self.keys);
        }
    }
}
