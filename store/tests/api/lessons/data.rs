//! The database.

use std::io::Write;
use std::time::{Duration, Instant};

use lab::process::eventually_within;

use crate::harness::{Data, Store, at_once, order, private_servers, soon};

/// Lesson 20: every call opened a connection, and some were never closed.
#[test]
fn a_pool_is_never_exceeded_and_comes_back_from_clients_that_left() {
    let store = Store::start(&Data::servers(), &[("STORE_DB_POOL_MAX", "4")]);
    at_once(10, |_| {
        for _ in 0..50 {
            assert_eq!(store.get("/users/1").status, 200);
        }
    });
    assert!(store.counted("store_db_connections_opened_total") < 4.5);
    let body = order(1, &[(1, 1)]);
    for _ in 0..50 {
        let mut client = std::net::TcpStream::connect(store.address).unwrap();
        let head = format!(
            "POST /orders HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
    }
    let busy = || store.counted("store_db_pool_connections{state=\"in_use\"}");
    assert!(eventually_within(soon(), || busy() < 0.5), "{} connections in use", busy());
    store.order(1, &[(1, 1)]);
    assert!(store.counted("store_db_connections_opened_total") < 4.5);
}

/// Lesson 21: an open transaction kept everybody from changing the schema.
#[test]
fn an_idle_store_blocks_no_schema_work() {
    let (database, server) = private_servers();
    let url = database.url("store").unwrap();
    let store = Store::start(&Data::Servers(url.clone(), server.url()), &[]);
    store.order(1, &[(1, 1)]);
    assert_eq!(store.get("/orders/1").status, 200);
    let name = url.rsplit('/').next().unwrap();
    let started = Instant::now();
    database.run(&format!("ALTER TABLE {name}.users ADD COLUMN note INT NULL")).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// Lesson 22: nothing but the usual names and a filled database worked.
#[test]
fn another_name_and_an_empty_database_are_enough() {
    let (database, server) = private_servers();
    database.run("CREATE DATABASE storedb CHARACTER SET latin1").unwrap();
    let url = database.base_url();
    let (login, _) = url.trim_start_matches("mysql://").split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let settings = [
        ("DB_HOST", "127.0.0.1".to_owned()),
        ("DB_PORT", database.port().to_string()),
        ("DB_NAME", "storedb".to_owned()),
        ("DB_USER", format!(" {user}\r")),
        ("DB_PASS", format!("\"{password}\"\r")),
        ("REDIS_URL", server.url()),
    ];
    let store = Store::start_unready(&settings.into_iter().collect());
    let ready = || store.shown_any("/ready");
    assert!(
        eventually_within(soon(), || ready().contains("empty: run store seed lab")),
        "{}",
        ready()
    );
    assert_eq!(store.get("/ready").status, 200);
    let answer = store.post("/users", r#"{"name":"Zoë 😀","email":"z@example.com"}"#);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(store.shown("/users/1").contains(r"Zo\u00eb \ud83d\ude00"));
}
