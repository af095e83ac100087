//! Does a group change while it serves, for whoever knows the token, and for nobody else?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Balancer, Origin, TOKEN, eventually, free_port, text};

const SERVERS: &str = "/api/9/http/upstreams/shop/servers";

/// Status, head and JSON of the answer to a request that tells a token.
fn ask(
    balancer: &Balancer,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> (u16, String, Value) {
    let mut admin = balancer.admin();
    let length = body.len();
    admin.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\n{token}Content-Length: {length}\r\n\r\n{body}"
    ));
    let answer = admin.answer();
    (answer.status, answer.head.clone(), serde_json::from_slice(&answer.body).unwrap())
}

/// Status and JSON of the answer to a request of somebody who knows the token.
pub(crate) fn tell(balancer: &Balancer, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let (status, _, value) = ask(balancer, method, path, &token, &body.to_string());
    (status, value)
}

/// One that answers with its own number.
fn origin(number: usize) -> Origin {
    Origin::start(move |_, out| text(out, &number.to_string()))
}

fn start(origin: &Origin) -> Balancer {
    Balancer::start_changeable(&format!(
        "upstream shop {{ server 127.0.0.1:{}; }} \
         server {{ listen PORT; location / {{ proxy_pass http://shop; }} }}",
        origin.port
    ))
}

/// Who answers, of so many requests.
fn served(balancer: &Balancer, requests: usize) -> BTreeSet<String> {
    let mut client = balancer.client();
    (0..requests).map(|_| client.get("/").text().to_owned()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

#[test]
fn servers_come_drain_and_go_and_no_request_is_lost() {
    let origins = [origin(0), origin(1)];
    let balancer = start(&origins[0]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut client = balancer.client();
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.get("/").status, 200);
            }
        });
        let asked = json!({"server": format!("127.0.0.1:{}", origins[1].port), "weight": 2, "max_fails": 0});
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        let (status, head, added) = ask(&balancer, "POST", SERVERS, &token, &asked.to_string());
        let id = added["id"].as_u64().unwrap();
        assert_eq!((status, &added["weight"], &added["max_fails"]), (201, &json!(2), &json!(0)));
        assert!(head.to_lowercase().contains(&format!("location: {SERVERS}/{id}\r\n")), "{head}");
        assert_eq!(served(&balancer, 9), names(&["0", "1"]));

        let path = format!("{SERVERS}/{id}");
        let (status, changed) = tell(&balancer, "PATCH", &path, &json!({"drain": true}));
        assert_eq!((status, &changed["drain"]), (200, &json!(true)));
        assert_eq!(served(&balancer, 9), names(&["0"]));
        tell(&balancer, "PATCH", &path, &json!({"drain": false}));
        assert_eq!(served(&balancer, 9), names(&["0", "1"]));

        let first = balancer.admin().get(SERVERS);
        let first: Value = serde_json::from_slice(&first.body).unwrap();
        let first = format!("{SERVERS}/{}", first[0]["id"]);
        let (status, left) = tell(&balancer, "DELETE", &first, &json!({}));
        assert_eq!((status, left.as_array().unwrap().len()), (200, 1), "{left}");
        assert_eq!(served(&balancer, 9), names(&["1"]));
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
    eventually("nothing is in progress", || balancer.active() == 0);
}

