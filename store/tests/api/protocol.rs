//! What every answer has, whatever was asked.

use crate::harness::{Data, Store};

#[test]
fn unknown_paths_and_wrong_methods_have_their_own_answers() {
    let store = Store::start(&Data::embedded(), &[("STORE_INSTANCE", "one")]);
    let answer = store.get("/nothing");
    assert_eq!((answer.status, answer.text()), (404, "{\"error\":\"Not found.\"}\n".to_owned()));
    assert_eq!(answer.header("X-Store-Instance"), Some("one"));
    assert_eq!(store.get("/orders/1/").status, 404);
    let answer = store.get("/orders");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST, OPTIONS")));
    let answer = store.raw("OPTIONS /orders/1 HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status, answer.header("Allow")), (204, Some("GET, HEAD, DELETE, OPTIONS")));
    let answer = store.raw("HEAD /users/1 HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
    assert_eq!(
        (answer.status, answer.header("content-length"), answer.body.len()),
        (200, Some("63"), 0)
    );
}

#[test]
fn a_body_has_a_type_and_a_limit() {
    let store = Store::start(&Data::embedded(), &[("STORE_MAX_BODY", "100")]);
    let post = |kind: &str, body: &str| {
        let head = format!(
            "POST /users HTTP/1.1\r\nHost: s\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
            body.len()
        );
        store.raw(&format!("{head}{body}"))
    };
    assert_eq!(post("", "{}").status, 415);
    assert_eq!(post("Content-Type: text/plain\r\n", "{}").status, 415);
    assert_eq!(post("Content-Type: application/problem+json\r\n", "{}").status, 400);
    let answer = store.post("/users", &format!("{{\"name\":\"{}\"}}", "x".repeat(200)));
    assert_eq!(
        (answer.status, answer.text()),
        (413, "{\"error\":\"The body is limited to 100 bytes (STORE_MAX_BODY).\"}\n".to_owned())
    );
}

#[test]
fn a_request_id_is_kept_or_made() {
    let store = Store::start(&Data::embedded(), &[]);
    let answer = store.raw(
        "GET /users/1 HTTP/1.1\r\nHost: s\r\nConnection: close\r\nX-Request-ID: abc-1\r\n\r\n",
    );
    assert_eq!(answer.header("X-Request-ID"), Some("abc-1"));
    let (first, second) = (store.get("/users/1"), store.get("/users/1"));
    assert_eq!(first.header("X-Request-ID").unwrap().len(), 16);
    assert_ne!(first.header("X-Request-ID"), second.header("X-Request-ID"));
}

#[test]
fn failing_calls_still_count() {
    let store = Store::start(&Data::embedded(), &[]);
    store.post("/orders", "{}");
    store.raw("POST /orders HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!((store.counted("orders_total ") - 2.0).abs() < 0.5);
    let answer = store.get("/metrics");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("Content-Type"), Some(kind));
    assert!(answer.text().ends_with("# EOF\n"));
}

#[test]
fn one_request_too_many_is_refused_and_status_routes_are_not() {
    let store = Store::start(&Data::embedded(), &[("STORE_MAX_IN_FLIGHT", "1")]);
    let hold = || {
        let slow = std::net::TcpStream::connect(store.address).unwrap();
        std::io::Write::write_all(&mut &slow, b"POST /users HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{").unwrap();
        slow
    };
    let mut slow = hold();
    let refused = || {
        let is_refused = store.get("/users/1").status == 503;
        if !is_refused {
            // It may have been the one too many itself.
            slow = hold();
        }
        is_refused
    };
    assert!(lab::process::eventually_within(std::time::Duration::from_secs(10), refused));
    let answer = store.get("/users/1");
    assert_eq!(
        answer.text(),
        "{\"error\":\"Too many requests at once: the limit is 1 (STORE_MAX_IN_FLIGHT).\"}\n"
    );
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert_eq!(
        (
            store.get("/health-check").status,
            store.get("/ready").status,
            store.get("/metrics").status
        ),
        (200, 200, 200)
    );
    drop(slow);
    assert!(lab::process::eventually_within(std::time::Duration::from_secs(10), || store
        .get("/users/1")
        .status
        == 200));
}
