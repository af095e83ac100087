//! Exact answers, as the originals give them.

use policy::{Request, SplitMix64, Time};

use crate::pool::{idle, letter, policy};

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
