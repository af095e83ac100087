//! What changes answers on their way out, from outside: lines, compression, pace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Answer, Balancer, Gate, Next, Origin, eventually};

/// A text that is worth compressing.
fn long() -> String {
    "0123456789".repeat(200)
}

/// An origin whose answers have these lines and that body.
fn origin(lines: &'static str, body: String) -> Origin {
    Origin::start(move |_, stream| {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lines}\r\n");
        match stream.write_all((head + &body).as_bytes()) {
            Ok(()) => Next::Keep,
            Err(_) => Next::Close,
        }
    })
}

fn start(lines: &str, origin: &Origin) -> (TempDir, Balancer) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    fs::write(folder.path().join("a.html"), long()).unwrap();
    let lines = lines.replace("ROOT", &root.to_string());
    let text = format!(
        "server {{ listen 127.0.0.1:PORT; root {root}; {lines}
         location /p {{ proxy_pass http://{}; }} location /r {{ return 200 text; }} }}",
        origin.name()
    );
    (folder, Balancer::start(&text))
}

/// Sends a request with lines of a head.
fn get(balancer: &Balancer, path: &str, lines: &str) -> Answer {
    let mut client = balancer.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    client.answer()
}

fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn lines_of_ours_go_with_every_answer() {
    let origin = origin("ETag: \"x\"\r\nCache-Control: private\r\nX: 1\r\n", long());
    let (_folder, balancer) = start(
        "add_header X 2; add_header ETag $http_tag; add_header Cache-Control no-store; \
         add_header Last-Modified ''; expires epoch;",
        &origin,
    );
    let proxied = get(&balancer, "/p", "Tag: y\r\n");
    let (_, lines) = proxied.head.split_once("keep-alive\r\n").unwrap();
    assert_eq!(
        lines,
        "ETag: y\r\nCache-Control: no-cache\r\nX: 1\r\nExpires: Thu, 01 Jan 1970 00:00:01 GMT\r\n\
         X: 2\r\nCache-Control: no-store\r\n\r\n"
    );
    let file = get(&balancer, "/a.html", "");
    assert_eq!(file.field("etag"), None);
    assert_eq!(file.field("last-modified"), None);
    let (_, lines) = file.head.split_once("keep-alive\r\n").unwrap();
    assert_eq!(
        lines,
        "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\nCache-Control: no-cache\r\nX: 2\r\n\
         Cache-Control: no-store\r\nAccept-Ranges: bytes\r\n\r\n"
    );
    assert_eq!(get(&balancer, "/r", "Tag: z\r\n").field("etag"), Some("z"));
    assert_eq!(get(&balancer, "/none", "").field("x"), None);
}

#[test]
fn an_answer_expires_by_its_type() {
    let (_folder, balancer) = start("", &origin("", long()));
    balancer.reload(&format!(
        "map $sent_http_content_type $age {{ default off; ~^text/ 1h; }} {}",
        "server { listen 127.0.0.1:PORT; expires $age; location /a { return 200 a; } \
         location /b { default_type image/x; return 200 b; } }"
    ));
    assert_eq!(get(&balancer, "/a", "").field("cache-control"), Some("max-age=3600"));
    assert_eq!(get(&balancer, "/b", "").field("cache-control"), None);
}

#[test]
fn trailers_follow_a_body_in_chunks() {
    let origin = origin("", "body".to_owned());
    let (_folder, balancer) = start("add_trailer Took $request_id; add_trailer None '';", &origin);
    for path in ["/p", "/a.html", "/r"] {
        let mut client = balancer.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let mut all = Vec::new();
        while !client.is_ended() {
            all.extend(client.bytes(1));
        }
        let all = String::from_utf8(all).unwrap();
        assert!(all.contains("\r\nTransfer-Encoding: chunked\r\n"), "{all}");
        assert!(!all.contains("Content-Length"), "{all}");
        let (_, trailer) = all.split_once("\r\n0\r\nTook: ").unwrap();
        assert_eq!(trailer.len(), 32 + 4, "{all}");
    }
}

#[test]
fn answers_are_compressed_for_those_who_take_it() {
    let origin =
        origin("Content-Type: text/html\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\n", long());
    let (_folder, balancer) = start("gzip on; gzip_vary on; gzip_min_length 100;", &origin);
    for path in ["/p", "/a.html"] {
        let answer = get(&balancer, path, "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n");
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.field("content-encoding"), Some("gzip"));
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
        assert_eq!(answer.field("content-length"), None);
        assert_eq!(answer.field("accept-ranges"), None);
        assert!(answer.field("etag").unwrap().starts_with("W/\""), "{}", answer.head);
        assert_eq!(unpacked(&answer.body), long(), "{path}");
        let plain = get(&balancer, path, "Accept-Encoding: gzip;q=0\r\n");
        assert_eq!(plain.field("content-encoding"), None);
        assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
        assert_eq!(plain.text(), long(), "{path}");
        let proxied = get(&balancer, path, "Accept-Encoding: gzip\r\nVia: 1.1 a\r\n");
        assert_eq!(proxied.field("content-encoding"), None);
    }
    let short = get(&balancer, "/r", "Accept-Encoding: gzip\r\n");
    assert_eq!((short.field("vary"), short.text()), (None, "text"));
    let page = get(&balancer, "/none", "Accept-Encoding: gzip\r\n");
    assert!(unpacked(&page.body).contains("404 Not Found"));
}

