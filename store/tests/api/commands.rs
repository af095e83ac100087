//! What the program does when it is called.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use lab::ports::free_port;
use lab::process::{Process, eventually_within};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::harness::{Data, Store, private_servers};

/// The hash of the lab profile from seed 430.
const GOLDEN: &str = "sha256 e01e4509445dd14e677a42a31fef1bace9fe2bf6f58d44f680f968f30e7ee578\n";

fn store(folder: &TempDir, settings: &[(&str, String)], words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    command.current_dir(folder.path()).env_clear().args(words);
    command.envs(settings.iter().map(|(name, value)| (*name, value.as_str())));
    command
}

fn run(folder: &TempDir, settings: &[(&str, String)], words: &[&str]) -> Output {
    store(folder, settings, words).output().unwrap()
}

/// Lesson 26: a second start on old data went on with half of it.
#[test]
fn the_lab_profile_is_the_same_on_both_databases_and_is_not_seeded_twice() {
    let folder = TempDir::new().unwrap();
    for data in [Data::embedded(), Data::servers()] {
        let settings = data.settings();
        assert!(run(&folder, &settings, &["seed", "lab"]).status.success());
        let again = run(&folder, &settings, &["seed", "lab"]);
        assert!(!again.status.success());
        let words = "store: the database is not empty: use --reset to remove every row first\n";
        assert!(String::from_utf8_lossy(&again.stderr).ends_with(words));
        let left = run(&folder, &settings, &["seed", "lab", "--if-empty"]);
        assert!(left.status.success(), "{left:?}");
        if matches!(data, Data::Servers(..)) {
            let unfilled = run(&folder, &settings, &["verify"]);
            assert!(
                String::from_utf8_lossy(&unfilled.stderr).contains("90000 keys differ"),
                "{unfilled:?}"
            );
            assert!(run(&folder, &settings, &["repair", "--full"]).status.success());
        }
        assert_eq!(String::from_utf8_lossy(&run(&folder, &settings, &["verify"]).stdout), GOLDEN);
    }
}

#[test]
fn a_bad_variable_is_one_line_and_exit_2() {
    let folder = TempDir::new().unwrap();
    let output = run(&folder, &[("DB_PORT", "abc".to_owned())], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "store: DB_PORT=\"abc\": not a port number (1-65535)\n"
    );
}

#[test]
fn a_flag_is_stronger_than_the_environment_and_that_than_the_file() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join(".env"),
        "STORE_REPORTS=redis_scan\r\nSTORE_STOCK=enforce\r\n",
    )
    .unwrap();
    let settings = [("STORE_REPORTS", "redis_cache".to_owned())];
    let output = run(&folder, &settings, &["check-config", "--reports", "mysql"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("reports: Mysql") && text.contains("stock: Enforce"), "{text}");
}

#[test]
fn replicas_that_start_at_once_on_one_file_all_become_ready_and_drain() {
    let folder = TempDir::new().unwrap();
    let ports: Vec<_> = (0..4).map(|_| free_port().unwrap()).collect();
    let mut replicas: Vec<_> = ports
        .iter()
        .map(|port| {
            let settings = [
                ("STORE_LISTEN", format!("127.0.0.1:{port}")),
                ("STORE_INSTANCE", format!("store-{port}")),
                ("STORE_DRAIN_DELAY", "100ms".to_owned()),
            ];
            Process::spawn(format!("store {port}"), &mut store(&folder, &settings, &[])).unwrap()
        })
        .collect();
    for (replica, port) in replicas.iter_mut().zip(&ports) {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], *port));
        let ready = || Ok(lab::http::get(address, "/ready").is_ok_and(|it| it.status == 200));
        replica.wait_until_ready(Duration::from_secs(30), ready).unwrap();
        let settings = [("STORE_LISTEN", format!("127.0.0.1:{port}"))];
        assert!(run(&folder, &settings, &["healthcheck"]).status.success());
        let answer = lab::http::get(address, "/stocks/4").unwrap();
        assert_eq!(answer.text(), "{\"product_id\":4,\"quantity\":90}\n");
    }
    for replica in &mut replicas {
        let asked = Instant::now();
        replica.signal(Signal::SIGTERM);
        assert!(
            eventually_within(Duration::from_secs(10), || replica.ended().is_some()),
            "{}",
            replica.last_lines()
        );
        assert!(replica.ended().unwrap().success(), "{}", replica.obituary());
        assert!(asked.elapsed() < Duration::from_secs(8));
    }
}

