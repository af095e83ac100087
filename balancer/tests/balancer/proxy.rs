//! What reaches the servers, and what comes back, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use crate::support::{Balancer, Gate, Next, Origin, eventually, text};

/// A server block that passes everything to `servers`.
fn group(lines: &str, servers: &[&Origin]) -> String {
    let servers: Vec<_> = servers.iter().map(|it| format!("server {};", it.name())).collect();
    let servers = servers.join(" ");
    format!(
        "upstream u {{ {lines} {servers} }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}"
    )
}

/// One origin behind the balancer that answers with these bytes.
fn answering(bytes: &'static str, next: Next) -> (Origin, Balancer) {
    let origin = Origin::start(move |_, stream| {
        stream.write_all(bytes.as_bytes()).unwrap();
        next
    });
    let balancer = Balancer::start(&group("", &[&origin]));
    (origin, balancer)
}

#[test]
fn servers_are_asked_in_turn() {
    let [a, b, c] = ["a", "b", "c"].map(Origin::named);
    let balancer = Balancer::start(&group("", &[&a, &b, &c]));
    let mut client = balancer.client();
    let order: String = (0..7).map(|_| client.get("/").text().to_owned()).collect();
    assert_eq!(order, "abcabca");
}

#[test]
fn weights_are_served_smoothly() {
    let [a, b, c] = ["a", "b", "c"].map(Origin::named);
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {} weight=5; server {}; server {}; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}",
        a.name(),
        b.name(),
        c.name()
    ));
    let mut client = balancer.client();
    let order: String = (0..14).map(|_| client.get("/").text().to_owned()).collect();
    assert_eq!(order, "aabacaaaabacaa");
}

#[test]
fn least_conn_avoids_the_server_that_holds_a_request() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let slow = Origin::start(move |seen, stream| {
        if seen.path() == "/slow" {
            held.wait();
        }
        text(stream, "slow")
    });
    let quick = Origin::named("quick");
    let balancer = Balancer::start(&group("least_conn;", &[&slow, &quick]));
    let mut first = balancer.client();
    first.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is held", || slow.seen().len() == 1);
    let mut client = balancer.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "quick");
    }
    gate.open();
    assert_eq!(first.answer().text(), "slow");
}

#[test]
fn the_request_goes_out_with_its_lines_in_nginx_s_order() {
    let origin = Origin::named("a");
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {}; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; proxy_set_header X-Own $host; proxy_set_header X-Gone \"\"; }} location /plain {{ proxy_pass http://u; }} }}",
        origin.name()
    ));
    let mut client = balancer.client();
    client.send(
        "POST /a%2Fb//c?d=%20 HTTP/1.1\r\nAccept: x\r\nHost: client:80\r\nx-gone: 1\r\nConnection: keep-alive, X-Named\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Twice: 1\r\nContent-Length: 2\r\nX-Twice: 2\r\n\r\nhi",
    );
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.get("/plain").status, 200);
    let seen = origin.seen();
    assert_eq!(
        seen[0].head,
        "POST /a%2Fb//c?d=%20 HTTP/1.1\r\nHost: u\r\nX-Own: client\r\nContent-Length: 2\r\nAccept: x\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n"
    );
    assert_eq!(seen[0].body, b"hi");
    assert_eq!(seen[1].head, "GET /plain HTTP/1.1\r\nHost: u\r\n\r\n");
}

#[test]
fn the_answer_comes_back_with_its_lines_in_nginx_s_order() {
    let (_origin, balancer) = answering(
        "HTTP/1.1 299 Quite fine\r\nX-A: 1\r\nServer: other\r\nConnection: keep-alive\r\nETag: e\r\nContent-Length: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: timeout=9\r\nDate: never\r\nContent-Type: text/x\r\n\r\nhi",
        Next::Keep,
    );
    let answer = balancer.client().get("/");
    assert!(answer.head.starts_with("HTTP/1.1 299 Quite fine\r\nServer: nginx/1.31.4\r\nDate: "));
    let names = [
        "Server",
        "Date",
        "Content-Type",
        "Content-Length",
        "Connection",
        "X-A",
        "ETag",
        "Set-Cookie",
        "Set-Cookie",
    ];
    assert_eq!(answer.names(), names);
    assert_eq!(answer.field("connection"), Some("keep-alive"));
    assert_eq!(answer.text(), "hi");
}

#[test]
fn the_connection_stays_as_version_and_client_say() {
    let origin = Origin::named("hello");
    let balancer = Balancer::start(&group("", &[&origin]));
    for (head, stays) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
    ] {
        let mut client = balancer.client();
        let answer = client.send(head).answer();
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let word = if stays { "keep-alive" } else { "close" };
        assert_eq!(answer.field("connection"), Some(word), "{head}");
        if stays {
            assert_eq!(client.get("/").text(), "hello", "{head}");
        } else {
            assert!(client.is_ended(), "{head}");
        }
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let origin = Origin::start(|seen, stream| {
        let answer = match seen.path() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            _ if seen.method() == "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            _ => return text(stream, "whole"),
        };
        stream.write_all(answer.as_bytes()).unwrap();
        Next::Keep
    });
    let balancer = Balancer::start(&group("", &[&origin]));
    let mut client = balancer.client();
    assert_eq!(client.get("/204").status, 204);
    assert_eq!(client.get("/304").status, 304);
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_to_head().field("content-length"), Some("5"));
    assert_eq!(client.get("/").text(), "whole");
    assert_eq!(origin.opened(), 1);
}

