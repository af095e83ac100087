//! A reload loses nothing, and one that is refused changes nothing.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::support::{Balancer, Gate, Origin, eventually, free_port, text};

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
    assert_eq!(crate::support::Client::to(port).get("/").text(), "a");
    balancer.reload(&serving("", &origin, ""));
    eventually("the port is closed", || TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(balancer.client().get("/").text(), "a");
}
