//! Where policies that look alike part.

use std::time::Duration;

use policy::{Candidate, Event, Policy, Request, SplitMix64, Time};

use crate::pool::{idle, letter, policy};

/// Candidates of these weights with this many requests in flight.
fn busy(weights: &[u32], in_flight: &[u32]) -> Vec<Candidate> {
    let mut candidates = idle(weights);
    for (candidate, in_flight) in candidates.iter_mut().zip(in_flight) {
        candidate.in_flight = *in_flight;
    }
    candidates
}

fn picks(policy: &mut dyn Policy, candidates: &[Candidate], count: usize) -> String {
    let mut draw = SplitMix64::new(1);
    let request = Request::at(Time::from_secs(1));
    (0..count).map(|_| letter(policy.pick(&request, candidates, &mut draw))).collect()
}

#[test]
fn equals_take_turns_with_nginx_and_are_drawn_with_haproxy() {
    let candidates = idle(&[3, 1]);
    assert_eq!(picks(&mut *policy("nginx-least-conn"), &candidates, 8), "aabaaaba");
    let drawn = picks(&mut *policy("haproxy-leastconn"), &candidates, 10_000);
    let share = drawn.matches('a').count();
    assert!((4800..5200).contains(&share), "{share} of 10000");
}

#[test]
fn a_heavy_busy_server_and_a_light_idle_one_are_weighed_in_three_ways() {
    let candidates = busy(&[3, 1], &[1, 0]);
    assert_eq!(picks(&mut *policy("nginx-least-conn"), &candidates, 1), "b");
    assert_eq!(picks(&mut *policy("haproxy-leastconn"), &candidates, 1), "b");
    assert_eq!(picks(&mut *policy("sed"), &candidates, 1), "a");

    let candidates = busy(&[3, 1], &[2, 1]);
    assert_eq!(picks(&mut *policy("nginx-least-conn"), &candidates, 1), "a");
    assert_eq!(picks(&mut *policy("haproxy-leastconn"), &candidates, 1), "a");
    // Three requests of weight 3 and one of weight 1: 4/3 is less than 2, but not less than 1.
    let candidates = busy(&[3, 1], &[3, 1]);
    assert_eq!(picks(&mut *policy("nginx-least-conn"), &candidates, 4), "aaba");
    assert_eq!(picks(&mut *policy("haproxy-leastconn"), &candidates, 4), "aaaa");
}

#[test]
fn turns_that_nobody_smooths_come_in_bursts() {
    let longest = |id| {
        let served = picks(&mut *policy(id), &idle(&[5, 1, 1]), 70);
        served.as_bytes().chunk_by(|a, b| a == b).map(<[u8]>::len).max()
    };
    assert_eq!(longest("nginx-rr"), Some(4));
    assert_eq!(longest("haproxy-roundrobin"), Some(3));
    assert_eq!(longest("pingora-rr"), Some(5));
}

#[test]
fn a_request_counts_from_its_pick_on() {
    let mut policy = policy("nginx-least-conn");
    let mut candidates = idle(&[1, 9]);
    candidates[1].in_flight = 0;
    let first = picks(&mut *policy, &candidates, 1);
    candidates[usize::from(first.as_bytes()[0] - b'a')].in_flight += 1;
    assert_ne!(picks(&mut *policy, &candidates, 1), first);
}

/// 5 ms and 19 ms are one step of 20 ms to nginx.
#[test]
fn nginx_sees_no_difference_between_servers_faster_than_a_step() {
    let taken = [5, 19].map(Duration::from_millis);
    let served = |id, count| {
        let mut policy = policy(id);
        let candidates = idle(&[1, 1]);
        picks(&mut *policy, &candidates, 1);
        for (position, total) in taken.into_iter().enumerate() {
            policy.learn(position, Event::success(total), Time::from_secs(1));
        }
        policy.relist(&[Some(0), Some(1)]);
        picks(&mut *policy, &candidates, count)
    };
    assert_eq!(served("nginx-least-time", 4), "baba");
    assert_eq!(served("peak-ewma", 4), "aaaa");
}