#[test]
fn a_slow_body_is_not_held_back_by_compression() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
        stream.write_all(format!("{head}first").as_bytes()).unwrap();
        held.wait();
        Next::Close
    });
    let (_folder, balancer) = start("gzip on;", &origin);
    let mut client = balancer.client();
    client.send("GET /p HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.extend(client.bytes(1));
    }
    let mut body = Vec::new();
    let mut text = [0; 5];
    loop {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            size.extend(client.bytes(1));
        }
        let size = std::str::from_utf8(&size).unwrap().trim_ascii();
        let size = usize::from_str_radix(size, 16).unwrap();
        body.extend(client.bytes(size));
        client.bytes(2);
        if flate2::read::GzDecoder::new(&body[..]).read_exact(&mut text).is_ok() {
            break;
        }
    }
    assert_eq!(&text, b"first");
    gate.open();
}

#[test]
fn a_rate_bounds_how_fast_answers_go() {
    let origin = origin("X-Accel-Limit-Rate: 0\r\n", "x".repeat(3000));
    let (_folder, balancer) =
        start("limit_rate 1000; location /q/ { set $limit_rate 0; }", &origin);
    let took = |path| {
        let began = Instant::now();
        let answer = get(&balancer, path, "");
        assert!(answer.is_whole && answer.status == 200);
        began.elapsed()
    };
    assert!(Duration::from_millis(900) < took("/a.html"));
    assert!(took("/p") < Duration::from_millis(900));
}

