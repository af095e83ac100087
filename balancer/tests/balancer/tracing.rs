//! Do spans say what became of requests, do they fit together, and does nobody wait for them?
//!
//! The collector is gRPC's own server with OpenTelemetry's own messages.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::collector::{Collector, attribute};
use crate::support::{Balancer, Next, Origin, eventually, free_port, text};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01";
const STATE: &str = "congo=ucfJifl5GOE,rojo=00f067aa0ba902b7";

/// `http` lines that send spans to a port, and a server with these locations.
fn configuration(port: u16, exporter: &str, lines: &str) -> String {
    format!(
        "otel_exporter {{ endpoint 127.0.0.1:{port}; {exporter} }} server {{ \
         listen 127.0.0.1:PORT; server_name shop; {lines} }}"
    )
}

/// A balancer whose spans arrive at once.
fn traced(collector: &Collector, lines: &str) -> Balancer {
    Balancer::start(&configuration(collector.port, "interval 10ms;", lines))
}

fn spans(balancer: &Balancer, result: &str) -> u64 {
    let label = format!("result=\"{result}\"");
    balancer.metric("balancer_otel_spans_total", &[&label]).unwrap()
}

/// Repeats a request's `traceparent` and `tracestate`.
fn mirror_of_context() -> Origin {
    Origin::start(|seen, stream| {
        let is_context = |it: &&str| it.starts_with("trace");
        let body: Vec<_> = seen.head.lines().filter(is_context).collect();
        text(stream, &body.join("\n"))
    })
}

