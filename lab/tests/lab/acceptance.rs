//! Whole answers that are known: a stall as clients meet it, published scenarios, and the same policy twice.

#![expect(clippy::unwrap_used, reason = "a plan that cannot run is the failure to see")]

use std::num::NonZeroU32;

use lab::{
    sim::{Arrivals, Capacity, Change, Discipline, Fate, Law, Plan, Run, Subject},
    stats::interval::Difference,
};

fn run(plan: &Plan, policy: &str, replication: u64) -> Run {
    plan.run(&Subject::parse(policy).unwrap(), replication).unwrap()
}

#[track_caller]
fn close(name: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance * expected,
        "{name}: {found:.4}, known is {expected:.4}"
    );
}

/// The scenario in the README of `HdrHistogram`: one request each 10 ms, 100 s of which at 1 ms, then nothing
/// moves for 100 s.
#[test]
fn who_comes_during_a_freeze_has_waited_for_its_end() {
    let happens = |at, what| Change { at, servers: vec![0], what };
    let plan = Plan {
        servers: vec![Capacity { speed: 1000.0, weight: NonZeroU32::MIN }],
        discipline: Discipline::Fcfs(NonZeroU32::new(50_000).unwrap()),
        arrivals: Arrivals::Even(100.0),
        demand: Law::Det,
        changes: vec![happens(100.0, Fate::Speed(1e-6)), happens(200.0, Fate::Speed(1000.0))],
        requests: 20_000,
        warm_up: 0,
        ..Plan::default()
    };
    let times = run(&plan, "nginx-rr", 0).times;
    close("p50", times.quantile(0.4999).unwrap(), 0.001, 0.01);
    close("p75", times.quantile(0.75).unwrap(), 50.01, 0.001);
    close("p99", times.quantile(0.99).unwrap(), 98.01, 0.001);
    close("mean", times.mean().unwrap(), 25.0, 0.001);
}

/// The README of the ns-3 load balancer: nine servers of 5 ms and one of 50 ms.
#[test]
fn turns_over_nine_fast_servers_and_a_slow_one_take_their_mean() {
    let of = |millis: f64| Capacity { speed: 1e3 / millis, weight: NonZeroU32::MIN };
    let plan = Plan {
        servers: [vec![of(5.0); 9], vec![of(50.0)]].concat(),
        discipline: Discipline::Delay,
        arrivals: Arrivals::Poisson(100.0),
        demand: Law::Det,
        requests: 1_000,
        warm_up: 0,
        ..Plan::default()
    };
    let times = run(&plan, "nginx-rr", 0).times;
    close("mean", times.mean().unwrap(), 0.0095, 1e-6);
    close("p50", times.quantile(0.5).unwrap(), 0.005, 0.001);
    close("p99", times.quantile(0.99).unwrap(), 0.05, 0.001);
}

/// With many servers two choices come to the fixed point of Vvedenskaya and of Mitzenmacher.
#[test]
fn two_choices_among_two_thousand_come_to_the_fixed_point() {
    let load = 0.7_f64;
    let expected: f64 = (1..8).map(|it| load.powi(2_i32.pow(it) - 2)).sum();
    let plan = Plan {
        servers: vec![Capacity::default(); 2_000],
        arrivals: Arrivals::Poisson(load * 2_000.0),
        requests: 80_000,
        warm_up: 30_000,
        ..Plan::default()
    };
    let means: Vec<f64> =
        (0..4).map(|it| run(&plan, "sq:d=2,replace=true", it).times.mean().unwrap()).collect();
    close("mean", lab::stats::mean(&means).unwrap(), expected, 0.008);
}

#[test]
fn a_policy_against_itself_is_seldom_declared_different() {
    let plan = Plan {
        servers: vec![Capacity::default(); 4],
        arrivals: Arrivals::Poisson(3.2),
        requests: 600,
        warm_up: 100,
        ..Plan::default()
    };
    // Different replications: other requests, as two live runs would have.
    let mean = |it: u64| run(&plan, "nginx-least-conn", it).times.mean().unwrap();
    let different = (0..200_u64).filter(|campaign| {
        let pairs: Vec<(f64, f64)> = (0..5)
            .map(|it| (mean(10 * campaign + 2 * it), mean(10 * campaign + 2 * it + 1)))
            .collect();
        Difference::of(&pairs).unwrap().chance < 0.05
    });
    // 5 % of 200, and three standard deviations of chance.
    let different = different.count();
    assert!(different <= 19, "{different} of 200");
}
