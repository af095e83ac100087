//! Reports.

use lab::process::eventually_within;

use super::redis;
use crate::harness::{Data, Store, at_once, on_both, private_servers, soon};

const SPENDERS: &str = "/orders/reports/highest-spenders";
const SELLERS: &str = "/orders/reports/best-sellers";
const VARIANTS: [&str; 3] = ["mysql", "redis_scan", "redis_cache"];

/// Reports that are old at once; replicas of one fleet agree on it.
const SHORT: [(&str, &str); 1] = [("STORE_REPORT_TTL", "1ms")];

fn variants(data: &Data) -> &'static [&'static str] {
    if matches!(data, Data::Servers(..)) { &VARIANTS } else { &["mysql", "redis_cache"] }
}

/// Lesson 4: both reports were kept under one key.
#[test]
fn the_two_reports_never_take_each_others_place() {
    on_both(|data| {
        Store::start(data, &SHORT).order(1, &[(2, 1)]);
        for variant in variants(data) {
            let store = Store::start(data, &[SHORT[0], ("STORE_REPORTS", variant)]);
            for path in [SPENDERS, SELLERS, SELLERS, SPENDERS, SELLERS] {
                let own = if path == SPENDERS { "total_expense" } else { "product_id" };
                let shown = || store.shown(path);
                assert!(
                    eventually_within(soon(), || shown().contains(own)),
                    "{variant} {path}: {}",
                    shown()
                );
                assert!(!shown().contains(if own == "product_id" {
                    "user_id"
                } else {
                    "product_id"
                }));
            }
        }
    });
}

/// Lesson 5: a cache that could not be written made reports fail.
#[test]
fn a_full_redis_fails_no_report() {
    let (database, server) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), server.url());
    let store = Store::start(&data, &[]);
    let mut connection = redis(&data);
    let full: redis::RedisResult<String> = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1", "maxmemory-policy", "noeviction"])
        .query(&mut connection);
    assert_eq!(full.unwrap(), "OK");
    let () = redis::cmd("DEL")
        .arg(&["report:highest_spenders", "report:best_sellers"])
        .query(&mut connection)
        .unwrap();
    for path in [SPENDERS, SELLERS, SPENDERS, SELLERS] {
        assert!(store.shown(path).starts_with('['));
    }
    let id = store.order(1, &[(1, 1)]);
    assert!(store.shown(&format!("/orders/{id}")).contains("1999.99"));
}

/// Lesson 6: bytes were compared with text, and the report was always empty.
#[test]
fn one_order_is_in_every_variant_of_the_report() {
    on_both(|data| {
        let expected = "[{\"total_expense\":59.5,\"user_id\":2}]\n";
        Store::start(data, &SHORT).order(2, &[(2, 1)]);
        for variant in variants(data) {
            let store = Store::start(data, &[SHORT[0], ("STORE_REPORTS", variant)]);
            assert!(
                eventually_within(soon(), || store.shown(SPENDERS) == expected),
                "{variant}: {}",
                store.shown(SPENDERS)
            );
        }
    });
}

/// Lesson 7: a crowd on a cold cache built every report many times over and got nothing.
#[test]
fn a_crowd_on_two_replicas_with_a_cold_cache_causes_one_build() {
    let data = Data::servers();
    let replicas = [Store::start(&data, &[]), Store::start(&data, &[])];
    replicas[0].order(1, &[(2, 1)]);
    let built = || {
        let count =
            |it: &Store| it.counted("store_report_build_seconds_count{report=\"best_sellers\"");
        replicas.iter().map(count).sum::<f64>()
    };
    let before = built();
    let () = redis::cmd("DEL").arg("report:best_sellers").query(&mut redis(&data)).unwrap();
    let answers = at_once(100, |it| replicas[it % 2].get(SELLERS));
    assert!(answers.iter().all(|it| it.status == 200 && it.text() == "[{\"product_id\":2,\"quantity_sold\":1}]\n"));
    assert!((built() - before - 1.0).abs() < 0.5, "{} builds", built() - before);
}

/// Lesson 8: a build that failed was answered 200 with nothing, or with an error inside.
#[test]
fn a_report_that_cannot_be_built_is_never_an_empty_one() {
    let (mut database, mut server) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), server.url());
    let fast = [
        ("STORE_DB_ACQUIRE_TIMEOUT", "1s"),
        ("STORE_REPORT_TTL", "1ms"),
        ("STORE_REPORT_STALE", "1ms"),
    ];
    let stores: Vec<_> = VARIANTS
        .iter()
        .map(|it| Store::start(&data, &[&fast[..], &[("STORE_REPORTS", it)]].concat()))
        .collect();
    stores[0].order(1, &[(2, 1)]);
    database.kill().unwrap();
    server.kill().unwrap();
    for (store, variant) in stores.iter().zip(VARIANTS) {
        for path in [SPENDERS, SELLERS] {
            let answer = store.get(path);
            let text = answer.text();
            match answer.status {
                200 => assert!(text.starts_with('['), "{variant}: {text}"),
                503 => assert!(
                    text.starts_with("{\"error\":\"") && answer.header("Retry-After").is_some(),
                    "{variant}: {text}"
                ),
                other => panic!("{variant}: {other} {text}"),
            }
        }
    }
    assert_eq!(stores[0].get(SPENDERS).status, 503, "nothing is left to build from");
}

/// Lesson 16: orders of a deleted user stayed in the reports.
#[test]
fn a_deleted_user_leaves_every_variant() {
    on_both(|data| {
        let stores: Vec<_> =
            variants(data).iter().map(|it| Store::start(data, &[("STORE_REPORTS", it)])).collect();
        stores[0].order(1, &[(1, 1)]);
        stores[0].order(2, &[(3, 1)]);
        assert_eq!(stores[0].delete("/users/1").status, 200);
        let rest = "[{\"total_expense\":5.75,\"user_id\":2}]\n";
        for (store, variant) in stores.iter().zip(variants(data)) {
            // A replica without a shared memory learns of it when its own copy is old.
            if *variant == "redis_cache" && !matches!(data, Data::Servers(..)) {
                continue;
            }
            assert!(
                eventually_within(soon(), || store.shown(SPENDERS) == rest),
                "{variant}: {}",
                store.shown(SPENDERS)
            );
        }
    });
}
