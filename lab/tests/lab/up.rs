//! The whole product, from nothing to an answered order, and what happens when a part of it dies.

#![expect(clippy::unwrap_used, reason = "a shop that does not start is the failure to see")]

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroU8,
    process::Command,
    thread,
    time::Duration,
};

use lab::{
    http,
    load::Load,
    metrics::Counts,
    process::{Process, eventually, eventually_within},
    shop::{Data, Plan, Seed, Shop},
};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

const ORDER: &str = r#"{"user_id":1,"items":[{"product_id":1,"quantity":2}]}"#;

/// `lab up` with these arguments, as a person starts it.
fn up(arguments: &[&str]) -> Process {
    Process::spawn("lab", Command::new(env!("CARGO_BIN_EXE_lab")).arg("up").args(arguments))
        .unwrap()
}

/// The rows of the table it prints, once it is whole.
fn table(lab: &mut Process) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    lab.wait_until_ready(Duration::from_mins(1), || Ok(true)).unwrap();
    let whole = eventually_within(Duration::from_mins(1), || {
        let lines = lab.last_lines();
        rows = lines
            .lines()
            .filter_map(|it| Some((it.get(..10)?.trim().to_owned(), it.get(11..)?.to_owned())))
            .collect();
        rows.contains_key("stop it") || lab.ended().is_some()
    });
    assert!(whole && rows.contains_key("stop it"), "{}", lab.obituary());
    rows
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap()
}

fn shop(replicas: u8, data: Data) -> Shop {
    let plan = Plan {
        replicas: NonZeroU8::new(replicas).unwrap(),
        policy: "round_robin".to_owned(),
        data,
        seed: Seed::Small,
        port: 0,
        variables: Vec::new(),
        volume: None,
    };
    Shop::start(&plan, &|| Ok(())).unwrap()
}

/// Which replicas answer the next requests, by the last letter of their names.
fn answering(shop: SocketAddr, requests: usize) -> String {
    (0..requests)
        .map(|_| {
            let answer = http::get(shop, "/health-check").unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.header("X-Store-Instance").unwrap().chars().last().unwrap()
        })
        .collect()
}

/// Whether `found` is `expected` begun somewhere within its period.
fn is_rotation_of(found: &str, expected: &str) -> bool {
    found.len() == expected.len() && expected.repeat(2).contains(found)
}

/// Gives the server lines of a running shop these parameters, in order.
fn set_parameters(shop: &mut Shop, parameters: &[&str]) {
    let mut parameters = parameters.iter();
    let text = fs::read_to_string(shop.config_file()).unwrap();
    let lines = text.lines().map(|line| match line.trim().strip_suffix(';') {
        Some(it) if it.starts_with("server ") => format!("{it} {};\n", parameters.next().unwrap()),
        _ => format!("{line}\n"),
    });
    fs::write(shop.config_file(), lines.collect::<String>()).unwrap();
    shop.reload();
}

/// The child of `parent` that is so.
fn child(parent: u32, is_so: impl Fn(i32) -> bool) -> Option<i32> {
    fs::read_dir(format!("/proc/{parent}/task"))
        .unwrap()
        .map(|it| fs::read_to_string(it.unwrap().path().join("children")).unwrap_or_default())
        .flat_map(|it| it.split_whitespace().map(|it| it.parse().unwrap()).collect::<Vec<i32>>())
        .find(|it| is_so(*it))
}

/// A variable of a running process.
fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).ok()?;
    let found = environment.split('\0').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    found.map(str::to_owned)
}

/// The process id of a replica that `lab` started.
fn replica_pid(lab: u32, name: &str) -> Option<i32> {
    child(lab, |it| variable(it, "STORE_INSTANCE").as_deref() == Some(name))
}

/// Where a replica listens, as it was told to.
fn replica_address(pid: i32) -> String {
    variable(pid, "STORE_LISTEN").unwrap_or_default()
}

