//! Do replicas on different nodes of one cluster sell each piece once?

use std::collections::HashMap;
use std::time::Duration;

use lab::data_services::{Galera, Redis};
use lab::process::eventually_within;

use crate::harness::{Store, at_once, order};

/// Long enough for a cluster to notice a lost node on a busy machine.
const SOON: Duration = Duration::from_secs(45);

fn settings(database: &str, redis: &Redis) -> HashMap<&'static str, String> {
    HashMap::from([
        ("DATABASE_URL", database.to_owned()),
        ("REDIS_URL", redis.url()),
        ("STORE_SEED", "small".to_owned()),
        ("STORE_STOCK", "enforce".to_owned()),
    ])
}

#[track_caller]
fn wait_until_ready(store: &Store) {
    let ready = || store.get("/ready").status == 200;
    assert!(eventually_within(SOON, ready), "{}", store.get("/ready").text());
}

#[test]
fn replicas_on_two_nodes_sell_each_piece_once_and_outlive_a_node() {
    let mut cluster = Galera::start().unwrap();
    let urls = cluster.urls("shop").unwrap();
    let redis = Redis::start_private().unwrap();
    // Both make the schema and the seed at the same time; no lock keeps them apart.
    let replicas: Vec<_> =
        urls.iter().map(|it| Store::start_unready(&settings(it, &redis))).collect();
    replicas.iter().for_each(wait_until_ready);
    assert_eq!(replicas[1].post("/stocks", r#"{"product_id":3,"quantity":40}"#).status, 201);
    assert_eq!(replicas[0].stock(3), 40, "the other node knows it at once");

    let statuses = at_once(8, |thread| {
        let store = &replicas[thread % 2];
        let lines = if thread < 4 { [(3, 1), (1, 1)] } else { [(1, 1), (3, 1)] };
        let place = |round: usize| {
            let (key, body) = (format!("{thread}-{round}"), order(1, &lines));
            let mut answer = store.post_once("/orders", &key, &body);
            // Two hot rows on two nodes: an attempt may lose five times in a row.
            assert!(eventually_within(SOON, || {
                if answer.status == 503 {
                    answer = store.post_once("/orders", &key, &body);
                }
                answer.status != 503
            }));
            answer.status
        };
        (0..8).map(place).collect::<Vec<_>>()
    });
    let count = |status| statuses.iter().flatten().filter(|it| **it == status).count();
    assert_eq!((count(201), count(409)), (40, 24), "{statuses:?}");
    let rows = "SELECT (SELECT COUNT(*) FROM shop.orders), (SELECT COUNT(*) FROM shop.order_items), \
                (SELECT COUNT(*) FROM shop.idempotency_keys), \
                (SELECT GROUP_CONCAT(quantity ORDER BY product_id) FROM shop.stocks)";
    for (node, store) in replicas.iter().enumerate() {
        assert_eq!((store.stock(3), store.stock(1)), (0, 960));
        let same = || cluster.run(node, rows).unwrap() == "40\t80\t40\t960,500,0,90\n";
        assert!(eventually_within(SOON, same), "{}", cluster.run(node, rows).unwrap());
    }
    let conflicts: f64 = replicas.iter().map(|it| it.counted("store_db_retries_total")).sum();
    assert!(0.0 < conflicts, "nothing met anything: the test shows too little");

    // The second node first: the replica has to find the way to the other one.
    let both = format!("{},{}", place(&urls[1]), urls[0].split_once('@').unwrap().1);
    let both = Store::start_unready(&settings(&both, &redis));
    wait_until_ready(&both);
    both.order(2, &[(2, 1)]);
    cluster.kill_second();
    let body = order(2, &[(2, 1)]);
    let placed = || both.post_once("/orders", "after-the-end", &body).status == 201;
    assert!(eventually_within(SOON, placed), "{}", both.get("/ready").text());
    assert!(eventually_within(SOON, || replicas[1].get("/ready").status == 503));
    assert_eq!(replicas[1].get("/livez").status, 200);
    cluster.replace_second().unwrap();
    wait_until_ready(&replicas[1]);
    assert_eq!((replicas[1].stock(2), replicas[0].stock(2)), (498, 498));
}

/// The URL up to its place.
fn place(url: &str) -> &str {
    url.rsplit_once('/').unwrap().0
}
