//! When another server is tried, when it must not be, and who is blamed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Balancer, Next, Origin, eventually, free_port, text};

/// Two servers; `lines` stand in the location.
fn pair(first: &str, second: &str, lines: &str) -> Balancer {
    Balancer::start(&format!(
        "upstream u {{ server {first}; server {second}; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; {lines} }} }}"
    ))
}

fn failures(balancer: &Balancer, reason: &str) -> u64 {
    let label = format!("reason=\"{reason}\"");
    balancer.metric("balancer_upstream_server_failures_total", &[&label]).unwrap()
}

/// Takes a request and resets the connection before a byte of the answer.
fn resetting() -> Origin {
    Origin::start(|_, _| Next::Reset)
}

#[test]
fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    for method in ["GET", "POST"] {
        let good = Origin::named("good");
        let balancer = pair(&format!("127.0.0.1:{}", free_port()), &good.name(), "");
        let mut client = balancer.client();
        for _ in 0..4 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
            assert_eq!(client.answer().text(), "good", "{method}");
        }
        // After one failure the server is left out.
        assert_eq!(failures(&balancer, "connect"), 1, "{method}");
        assert_eq!(balancer.metric("balancer_retries_total", &[]), Some(1));
        eventually("no request counts", || balancer.active() == 0);
    }
}

#[test]
fn a_reset_before_the_answer_is_tried_elsewhere_but_for_a_post() {
    let (bad, good) = (resetting(), Origin::named("good"));
    let balancer = pair(&bad.name(), &good.name(), "");
    assert_eq!(balancer.client().get("/").text(), "good");
    assert_eq!(failures(&balancer, "reset"), 1);
    let (bad, good) = (resetting(), Origin::named("good"));
    let balancer = pair(&bad.name(), &good.name(), "");
    assert_eq!(balancer.client().post("/", "order").status, 502);
    assert_eq!((bad.seen().len(), good.seen().len()), (1, 0));
    eventually("no request counts", || balancer.active() == 0);
}

#[test]
fn a_post_is_sent_again_where_the_configuration_says_so() {
    let (bad, good) = (resetting(), Origin::named("good"));
    let lines = "proxy_next_upstream error timeout non_idempotent;";
    let balancer = pair(&bad.name(), &good.name(), lines);
    assert_eq!(balancer.client().post("/", "order").text(), "good");
    assert_eq!(good.seen()[0].body, b"order");
}

#[test]
fn nothing_is_tried_again_where_it_is_off() {
    let good = Origin::named("good");
    let dead = format!("127.0.0.1:{}", free_port());
    let balancer = pair(&dead, &good.name(), "proxy_next_upstream off;");
    assert_eq!(balancer.client().get("/").status, 502);
    assert_eq!(good.seen().len(), 0);
}

#[test]
fn a_server_that_is_silent_is_left_for_another() {
    let silent = Origin::raw(|mut stream| {
        // Reads until the balancer ends the connection.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let good = Origin::named("good");
    let balancer = pair(&silent.name(), &good.name(), "proxy_read_timeout 100ms;");
    assert_eq!(balancer.client().get("/").text(), "good");
    assert_eq!(failures(&balancer, "timeout"), 1);
    eventually("the silent connection is closed", || silent.ended() == 1);
    // A POST may have been done: it is not sent twice.
    let balancer = pair(&silent.name(), &good.name(), "proxy_read_timeout 100ms;");
    assert_eq!(balancer.client().post("/", "order").status, 504);
    assert_eq!(good.seen().len(), 1);
}

#[test]
fn a_status_is_tried_elsewhere_only_when_it_is_named() {
    let busy = || {
        Origin::start(|_, stream| {
            let head = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
            stream.write_all(head.as_bytes()).unwrap();
            Next::Keep
        })
    };
    let (bad, good) = (busy(), Origin::named("good"));
    let balancer = pair(&bad.name(), &good.name(), "proxy_next_upstream error http_503;");
    assert_eq!(balancer.client().get("/").text(), "good");
    assert_eq!(failures(&balancer, "status"), 1);
    let balancer = pair(&bad.name(), &good.name(), "");
    assert_eq!(balancer.client().get("/").text(), "busy");
    // The answer of the last server is passed on whatever it is.
    let other = busy();
    let balancer = pair(&bad.name(), &other.name(), "proxy_next_upstream error http_503;");
    let answer = balancer.client().get("/");
    assert_eq!((answer.status, answer.text()), (503, "busy"));
    eventually("no request counts", || balancer.active() == 0);
}

#[test]
fn an_answer_that_cannot_be_read_is_the_server_s_fault() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let origin = Origin::start(move |_, stream| {
            stream.write_all(answer.as_bytes()).unwrap();
            Next::Close
        });
        let balancer = pair(&origin.name(), &format!("{} down", origin.name()), "");
        assert_eq!(balancer.client().get("/").status, 502, "{answer:?}");
        assert_eq!(failures(&balancer, "invalid"), 1, "{answer:?}");
    }
}

