//! Who is served, how often and how many at once: `allow`, `deny`, `real_ip`, `limit_req`,
//! `limit_conn`, from outside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Answer, Balancer, Client, Gate, Origin, eventually, text};

fn start(before: &str, lines: &str) -> Balancer {
    Balancer::start(&format!("{before} server {{ listen 127.0.0.1:PORT; {lines} }}"))
}

fn ask(balancer: &Balancer, path: &str, headers: &str) -> Answer {
    let mut client = balancer.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).answer()
}

/// The statuses of paths for a client that `X-Real-IP` tells of. Admitted, there is no file.
#[track_caller]
fn check(balancer: &Balancer, client: &str, answers: &[(&str, u16)]) {
    for (path, status) in answers {
        let answer = ask(balancer, path, &format!("X-Real-IP: {client}\r\n"));
        assert_eq!(answer.status, *status, "{path} for {client}");
    }
}

#[test]
fn the_first_rule_for_a_client_decides_and_inner_rules_replace_outer_ones() {
    let balancer = start(
        "set_real_ip_from 127.0.0.1; deny 10.0.0.1;",
        "location /in/ { allow 10.0.0.0/24; deny all; location /in/open/ { allow all; } } \
         location /post { limit_except GET { deny all; } } error_page 403 = /why; \
         location /why { return 403 \"$remote_addr\"; }",
    );
    check(&balancer, "10.0.0.1", &[("/", 403), ("/in/", 404), ("/in/open/", 404)]);
    check(&balancer, "10.0.0.2", &[("/", 404), ("/in/", 404), ("/post", 404)]);
    check(&balancer, "10.0.1.2", &[("/", 404), ("/in/", 403), ("/in/open/", 404)]);
    assert_eq!(ask(&balancer, "/in/", "X-Real-IP: 10.9.9.9\r\n").text(), "10.9.9.9");
    assert_eq!(balancer.client().post("/post", "x").status, 403);
    eventually("the refusal is logged", || {
        balancer.said().contains("[error]")
            && balancer.said().contains("access forbidden by rule, client: 10.9.9.9, server:")
    });
}

#[test]
fn a_trusted_peer_tells_who_asks() {
    let shown =
        "return 200 \"$remote_addr $remote_port $realip_remote_addr $http_x_forwarded_for\";";
    let balancer = start(
        "set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;",
        &format!("location / {{ {shown} }}"),
    );
    let told = |value: &str| {
        let answer = ask(&balancer, "/", &format!("X-Forwarded-For: {value}\r\n"));
        answer.text().to_owned()
    };
    assert_eq!(told("1.1.1.1, 2.2.2.2"), "2.2.2.2  127.0.0.1 1.1.1.1, 2.2.2.2");
    assert_eq!(told("2.2.2.2:99"), "2.2.2.2 99 127.0.0.1 2.2.2.2:99");
    assert!(told("nobody").starts_with("127.0.0.1 "));
}

#[test]
fn an_untrusted_peer_is_not_believed() {
    let balancer =
        start("set_real_ip_from 10.0.0.0/8;", "location / { return 200 \"$remote_addr\"; }");
    assert_eq!(ask(&balancer, "/", "X-Real-IP: 1.1.1.1\r\n").text(), "127.0.0.1");
}

#[test]
fn requests_above_the_rate_are_refused_per_key() {
    let balancer = start(
        "limit_req_zone $arg_k zone=one:1m rate=1r/m; log_format f '$uri $limit_req_status'; access_log s.log f;",
        "location / { limit_req zone=one burst=1 nodelay; limit_req_status 429; } \
         location /dry { limit_req zone=one; limit_req_dry_run on; }",
    );
    let status = |path: &str| balancer.client().get(path).status;
    assert_eq!([status("/?k=a"), status("/?k=a"), status("/?k=a")], [404, 404, 429]);
    assert_eq!([status("/?k=b"), status("/")], [404, 404]);
    assert_eq!(status("/dry?k=a"), 404);
    eventually("the lines are written", || {
        balancer.file("s.log")
            == "/ PASSED\n/ PASSED\n/ REJECTED\n/ PASSED\n/ -\n/dry REJECTED_DRY_RUN\n"
    });
    eventually("the refusals are logged", || {
        let said = balancer.said();
        said.contains("limiting requests, excess: ")
            && said.contains("limiting requests, dry run, excess: ")
    });
    // The counts outlive a reload that keeps the zone.
    balancer.reload(
        "limit_req_zone $arg_k zone=one:1m rate=1r/m; \
         server { listen 127.0.0.1:PORT; location / { limit_req zone=one; } }",
    );
    assert_eq!([status("/?k=a"), status("/?k=c")], [503, 404]);
}

