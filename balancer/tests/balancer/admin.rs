//! What the admin listener answers, asked over its socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use balancer::admin;
use balancer::engine::Shared;
use balancer::metrics;
use balancer::snapshot::Snapshot;
use balancer::upstream::{Address, Backend, Binding, Server, Tried, Upstream};
use policy::{Event, Request, Terms, Time};
use tokio::runtime::Runtime;

use crate::support::{Balancer, Origin, prometheus};

/// An admin listener on a port of its own, until dropped.
struct Admin {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// An answer: status, head and body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// What a body that came in chunks holds.
    fn chunks(&self) -> String {
        assert!(self.head.contains("transfer-encoding: chunked"), "{}", self.head);
        let mut whole = String::new();
        let mut rest = &*self.body;
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            whole.push_str(&after[..size]);
            rest = &after[size + 2..];
        }
        whole
    }
}

impl Admin {
    fn start(upstreams: Vec<Arc<Upstream>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::new(Snapshot { upstreams, ..Snapshot::default() }, 2));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        runtime.spawn(admin::serve(listener, Arc::clone(&shared), None));
        Self { address, shared, _runtime: runtime }
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        self.ask_with(method, path, "")
    }

    fn ask_with(&self, method: &str, path: &str, fields: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n");
        write!(stream, "{head}{fields}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// The exposition, its samples by name and labels. Panics at a series or family met twice.
    fn series(&self) -> HashMap<String, String> {
        let text = self.ask("GET", "/metrics").body;
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        let mut families = HashSet::new();
        let mut series = HashMap::new();
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let name = family.split(' ').next().unwrap();
                assert!(families.insert(name.to_owned()), "two families {name}");
            } else if !line.starts_with('#') {
                let (labels, value) = line.rsplit_once(' ').unwrap();
                let before = series.insert(labels.to_owned(), value.to_owned());
                assert_eq!(before, None, "two series {labels}");
            }
        }
        series
    }

    fn active(&self) -> u64 {
        let prefix = "balancer_upstream_server_active_requests{";
        let series = self.series();
        let active = series.iter().filter(|(it, _)| it.starts_with(prefix));
        active.map(|(_, it)| it.parse::<u64>().unwrap()).sum()
    }
}

fn server(port: u16, terms: Terms) -> Server {
    let address = Address::Inet(SocketAddr::from(([10, 0, 0, 1], port)));
    Server { terms, backend: Arc::new(Backend::new(address)), binding: Binding::default() }
}

fn upstream(name: &str, servers: Vec<Server>) -> Arc<Upstream> {
    let upstream = Upstream::passing(name, &[]);
    upstream.relist(servers);
    Arc::new(upstream)
}

fn three(name: &str) -> Arc<Upstream> {
    upstream(name, [1, 2, 3].map(|it| server(it, Terms::default())).to_vec())
}

const NOW: Time = Time::from_secs(100);

#[test]
fn active_requests_are_the_leases_that_have_not_ended() {
    let groups = [three("a"), three("b")];
    let admin = Admin::start(groups.to_vec());
    let pick = |it: usize| groups[it % 2].pick(&Request::at(NOW), &Tried::default(), None).unwrap();
    let mut leases: Vec<_> = (0..7).map(pick).collect();
    assert_eq!(admin.active(), 7);
    let ended = leases.split_off(3);
    for lease in ended {
        lease.finish(Event::success(Duration::from_millis(5)), NOW);
    }
    assert_eq!(admin.active(), 3);
    drop(leases);
    assert_eq!(admin.active(), 0);
}

#[test]
fn a_server_that_fails_is_shown_as_unavailable() {
    let group = upstream("a", [1, 2].map(|it| server(it, Terms::default())).to_vec());
    let admin = Admin::start(vec![Arc::clone(&group)]);
    let state = |name: &str| {
        let of = "upstream=\"a\",server=\"10.0.0.1:1\"";
        admin.series()[&format!("balancer_upstream_server_state{{{of},state=\"{name}\"}}")] == "1"
    };
    assert_eq!((state("up"), state("unavail")), (true, false));
    // The clock of the balancer counts from its start, so this failure lies far ahead of it.
    let lease = group.pick(&Request::at(NOW), &Tried::default(), None).unwrap();
    assert_eq!(lease.backend.name, "10.0.0.1:1");
    lease.finish(Event::FAILURE, NOW);
    assert_eq!((state("up"), state("unavail")), (false, true));
}

