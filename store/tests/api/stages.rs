//! A stage changes cost, never the answer.

use std::time::Duration;

use lab::process::eventually_within;

use crate::harness::{Data, Store, soon};

/// Time between two looks at a walk.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[test]
fn every_stage_gives_the_same_answers() {
    for stage in ["1", "2", "3", "4", "5", "fixed"] {
        let data = Data::servers();
        let settings = [
            ("STORE_STAGE", stage),
            ("REDIS_URL", &format!("{}/{}", redis(&data), database(stage))),
        ];
        let store = Store::start(&data, &settings);
        let id = store.order(1, &[(2, 2), (1, 1), (2, 1)]);
        assert!(
            store.shown(&format!("/orders/{id}")).contains(r#""total_amount":"2178.49""#),
            "stage {stage}"
        );
        assert_eq!((store.stock(1), store.stock(2)), (999, 497), "stage {stage}");
        let spenders = store.shown("/orders/reports/highest-spenders");
        let expected = if matches!(stage, "4" | "5" | "fixed") {
            "[]\n" // remembered since before the order
        } else {
            "[{\"total_expense\":2178.49,\"user_id\":1}]\n"
        };
        assert_eq!(spenders, expected, "stage {stage}");
        let scans = store.counted("store_redis_commands_total{command=\"scan\"");
        assert_eq!(scans >= 1.0, stage != "fixed", "stage {stage}: {scans} SCAN");
        let lookups = store.counted("store_db_queries_total{op=\"lookup\"}");
        assert_eq!(lookups > 2.5, stage == "1", "stage {stage}: {lookups} lookups");
    }
}

#[test]
fn the_fixed_stage_never_walks_and_keeps_to_its_pool() {
    let store = Store::start(&Data::servers(), &[("STORE_DB_POOL_MAX", "4")]);
    crate::harness::at_once(10, |_| {
        for _ in 0..10 {
            store.order(1, &[(1, 1), (2, 1)]);
        }
    });
    assert!(store.counted("store_redis_commands_total{command=\"scan\"") < 0.5);
    assert!(store.counted("store_redis_commands_total{command=\"keys\"") < 0.5);
    assert!(store.counted("store_db_connections_opened_total") < 4.5);
    assert_eq!(store.stock(1), 900);
}

/// The lab kept the connection of an order open while it walked through Redis, and opened another.
#[test]
fn an_order_of_the_first_stage_holds_two_connections_until_its_walk_ends() {
    let redis = lab::data_services::Redis::start_private().unwrap();
    let data = Data::with_redis(redis.url());
    let store = Store::start(&data, &[("STORE_STAGE", "1")]);
    // A walk that lasts long enough to be looked at.
    let fill = "for i = 1, 50000 do redis.call('SET', 'filler:' .. i, '') end";
    let mut client = ::redis::Client::open(redis.url()).unwrap();
    let () = ::redis::cmd("EVAL").arg(fill).arg(0).query(&mut client).unwrap();
    let opened = || store.counted("store_db_connections_opened_total");
    let in_use = || store.counted("store_db_pool_connections{state=\"in_use\"}");
    let created = || store.counted("store_orders_created_total");
    let scans = || store.counted("store_redis_commands_total{command=\"scan\"");
    assert!(eventually_within(soon(), || in_use() < 0.5));
    let (before, mut looks) = (opened(), 0);
    std::thread::scope(|scope| {
        let ordering = scope.spawn(|| store.order(1, &[(1, 1), (2, 1)]));
        assert!(eventually_within(soon(), || 0.5 < created()), "it is committed");
        while !ordering.is_finished() {
            let (held, steps) = (in_use(), scans());
            // What was seen counts if the walk went on after it.
            if steps < scans() {
                assert!(0.5 < held, "a connection was given back before the walk ended");
                looks += 1;
            }
            // Whoever asks all the time is what the walk waits for.
            std::thread::sleep(LOOK_AGAIN);
        }
    });
    assert!(0 < looks, "the walk was too short to be seen");
    // Work in the background opens some, too.
    assert!(1.5 < opened() - before, "{} connections", opened() - before);
    assert!(eventually_within(soon(), || in_use() < 0.5), "both are closed with the answer");
}

fn redis(data: &Data) -> String {
    let (_, url) = data.settings().into_iter().find(|(name, _)| *name == "REDIS_URL").unwrap();
    url.trim_end_matches("/0").to_owned()
}

/// A numbered database of Redis for each stage, so that they do not meet.
fn database(stage: &str) -> &str {
    if stage == "fixed" { "6" } else { stage }
}

#[test]
fn every_stage_runs_on_a_file_with_the_same_commands() {
    for stage in ["1", "2", "3", "4", "5"] {
        let data = Data::embedded();
        let replicas: Vec<_> = (0..2)
            .map(|_| Store::start(&data, &[("STORE_STAGE", stage), ("STORE_REPLICAS", "2")]))
            .collect();
        let kept = replicas[1].order(2, &[(3, 1)]);
        let id = replicas[0].order(1, &[(2, 2), (1, 1), (2, 1)]);
        let shown = replicas[1].shown(&format!("/orders/{id}"));
        assert!(shown.contains(r#""total_amount":"2178.49""#), "stage {stage}: {shown}");
        assert_eq!((replicas[1].stock(1), replicas[1].stock(2)), (999, 497), "stage {stage}");
        // Eleven keys: a walk looks at ten at a time.
        let scans = "store_redis_commands_total{command=\"scan\",backend=\"memory\"}";
        assert!((replicas[0].counted(scans) - 2.0).abs() < 0.5, "stage {stage}");
        let spenders = |store: &Store| store.shown("/orders/reports/highest-spenders");
        if matches!(stage, "1" | "2" | "3") {
            for store in &replicas {
                let both = "[{\"total_expense\":2178.49,\"user_id\":1},{\"total_expense\":5.75,\"user_id\":2}]\n";
                assert_eq!(spenders(store), both, "stage {stage}");
            }
            assert_eq!(replicas[0].delete(&format!("/orders/{id}")).status, 200);
            for store in &replicas {
                let one = "[{\"total_expense\":5.75,\"user_id\":2}]\n";
                assert_eq!(spenders(store), one, "stage {stage}");
            }
        }
        let hashes = replicas[0].counted("store_redis_commands_total{command=\"hgetall\"");
        assert_eq!(0.5 < hashes, stage == "3", "stage {stage}");
        assert_eq!(replicas[1].get(&format!("/orders/{kept}")).status, 200);
    }
}
