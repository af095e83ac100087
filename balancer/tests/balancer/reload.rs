//! A reload loses nothing, and one that is refused changes nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::support::{Balancer, Client, Gate, Origin, ask, eventually, free_port, text};

fn serving(policy: &str, origin: &Origin, more: &str) -> String {
    format!(
        "upstream u {{ {policy} server {}; }} server {{ listen 127.0.0.1:PORT; {more} location / {{ proxy_pass http://u; }} }}",
        origin.name()
    )
}

#[test]
fn a_reload_under_load_loses_no_request_and_keeps_the_counts() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |seen, stream| {
        if seen.path() == "/held" {
            held.wait();
        }
        text(stream, "a")
    });
    let balancer = Balancer::start_with(2, &serving("", &origin, ""));
    let mut first = balancer.client();
    first.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request counts", || balancer.active() == 1);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = || {
            let mut served = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(balancer.client().get("/").text(), "a");
                served += 1;
            }
            served
        };
        let loads = [(); 2].map(|()| scope.spawn(load));
        for policy in ["least_conn;", "random;", "least_conn;"] {
            balancer.reload(&serving(policy, &origin, ""));
            assert!(balancer.active() >= 1);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(loads.into_iter().all(|it| it.join().unwrap() > 0));
    });
    eventually("only the held request counts", || balancer.active() == 1);
    gate.open();
    assert_eq!(first.answer().text(), "a");
    eventually("no request counts", || balancer.active() == 0);
}

#[test]
fn a_refused_reload_says_where_and_serves_on() {
    let origin = Origin::named("a");
    let balancer = Balancer::start(&serving("", &origin, ""));
    balancer.configure("leastconn;");
    balancer.signal(Signal::SIGHUP);
    eventually("the refusal is counted", || {
        balancer.metric("balancer_config_reloads_total", &["result=\"failure\""]) == Some(1)
    });
    eventually("the refusal is told", || {
        let said = balancer.said();
        said.contains("[emerg]") && said.contains("unknown directive \"leastconn\" in ")
    });
    assert_eq!(balancer.client().get("/").text(), "a");
}

#[test]
fn a_reload_opens_and_closes_listeners() {
    let origin = Origin::named("a");
    let balancer = Balancer::start(&serving("", &origin, ""));
    let port = free_port();
    balancer.reload(&serving("", &origin, &format!("listen 127.0.0.1:{port};")));
    assert_eq!(Client::to(port).get("/").text(), "a");
    balancer.reload(&serving("", &origin, ""));
    eventually("the port is closed", || TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(balancer.client().get("/").text(), "a");
}

/// Memory that is resident, in KiB, and descriptors that are open.
fn held(balancer: &Balancer) -> (u64, usize) {
    let pid = balancer.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    let resident = line.trim().trim_end_matches(" kB").parse().unwrap();
    (resident, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

#[test]
fn two_hundred_reloads_under_load_lose_nothing_and_leave_nothing_behind() {
    let origin = Origin::named("hello");
    let balancer = Balancer::start_with(2, &serving("", &origin, ""));
    let mut idle: Vec<Client> = (0..20).map(|_| balancer.client()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").text(), "hello");
    }
    let is_over = AtomicBool::new(false);
    let (before, after) = thread::scope(|scope| {
        let loads = [(); 2].map(|()| scope.spawn(|| ask(balancer.port, &is_over)));
        let reload = |count: u32| {
            for nth in 0..count {
                let policy = if nth % 2 == 0 { "least_conn;" } else { "" };
                balancer.reload(&serving(policy, &origin, "error_log own.log; access_log own;"));
            }
            held(&balancer)
        };
        let before = reload(20);
        let after = reload(180);
        is_over.store(true, Ordering::Relaxed);
        for load in loads {
            let (asked, lost) = load.join().unwrap();
            assert!(asked > 200 && lost == 0, "{lost} of {asked} are lost");
        }
        (before, after)
    });
    assert!(after.0 < before.0 + 16 * 1024, "memory grows from {} to {} KiB", before.0, after.0);
    assert!(after.1 < before.1 + 8, "descriptors grow from {} to {}", before.1, after.1);
    // Those who were idle all the while are answered once more, and told to connect again.
    for client in &mut idle {
        let answer = client.get("/");
        assert_eq!((answer.text(), answer.field("connection")), ("hello", Some("close")));
    }
    eventually("every old generation has ended", || {
        balancer.said().matches("exited with code 0").count() == 2 * 200
    });
    assert!(!balancer.said().contains("[alert]"));
}

#[test]
fn whoever_is_connected_to_an_address_that_is_removed_is_served_as_before() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |seen, stream| {
        if seen.path() == "/held" {
            held.wait();
        }
        text(stream, "a")
    });
    let balancer = Balancer::start(&serving("", &origin, ""));
    let port = free_port();
    let other = format!("add_header X-Old yes; listen 127.0.0.1:{port};");
    balancer.reload(&serving("", &origin, &other));
    let (mut busy, mut idle, mut fresh) = (Client::to(port), Client::to(port), Client::to(port));
    assert_eq!(idle.get("/").text(), "a");
    busy.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request runs", || balancer.active() == 1);
    balancer.reload(&serving("", &origin, ""));
    for client in [&mut idle, &mut fresh] {
        let answer = client.get("/");
        assert_eq!(
            (answer.field("x-old"), answer.field("connection")),
            (Some("yes"), Some("close"))
        );
        assert!(client.is_ended());
    }
    gate.open();
    let answer = busy.answer();
    assert_eq!((answer.text(), answer.field("x-old")), ("a", Some("yes")));
    assert_eq!(answer.field("connection"), Some("close"));
    let mut idle = Client::to(balancer.port);
    assert_eq!(idle.get("/").field("x-old"), None);
}

#[test]
fn a_shutdown_timeout_ends_what_a_reload_has_left_behind() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |_, stream| {
        held.wait();
        text(stream, "a")
    });
    let serving = |more: &str| {
        let http = serving("", &origin, more);
        format!("{http} }} worker_shutdown_timeout 50ms; stream {{")
    };
    let balancer = Balancer::start(&serving(""));
    let mut busy = balancer.client();
    busy.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request runs", || balancer.active() == 1);
    balancer.reload(&serving("etag off;"));
    assert!(busy.is_ended());
    eventually("no request counts", || balancer.active() == 0);
    gate.open();
}

