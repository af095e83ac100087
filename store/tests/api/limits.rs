//! Which limit is named when it is reached, and what still works meanwhile?

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use lab::process::eventually_within;
use lab::wire::Wire;
use store::app::App;
use store::config::Config;
use store::db::stocks;
use store::domain::id::ProductId;

use crate::harness::{Data, Store, order, private_servers};

const SPENDERS: &str = "/orders/reports/highest-spenders";
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_network_that_stalls_delays_an_order_refuses_the_next_and_recovers() {
    let Data::Servers(database, redis) = Data::servers() else { unreachable!() };
    let port: u16 = database.rsplit([':', '/']).nth(1).unwrap().parse().unwrap();
    let wire = Wire::to(port).unwrap();
    let database = database.replace(&format!(":{port}/"), &format!(":{}/", wire.port()));
    let store = Store::start(&Data::Servers(database, redis), &[]);
    store.order(1, &[(1, 1)]);

    wire.stall();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.post_once("/orders", "waiting", &order(1, &[(1, 1)])));
        assert!(eventually_within(SOON, || store.get("/ready").status == 503));
        assert_eq!(store.get("/livez").status, 200);
        let refused = store.post("/orders", &order(1, &[(1, 1)]));
        let sentence = "{\"error\":\"Database unavailable.\"}\n".to_owned();
        assert_eq!((refused.status, refused.text()), (503, sentence));
        assert_eq!(refused.header("Retry-After"), Some("2"));
        assert_eq!(store.get(SPENDERS).status, 200, "what is remembered is answered");
        wire.flow();
        let answer = waiting.join().unwrap();
        assert!([201, 503].contains(&answer.status), "{}", answer.text());
    });
    assert!(eventually_within(SOON, || store.get("/ready").status == 200));
    // The client does not know what became of a 503; the key does.
    let again = || store.post_once("/orders", "waiting", &order(1, &[(1, 1)])).status == 201;
    assert!(eventually_within(SOON, again));
    store.order(1, &[(1, 1)]);
    assert_eq!(store.stock(1), 997);
}

#[test]
fn a_full_pool_is_named_and_the_replica_stays_ready() {
    let data = Data::servers();
    let limits = [("STORE_DB_POOL_MAX", "1"), ("STORE_DB_ACQUIRE_TIMEOUT", "1s")];
    let store = Store::start(&data, &limits);
    // Somebody else holds the row that an order changes last, until three orders have met it.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let settings: HashMap<_, _> = data.settings().into_iter().collect();
    let (config, _) = Config::read(&|name| settings.get(name).cloned(), "test").unwrap();
    let other = App::new(config).unwrap();
    let mut held = runtime.block_on(other.db.begin_unchecked()).unwrap();
    let row = [ProductId::new(1)];
    let lock = stocks::fetch_locked(held.link(&other.db, "test"), &row);
    assert_eq!(runtime.block_on(lock).unwrap().len(), 1);

    let (said, heard) = channel();
    std::thread::scope(|scope| {
        for said in [said.clone(), said.clone(), said] {
            let store = &store;
            scope.spawn(move || said.send(store.post("/orders", &order(1, &[(1, 1)]))).unwrap());
        }
        let sentence = "{\"error\":\"Database pool exhausted: all 1 connections were busy for 1s \
                        (STORE_DB_POOL_MAX, STORE_DB_ACQUIRE_TIMEOUT).\"}\n";
        for _ in 0..2 {
            let refused = heard.recv().unwrap();
            assert_eq!((refused.status, refused.text().as_str()), (503, sentence));
        }
        assert_eq!(store.get("/ready").status, 200);
        drop(held);
        assert_eq!(heard.recv().unwrap().status, 201, "the one that had the connection");
    });
    store.order(1, &[(1, 1)]);
    assert!(1.5 < store.counted("store_requests_shed_total{reason=\"pool\"}"));
}

#[test]
fn a_server_without_connections_is_named_and_open_connections_go_on() {
    let (database, redis) = private_servers();
    // The fewest that MariaDB accepts.
    database.run("SET GLOBAL max_connections = 10").unwrap();
    let data = Data::Servers(database.url("store").unwrap(), redis.url());
    let pooled = Store::start(&data, &[]);
    pooled.order(1, &[(1, 1)]);
    let each = Store::start(&data, &[("STORE_CONNECTIONS", "per_call")]);
    each.order(1, &[(1, 1)]);

    // A client that says nothing counts, too, until the server loses patience with it.
    let place = ("127.0.0.1", database.port());
    let crowd: Vec<_> = (0..12).map(|_| TcpStream::connect(place).unwrap()).collect();
    let words =
        "{\"error\":\"MySQL refused a connection: too many connections (max_connections).\"}\n";
    let named = || {
        let answer = each.post("/orders", &order(1, &[(1, 1)]));
        answer.status == 503 && answer.text() == words && answer.header("Retry-After") == Some("2")
    };
    assert!(eventually_within(SOON, named), "{}", each.post("/orders", "{}").text());
    pooled.order(1, &[(1, 1)]);
    assert_eq!(pooled.get("/ready").status, 200);
    drop(crowd);
    let placed = || each.post("/orders", &order(1, &[(1, 1)])).status == 201;
    assert!(eventually_within(SOON, placed));
}

#[test]
fn a_store_that_starts_before_everything_else_becomes_ready() {
    let (mut database, mut redis) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), redis.url());
    database.kill().unwrap();
    redis.kill().unwrap();
    let mut settings = data.settings();
    settings.push(("STORE_SEED", "small".to_owned()));
    let store = Store::start_unready(&settings.into_iter().collect());
    assert_eq!((store.get("/livez").status, store.get("/ready").status), (200, 503));
    assert_eq!(store.post("/orders", &order(1, &[(1, 1)])).status, 503);
    database.restart().unwrap();
    assert!(eventually_within(SOON, || store.get("/ready").status == 200), "Redis is not needed");
    store.order(1, &[(1, 1)]);
    redis.restart().unwrap();
    assert!(eventually_within(SOON, || store.shown("/ready").contains("\"redis\":\"ok\"")));
}
