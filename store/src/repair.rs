//! How does Redis learn what it missed?
//!
//! After a commit the change is written at once, best effort. What fails goes into a bounded queue
//! of ids; a worker reads the database again, under the row's lock, and writes what it finds
//! there. So a repair never brings back what was deleted.

mod fill;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Notify;

use crate::app::App;
use crate::cache::redis::Redis;
use crate::cache::{rows, shared};
use crate::config::StockSync;
use crate::db::{DbError, orders, products, stocks};
use crate::domain::id::{OrderId, ProductId};
use crate::domain::order::PricedOrder;
use crate::domain::stock::StockRow;

/// Ids the queue holds; more means that everything is looked at.
const CAPACITY: usize = 10_000;

/// After so long a deleted order is looked at once more, against a late write of its creator.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// Something Redis may have wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Repair {
    Order(OrderId),
    Stock(ProductId),
}

/// Ids waiting for the worker.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    /// Set when ids were lost or Redis was away: everything recent is looked at.
    sweep: AtomicBool,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    now: VecDeque<Repair>,
    /// In order of their time, because the delay is always the same.
    later: VecDeque<(Instant, Repair)>,
}

impl Queue {
    /// Starts with a sweep, because nobody knows what was missed before.
    pub fn new() -> Self {
        Self { sweep: AtomicBool::new(true), ..Self::default() }
    }

    /// An order that Redis lacks, or may have too much.
    pub fn order(&self, id: OrderId) {
        self.push(Repair::Order(id));
    }

    /// A stock level that Redis lacks.
    pub fn stock(&self, id: ProductId) {
        self.push(Repair::Stock(id));
    }

    /// Everything recent must be looked at.
    pub fn sweep(&self) {
        // Relaxed: the worker is woken through `wake`, which orders the two.
        self.sweep.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Ids waiting.
    pub fn len(&self) -> usize {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.now.len() + waiting.later.len()
    }

    /// Whether no id is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&self, repair: Repair) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if CAPACITY <= waiting.now.len() {
            drop(waiting);
            self.sweep();
            return;
        }
        waiting.now.push_back(repair);
        drop(waiting);
        self.wake.notify_one();
    }

    fn push_later(&self, repair: Repair, due: Instant) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.later.len() < CAPACITY {
            waiting.later.push_back((due, repair));
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// The next id that is due, or the time until one is.
    fn pop(&self, now: Instant) -> Result<Repair, Option<Duration>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repair) = waiting.now.pop_front() {
            return Ok(repair);
        }
        match waiting.later.front() {
            Some((due, _)) if now < *due => Err(Some(*due - now)),
            Some(_) => waiting.later.pop_front().map(|(_, repair)| repair).ok_or(None),
            None => Err(None),
        }
    }
}

/// Tells Redis about an order that was committed.
pub async fn placed(app: &App, id: OrderId, order: &PricedOrder, stocks: &[StockRow]) {
    if app.cache.is_told()
        && app.stage().stock_sync == StockSync::Scan
        && let Err(failure) = walk(app, stocks).await
    {
        tracing::debug!("The walk through all keys ended early: {failure:#}");
    }
    if app.cache.space.is_in_use() {
        rows::write_here(&app.cache.space, Some((id, order)), stocks);
    }
    let Some(redis) = &app.cache.redis else { return };
    if let Err(failure) = rows::write(redis, Some((id, order)), stocks).await {
        tracing::debug!(%failure, "Redis learns of order {id} later: {failure}");
        app.repair.order(id);
        queue_stocks(app, stocks);
    }
}

/// The detour of the lab: all keys, then the products again over a second connection.
async fn walk(app: &App, stocks: &[StockRow]) -> Result<()> {
    let ids: Vec<_> = stocks.iter().map(|row| row.id).collect();
    app.cache.walks.before_stock(app.cache.redis.as_ref(), &ids).await?;
    let mut session = app.db.session().await?;
    products::fetch_list(session.link(&app.db, "lookup_again"), &ids).await?;
    Ok(())
}

/// Tells Redis, and the reports, about orders that are gone.
pub async fn deleted(app: &App, orders: &[OrderId], stocks: &[StockRow]) {
    app.cache.reports.outdate();
    if app.cache.space.is_in_use() {
        rows::remove_here(&app.cache.space, orders, stocks);
    }
    let Some(redis) = &app.cache.redis else { return };
    if let Err(failure) = rows::remove(redis, orders, stocks).await {
        tracing::debug!(%failure, "Redis learns of a delete later: {failure}");
        for id in orders {
            app.repair.order(*id);
        }
        queue_stocks(app, stocks);
    }
    let due = Instant::now() + SECOND_LOOK;
    for id in orders {
        app.repair.push_later(Repair::Order(*id), due);
    }
    if let Err(failure) = shared::outdate(redis, app.config.compat, app.config.reports.stale).await
    {
        tracing::debug!(%failure, "Shared reports keep their age: {failure}");
    }
}

