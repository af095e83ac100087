//! Clients that are bound to a server.

use std::io::Write;

use crate::support::{Balancer, Next, Origin, eventually};

/// Three servers, each answering with its name; `sticky` stands in the group.
fn group(origins: &[Origin], parameters: &str, lines: &str) -> Balancer {
    let servers: String =
        origins.iter().map(|it| format!("server {}{parameters};", it.name())).collect();
    Balancer::start(&format!(
        "upstream u {{ {servers} {lines} }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}"
    ))
}

fn three() -> Vec<Origin> {
    ["a", "b", "c"].map(Origin::named).into()
}

fn get(balancer: &Balancer, path: &str, cookie: &str) -> (String, Option<String>) {
    let mut client = balancer.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"));
    let answer = client.answer();
    (answer.text().to_owned(), answer.field("set-cookie").map(str::to_owned))
}

#[test]
fn a_cookie_leads_back_to_its_server() {
    let mut origins = three();
    let balancer = group(&origins, "", "sticky cookie srv path=/ httponly;");
    let (first, cookie) = get(&balancer, "/", "");
    let cookie = cookie.unwrap();
    assert!(cookie.starts_with("srv=") && cookie.ends_with("; httponly; path=/"), "{cookie}");
    assert_eq!(cookie.len(), "srv=".len() + 32 + "; httponly; path=/".len());
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..5 {
        assert_eq!(get(&balancer, "/", pair), (first.clone(), Some(cookie.clone())));
    }
    // The others are served in turn.
    let others: Vec<_> = (0..3).map(|_| get(&balancer, "/", "srv=nobody").0).collect();
    assert!(["a", "b", "c"].iter().all(|it| others.contains(&(*it).to_owned())));
    // A server that is gone gives its clients away, and they are told.
    let at = ["a", "b", "c"].iter().position(|it| **it == first).unwrap();
    origins[at].kill();
    let (second, told) = get(&balancer, "/", pair);
    assert_ne!(second, first);
    assert_ne!(told.unwrap(), cookie);
}

#[test]
fn a_route_is_the_applications_to_name() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {} route=one; server {} route=two; sticky route $cookie_none $arg_to; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}",
        a.name(),
        b.name()
    ));
    for _ in 0..3 {
        assert_eq!(get(&balancer, "/?to=two", "x=1"), ("b".to_owned(), None));
        assert_eq!(get(&balancer, "/?to=one", "x=1").0, "a");
    }
}

#[test]
fn a_session_that_an_answer_begins_is_learned() {
    let origin = |name: &'static str| {
        Origin::start(move |seen, stream| {
            let cookie = match seen.path() {
                "/login" => format!("Set-Cookie: session={name}{}\r\n", seen.nth),
                _ => String::new(),
            };
            let head = format!("HTTP/1.1 200 OK\r\n{cookie}Content-Length: 1\r\n\r\n{name}");
            stream.write_all(head.as_bytes()).map_or(Next::Close, |()| Next::Keep)
        })
    };
    let origins = [origin("a"), origin("b")];
    let learn = "sticky learn create=$upstream_cookie_session lookup=$cookie_session zone=z:1m;";
    let balancer = group(&origins, "", learn);
    let (name, cookie) = get(&balancer, "/login", "");
    let session = cookie.unwrap();
    eventually("it is learned", || (0..4).all(|_| get(&balancer, "/", &session).0 == name));
    // What was learned outlives a reload.
    let servers: String = origins.iter().map(|it| format!("server {};", it.name())).collect();
    balancer.reload(&format!(
        "upstream u {{ {servers} {learn} }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}"
    ));
    for _ in 0..4 {
        assert_eq!(get(&balancer, "/", &session).0, name);
    }
}

#[test]
fn a_server_that_drains_serves_whom_it_is_bound_to() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {} route=one drain; server {} route=two; sticky route $arg_to; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}",
        a.name(),
        b.name()
    ));
    for _ in 0..3 {
        assert_eq!(get(&balancer, "/", "x=1").0, "b");
        assert_eq!(get(&balancer, "/?to=one", "x=1").0, "a");
    }
}