#[test]
fn requests_within_the_burst_wait_for_their_turn() {
    let balancer = start(
        "limit_req_zone $server_port zone=one:1m rate=10r/s;",
        "location / { limit_req zone=one burst=5; }",
    );
    assert_eq!(balancer.client().get("/").status, 404);
    let begun = Instant::now();
    assert_eq!(balancer.client().get("/").status, 404);
    assert_eq!(balancer.client().get("/").status, 404);
    assert!(begun.elapsed() > Duration::from_millis(150), "{:?}", begun.elapsed());
    eventually("the delay is logged", || {
        let said = balancer.said();
        said.contains("[warn]") && said.contains("delaying request, excess: 0.")
    });
}

#[test]
fn a_client_that_goes_while_it_waits_is_not_served() {
    let origin = Origin::named("a");
    let balancer = start(
        "limit_req_zone $server_port zone=one:1m rate=1r/m; log_format f $status; access_log s.log f;",
        &format!(
            "location / {{ limit_req zone=one burst=5; proxy_pass http://{}; }}",
            origin.name()
        ),
    );
    assert_eq!(balancer.client().get("/").status, 200);
    let mut client = balancer.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it waits", || balancer.said().contains("delaying request"));
    drop(client);
    eventually("it is given up", || balancer.file("s.log") == "200\n499\n");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn requests_that_are_served_count_until_they_end() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |seen, stream| {
        if seen.path() == "/held" {
            held.wait();
        }
        text(stream, "a")
    });
    let balancer = start(
        "limit_conn_zone $server_port zone=all:1m; log_format f '$uri $limit_conn_status'; access_log s.log f;",
        &format!("limit_conn all 1; location / {{ proxy_pass http://{}; }}", origin.name()),
    );
    let mut first: Client = balancer.client();
    first.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the first is served", || origin.seen().len() == 1);
    assert_eq!(balancer.client().get("/b").status, 503);
    gate.open();
    assert_eq!(first.answer().status, 200);
    eventually("its place is free", || balancer.client().get("/c").status == 200);
    eventually("the lines are written", || {
        let lines = balancer.file("s.log");
        lines.contains("/b REJECTED\n") && lines.contains("/held PASSED\n")
    });
    eventually("the refusal is logged", || {
        balancer.said().contains("limiting connections by zone \"all\"")
    });
}

/// `user:secret`
const KNOWS: &str = "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n";
/// `user:wrong`
const GUESSES: &str = "authorization: basic dXNlcjp3cm9uZw==\r\n";
/// `other:secret`
const UNKNOWN: &str = "Authorization: Basic b3RoZXI6c2VjcmV0\r\n";

#[test]
fn who_knows_a_password_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, "# ours\nuser:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/:comment\n").unwrap();
    let file = file.display();
    let balancer = start(
        "log_format f '$remote_user $status'; access_log s.log f;",
        &format!(
            "auth_basic ours; auth_basic_user_file {file}; \
             location /open {{ auth_basic off; }} location /none {{ auth_basic_user_file {file}.none; }} \
             location /any {{ satisfy any; allow 10.0.0.0/8; deny all; }} \
             location /here {{ satisfy any; allow 127.0.0.1; deny all; }} \
             location /all {{ deny all; }} \
             location /page {{ error_page 401 = /open/page; }}"
        ),
    );
    let status = |path: &str, headers: &str| ask(&balancer, path, headers).status;
    let asked = ask(&balancer, "/", "");
    assert_eq!(
        (asked.status, asked.field("www-authenticate")),
        (401, Some("Basic realm=\"ours\""))
    );
    assert_eq!(asked.names().last(), Some(&"WWW-Authenticate"));
    assert_eq!([status("/", KNOWS), status("/", GUESSES), status("/", UNKNOWN)], [404, 401, 401]);
    assert_eq!([status("/open", ""), status("/none", KNOWS), status("/none", "")], [404, 403, 401]);
    assert_eq!([status("/any", ""), status("/any", KNOWS), status("/here", "")], [401, 404, 404]);
    assert_eq!([status("/all", KNOWS), status("/page", "")], [403, 404]);
    for line in [
        "user \"user\": password mismatch, client: 127.0.0.1",
        "user \"other\" was not found in \"/",
        "users.none\" failed (2: No such file or directory), client",
    ] {
        eventually(line, || balancer.said().contains(line));
    }
    eventually("the users are logged", || {
        balancer.file("s.log").starts_with("- 401\nuser 404\nuser 401\nother 401\n")
    });
}