/// Tells Redis about levels that were set.
pub async fn restocked(app: &App, stocks: &[StockRow]) {
    if app.cache.space.is_in_use() {
        rows::write_here(&app.cache.space, None, stocks);
    }
    let Some(redis) = &app.cache.redis else { return };
    if rows::write(redis, None, stocks).await.is_err() {
        queue_stocks(app, stocks);
    }
}

/// Fills a Redis that was never filled, before anything is answered from it.
pub async fn fill(app: &App) -> Result<()> {
    match &app.cache.redis {
        Some(redis) => fill::run(app, redis).await,
        None => fill::here(app).await,
    }
}

/// Fills what is walked unless that was done before.
pub async fn fill_once(app: &App) -> Result<()> {
    match &app.cache.redis {
        Some(redis) if rows::is_filled(redis).await? => Ok(()),
        _ => fill(app).await,
    }
}

/// Has the key space of this process learn what other replicas did, before a report out of it.
pub async fn catch_up(app: &App) -> Result<()> {
    let alone = app.config.replicas < 2;
    if alone || !app.cache.space.is_in_use() { Ok(()) } else { fill::catch_up(app).await }
}

/// Works until the program ends.
pub async fn run(app: &App) {
    let Some(redis) = &app.cache.redis else { return };
    loop {
        if redis.is_gone() {
            app.repair.wake.notified().await;
            continue;
        }
        // Relaxed: as in `sweep`.
        if app.repair.sweep.swap(false, Ordering::Relaxed)
            && let Err(error) = fill::run(app, redis).await
        {
            tracing::warn!("Redis was not brought up to date: {error:#}");
            app.repair.sweep.store(true, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        match app.repair.pop(Instant::now()) {
            Ok(repair) => {
                if let Err(error) = one(app, redis, repair).await {
                    tracing::debug!("Repair put back: {error:#}");
                    app.repair.push(repair);
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
            Err(Some(wait)) => {
                // Whichever comes first: the time of the next id, or another id.
                let _ = tokio::time::timeout(wait, app.repair.wake.notified()).await;
            }
            Err(None) => app.repair.wake.notified().await,
        }
    }
}

/// Writes what is still waiting, for at most `deadline`.
pub async fn flush(app: &App, deadline: Duration) {
    let Some(redis) = app.cache.redis.as_ref().filter(|it| !it.is_gone()) else { return };
    let work = async {
        while let Ok(repair) = app.repair.pop(Instant::now() + SECOND_LOOK) {
            if let Err(error) = one(app, redis, repair).await {
                tracing::warn!("Repairs were left undone: {error:#}");
                return;
            }
        }
    };
    if tokio::time::timeout(deadline, work).await.is_err() {
        tracing::warn!(left = app.repair.len(), "Repairs were left undone for want of time");
    }
}

fn queue_stocks(app: &App, stocks: &[StockRow]) {
    for row in stocks {
        app.repair.push(Repair::Stock(row.id));
    }
}

async fn one(app: &App, redis: &Redis, repair: Repair) -> Result<()> {
    match repair {
        Repair::Stock(id) => {
            let mut session = app.db.session().await?;
            let found = stocks::fetch_rows(session.link(&app.db, "repair"), &[id]).await?;
            rows::write(redis, None, &found).await?;
        }
        Repair::Order(id) => {
            // The lock keeps a delete from committing between the read and the write.
            let mut tx = app.db.begin().await?;
            match orders::lock(tx.link(&app.db, "repair"), id).await {
                Ok(()) => {
                    if let Some(order) = orders::fetch(tx.link(&app.db, "repair"), id).await? {
                        rows::write(redis, Some((id, &order)), &[]).await?;
                    }
                }
                Err(DbError::Absent) => rows::remove(redis, &[id], &[]).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_look_waits_for_its_time() {
        let (queue, now) = (Queue::new(), Instant::now());
        let order = Repair::Order(OrderId::new(1));
        queue.push_later(order, now + SECOND_LOOK);
        assert_eq!(queue.pop(now), Err(Some(SECOND_LOOK)));
        assert_eq!(queue.pop(now + SECOND_LOOK), Ok(order));
        assert_eq!(queue.pop(now + SECOND_LOOK), Err(None));
    }

    #[test]
    fn an_overflow_asks_for_a_sweep_and_stays_bounded() {
        let queue = Queue::default();
        for id in 0..=10_000 {
            queue.order(OrderId::new(id));
        }
        assert_eq!(queue.len(), CAPACITY);
        assert!(queue.sweep.load(Ordering::Relaxed));
    }
}
