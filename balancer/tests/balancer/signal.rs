//! How the program ends, and what it finishes first.

use std::sync::Arc;

use nix::sys::signal::Signal;

use crate::support::{Balancer, Gate, Origin, eventually, text};

/// A balancer before an origin that holds requests for `/held`.
fn holding() -> (Arc<Gate>, Origin, Balancer) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |seen, stream| {
        if seen.path() == "/held" {
            held.wait();
        }
        text(stream, "done")
    });
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{}; }} }}",
        origin.name()
    ));
    (gate, origin, balancer)
}

#[test]
fn quit_finishes_what_runs_closes_what_is_idle_and_leaves() {
    for by_order in [false, true] {
        let (gate, _origin, mut balancer) = holding();
        let (mut idle, mut busy) = (balancer.client(), balancer.client());
        assert_eq!(idle.get("/").text(), "done");
        busy.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the request runs", || balancer.active() == 1);
        if by_order {
            assert!(balancer.order("quit").success());
        } else {
            balancer.signal(Signal::SIGQUIT);
        }
        assert!(idle.is_ended());
        assert!(!balancer.has_ended());
        gate.open();
        let answer = busy.answer();
        assert_eq!((answer.text(), answer.field("connection")), ("done", Some("close")));
        assert_eq!(balancer.ended().code(), Some(0));
        assert!(!balancer.pid_file().exists());
    }
}

#[test]
fn an_answer_that_waited_tells_that_the_connection_ends() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |_, stream| {
        held.wait();
        text(stream, "yes")
    });
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; location / {{ auth_request /ask; }} location = /ask {{ proxy_pass http://{}; }} }}",
        origin.name()
    ));
    let mut client = balancer.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it waits", || balancer.active() == 1);
    balancer.signal(Signal::SIGQUIT);
    eventually("it is to end", || balancer.said().contains("gracefully shutting down"));
    gate.open();
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (404, Some("close")));
}

#[test]
fn term_ends_at_once() {
    for by_order in [false, true] {
        let (gate, _origin, mut balancer) = holding();
        let mut busy = balancer.client();
        busy.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the request runs", || balancer.active() == 1);
        if by_order {
            assert!(balancer.order("stop").success());
        } else {
            balancer.signal(Signal::SIGTERM);
        }
        assert_eq!(balancer.ended().code(), Some(0));
        assert!(busy.is_ended());
        assert!(!balancer.pid_file().exists());
        gate.open();
    }
}