#[test]
fn a_text_is_told_its_charset() {
    let origin = origin("Content-Type: text/html; charset=x\r\n", long());
    let (_folder, balancer) = start("charset utf-8;", &origin);
    let kind = |path| get(&balancer, path, "").field("content-type").map(str::to_owned);
    assert_eq!(kind("/a.html").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(kind("/p").as_deref(), Some("text/html; charset=x"));
}

#[test]
fn answers_of_ours_are_those_of_nginx_to_the_byte() {
    let balancer = Balancer::start(
        "server { listen 127.0.0.1:PORT; location /e { return 200 ''; } location /r { return 302 /x; }
         location /o { return 302 http://x/; } location /a { absolute_redirect off; return 301 /y; }
         location /n { port_in_redirect off; return 301 /y; } location /g { return 499; }
         location /m { msie_refresh on; return 301 \"/y'z\"; } location /s { return 200 $status; }
         location /t { return 200 text; } location /u { return 200 \"$request_uri|$args\"; } }",
    );
    let port = balancer.port;
    let head = |path: &str, lines: &str| {
        let answer = get(&balancer, path, lines);
        let (_, rest) = answer.head.split_once("GMT\r\n").unwrap();
        (answer.status, rest.to_owned())
    };
    assert_eq!(
        head("/e", ""),
        (
            200,
            "Content-Type: text/plain\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
                .into()
        )
    );
    let moved = "Content-Type: text/html\r\nContent-Length: 145\r\n";
    let (_, relative) = head("/r", "");
    assert_eq!(
        relative,
        format!("{moved}Location: http://a:{port}/x\r\nConnection: keep-alive\r\n\r\n")
    );
    let (_, absolute) = head("/o", "");
    assert_eq!(absolute, format!("{moved}Connection: keep-alive\r\nLocation: http://x/\r\n\r\n"));
    assert_eq!(get(&balancer, "/a", "").field("location"), Some("/y"));
    assert_eq!(get(&balancer, "/n", "").field("location"), Some("http://a/y"));
    let refresh = get(&balancer, "/m", "User-Agent: MSIE 7.0\r\n");
    assert_eq!((refresh.status, refresh.field("location")), (200, None));
    assert!(refresh.text().contains("URL=/y%27z\""), "{}", refresh.text());
    assert_eq!(get(&balancer, "/s", "").text(), "200");
    assert_eq!(get(&balancer, "/t", "If-None-Match: *\r\n").status, 304);
    assert_eq!(get(&balancer, "http://b/u?c#d", "").text(), "/u?c#d|c");
    let mut client = balancer.client();
    client.send("GET /g HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.is_ended());
    let mut client = balancer.client();
    client.send("GET /t HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_head_has_the_room_of_its_buffers() {
    let balancer = Balancer::start(
        "large_client_header_buffers 2 1k; server { listen 127.0.0.1:PORT; return 200; }",
    );
    let status = |lines: &str| get(&balancer, "/", lines).status;
    let line = |length: usize| format!("A: {}\r\n", "x".repeat(length - 5));
    assert_eq!(status(&line(1024)), 200);
    assert_eq!(status(&line(1025)), 400);
    assert_eq!(status(&line(900).repeat(2)), 200);
    assert_eq!(status(&line(900).repeat(3)), 200);
    assert_eq!(status(&line(900).repeat(4)), 400);
    assert_eq!(get(&balancer, &format!("/{}", "x".repeat(1100)), "").status, 414);
}

#[test]
fn a_connection_whose_client_is_late_is_reset_if_asked_for() {
    let balancer = Balancer::start(
        "server { listen 127.0.0.1:PORT; client_header_timeout 100ms; reset_timedout_connection on; }",
    );
    let mut client = balancer.client();
    client.send("GET / HTTP/1.1\r\n");
    let mut rest = [0; 16];
    let error = client.stream.read(&mut rest).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

fn packed(text: &str) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

#[test]
fn a_compressed_file_stands_beside_the_one_it_is_of() {
    let (folder, balancer) = start(
        "gzip_vary on; gzip_static on; location /b.html { } \
         location /always/ { gzip_static always; alias ROOT/; }",
        &origin("", long()),
    );
    fs::write(folder.path().join("a.html.gz"), packed("packed")).unwrap();
    fs::write(folder.path().join("b.html"), "plain").unwrap();
    let answer = get(&balancer, "/a.html", "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("text/html")));
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
    assert_eq!(answer.field("accept-ranges"), None);
    assert_eq!(unpacked(&answer.body), "packed");
    let plain = get(&balancer, "/a.html", "");
    assert_eq!((plain.field("content-encoding"), plain.text()), (None, &long()[..]));
    assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
    let other = get(&balancer, "/b.html", "Accept-Encoding: gzip\r\n");
    assert_eq!((other.field("vary"), other.text()), (None, "plain"));
    assert_eq!(unpacked(&get(&balancer, "/always/a.html", "").body), "packed");
}

#[test]
fn a_compressed_answer_is_unpacked_for_those_who_do_not_take_it() {
    let origin = Origin::start(|seen, stream| {
        let body = if seen.path() == "/p/bad" { b"not packed".to_vec() } else { packed(&long()) };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Encoding: gzip\r\nETag: \"x\"\r\n\r\n",
            body.len()
        );
        match stream.write_all(&[head.as_bytes(), &body].concat()) {
            Ok(()) => Next::Keep,
            Err(_) => Next::Close,
        }
    });
    let (_folder, balancer) = start("gunzip on;", &origin);
    let plain = get(&balancer, "/p", "");
    assert_eq!(plain.field("content-encoding"), None);
    assert_eq!(plain.field("etag"), Some("W/\"x\""));
    assert_eq!(plain.text(), long());
    let kept = get(&balancer, "/p", "Accept-Encoding: gzip\r\n");
    assert_eq!(kept.field("content-encoding"), Some("gzip"));
    assert_eq!(unpacked(&kept.body), long());
    let mut client = balancer.client();
    client.send("GET /p/bad HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_answer().is_none_or(|it| !it.is_whole));
}

#[test]
fn what_was_sent_is_known_to_logs() {
    let text = "log_format f '$sent_http_a|$sent_http_content_type|$sent_trailer_b|$gzip_ratio|\
        $connections_active'; server { listen 127.0.0.1:PORT; access_log a.log f; add_header A 1; \
        add_header A 2; add_trailer B 3; gzip on; location / { default_type text/html; \
        return 200 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; } }";
    let balancer = Balancer::start(text);
    let mut client = balancer.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    while !client.is_ended() {
        client.bytes(1);
    }
    eventually("the line is written", || balancer.file("a.log").ends_with('\n'));
    let line = balancer.file("a.log");
    let words: Vec<_> = line.trim_end().split('|').collect();
    assert_eq!(words[..3], ["1, 2", "text/html", "3"], "{line}");
    assert!(words[3].parse::<f64>().unwrap() > 1.0, "{line}");
    assert_eq!(words[4], "1", "{line}");
}

#[test]
fn a_body_that_ends_with_its_connection_comes_to_its_end() {
    let origin = Origin::start(|_, stream| {
        let head = "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n";
        stream.write_all((head.to_owned() + &long()).as_bytes()).unwrap();
        Next::Close
    });
    let (_folder, balancer) = start("gzip on;", &origin);
    let plain = get(&balancer, "/p", "");
    assert!(plain.is_whole);
    assert_eq!(plain.text(), long());
    let packed = get(&balancer, "/p", "Accept-Encoding: gzip\r\n");
    assert!(packed.is_whole);
    assert_eq!(unpacked(&packed.body), long());
}
