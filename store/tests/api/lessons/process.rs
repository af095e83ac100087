//! The program from its start to its end.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::ports::free_port;
use lab::process::{Process, eventually_within};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::harness::{Data, Store};

const GOLDEN: &str = "sha256 e01e4509445dd14e677a42a31fef1bace9fe2bf6f58d44f680f968f30e7ee578\n";

/// Lesson 28: a background timer kept the process alive.
#[test]
fn the_process_ends_with_its_drain() {
    for data in [Data::embedded(), Data::servers()] {
        let folder = TempDir::new().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
        command.current_dir(folder.path()).env_clear().envs(data.settings());
        command.env("STORE_LISTEN", address.to_string()).env("STORE_DRAIN_DELAY", "0s");
        command.env("STORE_REPORT_REFRESH", "timer").env("STORE_SEED", "small");
        let mut process = Process::spawn("store", &mut command).unwrap();
        let ready = || Ok(lab::http::get(address, "/ready").is_ok_and(|it| it.status == 200));
        process.wait_until_ready(Duration::from_secs(30), ready).unwrap();
        let asked = Instant::now();
        process.signal(Signal::SIGTERM);
        assert!(eventually_within(Duration::from_secs(20), || process.ended().is_some()));
        assert!(process.ended().unwrap().success(), "{}", process.obituary());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}

/// Lesson 35: seeds differed from run to run and from database to database.
#[test]
fn the_lab_seed_has_its_golden_figures_on_both_databases() {
    for data in [Data::embedded(), Data::servers()] {
        let folder = TempDir::new().unwrap();
        let run = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
            command.current_dir(folder.path()).env_clear().envs(data.settings()).args(words);
            command.output().unwrap()
        };
        let seeded = run(&["seed", "lab"]);
        assert!(seeded.status.success(), "{}", String::from_utf8_lossy(&seeded.stderr));
        if matches!(data, Data::Servers(..)) {
            assert!(run(&["repair", "--full"]).status.success());
        }
        assert_eq!(String::from_utf8_lossy(&run(&["verify"]).stdout), GOLDEN);

        let cached = Store::start_seeded(&data, &[]);
        let aggregated = Store::start_seeded(&data, &[("STORE_REPORTS", "mysql")]);
        let spenders = cached.shown("/orders/reports/highest-spenders");
        let top = "[{\"total_expense\":677318.33,\"user_id\":671},{\"total_expense\":669157.14,\"user_id\":770},{\"total_expense\":666507.11,\"user_id\":400},";
        assert!(spenders.starts_with(top), "{spenders}");
        let sellers = cached.shown("/orders/reports/best-sellers");
        let top =
            [(5997, 90), (869, 89), (4706, 89), (1144, 87), (2135, 85), (2883, 85), (8087, 85)];
        let top = top.map(|(id, sold)| format!("{{\"product_id\":{id},\"quantity_sold\":{sold}}}"));
        assert!(sellers.starts_with(&format!("[{},", top.join(","))), "{sellers}");
        let bytes = |store: &Store, path: &str| store.shown(path).len();
        assert_eq!(bytes(&cached, "/orders/reports/highest-spenders"), 420);
        assert_eq!(bytes(&cached, "/orders/reports/best-sellers"), 391);
        assert_eq!(bytes(&aggregated, "/orders/reports/best-sellers"), 3888);
        assert_eq!(bytes(&cached, "/stocks/reports/overview-stocks"), 1_139_437);
        let order = "{\"items\":\"[{\\\"product_id\\\":9231,\\\"quantity\\\":3,\\\"unit_price\\\":909.86},{\\\"product_id\\\":4328,\\\"quantity\\\":3,\\\"unit_price\\\":982.41}]\",\"total_amount\":\"5676.81\",\"user_id\":\"891\"}\n";
        assert_eq!(cached.shown("/orders/1"), order);
    }
}
