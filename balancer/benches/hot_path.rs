//! What does each step of a request cost, and what do large configurations cost?
//!
//! Everything is what the program itself uses: a configuration is written, read and built, and its
//! parts are called as a request calls them. Nothing is sent.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use balancer::admin::view::View;
use balancer::engine::Shared;
use balancer::engine::exchange::Exchange;
use balancer::engine::h1::request::{Limits, Progress};
use balancer::engine::h1::response::Response;
use balancer::http::location::Content;
use balancer::http::proxy_pass::Announced;
use balancer::http::server::Servers;
use balancer::metrics;
use balancer::snapshot::Snapshot;
use balancer::snapshot::build::{self, Paths};
use balancer::upstream::Tried;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy::{Event, Request, Time};

const BROWSER: &str = "GET /shop/l17/product?id=4711 HTTP/1.1\r\nHost: shop.example\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: fr-CA,fr;q=0.9,en;q=0.7\r\n\
    Cache-Control: no-cache\r\nCookie: session=0f3a9c7be1d24586; theme=dark; consent=all\r\n\
    Pragma: no-cache\r\nReferer: http://shop.example/products/1\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\r\n";

const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.31.4\r\nDate: Tue, 24 Nov 2026 09:00:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 200\r\nConnection: keep-alive\r\n\r\n";

/// Servers of the largest group.
const MOST: u32 = 10_000;
const SIZES: [u32; 4] = [3, 64, 1000, MOST];

fn servers(count: u32) -> String {
    (0..count).fold(String::new(), |mut all, it| {
        let _ = write!(all, "server 10.{}.{}.{}:80;", it >> 16, it >> 8 & 255, it & 255);
        all
    })
}

fn load(folder: &Path, http: &str) -> Snapshot {
    let conf = folder.join("nginx.conf");
    std::fs::write(&conf, format!("events {{}} http {{ {http} }}")).unwrap();
    let paths = Paths { prefix: folder.to_owned(), conf };
    let configuration = build::read(&paths, None, false).unwrap();
    build::build(&configuration, None).unwrap()
}

/// A request whose head has been read, at the server it is for.
fn asked(head: &str, servers: &Servers) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.input.bytes.extend_from_slice(head.as_bytes());
    let parsed = exchange.request.parse(head.as_bytes(), &Limits::default());
    assert_eq!(parsed, Ok(Progress::Complete));
    exchange.input.keep_head(head.len());
    exchange.split_path(true).unwrap();
    exchange.server = Some(Arc::clone(servers.find(&exchange.host, &exchange.scratch)));
    exchange
}

fn heads(criterion: &mut Criterion) {
    criterion.bench_function("request_head", |bencher| {
        let (mut exchange, limits) = (Exchange::default(), Limits::default());
        bencher.iter(|| {
            exchange.request.clear();
            black_box(exchange.request.parse(black_box(BROWSER.as_bytes()), &limits))
        });
    });
    criterion.bench_function("response_head", |bencher| {
        let mut response = Response::default();
        bencher.iter(|| {
            response.clear();
            black_box(response.parse(black_box(ANSWER.as_bytes())))
        });
    });
}

fn request(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut http = String::from("map $arg_id $shelf { default none; ");
    for it in 0..10_000 {
        let _ = write!(http, "{it} shelf{};", it % 97);
    }
    http.push_str("} log_format shelf $shelf; server { listen 127.0.0.1:1; ");
    for it in 0..1000 {
        let _ = write!(
            http,
            "location /shop/l{it} {{ proxy_pass http://127.0.0.1:2; \
             proxy_set_header X-Real-IP $remote_addr; proxy_set_header Host $host; \
             access_log shelf.log shelf; }}"
        );
    }
    http.push('}');
    let snapshot = load(folder.path(), &http);
    let servers = &snapshot.listeners[0].servers;
    let mut exchange = asked(BROWSER, servers);
    let server = Arc::clone(exchange.server.as_ref().unwrap());
    let location = server.location(&exchange);
    assert_eq!(location.name, "/shop/l17");
    let Content::Proxy(proxy) = &location.content else { panic!("it is proxied") };
    let mut out = Vec::new();

    criterion.bench_function("location_of_1000", |bencher| {
        bencher.iter(|| black_box(server.location(black_box(&exchange))).number);
    });
    criterion.bench_function("head_for_upstream", |bencher| {
        bencher.iter(|| {
            out.clear();
            proxy.write_head(&exchange, Announced::None, &mut out);
            out.len()
        });
    });
    criterion.bench_function("map_of_10000", |bencher| {
        bencher.iter(|| {
            out.clear();
            exchange.scratch.clear();
            location.access_logs[0].write(&exchange, &mut out);
            out.len()
        });
    });
}

fn pick_and_lease(criterion: &mut Criterion) {
    for policy in ["", "least_conn;", "ip_hash;", "hash $uri;", "hash $uri consistent;", "random;"]
        .into_iter()
        .chain(["random two;", "least_time header;", "peak_ewma;", "maglev $uri;"])
    {
        let name = policy.trim_end_matches(';').replace(' ', "_");
        let name = if name.is_empty() { "round_robin" } else { &name };
        let mut group = criterion.benchmark_group(format!("lease/{name}"));
        group.sample_size(20);
        group.warm_up_time(Duration::from_millis(100));
        group.measurement_time(Duration::from_millis(300));
        for size in SIZES {
            let folder = tempfile::tempdir().unwrap();
            let http = format!(
                "upstream u {{ {policy} {} }} \
                 server {{ listen 127.0.0.1:1; location / {{ proxy_pass http://u; }} }}",
                servers(size)
            );
            let snapshot = load(folder.path(), &http);
            let upstream = &snapshot.upstreams[0];
            let (tried, mut number) = (Tried::default(), 0_u64);
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    number += 1;
                    let key = number.to_le_bytes();
                    let now = Time::from_secs(1) + Duration::from_micros(number);
                    let asked =
                        Request::at(now).with_key(&key).from_client([10, 1, key[0], key[1]].into());
                    let lease = upstream.pick(&asked, &tried, None).unwrap();
                    lease.finish(Event::success(Duration::from_millis(20)), now)
                });
            });
        }
        group.finish();
    }
}

fn large(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let http = format!(
        "upstream u {{ {} }} server {{ listen 127.0.0.1:1; location / {{ proxy_pass http://u; }} }}",
        servers(MOST)
    );
    let mut group = criterion.benchmark_group("servers_10000");
    group.sample_size(10);
    group.bench_function("load", |bencher| {
        bencher.iter(|| load(folder.path(), &http).generation);
    });
    let shared = Shared::new(load(folder.path(), &http), 1);
    group.bench_function("scrape", |bencher| {
        bencher.iter(|| {
            let mut length = 0;
            metrics::write(&View::read(&shared), metrics::Format::OpenMetrics, &mut |portion| {
                length += portion.len();
                portion.clear();
            });
            length
        });
    });
    group.finish();
}

criterion_group!(benches, heads, request, pick_and_lease, large);
criterion_main!(benches);
