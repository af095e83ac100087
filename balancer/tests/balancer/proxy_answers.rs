//! What becomes of an upstream's answer, and of the request's method and body, on their way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;

use crate::support::{Balancer, Next, Origin};

/// An origin that answers with these header lines, and the balancer before it.
fn start(head: &'static str, lines: &str) -> (Origin, Balancer) {
    let origin = Origin::start(move |seen, stream| {
        let (status, fields) = match seen.path() {
            "/plain" => ("200 OK", ""),
            _ => head.split_once('|').unwrap(),
        };
        let answer = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 2\r\n\r\nok");
        stream.write_all(answer.as_bytes()).unwrap();
        Next::Keep
    });
    let lines = lines.replace("ORIGIN", &origin.name());
    let balancer = Balancer::start(&format!("server {{ listen 127.0.0.1:PORT; {lines} }}"));
    (origin, balancer)
}

#[test]
fn a_location_is_rewritten_by_default_and_by_rules() {
    let head = "302 Found|Location: http://moved/x/y\r\n";
    let lines = "proxy_redirect http://moved/ /first/; location / { proxy_pass http://ORIGIN; } \
                 location /off/ { proxy_redirect off; proxy_pass http://ORIGIN; } \
                 location /re/ { proxy_redirect ~^http://moved/(.)/ http://$1/; proxy_pass http://ORIGIN; }";
    let (_origin, balancer) = start(head, lines);
    let mut client = balancer.client();
    assert!(client.get("/").field("Location").unwrap().ends_with("/first/x/y"));
    assert_eq!(client.get("/off/").field("Location"), Some("http://moved/x/y"));
    assert_eq!(client.get("/re/").field("Location"), Some("http://x/"));
}

#[test]
fn cookies_are_rewritten() {
    let head = "200 OK|Set-Cookie: a=1; domain=old.org; path=/p/q\r\n";
    let lines = "proxy_cookie_domain old.org new.org; proxy_cookie_path /p /n; \
                 location / { proxy_cookie_flags a secure; proxy_pass http://ORIGIN; } \
                 location /off/ { proxy_cookie_path off; proxy_pass http://ORIGIN; }";
    let (_origin, balancer) = start(head, lines);
    let mut client = balancer.client();
    let whole = "a=1; domain=new.org; path=/n/q; Secure";
    assert_eq!(client.get("/").field("Set-Cookie"), Some(whole));
    let part = "a=1; domain=new.org; path=/p/q";
    assert_eq!(client.get("/off/").field("Set-Cookie"), Some(part));
}

#[test]
fn an_error_is_intercepted_only_where_it_is_asked_for() {
    let lines = "error_page 404 =418 /page; location /page { return 200 own; } \
                 location / { proxy_pass http://ORIGIN; } \
                 location /in/ { proxy_intercept_errors on; proxy_pass http://ORIGIN; }";
    let (_origin, balancer) = start("404 Not Found|", lines);
    let mut client = balancer.client();
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(client.get("/in/").text(), "own");
    assert_eq!(client.get("/").status, 404);
    assert_eq!(client.get("/in/").status, 418);
}

#[test]
fn an_upstream_may_lead_to_another_location_within() {
    let head = "200 OK|X-Accel-Redirect: /plain\r\nSet-Cookie: a=1\r\nX-Lost: 1\r\n";
    let lines = "location = /plain { internal; return 200 within; } \
                 location / { proxy_pass http://ORIGIN; } \
                 location /ignored/ { proxy_ignore_headers X-Accel-Redirect; proxy_pass http://ORIGIN; }";
    let (_origin, balancer) = start(head, lines);
    let mut client = balancer.client();
    let led = client.post("/", "body");
    assert_eq!((led.text(), led.field("Set-Cookie")), ("within", Some("a=1")));
    assert_eq!(led.field("X-Lost"), None);
    assert_eq!(client.get("/ignored/").text(), "ok");
    assert_eq!(client.get("/plain").status, 404);
}

#[test]
fn method_and_body_are_replaced_and_the_next_request_is_read_well() {
    let lines = "location / { proxy_method PUT; proxy_set_body own$arg_a; proxy_pass http://ORIGIN; } \
                 location /bare { proxy_pass_request_body off; proxy_pass_request_headers off; \
                 proxy_set_header Content-Length \"\"; proxy_set_header X-A 1; proxy_pass http://ORIGIN; }";
    let (origin, balancer) = start("200 OK|", lines);
    let mut client = balancer.client();
    assert_eq!(client.post("/?a=1", "client").text(), "ok");
    assert_eq!(client.post("/bare", "GET / HTTP/1.1").text(), "ok");
    assert_eq!(client.get("/plain").text(), "ok");
    let seen = origin.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[0].method(), &*seen[0].body), ("PUT", b"own1".as_slice()));
    assert_eq!((seen[1].method(), seen[1].body.len()), ("POST", 0));
    assert_eq!(seen[2].method(), "PUT");
}

#[test]
fn trailers_pass_where_it_is_asked_for() {
    let origin = Origin::start(|seen, stream| {
        let lines = "X-Sum: 1\r\nX-Gone: 2\r\nX-Hop: 3\r\nContent-Length: 9\r\n";
        let body = if seen.path() == "/plain" {
            "Content-Length: 3\r\n\r\nabc".to_owned()
        } else {
            let named = "Connection: X-Hop\r\nTransfer-Encoding: chunked";
            format!("{named}\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n{lines}\r\n")
        };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{body}").as_bytes()).unwrap();
        Next::Keep
    });
    let name = origin.name();
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; proxy_hide_header X-Gone;
         location / {{ proxy_pass_trailers on; proxy_pass http://{name}; }}
         location /off {{ proxy_pass http://{name}; }} }}"
    ));
    let ask = |path: &str, version: &str| {
        let mut client = balancer.client();
        client.send(format!("GET {path} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let mut all = Vec::new();
        while !client.is_ended() {
            all.extend(client.bytes(1));
        }
        let all = String::from_utf8(all).unwrap();
        all.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert!(ask("/", "1.1").ends_with("abc\r\n0\r\nX-Sum: 1\r\n\r\n"), "{}", ask("/", "1.1"));
    assert!(ask("/plain", "1.1").ends_with("abc\r\n0\r\n\r\n"));
    assert!(ask("/off", "1.1").ends_with("abc\r\n0\r\n\r\n"));
    assert_eq!(ask("/", "1.0"), "abc");
}