#[test]
fn an_address_goes_to_the_socket_for_all_addresses_and_comes_back() {
    let own = "server { listen 127.0.0.1:PORT; return 200 own; }";
    let any = "server { listen PORT; return 200 any; }";
    let ask_at = |balancer: &Balancer, address: &str| {
        let mut stream = TcpStream::connect((address, balancer.port)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.rsplit("\r\n").next().unwrap().to_owned()
    };
    let balancer = Balancer::start_with(2, own);
    assert_eq!(ask_at(&balancer, "127.0.0.1"), "own");
    for _ in 0..2 {
        balancer.reload(&format!("{any} {own}"));
        assert_eq!(ask_at(&balancer, "127.0.0.1"), "own");
        assert_eq!(ask_at(&balancer, "127.0.0.2"), "any");
        balancer.reload(any);
        assert_eq!(ask_at(&balancer, "127.0.0.1"), "any");
        balancer.reload(own);
        assert_eq!(ask_at(&balancer, "127.0.0.1"), "own");
        assert!(TcpStream::connect(("127.0.0.2", balancer.port)).is_err());
    }
}

#[test]
fn another_number_of_workers_serves_after_a_reload() {
    let origin = Origin::named("a");
    let http = format!(
        "server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{}; }} }}",
        origin.name()
    );
    let mut balancer = Balancer::start_with(1, &http);
    let workers = |balancer: &Balancer| balancer.of_threads("worker", "Name").len();
    assert_eq!(workers(&balancer), 1);
    for count in [3, 2] {
        let mut before = balancer.client();
        assert_eq!(before.get("/").text(), "a");
        balancer.reload_with(count, &http);
        assert_eq!(before.get("/").text(), "a");
        assert!(before.is_ended(), "it has had its last request");
        for _ in 0..8 {
            assert_eq!(balancer.client().get("/").text(), "a");
        }
        let count = usize::try_from(count).unwrap();
        eventually("those before have ended", || workers(&balancer) == count);
    }
    let numbers = balancer.said().matches("start worker process 4").count();
    assert_eq!(numbers, 1 + 3 + 2, "each is told once: {}", balancer.said());
}