#[test]
fn chunks_pass_both_ways_when_nothing_is_buffered() {
    let origin = Origin::start(|seen, stream| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        write!(stream, "{:x}\r\n", seen.body.len()).unwrap();
        stream.write_all(&seen.body).unwrap();
        stream.write_all(b"\r\n0\r\n\r\n").unwrap();
        Next::Keep
    });
    let balancer =
        Balancer::start(&format!("proxy_request_buffering off; {}", group("", &[&origin])));
    let mut client = balancer.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3;x=y\r\nabc\r\n");
    // What has come whole before the server is asked is announced by its length.
    eventually("the server is asked", || origin.opened() == 1);
    client.send("2\r\nde\r\n0\r\nTrailer: t\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.text(), answer.is_whole), ("abcde", true));
    assert!(origin.seen()[0].head.contains("\r\nTransfer-Encoding: chunked\r\n"));
}

#[test]
fn a_buffered_upload_is_announced_by_its_length() {
    let origin = Origin::named("a");
    let balancer = Balancer::start(&group("", &[&origin]));
    let mut client = balancer.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n").send("2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let seen = &origin.seen()[0];
    assert!(seen.head.contains("\r\nContent-Length: 5\r\n"), "{}", seen.head);
    assert!(!seen.head.to_ascii_lowercase().contains("transfer-encoding"), "{}", seen.head);
    assert_eq!(seen.body, b"abcde");
}

#[test]
fn a_client_of_1_0_gets_a_body_of_unknown_length_until_the_close() {
    let (_origin, balancer) = answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Next::Keep,
    );
    let mut client = balancer.client();
    let answer = client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
    assert_eq!((answer.text(), answer.field("connection")), ("abc", Some("close")));
    assert_eq!(answer.field("transfer-encoding"), None);
    assert!(client.is_ended());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|seen, stream| text(stream, seen.path()));
    let balancer = Balancer::start(&group("", &[&origin]));
    let mut client = balancer.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let answers = [1, 2, 3].map(|_| client.answer().text().to_owned());
    assert_eq!(answers, ["/1", "/2", "/3"]);
}

#[test]
fn a_client_that_expects_it_is_told_to_go_on_once() {
    let origin = Origin::named("a");
    let balancer = Balancer::start(&group("", &[&origin]));
    let mut client = balancer.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().head, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.send("hi").answer().status, 200);
    let seen = &origin.seen()[0];
    assert!(!seen.head.contains("Expect"), "{}", seen.head);
    assert_eq!(seen.body, b"hi");
}

#[test]
fn interim_answers_are_passed_over() {
    let (_origin, balancer) = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        Next::Keep,
    );
    let mut client = balancer.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text()), (200, "a"));
        assert_eq!(answer.field("link"), None);
    }
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways_and_counts_until_its_end() {
    let origin = Origin::start(|_, stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst";
        stream.write_all(head).unwrap();
        let mut buffer = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..read]).unwrap();
        }
        Next::Close
    });
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {}; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }}",
        origin.name()
    ));
    let mut client = balancer.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly",
    );
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (101, Some("upgrade")));
    assert_eq!(client.bytes(10), b"firstearly");
    assert_eq!(client.send("more").bytes(4), b"more");
    assert_eq!(balancer.active(), 1);
    client.half_close();
    assert!(client.is_ended());
    eventually("the request counts no more", || balancer.active() == 0);
}

#[test]
fn an_answer_cut_short_never_looks_whole() {
    for (answer, next) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Next::Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Next::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", Next::Close),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", Next::Close),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nz\r\n", Next::Keep),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", Next::Close),
    ] {
        let (_origin, balancer) = answering(answer, next);
        let mut client = balancer.client();
        if let Some(got) = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").try_answer() {
            assert!(!got.is_whole || got.status == 502, "{answer:?}: {got:?}");
        }
        eventually("no request counts", || balancer.active() == 0);
    }
}

#[test]
fn more_than_was_announced_is_cut_and_never_answers_another_request() {
    let (origin, balancer) = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        Next::Keep,
    );
    let mut client = balancer.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "hi");
    }
    assert_eq!(origin.opened(), 3);
}

#[test]
fn large_bodies_pass_both_ways_at_once_in_little_memory() {
    const SIZE: usize = 48 << 20;
    let origin = Origin::raw(|mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || {
            write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").unwrap();
            let block = vec![b'd'; 1 << 20];
            (0..SIZE >> 20).for_each(|_| writer.write_all(&block).unwrap());
        });
        drain(&mut stream, SIZE, b'u');
        writing.join().unwrap();
    });
    let balancer = Balancer::start(&format!("client_max_body_size 0; {}", group("", &[&origin])));
    let mut client = balancer.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    let mut writer = client.stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let block = vec![b'u'; 1 << 20];
        (0..SIZE >> 20).for_each(|_| writer.write_all(&block).unwrap());
    });
    // Nothing is read until the balancer can take no more: the slow side slows the other.
    eventually("the answer waits for its reader", || {
        balancer.metric("balancer_upstream_server_active_requests", &[]) == Some(1)
    });
    let memory = balancer.metric("process_resident_memory_bytes", &[]).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.bytes(1));
    }
    for _ in 0..SIZE >> 20 {
        assert!(client.bytes(1 << 20).iter().all(|it| *it == b'd'));
    }
    writing.join().unwrap();
    let after = balancer.metric("process_resident_memory_bytes", &[]).unwrap();
    assert!(after < memory + (8 << 20), "{memory} became {after}");
    eventually("the request is over", || balancer.active() == 0);
}

#[track_caller]
fn drain(stream: &mut TcpStream, mut left: usize, byte: u8) {
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0 && buffer[..read].iter().all(|it| *it == byte), "{left} left");
        left -= read;
    }
}
