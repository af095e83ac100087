//! `worker_connections`: who gets a place when there are few.

use std::sync::Arc;

use crate::support::{Balancer, Client, Gate, Origin, eventually, text};

/// The harness asks the admin listener, whose connections are not counted.
fn few(most: u32, http: &str) -> String {
    format!("{http} }} events {{ worker_connections {most}; }} stream {{")
}

fn start(most: u32, http: &str) -> Balancer {
    Balancer::start(&few(most, http))
}

#[test]
fn a_client_that_comes_takes_the_place_of_the_one_that_was_idle_longest() {
    let balancer = start(4, "server { listen 127.0.0.1:PORT; return 200 a; }");
    let mut clients: Vec<Client> = (0..4).map(|_| balancer.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "a");
    }
    assert_eq!(balancer.client().get("/").text(), "a");
    assert!(clients.remove(0).is_ended());
    for mut client in clients {
        assert_eq!(client.get("/").text(), "a");
    }
    eventually("it is told", || {
        balancer.said().contains("[warn] ")
            && balancer.said().contains("4 worker_connections are not enough, reusing connections")
    });
    assert!(!balancer.said().contains("[alert]"));
}

#[test]
fn a_client_without_a_place_is_refused_and_the_others_are_not_harmed() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |_, stream| {
        held.wait();
        text(stream, "a")
    });
    let balancer = start(
        4,
        &format!(
            "server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{}; }} }}",
            origin.name()
        ),
    );
    let mut busy = [balancer.client(), balancer.client()];
    for client in &mut busy {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    eventually("both run", || balancer.active() == 2);
    for _ in 0..3 {
        assert!(balancer.client().is_ended());
    }
    eventually("it is told", || {
        balancer.said().contains("[alert] ")
            && balancer.said().contains("4 worker_connections are not enough\n")
    });
    gate.open();
    for client in &mut busy {
        assert_eq!(client.answer().text(), "a");
        assert!(client.is_ended());
    }
    eventually("there is a place again", || {
        let mut client = balancer.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_answer().is_some_and(|it| it.text() == "a")
    });
}
