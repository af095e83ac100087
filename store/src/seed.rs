//! What does a fresh store sell, and to whom?
//!
//! The same profile and the same start give the same rows on every database, to the byte.

pub mod generator;

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

pub use self::generator::{Profile, Volume};
use crate::db::{Attempts, Db, DbError, Tx, bulk, meta};

/// What became of a wish to seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The database holds the profile now.
    Filled,
    /// It held rows before, and still holds those.
    NotEmpty,
}

/// Fills an empty database; several replicas may call this at once, one of them works.
pub async fn fill_if_empty(db: &Db, profile: &Profile) -> Result<Outcome, DbError> {
    let mut attempts = Attempts::new(profile.seed());
    loop {
        match fill(db, profile).await {
            Err(error) => attempts.again(db, error).await?,
            outcome => return outcome,
        }
    }
}

/// Removes every row, so that [`fill_if_empty`] has an empty database.
pub async fn reset(db: &Db) -> Result<(), DbError> {
    let mut tx = db.begin_unchecked().await?;
    bulk::delete_all(tx.link(db, "seed")).await?;
    tx.commit().await
}

async fn fill(db: &Db, profile: &Profile) -> Result<Outcome, DbError> {
    let started = Instant::now();
    // Announced in a transaction of its own, so that other replicas are not ready meanwhile.
    let mut tx = db.begin_unchecked().await?;
    take_turn(db, &mut tx).await?;
    meta::store(tx.link(db, "seed"), "seed_value", &profile.seed().to_string()).await?;
    if !meta::is_empty(tx.link(db, "seed")).await? {
        return Ok(Outcome::NotEmpty);
    }
    meta::store(tx.link(db, "seed"), "seed_profile", profile.name()).await?;
    meta::remove(tx.link(db, "seed"), "seed_finished_at").await?;
    tx.commit().await?;

    // From here to the commit a second replica waits, and then finds the database filled.
    let mut tx = db.begin_unchecked().await?;
    take_turn(db, &mut tx).await?;
    if !meta::is_empty(tx.link(db, "seed")).await? {
        return Ok(Outcome::NotEmpty);
    }
    load(db, &mut tx, profile).await?;
    meta::store_now(tx.link(db, "seed"), "seed_finished_at").await?;
    tx.commit().await?;
    let duration_ms = started.elapsed().as_millis();
    tracing::info!(
        profile = profile.name(),
        duration_ms,
        "Seeded {} in {duration_ms} ms",
        profile.name()
    );
    Ok(Outcome::Filled)
}

/// Locks one row until the end of the transaction. The value differs each time: the nodes of a
/// cluster tell each other of rows that changed, not of rows that were written as they were.
async fn take_turn(db: &Db, tx: &mut Tx) -> Result<(), DbError> {
    let turn = RandomState::new().hash_one("turn");
    meta::store(tx.link(db, "seed"), "seed_turn", &turn.to_string()).await
}

async fn load(db: &Db, tx: &mut Tx, profile: &Profile) -> Result<(), DbError> {
    let mut data = profile.data();
    for users in data.users.chunks(bulk::ROWS) {
        bulk::insert_users(tx.link(db, "seed"), users).await?;
    }
    for products in data.products.chunks(bulk::ROWS) {
        bulk::insert_products(tx.link(db, "seed"), products).await?;
        bulk::insert_stocks(tx.link(db, "seed"), products).await?;
    }
    let mut done: usize = 0;
    loop {
        let orders: Vec<_> = data.orders.by_ref().take(bulk::ROWS).collect();
        if orders.is_empty() {
            return Ok(());
        }
        bulk::insert_orders(tx.link(db, "seed"), &orders).await?;
        let lines: Vec<_> =
            orders.iter().flat_map(|it| it.order.lines.iter().map(|line| (it.id, *line))).collect();
        for lines in lines.chunks(bulk::ROWS) {
            bulk::insert_lines(tx.link(db, "seed"), lines).await?;
        }
        done += orders.len();
        if done.is_multiple_of(10_000) {
            tracing::info!(orders = done, "Seeded {done} orders");
        }
    }
}