#[test]
fn one_command_leads_to_an_answered_order_and_one_signal_ends_it() {
    let mut lab = up(&["--port", "0", "--seed", "small", "--replicas", "2"]);
    let rows = table(&mut lab);
    let shop = address(&rows["shop"]);

    let created = http::post(shop, "/orders", ORDER).unwrap();
    assert_eq!((created.status, created.text().as_str()), (201, "{\"order_id\":1}\n"));
    let read = http::get(shop, "/orders/1").unwrap();
    assert!(read.text().contains(r#""total_amount":"3999.98""#), "{}", read.text());

    let turns = answering(shop, 6);
    assert!(["121212", "212121"].contains(&turns.as_str()), "{turns}");
    let counts = Counts::fetch(address(&rows["metrics"])).unwrap();
    assert_eq!(counts.requests.len(), 2, "{counts:?}");

    lab.ask_to_end();
    let status = lab.wait(|| Ok(())).unwrap();
    assert!(status.success(), "{}", lab.obituary());
    assert!(TcpStream::connect(shop).is_err());
    assert!(!fs::exists(rows["change it"].trim_start_matches("edit ")).unwrap());
}

#[test]
fn a_replica_that_ends_is_told_by_name_and_started_again_while_the_other_serves() {
    let mut lab = up(&["--port", "0", "--seed", "small", "--restart-after", "1"]);
    let rows = table(&mut lab);
    let (shop, killed) = (address(&rows["shop"]), replica_pid(lab.pid(), "store-1").unwrap());
    let told = format!("store-1 {} process {killed}", replica_address(killed));
    assert_eq!(rows["replicas"], told);

    signal::kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    answering(shop, 4);
    eventually("the end is told", || {
        let said = lab.last_lines();
        let sentence = said.lines().any(|it| it == "store-1 was ended by SIGKILL");
        sentence && said.contains("It is started again in 1 s.")
    });
    eventually("the start is told", || {
        let Some(now) = replica_pid(lab.pid(), "store-1") else { return false };
        let place = format!("store-1 serves again: {} process {now}", replica_address(now));
        killed != now && lab.last_lines().lines().any(|it| it == place)
    });
    assert!(lab.ended().is_none(), "{}", lab.obituary());
}

#[test]
fn the_end_of_the_balancer_ends_all_and_is_told() {
    let mut lab = up(&["--port", "0", "--seed", "small"]);
    let rows = table(&mut lab);
    let replica = replica_address(replica_pid(lab.pid(), "store-2").unwrap());
    let balancer = child(lab.pid(), |it| {
        let program = fs::read_link(format!("/proc/{it}/exe")).unwrap_or_default();
        program.ends_with("balancer")
    });
    signal::kill(Pid::from_raw(balancer.unwrap()), Signal::SIGKILL).unwrap();

    let status = lab.wait(|| Ok(())).unwrap();
    assert_eq!(status.code(), Some(1));
    let said = lab.last_lines();
    assert!(said.contains("lab: balancer was ended by SIGKILL"), "{said}");
    assert!(TcpStream::connect(address(&rows["shop"])).is_err());
    assert!(TcpStream::connect(replica).is_err());
}

#[test]
fn a_shop_is_as_slow_as_the_stage_that_was_asked_for() {
    let mut lab = up(&["--port", "0", "--seed", "small", "--replicas", "1", "--stage", "3"]);
    let rows = table(&mut lab);
    let metrics = http::get(address(&rows["shop"]), "/metrics").unwrap().text();
    assert!(metrics.contains(r#"stage="3""#), "{metrics}");
}

#[test]
fn a_taken_port_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut lab = up(&["--port", &port]);
    assert_eq!(lab.wait(|| Ok(())).unwrap().code(), Some(1));
    let said = lab.last_lines();
    assert!(said.starts_with(&format!("lab: port {port} of the shop cannot be used")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_reload_changes_the_turns_to_five_one_one() {
    let mut shop = shop(3, Data::Embedded);
    assert!(is_rotation_of(&answering(shop.address(), 3), "123"));
    set_parameters(&mut shop, &["weight=5", "weight=1", "weight=1"]);
    eventually("the weights are followed", || {
        is_rotation_of(&answering(shop.address(), 7), "1121311")
    });
}

#[test]
fn a_refused_file_changes_nothing() {
    let mut shop = shop(2, Data::Embedded);
    let text = fs::read_to_string(shop.config_file()).unwrap();
    fs::write(shop.config_file(), text.replace("proxy_pass", "proxy_pas")).unwrap();
    shop.reload();
    eventually("the refusal is told", || {
        shop.balancer().last_lines().contains("unknown directive \"proxy_pas\"")
    });
    assert!(is_rotation_of(&answering(shop.address(), 4), "1212"));
}

#[test]
fn a_killed_replica_costs_no_read_and_comes_back_without_a_reload() {
    let mut shop = shop(2, Data::Embedded);
    set_parameters(&mut shop, &["fail_timeout=1s", "fail_timeout=1s"]);
    assert!(is_rotation_of(&answering(shop.address(), 2), "12"));
    shop.kill_replica(1);
    assert_eq!(answering(shop.address(), 20), "1".repeat(20));
    shop.restart_replica(1, &|| Ok(())).unwrap();
    eventually("the replica is served again", || answering(shop.address(), 2).contains('2'));
}

#[test]
fn real_databases_hold_the_same_shop() {
    let shop = shop(2, Data::Mysql);
    let created = http::post(shop.address(), "/orders", ORDER).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let path = format!("/orders/{}", created.text().trim_matches(|it: char| !it.is_ascii_digit()));
    for _ in 0..2 {
        let read = http::get(shop.address(), &path).unwrap();
        assert!(read.text().contains(r#""total_amount":"3999.98""#), "{}", read.text());
    }
}

/// Twenty users for some seconds.
fn users(shop: &Shop, time: &str) -> Load {
    Load {
        users: 20,
        rate: 20.0,
        time: time.to_owned(),
        script: "locustfile".to_owned(),
        shop: shop.address(),
        admin: shop.admin(),
        csv: None,
    }
}

/// Answers so far, of all replicas.
fn answers(admin: SocketAddr) -> f64 {
    Counts::fetch(admin).unwrap().requests.values().flat_map(BTreeMap::values).sum()
}

#[test]
fn a_replica_killed_under_users_costs_no_read() {
    let mut shop = shop(2, Data::Embedded);
    let (load, admin) = (users(&shop, "8s"), shop.admin());
    let outcome = thread::scope(|scope| {
        let load = scope.spawn(move || load.run(&|| Ok(())));
        eventually("users are at work", || 30.0 <= answers(admin));
        shop.kill_replica(1);
        let then = answers(admin);
        eventually("the others go on", || then + 20.0 <= answers(admin));
        shop.restart_replica(1, &|| Ok(())).unwrap();
        load.join().unwrap().unwrap()
    });
    for endpoint in &outcome.endpoints {
        // An order that was on the wire may fail: it must not be sent twice.
        let allowed = if endpoint.method == "POST" { 5 } else { 0 };
        assert!(endpoint.failures <= allowed, "{outcome:?}");
    }
    assert!(outcome.active_after == 0.0, "{outcome:?}");
}

#[test]
fn users_are_served_without_a_failure_and_in_equal_shares() {
    let shop = shop(2, Data::Embedded);
    let load = users(&shop, "8s");
    let outcome = load.run(&|| Ok(())).unwrap();
    assert_eq!(outcome.errors, Vec::<String>::new());
    let failures: u64 = outcome.endpoints.iter().map(|it| it.failures).sum();
    let requests: u64 = outcome.endpoints.iter().map(|it| it.requests).sum();
    assert!(failures == 0 && 20 <= requests, "{outcome:?}");
    let served: Vec<f64> = outcome.servers.values().map(|it| it.values().sum()).collect();
    assert_eq!(served.len(), 2, "{outcome:?}");
    assert!((served[0] - served[1]).abs() <= 3.0, "{outcome:?}");
    assert!(outcome.active_after == 0.0, "{outcome:?}");
}
