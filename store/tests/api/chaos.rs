//! What still works while a part is gone, and does it come back?

use std::time::Duration;

use lab::process::eventually_within;

use store::db::DbError;

use crate::harness::{Data, Store, order, private_servers};

const SPENDERS: &str = "/orders/reports/highest-spenders";
const SOON: Duration = Duration::from_secs(30);

/// Lesson 9: an order that was committed was answered 500 because Redis was gone.
#[test]
fn a_dead_redis_fails_no_request_and_learns_later_what_it_missed() {
    let (database, mut redis) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), redis.url());
    let store = Store::start(&data, &[]);
    store.order(1, &[(1, 1)]);
    redis.kill().unwrap();
    let id = store.order(1, &[(1, 2)]);
    assert!(store.shown(&format!("/orders/{id}")).contains("\"total_amount\":\"3999.98\""));
    assert!(store.shown(SPENDERS).starts_with('['));
    assert!(eventually_within(SOON, || store
        .shown("/ready")
        .contains("unavailable, using the database")));
    redis.restart().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let learned = || {
        let redis = store.app.cache.redis.as_ref().unwrap();
        let number = store::domain::id::OrderId::new(id);
        let level = runtime
            .block_on(store::cache::rows::fetch_stock(redis, store::domain::id::ProductId::new(1)));
        runtime
            .block_on(store::cache::rows::fetch_order(redis, number))
            .is_ok_and(|it| it.is_some())
            && level.is_ok_and(|it| it.is_some_and(|(_, quantity)| quantity == 997))
    };
    assert!(eventually_within(SOON, learned));
    assert!(eventually_within(SOON, || store.shown("/ready").contains("\"redis\":\"ok\"")));
}

#[test]
fn a_dead_database_refuses_writes_serves_memory_and_comes_back() {
    let (mut database, redis) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), redis.url());
    let store = Store::start(&data, &[]);
    let id = store.order(1, &[(1, 1)]);
    database.kill().unwrap();
    assert!(eventually_within(SOON, || store.get("/ready").status == 503));
    assert_eq!(store.get("/health-check").status, 200);
    let answer = store.post("/orders", &order(1, &[(1, 1)]));
    assert_eq!(
        (answer.status, answer.text()),
        (503, "{\"error\":\"Database unavailable.\"}\n".to_owned())
    );
    assert_eq!(answer.header("Retry-After"), Some("2"));
    assert_eq!(store.get(SPENDERS).status, 200);
    assert_eq!(store.get(&format!("/orders/{id}")).status, 200);
    database.restart().unwrap();
    assert!(
        eventually_within(SOON, || store.get("/ready").status == 200),
        "{}",
        store.get("/ready").text()
    );
    store.order(1, &[(1, 1)]);
    assert_eq!(store.stock(1), 998);
}

#[test]
fn a_file_that_is_gone_is_an_outage_and_not_an_empty_shop() {
    let data = Data::embedded();
    let store = Store::start(&data, &[]);
    let file = data.settings().remove(0).1;
    std::fs::remove_file(&file).unwrap();
    // Connections that were open read on; one beyond them has to find the file.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Connections go back to their pool within it, however the test ends.
    let _entered = runtime.enter();
    let mut open = Vec::new();
    let failure = loop {
        match runtime.block_on(store.app.db.session()) {
            Ok(session) => open.push(session),
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, DbError::Unavailable(Some(_))), "{failure:?}");
    assert!(!std::path::Path::new(&file).exists());
}

/// Lesson 25: everything had to be started in one order.
#[test]
fn a_store_that_starts_before_its_database_becomes_ready() {
    let (mut database, redis) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), redis.url());
    database.kill().unwrap();
    let mut settings = data.settings();
    settings.push(("STORE_SEED", "small".to_owned()));
    let store = Store::start_unready(&settings.into_iter().collect());
    let answer = store.get("/ready");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("\"status\":\"starting\""), "{}", answer.text());
    assert_eq!(store.get("/livez").status, 200);
    database.restart().unwrap();
    assert!(
        eventually_within(SOON, || store.get("/ready").status == 200),
        "{}",
        store.get("/ready").text()
    );
}