#[test]
fn a_span_says_of_its_request_what_nginx_says() {
    let collector = Collector::start(&[]);
    let origin = Origin::named("hello");
    let balancer = traced(
        &collector,
        &format!(
            "otel_trace on; location /shop {{ proxy_pass http://{}; }} \
             location ~ ^/err {{ return 500 broken; }}",
            origin.name()
        ),
    );
    let mut client = balancer.client();
    let port = client.stream.local_addr().unwrap().port();
    client.send(
        "POST /shop/a?b=c HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!(client.answer().text(), "hello");
    let span = collector.take(1).remove(0);
    let expected = json!([
        ["http.method", "POST"],
        ["http.target", "/shop/a?b=c"],
        ["http.scheme", "http"],
        ["http.route", "/shop"],
        ["http.flavor", "1.1"],
        ["http.user_agent", "me"],
        ["http.request_content_length", 3],
        ["net.host.name", "shop"],
        ["net.sock.peer.addr", "127.0.0.1"],
        ["net.sock.peer.port", port],
        ["net.host.port", balancer.port],
        ["http.response_content_length", 5],
        ["http.status_code", 200],
    ]);
    assert_eq!(span["attributes"], expected);
    assert_eq!((&span["name"], &span["kind"]), (&json!("/shop"), &json!("SPAN_KIND_SERVER")));
    assert_eq!(
        (&span["status"], &span["parent_span_id"]),
        (&json!("STATUS_CODE_UNSET"), &json!(""))
    );
    let (start, end) = (span["start"].as_u64().unwrap(), span["end"].as_u64().unwrap());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    assert!(start < end && u128::from(end) < now && now - u128::from(start) < 60_000_000_000);

    client.get("/err");
    let span = collector.take(1).remove(0);
    assert_eq!((&span["name"], &span["status"]), (&json!("^/err"), &json!("STATUS_CODE_ERROR")));
    assert_eq!(attribute(&span, "http.status_code"), 500);
    assert_eq!(attribute(&span, "http.user_agent"), Value::Null);
    eventually("both are counted", || spans(&balancer, "exported") == 2);
}

#[test]
fn who_has_not_found_a_location_leaves_no_span() {
    let collector = Collector::start(&[]);
    let lines = "otel_trace on; location = /last { return 204; } location /off { otel_trace off; \
                 return 204; } if ($arg_x) { return 403; }";
    let balancer = traced(&collector, lines);
    let mut client = balancer.client();
    assert_eq!(client.get("/last?x=1").status, 403);
    assert_eq!(client.get("/off").status, 204);
    assert_eq!(balancer.client().send("GET\r\n\r\n").answer().status, 400);
    client.get("/last");
    assert_eq!(collector.take(1)[0]["name"], "/last");
}

#[test]
fn a_span_has_the_name_and_attributes_of_where_its_request_ends() {
    let collector = Collector::start(&[]);
    let balancer = traced(
        &collector,
        "otel_trace on; otel_span_attr outer $host; location /a { error_page 404 = @gone; \
         otel_span_name a; return 404; } location @gone { otel_span_name \"gone $uri\"; \
         otel_span_attr http.response.header.content_type $sent_http_content_type; \
         otel_span_attr status $status; return 410 gone; } \
         location /b { otel_trace off; error_page 403 = /a/gone; return 403; } \
         location /a/gone { return 410; } \
         location /c { if ($arg_c) { return 204; } }",
    );
    let mut client = balancer.client();
    assert_eq!(client.get("/a").status, 410);
    let span = collector.take(1).remove(0);
    assert_eq!(span["name"], "gone /a");
    assert_eq!(attribute(&span, "http.response.header.content_type"), json!(["text/plain"]));
    assert_eq!(attribute(&span, "status"), "410");
    assert_eq!(attribute(&span, "outer"), Value::Null);
    assert_eq!(attribute(&span, "http.route"), "@gone");
    // What the first location has decided holds wherever it leads.
    assert_eq!(client.get("/b").status, 410);
    assert_eq!(client.get("/c?c=1").status, 204);
    let span = collector.take(1).remove(0);
    assert_eq!((&span["name"], attribute(&span, "outer")), (&json!("/c"), json!("client")));
}

#[test]
fn a_context_is_taken_and_passed_on_as_the_location_says() {
    let collector = Collector::start(&[]);
    let origin = mirror_of_context();
    let locations: String = ["ignore", "extract", "inject", "propagate"]
        .iter()
        .map(|it| {
            format!(
                "location /{it} {{ otel_trace_context {it}; proxy_pass http://{}; \
                 add_header ids $otel_trace_id/$otel_span_id/$otel_parent_id/$otel_parent_sampled; }}",
                origin.name()
            )
        })
        .collect();
    let balancer = traced(&collector, &format!("otel_trace on; {locations}"));
    let (trace, parent) = (&PARENT[3..35], &PARENT[36..52]);
    for location in ["ignore", "extract", "inject", "propagate"] {
        for header in ["", PARENT, "00-bad", &PARENT.replace("-01", "-00")] {
            let mut client = balancer.client();
            let lines = match header {
                "" => String::new(),
                _ => format!("TraceParent: {header}\r\nTracestate: {STATE}\r\n"),
            };
            client.send(format!("GET /{location} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
            let answer = client.answer();
            let span = collector.take(1).remove(0);
            let id = |name: &str| span[name].as_str().unwrap().to_owned();
            let is_part = matches!(location, "extract" | "propagate") && header.len() == 55;
            assert_eq!(id("trace_id") == trace, is_part, "{location} {header}");
            let (parent, state) = if is_part { (parent, STATE) } else { ("", "") };
            assert_eq!(
                (id("parent_span_id").as_str(), id("trace_state").as_str()),
                (parent, state)
            );
            assert_eq!((id("trace_id").len(), id("span_id").len()), (32, 16));
            let sampled = u8::from(is_part && header.ends_with("-01"));
            let ids = format!("{}/{}/{parent}/{sampled}", id("trace_id"), id("span_id"));
            assert_eq!(answer.field("ids"), Some(ids.as_str()));
            let passed = match location {
                "inject" | "propagate" => {
                    let own = format!("traceparent: 00-{}-{}-01", id("trace_id"), id("span_id"));
                    if is_part { format!("{own}\ntracestate: {STATE}") } else { own }
                }
                _ => lines.trim_end().replace("\r\n", "\n"),
            };
            let expected = passed.to_lowercase();
            let seen = origin.seen().pop().unwrap().head;
            let seen: Vec<_> =
                seen.lines().map(str::to_lowercase).filter(|it| it.starts_with("trace")).collect();
            assert_eq!(seen.join("\n"), expected, "{location} {header}");
        }
    }
}

#[test]
fn a_context_that_is_not_sampled_is_passed_on_as_such_and_a_header_of_ones_own_comes_first() {
    let collector = Collector::start(&[]);
    let origin = mirror_of_context();
    let name = origin.name();
    let balancer = traced(
        &collector,
        &format!(
            "otel_trace_context propagate; location /a {{ proxy_pass http://{name}; }} \
             location /b {{ proxy_set_header traceparent mine; proxy_pass http://{name}; }} \
             location /c {{ proxy_set_header x $http_traceparent; proxy_pass_request_headers off; \
             proxy_pass http://{name}; }} location /d {{ return 200 $http_traceparent; }}"
        ),
    );
    let ask = |path: &str| {
        let mut client = balancer.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nTraceparent: {PARENT}\r\n\r\n"));
        client.answer().text().to_owned()
    };
    let passed = ask("/a");
    let passed = passed.strip_prefix("traceparent: ").unwrap();
    assert_eq!((&passed[..35], &passed[52..]), (&PARENT[..35], "-00"));
    assert_ne!(passed[36..52], PARENT[36..52]);
    assert_eq!(ask("/b"), "traceparent: mine");
    assert_eq!(ask("/c"), "");
    let line = |it: &&str| it.starts_with("x: ");
    let own = origin.seen().pop().unwrap().head.lines().find(line).unwrap().to_owned();
    let within = ask("/d");
    for told in [&own[3..], &within] {
        assert_eq!((&told[..35], &told[52..]), (&PARENT[..35], "-00"), "{told}");
    }
    assert_eq!(collector.spans(), Vec::<Value>::new());
}

#[test]
fn only_what_is_sampled_leaves_a_span() {
    let collector = Collector::start(&[]);
    let http = format!(
        "split_clients $otel_trace_id $sampled {{ 50% on; * off; }} {}",
        configuration(
            collector.port,
            "interval 10ms;",
            "location /parent { otel_trace $otel_parent_sampled; otel_trace_context extract; \
             return 204; } location /share { otel_trace $sampled; return 200 $otel_trace_id; }",
        )
    );
    let balancer = Balancer::start(&http);
    let mut client = balancer.client();
    for flags in ["00", "01", "00"] {
        let parent = format!("{}{flags}", &PARENT[..53]);
        client.send(format!("GET /parent HTTP/1.1\r\nHost: a\r\nTraceparent: {parent}\r\n\r\n"));
        client.answer();
    }
    assert_eq!(collector.take(1)[0]["parent_span_id"], PARENT[36..52]);
    let asked: BTreeSet<_> = (0..200).map(|_| client.get("/share").text().to_owned()).collect();
    assert_eq!(asked.len(), 200);
    // Far from what chance does to a half of two hundred.
    eventually("a share of them arrives", || {
        let told: BTreeSet<_> = collector
            .spans()
            .iter()
            .map(|it| it["trace_id"].as_str().unwrap().to_owned())
            .collect();
        told.is_subset(&asked) && (50..=150).contains(&told.len())
    });
}

#[test]
fn requests_of_ours_belong_to_the_span_of_the_one_they_are_for() {
    let collector = Collector::start(&[]);
    let origin = mirror_of_context();
    let name = origin.name();
    let balancer = traced(
        &collector,
        &format!(
            "location / {{ otel_trace on; otel_trace_context inject; auth_request /asked; \
             mirror /shown; proxy_pass http://{name}; }} location /asked {{ internal; \
             otel_trace on; proxy_pass http://{name}; }} location /shown {{ internal; \
             otel_trace on; proxy_pass http://{name}; }}"
        ),
    );
    balancer.client().get("/first");
    let span = collector.take(1).remove(0);
    let own = format!(
        "traceparent: 00-{}-{}-01",
        span["trace_id"].as_str().unwrap(),
        span["span_id"].as_str().unwrap()
    );
    eventually("all three are asked", || origin.seen().len() == 3);
    for seen in origin.seen() {
        assert!(seen.head.contains(&own), "{own}: {}", seen.head);
    }
    assert_eq!(collector.spans().len(), 0);
}

#[test]
fn spans_go_in_batches_and_the_last_ones_at_the_end() {
    let collector = Collector::start(&[]);
    let http = format!(
        "otel_service_name test; otel_resource_attr my.name \"my name\"; {}",
        configuration(
            collector.port,
            "interval 1h; batch_size 3; header X-Token secret;",
            "otel_trace on; location / { return 204; }",
        )
    );
    let mut balancer = Balancer::start(&http);
    let mut client = balancer.client();
    (0..7).for_each(|_| drop(client.get("/")));
    eventually("two batches arrive", || collector.batches().len() == 2);
    drop(client);
    balancer.signal(Signal::SIGQUIT);
    assert!(balancer.ended().success());
    eventually("the last one arrives", || collector.batches().len() == 3);
    let batches = collector.batches();
    let sizes: Vec<_> = batches.iter().map(|it| it["spans"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [3, 3, 1]);
    for batch in &batches {
        let resource = json!([["my.name", "my name"], ["service.name", "test"]]);
        assert_eq!((&batch["resource"], &batch["scope"]), (&resource, &json!("balancer")));
        assert_eq!(batch["metadata"]["x-token"], "secret");
    }
}

#[test]
fn nobody_waits_for_a_collector_that_is_away_and_it_is_found_when_it_is_back() {
    let port = free_port();
    let exporter = "interval 10ms; batch_size 5; batch_count 2;";
    let lines = "otel_trace on; location / { return 204; }";
    let balancer = Balancer::start(&configuration(port, exporter, lines));
    let mut client = balancer.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 204);
    }
    let lost = || spans(&balancer, "failed") + spans(&balancer, "dropped");
    eventually("all of them are counted", || lost() == 20);
    assert_eq!(spans(&balancer, "exported"), 0);
    let told = || balancer.said().matches("OTel export failure: ").count();
    assert_eq!(told(), 1, "{}", balancer.said());
    let collector = Collector::start(&["--port", &port.to_string()]);
    eventually("a span arrives", || {
        client.get("/");
        !collector.spans().is_empty()
    });
    eventually("it is told", || balancer.said().contains("OTel export goes on"));
    drop(collector);
    let collector = Collector::start(&["--port", &port.to_string()]);
    eventually("a span arrives at one that was started anew", || {
        client.get("/");
        !collector.spans().is_empty()
    });
}

#[test]
fn what_a_collector_does_not_take_in_time_is_dropped_and_counted() {
    let collector = Collector::start(&["--hold"]);
    let exporter = "interval 1h; batch_size 5; batch_count 2;";
    let lines = "otel_trace on; location / { return 204; }";
    let balancer = Balancer::start(&configuration(collector.port, exporter, lines));
    let mut client = balancer.client();
    (0..30).for_each(|_| drop(client.get("/")));
    // A request is traced when its answer has been sent.
    eventually("what there is no room for is dropped", || spans(&balancer, "dropped") == 20);
    eventually("what there is room for is on its way", || collector.spans().len() == 10);
    assert_eq!(spans(&balancer, "exported"), 0);
}

#[test]
fn spans_that_are_refused_are_counted_apart() {
    let collector = Collector::start(&["--reject", "2"]);
    let exporter = "interval 1h; batch_size 5;";
    let lines = "otel_trace on; location / { return 204; }";
    let balancer = Balancer::start(&configuration(collector.port, exporter, lines));
    let mut client = balancer.client();
    (0..5).for_each(|_| drop(client.get("/")));
    eventually("two are refused", || spans(&balancer, "rejected") == 2);
    assert_eq!(spans(&balancer, "exported"), 3);
    assert!(balancer.said().contains("OTel export failure: too old"), "{}", balancer.said());
}

#[test]
fn a_reload_keeps_what_waits_and_leads_what_follows_elsewhere() {
    let collectors = [Collector::start(&[]), Collector::start(&[])];
    let lines = "otel_trace on; location / { return 204; }";
    let texts =
        collectors.each_ref().map(|it| configuration(it.port, "interval 1h; batch_size 2;", lines));
    let balancer = Balancer::start(&texts[0]);
    balancer.client().get("/1");
    // The same exporter goes on with what waits.
    balancer.reload(&texts[0]);
    balancer.client().get("/2");
    let targets = |spans: &[Value]| -> Vec<_> {
        spans.iter().map(|it| attribute(it, "http.target").as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(targets(&collectors[0].take(2)), ["/1", "/2"]);
    balancer.client().get("/3");
    // Another one sends what waits, and is gone.
    balancer.reload(&texts[1]);
    assert_eq!(targets(&collectors[0].take(1)), ["/3"]);
    let mut client = balancer.client();
    (4..6).for_each(|it| drop(client.get(&format!("/{it}"))));
    assert_eq!(targets(&collectors[1].take(2)), ["/4", "/5"]);
    eventually("one thread is left", || balancer.of_threads("otel", "Pid").len() == 1);
    balancer.reload("server { listen 127.0.0.1:PORT; return 204; }");
    eventually("none is left", || balancer.of_threads("otel", "Pid").is_empty());
    assert_eq!(balancer.metric("balancer_otel_spans_total", &[]), None);
}

#[test]
fn a_collector_must_prove_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let words = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN={name} -addext subjectAltName=IP:127.0.0.1 \
             -addext basicConstraints=critical,CA:FALSE -keyout {name}.key -out {name}.pem"
        );
        let mut command = Command::new("openssl");
        let made = command.args(words.split_whitespace()).current_dir(folder.path()).output();
        assert!(made.unwrap().status.success());
    };
    make("known");
    make("stranger");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let collector = Collector::start(&["--tls", &path("known.pem"), &path("known.key")]);
    let lines = "server { listen 127.0.0.1:PORT; otel_trace on; location / { return 204; } }";
    let trusting = |name: &str| {
        format!(
            "otel_exporter {{ endpoint https://127.0.0.1:{}; interval 10ms; \
             trusted_certificate {}; }} {lines}",
            collector.port,
            path(name)
        )
    };
    let balancer = Balancer::start(&trusting("stranger.pem"));
    balancer.client().get("/");
    eventually("a stranger gets nothing", || spans(&balancer, "failed") == 1);
    assert!(balancer.said().contains("certificate"), "{}", balancer.said());
    balancer.reload(&trusting("known.pem"));
    balancer.client().get("/");
    collector.take(1);
}

#[test]
fn connections_to_a_collector_that_hangs_up_cost_no_request() {
    // Speaks no gRPC at all.
    let stranger = Origin::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
        Next::Close
    });
    let lines = "otel_trace on; location / { return 204; }";
    let balancer = Balancer::start(&configuration(stranger.port, "interval 10ms;", lines));
    let mut client = balancer.client();
    assert!((0..10).all(|_| client.get("/").status == 204));
    eventually("all are lost", || spans(&balancer, "failed") == 10);
}