#[test]
fn two_groups_of_one_name_are_one_series() {
    let shared = server(1, Terms::default());
    let first = upstream("a", vec![shared.clone(), server(2, Terms::default())]);
    let admin = Admin::start(vec![Arc::clone(&first), upstream("a", vec![shared])]);
    let _lease = first.pick(&Request::at(NOW), &Tried::default(), None).unwrap();
    let _second = first.pick(&Request::at(NOW), &Tried::default(), None).unwrap();
    assert_eq!(admin.active(), 2);
    let weight = "balancer_upstream_server_weight{upstream=\"a\",server=\"10.0.0.1:1\"}";
    assert_eq!(admin.series()[weight], "2");
}

#[test]
fn a_duration_is_in_its_bucket_and_in_all_above() {
    let group = three("a");
    let admin = Admin::start(vec![Arc::clone(&group)]);
    let backend = &group.servers()[0].backend;
    backend.counters.response.observe(Duration::from_millis(60));
    backend.counters.response.observe(Duration::from_secs(11));
    let series = admin.series();
    let bucket = |le: &str| {
        let labels = format!("upstream=\"a\",server=\"{}\",le=\"{le}\"", backend.name);
        &*series[&format!("balancer_upstream_server_response_seconds_bucket{{{labels}}}")]
    };
    let counts = [bucket("0.05"), bucket("0.075"), bucket("10.0"), bucket("+Inf")];
    assert_eq!(counts, ["0", "1", "1", "2"]);
}

#[test]
fn the_exposition_says_what_it_is() {
    let admin = Admin::start(Vec::new());
    let answer = admin.ask("GET", "/metrics");
    assert_eq!(answer.status, 200);
    let line = format!("content-type: {}", metrics::Format::OpenMetrics.content_type());
    assert!(answer.head.lines().any(|it| it == line), "{}", answer.head);
    let series = admin.series();
    for name in [
        "nginx_connections_accepted",
        "nginx_connections_active",
        "nginx_connections_handled",
        "nginx_connections_reading",
        "nginx_connections_waiting",
        "nginx_connections_writing",
        "nginx_http_requests_total",
        "process_cpu_seconds_total",
        "balancer_config_last_reload_successful",
        "balancer_config_reloads_total{result=\"failure\"}",
        "balancer_client_connections{state=\"waiting\"}",
        "balancer_client_connections_total{result=\"handled\"}",
    ] {
        assert!(series.contains_key(name), "no {name}");
    }
}

#[test]
fn a_reader_of_the_older_format_gets_it() {
    let admin = Admin::start(vec![three("a")]);
    let plain = metrics::Format::Prometheus.content_type();
    for (path, accept, is_plain) in [
        ("/metrics", "Accept: text/plain;version=0.0.4;q=0.5, */*;q=0.1\r\n", true),
        ("/metrics?format=prometheus", "", true),
        ("/metrics?format=openmetrics", "Accept: text/plain\r\n", false),
        ("/metrics", "Accept: application/openmetrics-text, text/plain\r\n", false),
        ("/metrics", "Accept: */*\r\n", false),
    ] {
        let answer = admin.ask_with("GET", path, accept);
        assert_eq!(answer.head.contains(plain), is_plain, "{path} {accept}: {}", answer.head);
        assert_eq!(answer.body.ends_with("# EOF\n"), !is_plain, "{path} {accept}");
        let counter = "# TYPE balancer_retries_total counter\n";
        assert_eq!(answer.body.contains(counter), is_plain, "{path} {accept}");
    }
}

