//! What Redis is asked, and what it holds.

use std::time::{Duration, Instant};

use lab::process::{Process, eventually_within};
use serde_json::Value;
use tempfile::TempDir;

use super::{ask, redis};
use crate::harness::{Data, Store, private_servers, soon};

fn keys(data: &Data) -> f64 {
    redis::cmd("DBSIZE").query(&mut redis(data)).unwrap()
}

/// Lesson 19: every order walked through all keys.
#[test]
fn an_order_walks_through_all_keys_only_where_it_is_asked_to() {
    let data = Data::servers();
    let store = Store::start(&data, &[]);
    for _ in 0..100 {
        store.order(1, &[(1, 1), (2, 1)]);
    }
    let commands = |store: &Store, name: &str| {
        store.counted(&format!("store_redis_commands_total{{command=\"{name}\""))
    };
    assert!(commands(&store, "scan") + commands(&store, "keys") < 0.5);
    let sent = || store.counted("store_redis_commands_total{");
    let asked = sent();
    store.order(1, &[(1, 1), (2, 1)]);
    assert!(sent() - asked <= 8.0, "an order and its two levels: {}", sent() - asked);
    drop(store);
    let walking = Store::start(&data, &[("STORE_STAGE", "1")]);
    let (scans, expected) = (commands(&walking, "scan"), keys(&data) / 10.0);
    walking.order(1, &[(1, 1), (2, 1)]);
    let scans = commands(&walking, "scan") - scans;
    assert!(
        (expected * 0.5..=expected * 2.0 + 2.0).contains(&scans),
        "{scans} of about {expected}"
    );
}

/// Lesson 24: a partial load of Redis was never resumed.
#[test]
fn a_fill_that_was_killed_begins_again() {
    let (database, server) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), server.url());
    let folder = TempDir::new().unwrap();
    let port = lab::ports::free_port().unwrap();
    let start = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_store"));
        command.current_dir(folder.path()).env_clear().envs(data.settings());
        command.env("STORE_LISTEN", format!("127.0.0.1:{port}")).env("STORE_SEED", "lab");
        command.env("STORE_DRAIN_DELAY", "0s");
        Process::spawn("store", &mut command).unwrap()
    };
    let marked =
        || redis::cmd("EXISTS").arg("store:seed").query::<bool>(&mut redis(&data)).unwrap();
    let mut first = start();
    assert!(
        eventually_within(Duration::from_mins(2), || 10_000.0 < keys(&data)),
        "{}",
        first.last_lines()
    );
    first.kill();
    assert!(!marked(), "the fill is not killed in its middle");
    let mut second = start();
    assert!(eventually_within(Duration::from_mins(2), marked), "{}", second.last_lines());
    let orders: Vec<String> = redis::cmd("KEYS").arg("order:*").query(&mut redis(&data)).unwrap();
    assert_eq!(orders.len(), 80_000);
    // The marker, two reports, and sometimes the lock of a builder.
    let shop = keys(&data) - 101_000.0;
    assert!((1.0..=5.0).contains(&shop), "{shop} keys more");
    let asked = Instant::now();
    second.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(eventually_within(Duration::from_secs(30), || second.ended().is_some()));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

/// Lesson 31: a product whose hash had nothing but a quantity was an error in GraphQL.
#[test]
fn a_hash_with_only_a_quantity_counts_as_absent_and_is_completed() {
    let data = Data::servers();
    let store = Store::start(&data, &[]);
    let mut connection = redis(&data);
    // In one step: the store fills what is missing in its own time.
    let mut hash = redis::pipe();
    hash.atomic().del("stock:2").ignore().hset("stock:2", "quantity", "7").ignore();
    let () = hash.query(&mut connection).unwrap();
    let answer = ask(&store, r#"{ product(id: "2") { id name sku price quantity } }"#);
    let full: Value = serde_json::from_str(
        r#"{"id":2,"name":"Keyboard DEF","sku":"KB67890","price":59.5,"quantity":500}"#,
    )
    .unwrap();
    assert_eq!(answer["product"], full);
    assert!(
        eventually_within(soon(), || {
            redis::cmd("HGET")
                .arg(&["stock:2", "product_name"])
                .query::<Option<String>>(&mut redis(&data))
                .unwrap()
                .is_some()
        }),
        "the hash is completed"
    );
}
