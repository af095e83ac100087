//! Does a shop that grows and shrinks under load lose a request?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin_changes::tell;
use crate::support::{Balancer, Dns, Gate, Origin, ask, eventually, free_port, text};

const SERVERS: &str = "/api/9/http/upstreams/shop/servers";

/// How soon a replica that comes has to serve.
const SOON: Duration = Duration::from_secs(3);

/// What a replica has been asked for so far.
#[derive(Debug, Default)]
struct Count {
    asked: AtomicUsize,
    held: AtomicUsize,
}

/// Four replicas of one shop, on one port of four addresses; `/held` waits for the gate.
struct Fleet {
    origins: Vec<Origin>,
    counts: Vec<Arc<Count>>,
    gate: Arc<Gate>,
}

impl Fleet {
    fn start() -> Self {
        let (port, gate) = (free_port(), Arc::new(Gate::default()));
        let counts: Vec<_> = (0..4).map(|_| Arc::<Count>::default()).collect();
        let origin = |(number, count): (usize, &Arc<Count>)| {
            let (gate, count) = (Arc::clone(&gate), Arc::clone(count));
            let last = u8::try_from(number + 1).unwrap();
            Origin::on(SocketAddr::from(([127, 0, 0, last], port)), move |seen, stream| {
                if seen.path() == "/held" {
                    count.held.fetch_add(1, Ordering::SeqCst);
                    gate.wait();
                } else {
                    count.asked.fetch_add(1, Ordering::SeqCst);
                }
                text(stream, "hello")
            })
        };
        let origins = counts.iter().enumerate().map(origin).collect();
        Self { origins, counts, gate }
    }

    fn asked(&self, number: usize) -> usize {
        self.counts[number].asked.load(Ordering::SeqCst)
    }

    fn held(&self, number: usize) -> usize {
        self.counts[number].held.load(Ordering::SeqCst)
    }

    /// From one replica to four and to two, which `scale` makes known.
    fn grows_and_shrinks(&self, balancer: &Balancer, scale: impl Fn(usize)) {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let load = || scope.spawn(|| ask(balancer.port, &is_over));
            let loads = [(); 4].map(|()| load());
            eventually("the first serves", || 100 < self.asked(0));
            assert_eq!(self.asked(1) + self.asked(2) + self.asked(3), 0);

            scale(4);
            let since = Instant::now();
            eventually("all serve", || (1..4).all(|it| 0 < self.asked(it)));
            let took = since.elapsed();
            assert!(took < SOON, "{took:?}");

            // Each of those that will go has a request that takes its time.
            let mut slow = Vec::new();
            while self.held(2) == 0 || self.held(3) == 0 {
                let mut client = balancer.client();
                client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
                slow.push(client);
                eventually("it is placed", || {
                    (0..4).map(|it| self.held(it)).sum::<usize>() == slow.len()
                });
            }
            scale(2);
            let left = |number: usize| {
                let label = format!("server=\"{}\"", self.origins[number].name());
                balancer.metric("balancer_upstream_server_active_requests", &[&label])
            };
            eventually("only what takes its time is left on them", || {
                let is_draining = balancer.said().contains("has 2 servers now");
                let held = |it| u64::try_from(self.held(it)).ok();
                is_draining && left(2) == held(2) && left(3) == held(3)
            });
            let before = [0, 2, 3].map(|it| self.asked(it));
            eventually("the others go on", || before[0] + 100 < self.asked(0));
            assert_eq!([self.asked(2), self.asked(3)], before[1..]);
            self.gate.open();
            for client in &mut slow {
                assert_eq!(client.answer().text(), "hello");
            }
            eventually("they are gone", || left(2).is_none() && left(3).is_none());

            is_over.store(true, Ordering::Relaxed);
            for load in loads {
                let (asked, lost) = load.join().unwrap();
                assert!(0 < asked);
                assert_eq!(lost, 0, "of {asked}");
            }
        });
        eventually("no request counts", || balancer.active() == 0);
    }
}

#[test]
fn a_shop_grows_and_shrinks_by_its_name_and_no_request_is_lost() {
    let (fleet, dns) = (Fleet::start(), Dns::start());
    let scale = |count: usize| {
        let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
        dns.knows("shop.test", &addresses[..count]);
    };
    scale(1);
    let balancer = Balancer::start(&format!(
        "resolver 127.0.0.1:{} valid=1s; \
         upstream shop {{ zone shop 64k; server shop.test:{} resolve; }} \
         server {{ listen PORT; location / {{ proxy_pass http://shop; }} }}",
        dns.port, fleet.origins[0].port
    ));
    eventually("the name is known", || balancer.client().get("/").status == 200);
    fleet.grows_and_shrinks(&balancer, scale);
}

#[test]
fn a_shop_grows_and_shrinks_by_the_api_and_no_request_is_lost() {
    let fleet = Fleet::start();
    let balancer = Balancer::start_changeable(&format!(
        "upstream shop {{ zone shop 64k; server {}; }} \
         server {{ listen PORT; location / {{ proxy_pass http://shop; }} }}",
        fleet.origins[0].name()
    ));
    let scale = |count: usize| {
        let listed = balancer.admin().get(SERVERS);
        let listed: Value = serde_json::from_slice(&listed.body).unwrap();
        let listed = listed.as_array().unwrap();
        for origin in fleet.origins.iter().take(count).skip(listed.len()) {
            let (status, _) = tell(&balancer, "POST", SERVERS, &json!({"server": origin.name()}));
            assert_eq!(status, 201);
        }
        for server in listed.iter().skip(count) {
            let path = format!("{SERVERS}/{}", server["id"]);
            assert_eq!(tell(&balancer, "DELETE", &path, &json!({})).0, 200);
        }
    };
    fleet.grows_and_shrinks(&balancer, scale);
}
