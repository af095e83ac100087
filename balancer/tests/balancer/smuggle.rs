//! Requests that two readers could read differently are refused, and no server sees them.

use crate::support::{Balancer, Origin};

fn guarded() -> (Origin, Balancer) {
    let origin = Origin::named("reached");
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{}; }} }}",
        origin.name()
    ));
    (origin, balancer)
}

#[test]
fn ambiguous_requests_are_refused_and_reach_nobody() {
    let (origin, balancer) = guarded();
    let post = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}");
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n".to_owned(), 400),
        ("GET /../x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        (post("Content-Length: +3\r\n\r\nabc"), 400),
        (post("Content-Length: 3, 3\r\n\r\nabc"), 400),
        (post("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400),
        (post("Content-Length: 99999999999999999999\r\n\r\n"), 400),
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
        (post("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        (post("Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n"), 400),
    ] {
        let mut client = balancer.client();
        // What follows must not be taken for a request of its own.
        client.send(format!("{request}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{request:?}");
        if status == 400 || status == 501 {
            assert_eq!(answer.field("connection"), Some("close"), "{request:?}");
            assert!(client.is_ended(), "{request:?}");
        }
        let reached = origin.seen();
        assert!(reached.is_empty(), "{request:?}: {reached:?}");
    }
}

#[test]
fn what_is_merely_odd_goes_on_in_clean_form() {
    let (origin, balancer) = guarded();
    let mut client = balancer.client();
    client.send("\r\nGET /odd HTTP/1.1\nHost: a\nX:   b  \n\n");
    assert_eq!(client.answer().status, 200);
    client.send("GET http://other/absolute HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let host = origin.name();
    let heads: Vec<_> = origin.seen().into_iter().map(|it| it.head).collect();
    let expected = [
        format!("GET /odd HTTP/1.1\r\nHost: {host}\r\nX: b\r\n\r\n"),
        format!("GET /absolute HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ];
    assert_eq!(heads, expected);
}
