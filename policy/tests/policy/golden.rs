//! Exact answers, as the originals give them.

use std::net::IpAddr;

use policy::{Candidate, Request, SplitMix64, Time};

use crate::pool::{idle, letter, named, policy};

/// Serves requests that never overlap, as many as `expected` has letters; blanks separate periods.
#[track_caller]
fn check(id: &str, weights: &[u32], expected: &str) {
    let (mut policy, mut draw) = (policy(id), SplitMix64::new(1));
    let candidates = idle(weights);
    let mut serve = |it| match it {
        ' ' => ' ',
        _ => letter(policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw)),
    };
    let served = expected.chars().map(&mut serve).collect::<String>();
    assert_eq!(served, expected, "{id}, weights {weights:?}");
}

/// Recorded on nginx 1.31.5, except 7,3, which follows from its source.
#[test]
fn nginx_takes_turns_smoothly() {
    check("nginx-rr", &[1, 1, 1], "abc abc");
    check("nginx-rr", &[5, 1, 1], "aabacaa aabacaa");
    check("nginx-rr", &[3, 2, 1], "abacba abacba");
    check("nginx-rr", &[7, 3], "abaaabaaba abaaabaaba");
}

/// Recorded on nginx 1.31.5: with nothing in flight only the rule for ties acts.
#[test]
fn idle_servers_are_served_by_nginx_least_conn_in_turn() {
    check("nginx-least-conn", &[3, 2, 1], "abacba abacba");
    check("nginx-least-conn", &[1, 1, 1], "abc abc");
}

/// nginx keeps one state for each worker unless the upstream has a zone.
#[test]
fn two_instances_that_alternate_serve_each_server_twice() {
    let mut workers = [policy("nginx-rr"), policy("nginx-rr")];
    let (candidates, mut draw) = (idle(&[1, 1, 1]), SplitMix64::new(1));
    let mut serve =
        |it: usize| letter(workers[it % 2].pick(&Request::at(Time::ZERO), &candidates, &mut draw));
    assert_eq!((0..6).map(&mut serve).collect::<String>(), "aabbcc");
}

/// Five to one to one gives at most four of one server in a row, across the end of a period.
#[test]
fn no_server_gets_a_burst_of_its_whole_weight() {
    let (mut policy, mut draw) = (policy("nginx-rr"), SplitMix64::new(1));
    let candidates = idle(&[5, 1, 1]);
    let mut pick = |_| policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw);
    let served = (0..70).map(&mut pick).collect::<Vec<_>>();
    let longest = served.chunk_by(|a, b| a == b).map(<[_]>::len).max();
    assert_eq!(longest, Some(4));
}

/// What a policy answers to each key.
fn by_key(id: &str, candidates: &[Candidate], keys: &[&str]) -> String {
    let (mut policy, mut draw) = (policy(id), SplitMix64::new(1));
    let mut serve = |key: &&str| {
        let request = Request::at(Time::ZERO).with_key(key.as_bytes());
        letter(policy.pick(&request, candidates, &mut draw))
    };
    keys.iter().map(&mut serve).collect()
}

/// Recorded on nginx 1.31.5.
#[test]
fn nginx_hashes_keys_to_servers() {
    let keys = ["a", "c", "e", "g", "1", "3", "5", "user-1", "/index.html", "session=42"];
    let recorded = |id, weights: &[u32], expected: &str| {
        assert_eq!(by_key(id, &named(weights), &keys), expected, "{id}, {weights:?}");
    };
    recorded("nginx-hash", &[1, 1, 1], "cccabbbccc");
    recorded("nginx-hash", &[3, 2, 1], "ccaabbaaac");
    recorded("nginx-ketama", &[1, 1, 1], "bbcacaaacc");
    recorded("nginx-ketama", &[3, 2, 1], "bacbcaaaca");

    let mut without_b = named(&[1, 1, 1]);
    without_b.remove(1);
    assert_eq!(by_key("nginx-ketama", &without_b, &keys).replace('b', "c"), "accacaaacc");
}

/// Recorded on nginx, see `data/README.md`.
#[test]
fn a_thousand_keys_belong_to_the_servers_nginx_gave_them() {
    let names = (1..=9).map(|it| format!("10.0.0.{it}:443")).collect::<Vec<_>>();
    let mut candidates = idle(&[100; 9]);
    for (candidate, name) in candidates.iter_mut().zip(&names) {
        candidate.identity = policy::Identity::new(name, name);
    }
    let (mut policy, mut draw) = (policy("nginx-ketama"), SplitMix64::new(1));
    let recorded = include_str!("data/nginx_ketama.csv");
    assert_eq!(recorded.lines().count(), 1001);
    for line in recorded.lines() {
        let (uri, server) = line.split_once(',').unwrap();
        let request = Request::at(Time::ZERO).with_key(uri.as_bytes());
        let picked = policy.pick(&request, &candidates, &mut draw).unwrap();
        assert_eq!(names[picked], server, "{uri}");
    }
}

/// Recorded on nginx 1.31.5.
#[test]
fn nginx_hashes_clients_to_servers() {
    let clients = [
        "10.0.0.1",
        "10.0.0.255",
        "10.0.2.1",
        "192.168.1.1",
        "203.0.113.7",
        "8.8.8.8",
        "2001:db8::1",
    ];
    let clients = clients.map(|it| it.parse().unwrap());
    assert_eq!(by_client(&[1, 1, 1], &clients), "aacbacc");
    assert_eq!(by_client(&[3, 2, 1], &clients), "bbcbaca");
}

/// From `upstream_ip_hash.t` of nginx-tests.
#[test]
fn thirty_networks_spread_evenly_over_two_and_over_three_servers() {
    let clients = (1..=30).map(|it| [127, 0, it, 2].into()).collect::<Vec<_>>();
    let counts = |weights: &[u32]| {
        let served = by_client(weights, &clients);
        ['a', 'b', 'c'].map(|it| served.matches(it).count())
    };
    assert_eq!(counts(&[1, 1]), [15, 15, 0]);
    assert_eq!(counts(&[1, 1, 1]), [10, 10, 10]);
}

#[test]
fn all_clients_of_one_network_share_a_server() {
    let clients = (1..=254).map(|it| [10, 0, 0, it].into()).collect::<Vec<_>>();
    assert_eq!(by_client(&[1, 1, 1], &clients), "a".repeat(254));
}

/// What `ip_hash` answers to each client.
fn by_client(weights: &[u32], clients: &[IpAddr]) -> String {
    let (mut policy, mut draw) = (policy("nginx-ip-hash"), SplitMix64::new(1));
    let candidates = idle(weights);
    let mut serve = |client: &IpAddr| {
        let request = Request::at(Time::ZERO).from_client(*client);
        letter(policy.pick(&request, &candidates, &mut draw))
    };
    clients.iter().map(&mut serve).collect()
}
