//! Are servers checked in the background as `health_check` says, and what becomes of those that do
//! not pass?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::stream::{connect, rest, start as start_stream};
use crate::support::{Balancer, Next, Origin, eventually, free_port, text};

/// Answers requests with its name, and checks of `/health` with the status it is told.
fn checked(name: &'static str) -> (Origin, Arc<AtomicUsize>) {
    let status = Arc::new(AtomicUsize::new(200));
    let told = Arc::clone(&status);
    let origin = Origin::start(move |seen, stream| {
        if seen.path() != "/health" {
            return text(stream, name);
        }
        let status = told.load(Ordering::SeqCst);
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 2\r\nA: b\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).is_ok() { Next::Keep } else { Next::Close }
    });
    (origin, status)
}

/// What an operator writes; `lines` stand in `http`, `check` behind the name of the directive.
fn configuration(origins: &[&Origin], lines: &str, check: &str) -> String {
    let servers: Vec<_> = origins.iter().map(|it| format!("server {};", it.name())).collect();
    let servers = servers.join(" ");
    format!(
        "{lines} upstream u {{ {servers} }} server {{ listen 127.0.0.1:PORT; location / {{ \
         proxy_pass http://u; health_check {check}; }} }}"
    )
}

fn peer(balancer: &Balancer, number: usize) -> Value {
    let answer = balancer.admin().get("/api/9/http/upstreams/u");
    let group: Value = serde_json::from_slice(&answer.body).unwrap();
    group["peers"][number].clone()
}

fn state(balancer: &Balancer, number: usize) -> String {
    peer(balancer, number)["state"].as_str().unwrap().to_owned()
}

fn results(balancer: &Balancer, result: &str) -> u64 {
    let label = format!("result=\"{result}\"");
    balancer.metric("balancer_health_checks_total", &[&label]).unwrap()
}

#[test]
fn a_server_that_does_not_pass_gets_no_request_until_it_passes_again() {
    let (one, status) = checked("one");
    let (two, _) = checked("two");
    let check = "uri=/health interval=50ms";
    let balancer = Balancer::start(&configuration(&[&one, &two], "", check));
    eventually("both are checked", || 2 <= results(&balancer, "passed"));
    status.store(503, Ordering::SeqCst);
    eventually("the first is out", || state(&balancer, 0) == "unhealthy");
    let mut client = balancer.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "two");
    }
    let checks = peer(&balancer, 0)["health_checks"].clone();
    assert_eq!((&checks["unhealthy"], &checks["last_passed"]), (&json!(1), &json!(false)));
    let labels = ["state=\"unhealthy\"", &format!("server=\"{}\"", one.name())];
    assert_eq!(balancer.metric("balancer_upstream_server_state", &labels), Some(1));
    assert!(0 < results(&balancer, "failed"));
    eventually("it is told", || {
        let told = "peer is unhealthy while checking status code (upstream answered 503), \
                    health check \"/health\" of peer ";
        balancer.said().contains(told)
    });
    status.store(302, Ordering::SeqCst);
    eventually("the first is back", || state(&balancer, 0) == "up");
    eventually("it serves", || client.get("/").text() == "one");
    assert!(peer(&balancer, 0)["downtime"].as_u64() > Some(0));
}

#[test]
fn an_answer_passes_when_it_is_as_its_match_block_says() {
    let (origin, status) = checked("one");
    let block = "match good { status 200-299; header A = b; header ! Refresh; body ~ \"^ok$\"; \
                 require $upstream_http_a; }";
    let check = "uri=/health interval=50ms match=good mandatory";
    let balancer = Balancer::start(&configuration(&[&origin], block, check));
    eventually("it is up", || state(&balancer, 0) == "up");
    status.store(302, Ordering::SeqCst);
    eventually("it is out", || state(&balancer, 0) == "unhealthy");
    // nginx has no exception for a group of one.
    assert_eq!(balancer.client().get("/").status, 502);
    let heads = origin.seen();
    let head = &heads.iter().find(|it| it.path() == "/health").unwrap().head;
    assert!(head.contains("\r\nHost: u\r\n") && head.contains(" (health check)\r\n"), "{head}");
}