#[test]
fn a_taken_port_is_named() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = run(&folder, &[("STORE_LISTEN", address.to_string())], &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.ends_with(&format!("store: STORE_LISTEN={address}: address already in use\n")),
        "{text}"
    );
}

#[test]
fn a_database_of_the_lab_is_adopted_with_its_rows() {
    let (database, redis) = private_servers();
    let url = database.url("labo").unwrap();
    let name = url.rsplit('/').next().unwrap();
    database
        .run(&format!(
            "USE {name};
             CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL, email VARCHAR(150) UNIQUE NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
             CREATE TABLE products (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(150) NOT NULL, sku VARCHAR(64) NOT NULL, price DECIMAL(10,2) NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
             CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, user_id INT NOT NULL, total_amount DECIMAL(12,2) NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE);
             CREATE TABLE order_items (id INT AUTO_INCREMENT PRIMARY KEY, order_id INT NOT NULL, product_id INT NOT NULL, quantity INT NOT NULL DEFAULT 1, unit_price DECIMAL(10,2) NOT NULL, FOREIGN KEY (order_id) REFERENCES orders(id) ON DELETE CASCADE, FOREIGN KEY (product_id) REFERENCES products(id) ON DELETE RESTRICT);
             CREATE TABLE stocks (product_id INT PRIMARY KEY, quantity INT NOT NULL DEFAULT 0, FOREIGN KEY (product_id) REFERENCES products(id) ON DELETE RESTRICT);
             INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com');
             INSERT INTO products (name, sku, price) VALUES ('Lamp', 'L1', 19.99);
             INSERT INTO stocks VALUES (1, 10);
             INSERT INTO orders (user_id, total_amount, created_at) VALUES (1, 0, NULL);"
        ))
        .unwrap();
    let data = Data::Servers(url, redis.url());
    let store = Store::start(&data, &[]);
    let id = store.order(1, &[(1, 3)]);
    assert!(store.shown(&format!("/orders/{id}")).contains("\"total_amount\":\"59.97\""));
    assert_eq!(store.stock(1), 7);
    let answer = store.post("/users", r#"{"name":"x","email":"Ada@example.com"}"#);
    assert_eq!(answer.status, 409, "{}", answer.text());
    drop(store);
    assert_eq!(Store::start(&data, &[]).stock(1), 7, "a second start changes nothing");
}

#[test]
fn replicas_that_start_at_once_on_an_empty_server_migrate_and_seed_it_once() {
    let data = Data::servers();
    let stores: Vec<_> = crate::harness::at_once(4, |_| Store::start(&data, &[]));
    for store in &stores {
        assert!(store.shown("/ready").contains("\"data\":\"ok\""));
        assert_eq!(store.stock(4), 90);
    }
    assert_eq!(stores[0].shown("/stocks/reports/overview-stocks").matches("Article").count(), 4);
}

#[test]
fn a_custom_seed_has_its_own_volume_and_start() {
    let folder = TempDir::new().unwrap();
    let data = Data::embedded();
    let hash = |seed: &str| {
        let words = [
            "seed",
            "custom",
            "--users",
            "3",
            "--products",
            "7",
            "--orders",
            "20",
            "--items-min",
            "2",
            "--items-max",
            "9",
            "--seed",
            seed,
            "--reset",
        ];
        let output = run(&folder, &data.settings(), &words);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(run(&folder, &data.settings(), &["verify"]).stdout).unwrap()
    };
    let first = hash("7");
    assert_ne!(first, hash("8"));
    assert_eq!(first, hash("7"));
    let store = Store::start_seeded(&data, &[]);
    assert_eq!(store.shown("/stocks/reports/overview-stocks").matches("Article").count(), 7);
    let lines = store.shown("/orders/20").matches("product_id").count();
    assert!((2..=7).contains(&lines), "{lines} lines");
}
