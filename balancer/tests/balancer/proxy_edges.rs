//! Answers without a head, hints before one, connections from a certain address.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use crate::support::{Balancer, Gate, Next, Origin, eventually, text};

fn location(origin: &Origin, lines: &str) -> Balancer {
    Balancer::start(&format!(
        "log_format l '$status $upstream_status $upstream_addr $upstream_bytes_received'; server {{ listen 127.0.0.1:PORT; access_log access.log l; location / {{ proxy_pass http://{}; {lines} }} }}",
        origin.name()
    ))
}

fn saying(answer: &'static str) -> Origin {
    Origin::start(move |_, stream| {
        stream.write_all(answer.as_bytes()).unwrap();
        Next::Close
    })
}

fn all(balancer: &Balancer, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", balancer.port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn an_answer_without_a_head_is_passed_as_it_is() {
    let origin = saying("no head\nat all");
    let balancer = location(&origin, "");
    assert_eq!(all(&balancer, GET), "no head\nat all");
    eventually("it is told", || balancer.said().contains("upstream sent no valid HTTP/1.0 header"));
    let line = format!("009 200 {} 14\n", origin.name());
    eventually("it is logged", || balancer.file("access.log") == line);
}

#[test]
fn an_answer_that_ends_with_its_connection_may_end_at_once() {
    let origin = saying("HTTP/1.0 200 OK\r\n\r\nall of it");
    let balancer = location(&origin, "");
    for _ in 0..50 {
        assert_eq!(balancer.client().get("/").text(), "all of it");
    }
    assert!(!balancer.said().contains("panicked"));
}

#[test]
fn an_answer_behind_which_the_connection_ends_comes_whole() {
    let origin = Origin::start(|seen, stream| {
        let length = seen.path().trim_start_matches('/').parse().unwrap();
        text(stream, &"x".repeat(length))
    });
    let balancer = location(&origin, "keepalive_requests 1;");
    for length in [1, 5_000, 3_000_000] {
        let mut stream = TcpStream::connect(("127.0.0.1", balancer.port)).unwrap();
        // What comes behind the request nobody reads.
        let request = format!("GET /{length} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A connection may be reset behind the answer, of which nothing may be missing.
        let _ = stream.read_to_end(&mut answer);
        let head = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        assert_eq!(answer.len() - head - 4, length);
    }
}

#[test]
fn more_than_was_announced_is_cut_and_told() {
    let origin = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabcd");
    let balancer = location(&origin, "");
    assert_eq!(balancer.client().get("/").text(), "ab");
    let text = "[warn]";
    eventually("it is told", || {
        let said = balancer.said();
        said.contains(text)
            && said.contains("upstream sent more data than specified in \"Content-Length\" header")
    });
}

#[test]
fn connections_come_from_where_they_are_told_to() {
    let origin = Origin::start(|_, stream| {
        let from = stream.peer_addr().unwrap().ip().to_string();
        text(stream, &from)
    });
    let balancer = location(&origin, "proxy_bind 127.0.0.7; proxy_socket_keepalive on;");
    assert_eq!(balancer.client().get("/").text(), "127.0.0.7");
    let balancer = location(&origin, "proxy_bind $arg_from; proxy_socket_rcvbuf 64k;");
    assert_eq!(balancer.client().get("/?from=127.0.0.8").text(), "127.0.0.8");
    assert_eq!(balancer.client().get("/").text(), "127.0.0.1");
    assert_eq!(balancer.client().get("/?from=x").text(), "127.0.0.1");
    eventually("it is told", || balancer.said().contains("invalid local address \"x\""));
}

#[test]
fn early_hints_are_passed_on_where_a_condition_holds() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |seen, stream| {
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Pad: 1\r\n\r\n";
        stream.write_all(hint.as_bytes()).unwrap();
        if seen.path() == "/hinted" {
            held.wait();
        }
        text(stream, "done")
    });
    let balancer = location(&origin, "early_hints $arg_none $http_x_wants;");
    let mut client = balancer.client();
    client.send("GET /hinted HTTP/1.1\r\nHost: a\r\nX-Wants: 1\r\n\r\n");
    let hint = client.answer();
    assert_eq!(hint.head, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    gate.open();
    assert_eq!(client.answer().text(), "done");
    assert_eq!(client.get("/plain").text(), "done");
}

#[test]
fn attempts_of_another_pass_stand_apart() {
    let (bad, good) =
        (saying("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), Origin::named("good"));
    let balancer = Balancer::start(&format!(
        "log_format l '$upstream_addr|$upstream_status'; server {{ listen 127.0.0.1:PORT; access_log access.log l; location / {{ proxy_pass http://{}; proxy_intercept_errors on; error_page 500 = @next; }} location @next {{ proxy_pass http://{}; }} }}",
        bad.name(),
        good.name()
    ));
    assert_eq!(balancer.client().get("/").text(), "good");
    let line = format!("{} : {}|500 : 200\n", bad.name(), good.name());
    eventually("it is logged", || balancer.file("access.log") == line);
}

#[test]
fn a_status_that_counts_as_a_failure_is_kept_in_the_list() {
    let bad = saying("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    let good = Origin::named("good");
    let balancer = Balancer::start(&format!(
        "log_format l '$upstream_status|$status'; upstream u {{ server {}; server {}; }} server {{ listen 127.0.0.1:PORT; access_log access.log l; location / {{ proxy_pass http://u; proxy_next_upstream http_503; }} }}",
        bad.name(),
        good.name()
    ));
    assert_eq!(balancer.client().get("/").text(), "good");
    eventually("it is logged", || balancer.file("access.log") == "503, 200|200\n");
    // Only that the server is out is told.
    eventually("it is told", || balancer.said().contains("upstream server temporarily disabled"));
    assert!(!balancer.said().contains("[error]"));
}