#[test]
fn a_mandatory_check_keeps_requests_away_until_it_has_passed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = silent.local_addr().unwrap();
    let (spare, _) = checked("spare");
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {name}; server {} backup; }} server {{ listen 127.0.0.1:PORT; \
         location / {{ proxy_pass http://u; health_check uri=/health mandatory; }} }}",
        spare.name()
    ));
    assert_eq!(state(&balancer, 0), "checking");
    eventually("the other has passed", || state(&balancer, 1) == "up");
    assert_eq!(balancer.client().get("/").text(), "spare");
    assert_eq!(state(&balancer, 0), "checking");
}

#[test]
fn what_a_check_has_found_outlives_a_reload_and_ends_with_the_check() {
    let (one, status) = checked("one");
    let (two, _) = checked("two");
    status.store(500, Ordering::SeqCst);
    let check = "uri=/health interval=1h";
    let balancer = Balancer::start(&configuration(&[&one, &two], "", check));
    eventually("the first is out", || state(&balancer, 0) == "unhealthy");
    eventually("the second is checked", || results(&balancer, "passed") == 1);
    balancer.reload(&configuration(&[&one, &two], "client_max_body_size 2m;", check));
    assert_eq!(state(&balancer, 0), "unhealthy");
    for _ in 0..4 {
        assert_eq!(balancer.client().get("/").text(), "two");
    }
    // The next check of either is due in an hour.
    assert_eq!((results(&balancer, "passed"), results(&balancer, "failed")), (1, 1));
    let without =
        configuration(&[&one, &two], "", check).replace(&format!("health_check {check};"), "");
    balancer.reload(&without);
    assert_eq!(state(&balancer, 0), "up");
    assert_eq!(balancer.metric("balancer_health_checks_total", &[]), None);
    eventually("it serves", || balancer.client().get("/").text() == "one");
}

#[test]
fn a_check_that_passes_ends_what_fail_timeout_began() {
    let port = free_port();
    let balancer = Balancer::start(&format!(
        "upstream u {{ server 127.0.0.1:{port} fail_timeout=1h; server 127.0.0.1:{} \
         fail_timeout=1h; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; \
         health_check type=tcp interval=100ms; }} }}",
        free_port()
    ));
    eventually("all are down", || balancer.client().get("/").status == 502);
    let _back = Origin::at(port, |_, stream| text(stream, "back"));
    eventually("it serves", || balancer.client().get("/").status == 200);
    assert_eq!(state(&balancer, 0), "up");
}

#[test]
fn a_connection_serves_check_after_check_where_it_may() {
    let (origin, _) = checked("one");
    let check = "uri=/health interval=20ms keepalive_time=1h";
    let balancer = Balancer::start(&configuration(&[&origin], "", check));
    eventually("it is checked", || 5 <= results(&balancer, "passed"));
    assert_eq!(origin.opened(), 1);
}

#[test]
fn servers_of_sessions_are_checked_by_what_they_say() {
    let origin = Origin::start(|seen, stream| match seen.path() {
        "/ping" => text(stream, "pong"),
        _ => Next::Close,
    });
    let other = Origin::start(|seen, stream| match seen.path() {
        "/ping" => text(stream, "busy"),
        _ => text(stream, "wrong"),
    });
    let balancer = start_stream(&format!(
        "match m {{ send \"GET /ping HTTP/1.1\\r\\nHost: a\\r\\n\\x0d\\x0a\"; expect ~ \"pong\"; }} \
         upstream u {{ server {}; server {}; }} server {{ listen 127.0.0.1:PORT; proxy_pass u; \
         health_check_timeout 500ms; health_check interval=50ms match=m; }}",
        other.name(),
        origin.name(),
    ));
    eventually("one is out", || {
        balancer.metric("balancer_upstream_server_state", &["state=\"unhealthy\""]) == Some(1)
    });
    for _ in 0..4 {
        let mut session = connect(balancer.port);
        session.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(rest(&session), "");
    }
    eventually("it is told", || {
        balancer.said().contains("peer is unhealthy while reading response header from upstream")
    });
}
