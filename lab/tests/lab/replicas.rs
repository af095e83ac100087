//! What becomes of requests when one of the replicas behind the balancer goes?

#![expect(clippy::unwrap_used, reason = "a shop that does not start is the failure to see")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroU8,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use lab::{
    http,
    process::eventually,
    shop::{Data, Plan, Seed, Shop},
};

const REPORT: &str = "/orders/reports/best-sellers";
const ORDER: &str = r#"{"user_id":1,"items":[{"product_id":1,"quantity":1}]}"#;

/// Clients that ask at the same time.
const CLIENTS: usize = 4;

fn shop() -> Shop {
    let plan = Plan {
        replicas: NonZeroU8::new(2).unwrap(),
        policy: "round_robin".to_owned(),
        data: Data::Embedded,
        seed: Seed::Small,
        port: 0,
        variables: Vec::new(),
        volume: None,
    };
    Shop::start(&plan, &|| Ok(())).unwrap()
}

/// Has clients work side by side while `then` happens; each is told how many requests it made.
fn under_load<T: Send>(
    client: impl Fn(usize, &AtomicBool, &AtomicUsize) -> T + Sync,
    then: impl FnOnce(&AtomicUsize),
) -> Vec<T> {
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (client, over, done) = (&client, &over, &done);
        let clients: Vec<_> =
            (0..CLIENTS).map(|it| scope.spawn(move || client(it, over, done))).collect();
        eventually("clients are at work", || 40 <= done.load(Ordering::Relaxed));
        then(done);
        let so_far = done.load(Ordering::Relaxed);
        eventually("clients go on", || so_far + 40 <= done.load(Ordering::Relaxed));
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

/// Lesson 34: a replica that was stopped took its requests along.
#[test]
fn a_replica_that_drains_under_load_costs_no_request() {
    let mut shop = shop();
    let address = shop.address();
    let failures = under_load(
        |_, over, done| {
            let mut failures = Vec::new();
            while !over.load(Ordering::Relaxed) {
                for answer in [http::post(address, "/orders", ORDER), http::get(address, REPORT)] {
                    match answer {
                        Ok(it) if matches!(it.status, 200 | 201) => (),
                        other => failures.push(format!("{other:?}")),
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                // About a hundred requests a second from all clients.
                thread::sleep(Duration::from_millis(80));
            }
            failures
        },
        |_| shop.restart_replica(1, &|| Ok(())).unwrap(),
    );
    assert_eq!(failures.concat(), Vec::<String>::new());
}

/// Lesson 29: slow orders had the balancer take both replicas out.
#[test]
fn a_killed_replica_costs_no_report_and_no_order_that_has_a_key() {
    let mut shop = shop();
    let address = shop.address();
    let made = under_load(
        |client, over, done| {
            let mut orders = 0;
            while !over.load(Ordering::Relaxed) {
                let report = http::get(address, REPORT).unwrap();
                assert_eq!(report.status, 200, "{}", report.text());
                let key = format!("client-{client}-{orders}");
                eventually("the order is answered", || ordered(address, &key));
                orders += 1;
                done.fetch_add(2, Ordering::Relaxed);
            }
            orders
        },
        |_| shop.kill_replica(1),
    );
    let sold: i64 = made.iter().sum();
    let left = http::get(address, "/stocks/1").unwrap().text();
    assert_eq!(left, format!("{{\"product_id\":1,\"quantity\":{}}}\n", 1000 - sold));
}

/// Sends an order under a key; the same key makes one order however often it is sent.
fn ordered(shop: SocketAddr, key: &str) -> bool {
    let mut stream = TcpStream::connect(shop).unwrap();
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
        ORDER.len()
    );
    let mut answer = String::new();
    stream.write_all(format!("{head}{ORDER}").as_bytes()).unwrap();
    stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 201 ")
}