#[test]
fn another_policy_takes_over_and_its_key_is_compiled() {
    let origins = [origin(0), origin(1)];
    let balancer = start(&origins[0]);
    tell(&balancer, "POST", SERVERS, &json!({"server": format!("127.0.0.1:{}", origins[1].port)}));
    let group = "/api/9/http/upstreams/shop";
    for (policy, id) in [
        ("hash $request_uri consistent", "nginx-ketama"),
        ("least_conn", "nginx-least-conn"),
        ("round_robin", "nginx-rr"),
    ] {
        let (status, shown) = tell(&balancer, "PATCH", group, &json!({"policy": policy}));
        assert_eq!((status, &shown["policy"]), (200, &json!(id)), "{shown}");
        let label = format!("policy=\"{id}\"");
        assert_eq!(balancer.metric("balancer_upstream_policy_info", &[&label]), Some(1));
        if policy.starts_with("hash") {
            assert_eq!(served(&balancer, 9).len(), 1);
        }
    }
    let (status, told) = tell(&balancer, "PATCH", group, &json!({"policy": "nope"}));
    assert_eq!((status, &told["error"]["code"]), (400, &json!("UpstreamBadPolicy")));
    let (status, told) = tell(&balancer, "PATCH", group, &json!({"policy": "hash $nope"}));
    assert_eq!((status, &told["error"]["code"]), (400, &json!("UpstreamBadPolicy")));
    assert_eq!(served(&balancer, 9), names(&["0", "1"]));
}

#[test]
fn whoever_does_not_know_the_token_changes_nothing() {
    let origin = origin(0);
    let balancer = start(&origin);
    let body = json!({"server": format!("127.0.0.1:{}", free_port())}).to_string();
    let (status, head, _) = ask(&balancer, "POST", SERVERS, "", &body);
    assert_eq!(status, 401);
    assert!(head.to_lowercase().contains("www-authenticate: bearer"), "{head}");
    for token in ["nobody-guesses-thi", "nobody-guesses-this2", "x"] {
        let token = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(ask(&balancer, "POST", SERVERS, &token, &body).0, 403);
        assert_eq!(ask(&balancer, "DELETE", &format!("{SERVERS}/1"), &token, "").0, 403);
    }
    assert_eq!(served(&balancer, 3), names(&["0"]));
    let page = balancer.admin().get("/");
    for text in [page.text(), &balancer.said()] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    let quiet = Balancer::start(&format!(
        "upstream shop {{ server 127.0.0.1:{}; }} server {{ listen PORT; }}",
        origin.port
    ));
    let (status, told) = tell(&quiet, "POST", SERVERS, &json!({}));
    assert_eq!((status, &told["error"]["code"]), (405, &json!("MethodDisabled")));
    assert!(!quiet.admin().get("/").text().contains("<button"));
}

#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    #[track_caller]
    fn check(balancer: &Balancer, method: &str, path: &str, body: &Value, status: u16, code: &str) {
        let (found, told) = tell(balancer, method, path, body);
        assert_eq!((found, &told["error"]["code"]), (status, &json!(code)), "{body}: {told}");
    }
    let origin = origin(0);
    let balancer = start(&origin);
    let here = format!("127.0.0.1:{}", origin.port);
    let check = |method: &str, path: &str, body: Value, status, code: &str| {
        check(&balancer, method, path, &body, status, code);
    };
    check("POST", SERVERS, json!({"server": here}), 409, "EntryExists");
    check("POST", SERVERS, json!({"server": "name.test:80"}), 400, "UpstreamBadAddress");
    check("POST", SERVERS, json!("x".repeat(20_000)), 400, "BodyReadError");
    check("POST", "/api/9/http/upstreams/x/servers", json!({}), 404, "UpstreamNotFound");
    check("POST", "/api/8/http/upstreams/shop/servers", json!({}), 404, "UnknownVersion");
    check("DELETE", "/api/9/http/upstreams/shop", json!({}), 405, "MethodDisabled");
    check("PATCH", &format!("{SERVERS}/x"), json!({}), 400, "UpstreamBadServerId");
    check("PATCH", &format!("{SERVERS}/999"), json!({}), 404, "UpstreamServerNotFound");
    let listed: Value = serde_json::from_slice(&balancer.admin().get(SERVERS).body).unwrap();
    let first = format!("{SERVERS}/{}", listed[0]["id"]);
    check("PATCH", &first, json!({"server": here}), 400, "UpstreamServerImmutable");
    let after: Value = serde_json::from_slice(&balancer.admin().get(SERVERS).body).unwrap();
    assert_eq!(after, listed);
    assert_eq!(served(&balancer, 3), names(&["0"]));
}
