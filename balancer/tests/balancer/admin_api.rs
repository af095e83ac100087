//! Does the admin listener answer as nginx's status API does?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{Balancer, Client, Next, Origin, eventually, free_port, text};

fn get(balancer: &Balancer, path: &str) -> (u16, Value) {
    let answer = balancer.admin().get(path);
    assert_eq!(answer.field("content-type"), Some("application/json"), "{}", answer.head);
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[track_caller]
fn found(balancer: &Balancer, path: &str) -> Value {
    let (status, value) = get(balancer, path);
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// Two servers that answer, one of them with 404, behind a name; one that does not, in `stream`.
fn start() -> (Balancer, [Origin; 2]) {
    let origins = [
        Origin::start(|_, out| text(out, "abc")),
        Origin::start(|_, out| {
            let written = out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
            if written.is_ok() { Next::Keep } else { Next::Close }
        }),
    ];
    let ports = origins.each_ref().map(|it| it.port);
    let closed = free_port();
    let balancer = Balancer::start(&format!(
        "upstream shop {{ server 127.0.0.1:{} weight=2 max_conns=9 slow_start=1s; \
         server 127.0.0.1:{} max_fails=3 fail_timeout=20s; server 127.0.0.1:{closed} down; }}\
         server {{ listen PORT; server_name shop.test; location / {{ proxy_pass http://shop; }} }}\
         }} stream {{ upstream shop {{ server 127.0.0.1:{closed}; }} \
         server {{ listen {}; proxy_pass shop; }}",
        ports[0],
        ports[1],
        free_port()
    ));
    (balancer, origins)
}

/// Has three requests answered, and counted: the last answer may be here before that.
fn three_requests(balancer: &Balancer) -> Client {
    let mut client = balancer.client();
    for _ in 0..3 {
        client.get("/");
    }
    eventually("the requests are counted", || {
        let idle = &found(balancer, "/api/9/http/upstreams/shop")["keepalive"];
        let zone = found(balancer, "/api/9/http/server_zones/shop.test");
        (idle, &zone["requests"], &found(balancer, "/api/9/connections")["idle"])
            == (&json!(2), &json!(3), &json!(1))
    });
    client
}

#[test]
fn the_servers_of_an_upstream_are_told_in_nginx_s_fields() {
    let (balancer, origins) = start();
    let _client = three_requests(&balancer);
    let group = found(&balancer, "/api/9/http/upstreams/shop");
    assert_eq!(group["zone"], "shop");
    assert_eq!(group["keepalive"], 2);
    let peers = group["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 3);
    let first = &peers[0];
    assert_eq!(first["server"], format!("127.0.0.1:{}", origins[0].port));
    for (field, value) in [
        ("weight", json!(2)),
        ("state", json!("up")),
        ("backup", json!(false)),
        ("active", json!(0)),
        ("max_conns", json!(9)),
        ("requests", json!(2)),
        ("fails", json!(0)),
        ("unavail", json!(0)),
        ("downtime", json!(0)),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    let classes = json!({"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 0, "5xx": 0, "total": 2});
    assert_eq!(first["responses"], classes);
    assert_eq!(peers[1]["responses"]["4xx"], 1);
    assert!(first["sent"].as_u64().unwrap() > 20 && first["received"].as_u64().unwrap() > 20);
    assert!(first["selected"].as_str().unwrap().ends_with('Z'), "{first}");
    assert!(first["header_time"].is_u64() && first["response_time"].is_u64(), "{first}");
    assert_eq!(peers[2]["state"], "down");
    assert_eq!(peers[2].get("selected"), None);
    assert_eq!(found(&balancer, "/api/9/http/upstreams/")["shop"]["peers"][0]["id"], first["id"]);
    let stream = found(&balancer, "/api/9/stream/upstreams");
    assert_eq!(stream["shop"]["peers"].as_array().unwrap().len(), 1);
    assert_eq!(stream["shop"]["peers"][0]["connections"], 0);
}

#[test]
fn the_lines_of_an_upstream_are_told_as_they_are_configured() {
    let (balancer, origins) = start();
    let lines = found(&balancer, "/api/9/http/upstreams/shop/servers/");
    let id = lines[1]["id"].as_u64().unwrap();
    let line = found(&balancer, &format!("/api/9/http/upstreams/shop/servers/{id}"));
    assert_eq!(line, lines[1]);
    let expected = json!({
        "id": id, "server": format!("127.0.0.1:{}", origins[1].port), "weight": 1,
        "max_conns": 0, "max_fails": 3, "fail_timeout": "20s", "slow_start": "0s",
        "backup": false, "down": false, "route": "",
    });
    assert_eq!(line, expected);
    assert_eq!(lines[0]["slow_start"], "1s");
    assert_eq!(lines[2]["down"], true);
}

#[test]
fn clients_and_their_requests_are_counted() {
    let (balancer, _origins) = start();
    let _client = three_requests(&balancer);
    let program = found(&balancer, "/api/9/nginx");
    assert_eq!(program["version"], balancer::NGINX_VERSION);
    assert_eq!(program["address"], "127.0.0.1");
    assert_eq!(program["pid"], balancer.pid().as_raw());
    let connections = json!({"accepted": 1, "dropped": 0, "active": 0, "idle": 1});
    assert_eq!(found(&balancer, "/api/9/connections"), connections);
    assert_eq!(found(&balancer, "/api/9/http/requests"), json!({"total": 3, "current": 0}));
    let zones = found(&balancer, "/api/9/http/server_zones");
    let zone = &zones["shop.test"];
    assert_eq!(zone["requests"], 3);
    assert_eq!(zone["responses"]["2xx"], 2);
    assert_eq!(zone["responses"]["total"], 3);
    assert_eq!(zone["discarded"], 0);
    assert_eq!(zone["received"], 3 * "GET / HTTP/1.1\r\nHost: client\r\n\r\n".len());
    assert_eq!(found(&balancer, "/api/9/http/server_zones/shop.test"), *zone);
}

#[test]
fn paths_lead_to_what_there_is() {
    let (balancer, _origins) = start();
    assert_eq!(found(&balancer, "/api/"), json!([9]));
    let roots = found(&balancer, "/api/9/");
    for root in roots.as_array().unwrap() {
        found(&balancer, &format!("/api/9/{}", root.as_str().unwrap()));
    }
    for root in found(&balancer, "/api/9/http").as_array().unwrap() {
        found(&balancer, &format!("/api/9/http/{}", root.as_str().unwrap()));
    }
    let limited = found(&balancer, "/api/9/nginx?fields=version,build");
    assert_eq!(limited.as_object().unwrap().keys().collect::<Vec<_>>(), ["build", "version"]);
    assert_eq!(found(&balancer, "/api/9/http/upstreams?fields="), json!(["shop"]));
}

#[track_caller]
fn refused(path: &str, status: u16, code: &str, text: &str) {
    let (balancer, _origins) = start();
    let (found, body) = get(&balancer, path);
    assert_eq!(found, status, "{path}");
    assert_eq!(body["error"], json!({"status": status, "code": code, "text": text}), "{path}");
    assert_eq!(body["request_id"].as_str().unwrap().len(), 32);
    assert!(body["href"].as_str().unwrap().starts_with("https://nginx.org/"));
}

#[test]
fn what_is_not_there_is_refused_in_nginx_s_words() {
    refused("/api/1/nginx", 404, "UnknownVersion", "unknown version");
    refused("/api/9/nope", 404, "PathNotFound", "path not found");
    refused("/api/9/http/upstreams/x", 404, "UpstreamNotFound", "upstream not found");
    refused("/api/9/http/server_zones/x", 404, "ServerZoneNotFound", "server zone not found");
    let servers = "/api/9/http/upstreams/shop/servers";
    refused(&format!("{servers}/x"), 400, "UpstreamBadServerId", "invalid server ID");
    let text = "server with ID \"999\" does not exist";
    refused(&format!("{servers}/999"), 404, "UpstreamServerNotFound", text);
}
