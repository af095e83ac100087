//! Whole answers that are known: a stall as clients meet it, static splits, published scenarios, and the same
//! policy twice.

#![expect(clippy::unwrap_used, reason = "a plan that cannot run is the failure to see")]

use std::num::NonZeroU32;

use lab::{
    sim::{
        Arrivals, Balancers, Capacity, Change, Discipline, End, Fate, Law, Patience, Plan, Run,
        Subject,
    },
    stats::{Estimate, interval::Difference},
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

/// Five servers of speed 1.5 and five of 0.5 are independent queues to whoever draws.
#[test]
fn draws_by_weight_split_a_stream_as_the_weights_say() {
    let plan = |load: f64, fast: u32, slow: u32| {
        let of = |speed, weight| Capacity { speed, weight: NonZeroU32::new(weight).unwrap() };
        Plan {
            servers: [vec![of(1.5, fast); 5], vec![of(0.5, slow); 5]].concat(),
            arrivals: Arrivals::Poisson(10.0 * load),
            requests: 80_000,
            warm_up: 10_000,
            ..Plan::default()
        }
    };
    let leave = Change { at: 0.0, servers: (5..10).collect(), what: Fate::Leave };
    let only_fast = Plan { changes: vec![leave], ..plan(0.3, 1, 1) };
    // Proportional to speed; then the best split, whose spare speed is proportional to the root of
    // the speed: of a load of 0.8 the fast get 1.24641 each and the slow 0.35359.
    for (name, plan, expected) in [
        ("proportional at 0.3", plan(0.3, 3, 1), 1.4286),
        ("proportional at 0.8", plan(0.8, 3, 1), 5.0),
        ("best at 0.3", only_fast, 1.1111),
        ("best at 0.8", plan(0.8, 124_641, 35_359), 4.5813),
    ] {
        let mean = |it| run(&plan, "nginx-random", it).times.mean().unwrap();
        let means: Vec<f64> = (0..8).map(mean).collect();
        let found = Estimate::of(&means).unwrap();
        let allowed = (3.0 * found.error).max(0.01 * expected);
        assert!((found.mean - expected).abs() <= allowed, "{name}: {found:?}, known is {expected}");
        assert!(allowed < 0.1 * expected, "{name}: {found:?} says nothing");
    }
}

/// Servers that may use more than their allocation where their neighbors leave it: half can do no
/// more than that, half three times as much. Source: Prequal, NSDI 2024, figure 6.
#[test]
fn prequal_carries_what_turns_cannot_beyond_the_allocation() {
    let deadline = 5.0;
    let at = |level: f64, policy: &str, seconds: f64| {
        let of = |speed| Capacity { speed, weight: NonZeroU32::MIN };
        // Normal with a deviation of its mean and cut below at 0 has a mean of 1.0833.
        let rate = level * 40.0 / (1.0833 * 0.02);
        let plan = Plan {
            servers: [vec![of(1.0); 20], vec![of(3.0); 20]].concat(),
            discipline: Discipline::Sharing,
            arrivals: Arrivals::Poisson(rate),
            demand: Law::Normal(0.02, 0.02, 0.0),
            balancers: Balancers { count: 40, max_fails: None, ..Balancers::default() },
            patience: Patience { timeout: Some(deadline), ..Patience::default() },
            requests: requests(rate * seconds),
            warm_up: 0,
            ..Plan::default()
        };
        run(&plan, policy, 0)
    };
    let late = |it: &Run| {
        let all: u64 = it.ends.iter().sum();
        1000 * it.ends[End::TimedOut as usize] >= all
    };
    assert!(!late(&at(0.93, "nginx-rr", 30.0)), "turns miss the deadline below the allocation");
    assert!(late(&at(1.03, "nginx-rr", 220.0)), "turns keep the deadline at 1.03");
    assert!(late(&at(1.14, "nginx-rr", 60.0)), "turns keep the deadline at 1.14");
    let above = at(1.14, "prequal", 30.0);
    let p999 = above.times.quantile(0.999).unwrap();
    assert!(p999 < 0.2 * deadline, "{p999} s at 1.14");
    for run in [above, at(1.74, "prequal", 30.0)] {
        let failed: u64 = run.ends[1..].iter().sum();
        assert_eq!(failed, 0, "{:?}", run.ends);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a run has a whole number of requests"
)]
fn requests(expected: f64) -> u64 {
    expected as u64
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
