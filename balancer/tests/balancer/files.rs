//! Files, their conditions and their ranges, from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use tempfile::TempDir;

use crate::support::{Balancer, eventually};

/// A folder with `a.html`, `d/index.html` and `e/`, and a server with these lines.
fn start(lines: &str) -> (TempDir, Balancer) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    for name in ["d", "e"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("a.html"), "0123456789").unwrap();
    fs::write(folder.path().join("d/index.html"), "index of d").unwrap();
    let lines = lines.replace("ROOT", &root.to_string());
    let text = format!("server {{ listen 127.0.0.1:PORT; root {root}; {lines} }}");
    (folder, Balancer::start(&text))
}

/// Sends a request line and lines of a head; the answer's status, text and these fields of it.
#[track_caller]
fn check(balancer: &Balancer, request: &str, status: u16, expected: &str) {
    let mut client = balancer.client();
    let (line, head) = request.split_once('|').unwrap_or((request, ""));
    client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{head}\r\n"));
    let answer = client.answer();
    let text = match answer.field("location") {
        Some(target) => target.to_owned(),
        None => answer.text().to_owned(),
    };
    assert_eq!(answer.status, status, "{request}");
    assert!(text.contains(expected), "{request}: {text}");
}

#[test]
fn paths_stand_for_files_below_the_root() {
    let (_folder, balancer) = start("location /x/ { alias ROOT/d/; }");
    check(&balancer, "GET /a.html", 200, "0123456789");
    check(&balancer, "GET /d/", 200, "index of d");
    check(&balancer, "GET /d?q", 301, "/d/?q");
    check(&balancer, "GET /x/index.html", 200, "index of d");
    check(&balancer, "GET /e/", 403, "403 Forbidden");
    check(&balancer, "GET /none/", 404, "404 Not Found");
    check(&balancer, "GET /none", 404, "404 Not Found");
    check(&balancer, "POST /a.html|Content-Length: 0\r\n", 405, "405 Not Allowed");
    check(&balancer, "DELETE /a.html", 405, "405 Not Allowed");
    for line in
        ["directory index of", "e/\" is forbidden", "none\" failed (2: No such file or directory)"]
    {
        eventually(line, || balancer.said().contains(line));
    }
}

#[test]
fn the_first_file_that_is_there_is_served() {
    let (_folder, balancer) = start(
        "location / { try_files $uri $uri/ /a.html; } location /c { try_files /none =418; } \
         location /n { try_files $uri @n; } location @n { return 200 named; } \
         location /x/ { alias ROOT/d/; try_files $uri =404; } \
         location /loop { try_files /none /loop; }",
    );
    check(&balancer, "GET /d/index.html", 200, "index of d");
    check(&balancer, "GET /d/", 200, "index of d");
    check(&balancer, "GET /other", 200, "0123456789");
    check(&balancer, "GET /c", 418, "");
    check(&balancer, "GET /n", 200, "named");
    check(&balancer, "GET /x/index.html", 200, "index of d");
    check(&balancer, "GET /loop", 500, "500");
}

#[test]
fn a_file_that_the_client_has_is_not_sent() {
    let (_folder, balancer) = start("location /off/ { alias ROOT/; etag off; }");
    let mut client = balancer.client();
    let first = client.get("/a.html");
    let etag = first.field("etag").unwrap().to_owned();
    let date = first.field("last-modified").unwrap().to_owned();
    assert_eq!(first.field("accept-ranges"), Some("bytes"));
    assert!(client.get("/off/a.html").field("etag").is_none());
    check(&balancer, &format!("GET /a.html|If-None-Match: {etag}\r\n"), 304, "");
    check(&balancer, &format!("GET /a.html|If-Modified-Since: {date}\r\n"), 304, "");
    check(&balancer, "GET /a.html|If-None-Match: \"x\"\r\n", 200, "0123456789");
    check(&balancer, "GET /a.html|If-Match: \"x\"\r\n", 412, "412 Precondition Failed");
    let range = format!("GET /a.html|If-Range: {etag}\r\nRange: bytes=0-1\r\n");
    check(&balancer, &range, 206, "01");
    check(&balancer, "GET /a.html|If-Range: \"x\"\r\nRange: bytes=0-1\r\n", 200, "0123456789");
}

#[test]
fn parts_of_a_file_are_sent() {
    let (_folder, balancer) = start("location /one/ { alias ROOT/; max_ranges 1; }");
    check(&balancer, "GET /a.html|Range: bytes=2-4\r\n", 206, "234");
    check(&balancer, "GET /a.html|Range: bytes=10-\r\n", 416, "416 Requested Range");
    check(&balancer, "GET /one/a.html|Range: bytes=0-1,3-4\r\n", 200, "0123456789");
    let parts = "Content-Type: text/html\r\nContent-Range: bytes 3-4/10\r\n\r\n34\r\n--";
    check(&balancer, "GET /a.html|Range: bytes=0-1,3-4\r\n", 206, parts);
}

#[test]
fn an_error_page_may_be_a_file() {
    let (_folder, balancer) = start("error_page 404 /a.html;");
    check(&balancer, "GET /none|Range: bytes=0-1\r\n", 404, "0123456789");
}

#[test]
fn a_client_that_leaves_an_answer_that_is_slowed_down_is_given_up() {
    let balancer = Balancer::start(
        "server { listen 127.0.0.1:PORT; location / { limit_rate 1; return 200 slowly; } location /s { stub_status; } }",
    );
    let mut slow = balancer.client();
    slow.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").bytes(1);
    let active = |count| {
        let told = balancer.client().get("/s").text().to_owned();
        told.starts_with(&format!("Active connections: {count} "))
    };
    assert!(active(2));
    drop(slow);
    eventually("it is gone", || active(1));
}
