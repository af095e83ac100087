//! Bodies that are larger than a buffer, in both directions.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::Write;
use std::net::TcpStream;
use std::{env, fs, process};

use crate::support::{Balancer, Next, Origin, eventually, text};

fn location(origin: &Origin, lines: &str) -> Balancer {
    Balancer::start(&format!(
        "upstream u {{ server {}; }} server {{ listen 127.0.0.1:PORT; client_max_body_size 0; location / {{ proxy_pass http://u; {lines} }} }}",
        origin.name()
    ))
}

/// Bytes that differ from place to place.
fn body(length: usize) -> String {
    (0..length).map(|it| char::from(b'a' + u8::try_from(it * 7 / 3 % 26).unwrap())).collect()
}

fn chunked(body: &str) -> String {
    let head = "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = body
        .as_bytes()
        .chunks(3000)
        .map(|it| format!("{:x}\r\n{}\r\n", it.len(), std::str::from_utf8(it).unwrap()));
    format!("{head}{}0\r\n\r\n", chunks.collect::<String>())
}

#[test]
fn a_large_body_is_held_and_announced_by_its_length() {
    let origin = Origin::named("ok");
    let balancer = location(&origin, "client_body_buffer_size 1k;");
    let sent = body(300_000);
    let mut client = balancer.client();
    client.send(chunked(&sent));
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(client.answer().text(), "ok");
    let seen = origin.seen();
    assert!(seen[0].head.contains("\r\nContent-Length: 300000\r\n"));
    assert!(!seen[0].head.contains("Transfer-Encoding"));
    assert!(seen[0].body == sent.as_bytes());
    assert_eq!(seen[1].path(), "/next");
    client.post("/up", &sent);
    assert!(origin.seen()[2].body == sent.as_bytes());
    let told = "a client request body is buffered to a temporary file";
    eventually("it is told", || balancer.said().contains(told));
}

#[test]
fn a_large_body_is_sent_again_to_another_server() {
    let (bad, good) = (Origin::start(|_, _| Next::Reset), Origin::named("good"));
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {}; server {}; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; client_body_buffer_size 1k; }} }}",
        bad.name(),
        good.name()
    ));
    let sent = body(200_000);
    let mut client = balancer.client();
    client.send(chunked(&sent).replace("POST", "PUT"));
    assert_eq!(client.answer().text(), "good");
    assert!(bad.seen()[0].body == sent.as_bytes() && good.seen()[0].body == sent.as_bytes());
}

#[test]
fn a_body_is_passed_as_it_comes_without_buffering() {
    let origin = Origin::named("ok");
    let balancer = location(&origin, "proxy_request_buffering off; client_body_buffer_size 1k;");
    let sent = body(100_000);
    let mut client = balancer.client();
    assert_eq!(client.send(chunked(&sent)).answer().text(), "ok");
    assert!(origin.seen()[0].head.contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert!(origin.seen()[0].body == sent.as_bytes());
    // HTTP/1.0 has no chunks.
    let old = location(&origin, "proxy_request_buffering off; proxy_http_version 1.0;");
    assert_eq!(old.client().send(chunked(&sent)).answer().text(), "ok");
    assert!(origin.seen()[1].head.contains("\r\nContent-Length: 100000\r\n"));
}

#[test]
fn a_body_is_a_variable_while_it_is_in_memory() {
    let origin = Origin::start(|seen, stream| {
        let line = seen.head.lines().find(|it| it.starts_with("X-Body")).unwrap_or("none");
        text(stream, line)
    });
    let lines =
        "client_body_buffer_size 1k; proxy_set_header X-Body $request_body|$request_body_file;";
    let balancer = location(&origin, lines);
    assert_eq!(balancer.client().post("/", "a=1").text(), "X-Body: a=1|");
    let on_disk = balancer.client().post("/", &body(5000));
    assert!(on_disk.text().starts_with("X-Body: |/proc/"), "{}", on_disk.text());
    assert_eq!(balancer.client().get("/").text(), "X-Body: |");
}

const LONG: usize = 24 * 1024 * 1024;

/// A server whose answers are long, and framed as the path says.
fn long() -> Origin {
    Origin::start(|seen, stream| {
        let body = body(LONG);
        let send = |stream: &mut TcpStream, text: &[u8]| stream.write_all(text).is_ok();
        let head = match seen.path() {
            "/length" => format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n"),
            "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "/off" => {
                format!(
                    "HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: {LONG}\r\n\r\n"
                )
            }
            _ => "HTTP/1.0 200 OK\r\n\r\n".to_owned(),
        };
        let mut is_sent = send(stream, head.as_bytes());
        if seen.path() == "/chunked" {
            for part in body.as_bytes().chunks(100_000) {
                let size = format!("{:x}\r\n", part.len());
                is_sent = is_sent
                    && send(stream, size.as_bytes())
                    && send(stream, part)
                    && send(stream, b"\r\n");
            }
            is_sent = is_sent && send(stream, b"0\r\n\r\n");
        } else {
            is_sent = is_sent && send(stream, body.as_bytes());
        }
        if is_sent && seen.path() != "/close" { Next::Keep } else { Next::Close }
    })
}