#[test]
fn ten_thousand_servers_are_told_in_portions() {
    let servers = (0..10_000).map(|it| server(it, Terms::default())).collect();
    let admin = Admin::start(vec![upstream("a", servers)]);
    let text = admin.ask("GET", "/metrics").chunks();
    let lines = text.lines().filter(|it| it.starts_with("balancer_upstream_server_weight{"));
    assert_eq!(lines.count(), 10_000);
    assert!(text.ends_with("\n# EOF\n"));
}

/// Gives the exposition to Prometheus's own checker, which has to be silent about it.
#[test]
fn the_exposition_is_clean() {
    let admin = Admin::start(vec![three("a"), three("b \"quoted\\")]);
    let Some(mut checker) = prometheus::checker(&["check", "metrics"]) else { return };
    let mut child = checker.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let text = admin.ask("GET", "/metrics?format=prometheus").body;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let found = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success() && told.is_empty(), "{told}");
}

#[test]
fn reloads_are_counted_by_what_became_of_them() {
    let admin = Admin::start(Vec::new());
    admin.shared.reloads.succeeded();
    admin.shared.reloads.failed();
    admin.shared.reloads.failed();
    let series = admin.series();
    assert_eq!(series["balancer_config_reloads_total{result=\"success\"}"], "1");
    assert_eq!(series["balancer_config_reloads_total{result=\"failure\"}"], "2");
    assert_eq!(series["balancer_config_last_reload_successful"], "0");
    admin.shared.reloads.succeeded();
    assert_eq!(admin.series()["balancer_config_last_reload_successful"], "1");
}

#[test]
fn names_are_text_wherever_they_are_shown() {
    let name = "a\"b\\c<script>";
    let admin = Admin::start(vec![three(name)]);
    let page = admin.ask("GET", "/");
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("<script>"), "{}", page.body);
    assert!(page.body.contains("&#60;script&#62;"), "{}", page.body);
    let retries = "balancer_retries_total{upstream=\"a\\\"b\\\\c<script>\"}";
    assert!(admin.series().contains_key(retries));
    let status = admin.ask("GET", "/api/status");
    let status: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(status["upstreams"][0]["name"], name);
    assert_eq!(status["upstreams"][0]["servers"][2]["state"], "up");
}

#[test]
fn health_turns_when_the_stop_begins() {
    let admin = Admin::start(Vec::new());
    let answer = admin.ask("GET", "/health");
    assert_eq!((answer.status, &*answer.body), (200, "ok\n"));
    assert_eq!(healthcheck(admin.address), (Some(0), String::new()));
    admin.shared.stop();
    assert_eq!(admin.ask("GET", "/health").status, 503);
    let address = admin.address;
    let text = format!("nginx: [error] {address} is not healthy: stopping\n");
    assert_eq!(healthcheck(address), (Some(1), text));
    drop(admin);
    let (code, text) = healthcheck(address);
    let told = format!("nginx: [error] the admin listener at {address} does not answer: ");
    assert!(code == Some(1) && text.starts_with(&told), "{code:?} {text}");
}

/// What a container's engine is told, and what a person reads.
fn healthcheck(address: SocketAddr) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balancer"));
    let done = command.args(["healthcheck", &address.to_string()]).output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn only_reading_is_served() {
    let admin = Admin::start(Vec::new());
    assert_eq!(admin.ask("GET", "/nope").status, 404);
    let refused = admin.ask("POST", "/");
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("allow: get, head"), "{}", refused.head);
    let head = admin.ask("HEAD", "/api/status");
    assert_eq!((head.status, &*head.body), (200, ""));
}

#[test]
fn two_servers_of_one_address_are_told_apart() {
    let origin = Origin::named("a");
    let name = origin.name();
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {name}; server {name}; }}
         server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}"
    ));
    let mut client = balancer.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "a");
    }
    let picks = |server: &str| {
        balancer.metric("balancer_upstream_server_picks_total", &[&format!("server=\"{server}\"")])
    };
    assert_eq!([picks(&name), picks(&format!("{name}#2"))], [Some(2), Some(1)]);
}
