//! Bodies that are refused or lost: who answers then is told of none.

use std::io::Read;
use std::net::Shutdown;

use crate::support::{Answer, Balancer, Origin, text};

/// A server that ends each connection with its first byte, one whose answer is "none" unless a
/// body came along, and a balancer between them.
fn led(lines: &str, request: &str) -> Answer {
    let bad = Origin::raw(|mut stream| {
        let _ = stream.read(&mut [0]);
        let _ = stream.shutdown(Shutdown::Both);
    });
    let page = Origin::start(|seen, stream| {
        let has_body = !seen.body.is_empty() || seen.head.contains("Content-Length");
        text(stream, if has_body { "body" } else { "none" })
    });
    let balancer = Balancer::start(&format!(
        "error_page 400 413 502 /page; server {{ listen 127.0.0.1:PORT; client_max_body_size 4; \
         location / {{ proxy_pass http://{}; {lines} }} \
         location /page {{ add_header X-Told \"[$content_length][$request_body]\" always; \
         proxy_pass http://{}; }} }}",
        bad.name(),
        page.name(),
    ));
    let mut client = balancer.client();
    let answer = client.send(request.replace('|', "\r\n")).answer();
    assert!(client.is_ended(), "{request}");
    answer
}

#[track_caller]
fn check(status: u16, lines: &str, request: &str) {
    let answer = led(lines, request);
    assert_eq!((answer.status, answer.text()), (status, "none"), "{lines} {request}");
    assert_eq!(answer.field("x-told"), Some("[][]"), "{lines} {request}");
}

#[test]
fn a_body_that_is_too_large_is_not_passed_to_the_page_that_tells_of_it() {
    check(413, "", "POST / HTTP/1.1|Host: a|Content-Length: 5||12345");
    // It never comes.
    check(413, "", "POST / HTTP/1.1|Host: a|Content-Length: 5000||");
    check(413, "", "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|12345|0||");
    check(413, "", "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|123|ffff|4");
}

#[test]
fn a_body_that_cannot_be_read_is_none() {
    check(400, "", "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||1|X|X|");
    let both = "POST / HTTP/1.1|Host: a|Content-Length: 1|Transfer-Encoding: chunked||0||";
    check(400, "", both);
}

#[test]
fn a_body_that_was_passed_on_as_it_came_is_gone() {
    let lines = "proxy_request_buffering off; client_max_body_size 0;";
    check(502, lines, "POST / HTTP/1.1|Host: a|Content-Length: 5000||12345");
    check(502, lines, "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||ffff|12345");
}
