//! Do policies that live on what servers say of themselves hear it?

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::admin_changes::tell;
use crate::support::{Balancer, Next, Origin, eventually, text};

fn loaded(stream: &mut TcpStream, load: &str) -> Next {
    let head =
        format!("HTTP/1.1 200 OK\r\nendpoint-load-metrics: {load}\r\nContent-Length: 2\r\n\r\nok");
    if stream.write_all(head.as_bytes()).is_ok() { Next::Keep } else { Next::Close }
}

fn group(line: &str, servers: &[Origin]) -> Balancer {
    let servers: String = servers.iter().map(|it| format!("server {}; ", it.name())).collect();
    Balancer::start(&format!(
        "upstream u {{ {line}; {servers} }} server {{ listen 127.0.0.1:PORT; \
         location / {{ proxy_pass http://u; }} }}"
    ))
}

fn asked(origin: &Origin, path: &str) -> usize {
    origin.seen().iter().filter(|it| it.path() == path).count()
}

#[test]
fn the_server_that_says_it_is_faster_gets_most_requests() {
    let origin = |latency: &'static str| {
        Origin::start(move |seen, stream| match seen.path() {
            "/load" => {
                let load =
                    format!("TEXT named_metrics.in_flight=1, named_metrics.latency_ms={latency}");
                loaded(stream, &load)
            }
            _ => text(stream, "ok"),
        })
    };
    let origins = [origin("80"), origin("1"), origin("90")];
    let balancer = group("prequal uri=/load age=60s", &origins);
    let mut client = balancer.client();
    client.get("/");
    eventually("all have been asked", || {
        client.get("/warm");
        origins.iter().all(|it| asked(it, "/load") > 3)
    });
    for _ in 0..60 {
        assert_eq!(client.get("/x").status, 200);
    }
    let served = origins.each_ref().map(|it| asked(it, "/x"));
    assert!(served[1] > 40, "{served:?}");
    eventually("no request counts", || balancer.active() == 0);
}

#[test]
fn a_policy_that_asks_takes_over_and_ends_while_the_group_serves() {
    let origins = [(); 2].map(|()| Origin::start(|_, stream| text(stream, "ok")));
    let servers: String = origins.iter().map(|it| format!("server {}; ", it.name())).collect();
    let balancer = Balancer::start_changeable(&format!(
        "upstream shop {{ {servers} }} server {{ listen PORT; location / {{ proxy_pass http://shop; }} }}"
    ));
    let probes = || origins.iter().map(|it| asked(it, "/load")).sum::<usize>();
    let set = |policy: &str| {
        let (status, shown) =
            tell(&balancer, "PATCH", "/api/9/http/upstreams/shop", &json!({"policy": policy}));
        (status, shown["policy"].as_str().map(str::to_owned))
    };
    let mut client = balancer.client();
    client.get("/");
    assert_eq!(probes(), 0);
    assert_eq!(set("prequal uri=load").0, 400);
    assert_eq!(set("prequal uri=/load"), (200, Some("prequal".to_owned())));
    eventually("both are asked", || {
        assert_eq!(client.get("/").status, 200);
        origins.iter().all(|it| 0 < asked(it, "/load"))
    });
    assert_eq!(set("prequal").0, 200);
    // What was under way when the policy changed may still arrive.
    eventually("nobody is asked any more", || {
        let before = probes();
        (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
        probes() == before
    });
}

#[test]
fn without_a_path_the_balancer_answers_from_what_it_has_seen() {
    let origins = [30, 0, 30].map(|millis| {
        Origin::start(move |_, stream| {
            thread::sleep(Duration::from_millis(millis));
            text(stream, "ok")
        })
    });
    let balancer = group("prequal", &origins);
    let mut client = balancer.client();
    for _ in 0..60 {
        assert_eq!(client.get("/x").status, 200);
    }
    let served = origins.each_ref().map(|it| asked(it, "/x"));
    assert!(served[1] > 30, "{served:?}");
    assert!(origins.iter().all(|it| asked(it, "/load") == 0));
}

#[test]
fn weights_follow_what_servers_report_with_their_answers() {
    let origin = |requests: &'static str| {
        Origin::start(move |_, stream| {
            loaded(stream, &format!("TEXT rps_fractional={requests}, application_utilization=0.5"))
        })
    };
    let origins = [origin("300"), origin("100")];
    let balancer = group("grpc_wrr blackout=0s update=100ms", &origins);
    let mut client = balancer.client();
    for _ in 0..4 {
        client.get("/");
    }
    thread::sleep(Duration::from_millis(200));
    let before = origins.each_ref().map(|it| asked(it, "/x"));
    for _ in 0..80 {
        client.get("/x");
    }
    let served = origins.each_ref().map(|it| asked(it, "/x"));
    assert_eq!((before, served), ([0, 0], [60, 20]));
}
