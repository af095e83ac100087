//! `worker_connections`: who gets a place when there are few.

use std::sync::Arc;

use crate::support::{Balancer, Client, Gate, Origin, eventually, free_port, text};

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

#[test]
fn whoever_has_no_descriptor_left_blames_no_server() {
    let origins = [Origin::named("a"), Origin::named("a")];
    let [first, second] = origins.each_ref().map(Origin::name);
    let silent = Origin::raw(|mut stream| _ = std::io::copy(&mut stream, &mut std::io::sink()));
    let balancer = Balancer::start(&format!(
        "upstream u {{ keepalive 0; server {first}; server {second}; }} \
         server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} \
         location /silent {{ proxy_pass http://{}; proxy_read_timeout 3s; }} }} }} \
         worker_rlimit_nofile 128; stream {{",
        silent.name()
    ));
    let mut client = balancer.client();
    assert_eq!(client.get("/").text(), "a");
    let mut waiting = balancer.client();
    waiting.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it waits", || balancer.active() == 1);
    let idle: Vec<Client> = (0..200).map(|_| balancer.client()).collect();
    eventually("descriptors are short", || balancer.said().contains("24: Too many open files"));
    // The one that told how many requests run may have been given back since; the next client takes it.
    eventually("none is left for a server", || client.get("/").status == 500);
    // It tries again each half second, and says so once, and again after each client that it took
    // in the place of one that has ended.
    assert_eq!(waiting.answer().status, 504);
    let told = balancer.said().matches("accept4() failed").count();
    assert!(told <= 3, "{}", balancer.said());
    drop(idle);
    eventually("it serves again", || balancer.client().get("/").status == 200);
    let text = "socket() failed (24: Too many open files) while connecting to upstream";
    let said = balancer.said();
    assert!(said.contains(text) && !said.contains("temporarily disabled"), "{said}");
    let label = |of: &Origin| format!("server=\"{}\"", of.name());
    for origin in &origins {
        let labels = [label(origin), "state=\"up\"".to_owned()];
        let labels = labels.each_ref().map(String::as_str);
        assert_eq!(balancer.metric("balancer_upstream_server_state", &labels), Some(1));
        let failures = "balancer_upstream_server_failures_total";
        assert_eq!(balancer.metric(failures, &[&label(origin)]), Some(0));
    }
}

#[test]
fn a_session_without_a_descriptor_blames_no_server() {
    let origins = [Origin::named("a"), Origin::named("a")];
    let [first, second] = origins.each_ref().map(Origin::name);
    let sessions = free_port();
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; return 200 a; }} }} worker_rlimit_nofile 128; \
         stream {{ upstream u {{ server {first}; server {second}; }} \
         server {{ listen 127.0.0.1:{sessions}; proxy_pass u; }}"
    ));
    let text = "socket() failed (24: Too many open files) while connecting to upstream";
    let short = || balancer.said().matches("failed (24: Too many open files)").count();
    // A session takes two: whether the last descriptor goes to a client or to its server depends on
    // how many are open besides.
    for besides in 0..2 {
        let _besides: Vec<Client> = (0..besides).map(|_| balancer.client()).collect();
        let before = short();
        let _sessions: Vec<Client> = (0..100).map(|_| Client::to(sessions)).collect();
        eventually("descriptors are short", || before < short());
    }
    eventually("sessions are served again", || {
        let mut client = Client::to(sessions);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.try_answer().is_some_and(|it| it.text() == "a")
    });
    let said = balancer.said();
    assert!(said.contains(text) && !said.contains("temporarily disabled"), "{said}");
}
