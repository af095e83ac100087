//! Are the counts of requests in progress true, whatever becomes of requests and servers?

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use policy::{Draw as _, SplitMix64};

use crate::support::{Balancer, Client, Next, Origin, eventually, free_port, text};

/// Does what the path asks for.
fn moody() -> Origin {
    Origin::start(|seen, stream| match seen.path().split('/').nth(1).unwrap_or_default() {
        "reset" => Next::Reset,
        "close" => Next::Close,
        "hang" => {
            thread::sleep(Duration::from_millis(400));
            Next::Close
        }
        "half" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            Next::Close
        }
        "garbage" => {
            let _ = stream.write_all(b"garbage\r\n\r\n");
            Next::Close
        }
        "busy" => {
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
            Next::Keep
        }
        "upgrade" => {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
            let mut byte = [0];
            if stream.write_all(head.as_bytes()).is_ok() && stream.read_exact(&mut byte).is_ok() {
                let _ = stream.write_all(&byte);
            }
            Next::Close
        }
        _ => text(stream, "ok"),
    })
}

#[test]
fn nothing_is_left_of_five_hundred_requests_that_end_in_every_way() {
    const PATHS: [&str; 8] = ["ok", "reset", "close", "hang", "half", "garbage", "busy", "upgrade"];
    let origins = [moody(), moody(), moody()];
    let servers: String = origins
        .iter()
        .map(|it| format!("server {} max_conns=4 max_fails=0; ", it.name()))
        .collect();
    let balancer = Balancer::start_with(
        2,
        &format!(
            "upstream u {{ queue 20 timeout=1s; outlier_ejection; retry_budget percent=50; \
             concurrency_limit min=16; {servers} server 127.0.0.1:{} max_fails=0; }} \
             server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; \
             proxy_read_timeout 200ms; proxy_next_upstream error timeout http_503; \
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; \
             }} }}",
            free_port()
        ),
    );
    let draw = Mutex::new(SplitMix64::new(7));
    let below = |n: u64| draw.lock().unwrap().below(n);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let path = PATHS[usize::try_from(below(PATHS.len() as u64)).unwrap()];
                    let upgrade = if path == "upgrade" {
                        "Connection: upgrade\r\nUpgrade: echo\r\n"
                    } else {
                        ""
                    };
                    let method = if below(3) == 0 { "POST" } else { "GET" };
                    let mut client = balancer.client();
                    let head = format!(
                        "{method} /{path} HTTP/1.1\r\nHost: a\r\n{upgrade}Content-Length: 4\r\n\r\n"
                    );
                    client.send(head);
                    match below(4) {
                        0 => client.abort(),
                        1 => {
                            client.send("ab");
                            thread::sleep(Duration::from_millis(below(20)));
                        }
                        _ => {
                            client.send("abcd");
                            thread::sleep(Duration::from_millis(below(30)));
                            if below(2) == 0 {
                                // Half of those who asked wait for what comes.
                                let _ = client.stream.read(&mut [0; 64]);
                            }
                        }
                    }
                }
            });
        }
    });
    eventually("no request counts", || balancer.active() == 0);
    eventually("nobody waits", || {
        balancer.metric("balancer_upstream_queue_requests", &[]) == Some(0)
    });
    // Every place in the limit has been given back: as many as there are can still be had.
    let mut client = balancer.client();
    assert!((0..20).any(|_| client.get("/ok").status == 200));
    assert_eq!(balancer.admin().get("/api/status").status, 200);
}

/// Asks once; the status, 0 for no answer.
fn status(client: &mut Client) -> u16 {
    client.get("/").status
}

#[test]
fn with_half_of_the_servers_down_nobody_is_told() {
    let mut origins = [(); 4].map(|()| Origin::named("up"));
    let names = origins.each_ref().map(Origin::name);
    let servers: String = names.iter().map(|it| format!("server {it}; ")).collect();
    let balancer = Balancer::start(&format!(
        "upstream u {{ {servers} }} server {{ listen 127.0.0.1:PORT; \
         location / {{ proxy_pass http://u; }} }}"
    ));
    let mut client = balancer.client();
    for number in 0..200 {
        if number == 50 {
            origins[0].kill();
            origins[2].kill();
        }
        assert_eq!(status(&mut client), 200, "request {number}");
    }
}

#[test]
fn a_server_that_comes_and_goes_loses_nobody() {
    let port = free_port();
    let steady = Origin::named("steady");
    let balancer = Balancer::start(&format!(
        "upstream u {{ server 127.0.0.1:{port} fail_timeout=1s; server {}; }} server {{ \
         listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; \
         health_check type=tcp interval=100ms; }} }}",
        steady.name()
    ));
    let (is_over, lost) = (Arc::new(AtomicBool::new(false)), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // A connection ends after a thousand requests.
                    let mut client = balancer.client();
                    for _ in 0..100 {
                        let status = status(&mut client);
                        if status != 200 {
                            lost.lock().unwrap().push(status);
                        }
                        thread::sleep(Duration::from_millis(2));
                    }
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            let mut flapping = Origin::at(port, |_, stream| text(stream, "flapping"));
            thread::sleep(Duration::from_millis(500));
            flapping.kill();
            drop(flapping);
            thread::sleep(Duration::from_millis(500));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(*lost.lock().unwrap(), [0; 0]);
    eventually("no request counts", || balancer.active() == 0);
}
