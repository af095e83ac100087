//! Does a server that fails fast draw requests to it, under any policy?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use crate::picks::{served, words};
use crate::support::{Balancer, Next, Origin, free_port, text};

const CLIENTS: usize = 4;
const REQUESTS: usize = 12;

/// Takes its time and answers.
fn slow() -> Origin {
    Origin::start(|_, stream| {
        thread::sleep(Duration::from_millis(4));
        text(stream, "good")
    })
}

/// Answers at once, with an error.
fn busy() -> Origin {
    Origin::start(|_, stream| {
        let head = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
        if stream.write_all(head.as_bytes()).is_ok() { Next::Keep } else { Next::Close }
    })
}

/// Requests placed on a server of a group.
fn picks(balancer: &Balancer, group: &str, server: &str) -> u64 {
    let labels = [&*format!("upstream=\"{group}\""), &*format!("server=\"{server}\"")];
    balancer.metric("balancer_upstream_server_picks_total", &labels).unwrap()
}

/// Every policy of nginx.conf, by the line that asks for it.
fn all() -> Vec<(&'static str, String)> {
    served().map(|it| (it.name, words(it).0)).collect()
}

/// One group for each policy, its first server the one that fails; what clients saw, too.
fn shares(
    policies: &[(&'static str, String)],
    bad: &str,
    directives: &str,
    check: impl Fn(u16) + Sync,
) -> Vec<(&'static str, u64)> {
    let good = [slow(), slow()];
    let (mut groups, mut locations) = (String::new(), String::new());
    for (name, line) in policies {
        let end = if line.is_empty() { "" } else { ";" };
        let [one, other] = good.each_ref().map(Origin::name);
        writeln!(
            groups,
            "upstream {name} {{ {line}{end} {directives} server {bad}; server {one}; server {other}; }}"
        )
        .unwrap();
        writeln!(locations, "location /{name}/ {{ proxy_pass http://{name}; }}").unwrap();
    }
    let balancer =
        Balancer::start(&format!("{groups} server {{ listen 127.0.0.1:PORT; {locations} }}"));
    let of = |name: &'static str| {
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (balancer, check) = (&balancer, &check);
                scope.spawn(move || {
                    let mut client = balancer.client();
                    for request in 0..REQUESTS {
                        check(client.get(&format!("/{name}/{number}/{request}")).status);
                    }
                });
            }
        });
        (name, picks(&balancer, name, bad))
    };
    policies.iter().map(|it| of(it.0)).collect()
}

/// A third of the requests is a third server's share.
const FAIR: u64 = (CLIENTS * REQUESTS / 3) as u64;

#[test]
fn a_server_that_refuses_connections_draws_nobody() {
    let bad = format!("127.0.0.1:{}", free_port());
    for (policy, picks) in shares(&all(), &bad, "", |status| assert_eq!(status, 200)) {
        assert!(picks <= FAIR / 2, "{policy}: {picks}");
    }
}

#[test]
fn a_server_that_answers_with_an_error_at_once_draws_nobody_where_it_is_ejected() {
    let bad = busy();
    let directives = "outlier_ejection consecutive_5xx=2;";
    for (policy, picks) in shares(&all(), &bad.name(), directives, |_| ()) {
        assert!(picks <= FAIR / 2, "{policy}: {picks}");
    }
}

#[test]
fn a_policy_that_goes_by_time_need_not_take_an_error_for_a_fast_answer() {
    let bad = busy();
    let policies = [
        ("least_time", "least_time last_byte penalty=5s"),
        ("least_latency", "least_latency"),
        ("peak_ewma", "peak_ewma"),
        ("prequal", "prequal"),
    ];
    let policies = policies.map(|(name, line)| (name, line.to_owned()));
    for (policy, picks) in shares(&policies, &bad.name(), "", |_| ()) {
        assert!(picks <= FAIR, "{policy}: {picks}");
    }
}