#[test]
fn a_stale_idle_connection_is_replaced_and_nobody_is_blamed() {
    // Each connection dies with the second request on it, before a byte of the answer.
    let origin = Origin::start(|seen, stream| match seen.nth {
        0 => text(stream, "fresh"),
        _ => Next::Reset,
    });
    let other = Origin::named("other");
    let balancer = pair(&origin.name(), &format!("{} backup", other.name()), "");
    let mut client = balancer.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "fresh");
    }
    let label = format!("server=\"{}\"", origin.name());
    let of = |state: &str| {
        let state = format!("state=\"{state}\"");
        balancer.metric("balancer_upstream_server_state", &[&label, &state])
    };
    assert_eq!((of("up"), of("unavail")), (Some(1), Some(0)));
    // A POST may have been done before the connection died.
    assert_eq!(client.post("/", "order").status, 502);
    let orders = origin.seen().iter().filter(|it| it.method() == "POST").count();
    assert_eq!((orders, other.seen().len()), (1, 0));
    assert_eq!(of("up"), Some(1));
    assert_eq!(client.get("/").text(), "fresh");
}

#[test]
fn all_servers_down_is_told_at_once_and_ends_with_the_first_that_is_back() {
    let (first, second) = (free_port(), free_port());
    let lines = "max_fails=1 fail_timeout=1s";
    let balancer =
        pair(&format!("127.0.0.1:{first} {lines}"), &format!("127.0.0.1:{second} {lines}"), "");
    let mut client = balancer.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 502);
    }
    // Both were tried once, then nobody was left to ask.
    assert_eq!(failures(&balancer, "connect"), 2);
    let _back = Origin::at(second, |_, stream| text(stream, "back"));
    eventually("the server is asked again", || balancer.client().get("/").status == 200);
    eventually("no request counts", || balancer.active() == 0);
}

#[test]
fn a_backup_serves_only_while_the_others_cannot() {
    let mut first = Origin::named("first");
    let spare = Origin::named("spare");
    let balancer =
        pair(&format!("{} fail_timeout=1s", first.name()), &format!("{} backup", spare.name()), "");
    let mut client = balancer.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "first");
    }
    let port = first.port;
    first.kill();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "spare");
    }
    let _again = Origin::at(port, |_, stream| text(stream, "again"));
    eventually("the first serves again", || balancer.client().get("/").text() == "again");
}

#[test]
fn a_server_is_left_out_only_after_as_many_failures_as_it_may_have() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let bad = Origin::start(move |_, stream| {
        if failing.load(Ordering::SeqCst) { Next::Reset } else { text(stream, "healed") }
    });
    let good = Origin::named("good");
    let balancer = pair(&format!("{} max_fails=3 fail_timeout=2s", bad.name()), &good.name(), "");
    let mut client = balancer.client();
    for _ in 0..12 {
        assert_eq!(client.get("/").text(), "good");
    }
    assert_eq!(bad.seen().len(), 3);
    fails.store(false, Ordering::SeqCst);
    eventually("the server is asked again", || balancer.client().get("/").text() == "healed");
}
