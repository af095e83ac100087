//! Private servers start, fail on demand and leave nothing behind.

use std::{net::TcpStream, time::Duration};

use lab::data_services::{MariaDb, Redis};

#[test]
fn a_private_mariadb_gives_each_caller_a_database_and_keeps_it_through_a_crash() {
    let mut mariadb = MariaDb::start_private().unwrap();
    let (one, other) = (mariadb.url("shop").unwrap(), mariadb.url("shop").unwrap());
    assert_ne!(one, other);
    let name = one.rsplit('/').next().unwrap();
    mariadb
        .run(&format!(
            "CREATE TABLE {name}.t (a INT) ENGINE=InnoDB; INSERT INTO {name}.t VALUES (7)"
        ))
        .unwrap();

    mariadb.kill().unwrap();
    assert!(mariadb.run("SELECT 1").is_err());

    mariadb.restart().unwrap();
    assert_eq!(mariadb.run(&format!("SELECT a FROM {name}.t")).unwrap(), "7\n");

    let port = mariadb.port();
    drop(mariadb);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_paused_redis_keeps_its_connections_and_says_nothing() {
    use std::io::{ErrorKind, Read, Write};

    let mut redis = Redis::start_private().unwrap();
    let url = redis.url();
    let mut client = TcpStream::connect(url.strip_prefix("redis://").unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = [0; 7];

    redis.pause().unwrap();
    client.write_all(b"PING\r\n").unwrap();
    let silence = client.read(&mut answer).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);

    redis.resume().unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");

    redis.restart().unwrap();
    assert_eq!(redis.url(), url);
}