#[test]
fn a_slow_client_does_not_hold_the_server_up() {
    let expected = body(LONG);
    for path in ["/length", "/chunked", "/close"] {
        let origin = long();
        let balancer = location(&origin, "");
        let mut slow = balancer.client();
        slow.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        eventually("the server is free", || origin.seen().len() == 1 && balancer.active() == 0);
        assert!(slow.answer().body == expected.as_bytes(), "{path}");
        // The connection waits for the next request, unless its end was that of the answer.
        // Who asks stays: a client that leaves is not asked for.
        let mut again = balancer.client();
        again.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        eventually("it is asked again", || origin.seen().len() == 2);
        assert_eq!(origin.opened(), if path == "/close" { 2 } else { 1 }, "{path}");
    }
}

#[test]
fn without_buffering_the_server_waits_for_the_client() {
    for (path, lines) in [("/length", "proxy_buffering off;"), ("/off", "")] {
        let origin = long();
        let balancer = location(&origin, lines);
        let mut slow = balancer.client();
        slow.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        eventually("the answer begins", || balancer.active() == 1);
        std::thread::sleep(std::time::Duration::from_millis(400));
        assert_eq!(balancer.active(), 1, "{path}");
        assert_eq!(slow.answer().body.len(), LONG);
    }
}

#[test]
fn what_is_on_disk_is_bounded() {
    let origin = long();
    let balancer = location(&origin, "proxy_max_temp_file_size 1m; proxy_temp_path held;");
    let mut slow = balancer.client();
    slow.send("GET /length HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the answer begins", || balancer.active() == 1);
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(balancer.active(), 1);
    assert!(slow.answer().body == body(LONG).as_bytes());
}

#[test]
fn an_answer_is_read_no_faster_than_its_rate() {
    let origin = Origin::start(|_, stream| text(stream, &body(30_000)));
    let balancer = location(&origin, "proxy_limit_rate 15k;");
    let began = std::time::Instant::now();
    assert_eq!(balancer.client().get("/").body.len(), 30_000);
    assert!(began.elapsed() >= std::time::Duration::from_millis(900));
}

#[test]
fn large_bodies_are_held_in_the_folder_that_is_named() {
    let origin = Origin::start(|seen, stream| {
        let file = seen.head.lines().find_map(|it| it.strip_prefix("X-File: ")).unwrap();
        // What was opened there has no name any more.
        text(stream, &fs::read_link(file).unwrap().to_string_lossy())
    });
    let folder = env::temp_dir().join(format!("balancer-bodies-{}", process::id()));
    let balancer = location(
        &origin,
        &format!(
            "client_body_buffer_size 1k; client_body_temp_path {} 1 2; proxy_set_header X-File $request_body_file;",
            folder.display()
        ),
    );
    let mut client = balancer.client();
    client.send(chunked(&body(3000)));
    let answer = client.answer();
    let is_there = answer.text().starts_with(&*folder.to_string_lossy());
    fs::remove_dir_all(&folder).unwrap();
    assert!(is_there, "{}", answer.text());
}

#[test]
fn a_body_is_read_before_the_rewrite_lines_where_a_server_wants_it() {
    let origin = Origin::start(|seen, stream| {
        let body = String::from_utf8_lossy(&seen.body);
        text(stream, &format!("{} {body}", seen.path()))
    });
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; client_body_early_read $arg_on 0; client_max_body_size 256;
         location / {{ return 200 [$request_body]; }}
         location /less {{ client_max_body_size 10; return 200 [$request_body]; }}
         location /more {{ client_max_body_size 1m; return 200 [$request_body]; }}
         location /led {{ rewrite ^ /?; }}
         location /passed {{ if ($request_body = no) {{ return 403 forbidden; }} proxy_pass http://{}; }} }}",
        origin.name()
    ));
    let posted = |path: &str, body: &str| balancer.client().post(path, body).text().to_owned();
    assert_eq!(posted("/", "abc"), "[]");
    assert_eq!(posted("/?on=0", "abc"), "[]");
    assert_eq!(posted("/?on=1", "abc"), "[abc]");
    assert_eq!(posted("/?on=1", ""), "[]");
    assert_eq!(posted("/led?on=1", "abc"), "[abc]");
    assert_eq!(posted("/passed?on=1", "abc"), "/passed?on=1 abc");
    assert_eq!(posted("/passed?on=1", "no"), "forbidden");
    // The server's limit holds first, the location's for what is within it.
    assert!(posted("/more?on=1", &body(300)).contains("413 Request Entity Too Large"));
    assert!(posted("/less?on=1", &body(11)).contains("413 Request Entity Too Large"));
    let mut client = balancer.client();
    let chunk = "POST /less?on=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n";
    client.send(chunk);
    assert_eq!(client.answer().status, 413);
    // Who asks first is invited only to send what will be read, and what follows is a request.
    let mut client = balancer.client();
    client.send(
        "POST /?on=1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(client.answer().status, 100);
    client.send("abGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().text(), "[ab]");
    assert_eq!(client.answer().text(), "[]");
    let mut client = balancer.client();
    client.send(
        "POST /?on=1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999\r\n\r\n",
    );
    assert_eq!(client.answer().status, 413);
}
