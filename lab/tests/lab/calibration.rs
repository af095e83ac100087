//! The simulator is believed only while it gives the answers that are known.

#![expect(clippy::unwrap_used, reason = "a plan that cannot run is the failure to see")]

use std::num::NonZeroU32;

use lab::{
    sim::{Arrivals, Balancers, Capacity, Change, Discipline, Fate, Law, Plan, Run, Subject, View},
    stats::Estimate,
};

const REPLICATIONS: u64 = 10;

fn plan(servers: usize, slots: u32, load: f64) -> Plan {
    let pool = f64::from(u32::try_from(servers).unwrap() * slots);
    Plan {
        servers: vec![Capacity::default(); servers],
        discipline: Discipline::Fcfs(NonZeroU32::new(slots).unwrap()),
        arrivals: Arrivals::Poisson(load * pool),
        requests: 60_000,
        warm_up: 10_000,
        ..Plan::default()
    }
}

/// Five servers of speed 1.5 and five of 0.5, with weights 3 and 1.
fn unequal(load: f64) -> Plan {
    let of = |speed, weight| Capacity { speed, weight: NonZeroU32::new(weight).unwrap() };
    let servers = [vec![of(1.5, 3); 5], vec![of(0.5, 1); 5]].concat();
    Plan { servers, ..plan(10, 1, load) }
}

fn runs(plan: &Plan, policy: &str) -> Vec<Run> {
    let subject = Subject::parse(policy).unwrap();
    (0..REPLICATIONS).map(|it| plan.run(&subject, it).unwrap()).collect()
}

/// Passes within three standard errors or within `tolerance` of the reference.
#[track_caller]
fn check(name: &str, values: &[f64], expected: f64, tolerance: f64) {
    let found = Estimate::of(values).unwrap();
    let allowed = (3.0 * found.error).max(tolerance * expected);
    assert!(
        (found.mean - expected).abs() <= allowed,
        "{name}: {:.4} +- {:.4}, known is {expected:.4}",
        found.mean,
        found.half_width
    );
    // A comparison that allows a tenth compares nothing.
    assert!(allowed < 0.1 * expected, "{name}: {:.4} +- {:.4}", found.mean, found.half_width);
}

fn means(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|it| it.times.mean().unwrap()).collect()
}

fn quantiles(runs: &[Run], share: f64) -> Vec<f64> {
    runs.iter().map(|it| it.times.quantile(share).unwrap()).collect()
}

/// Erlang's C for so many servers at a load.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let offered = load * f64::from(servers);
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    blocked / (1.0 - load * (1.0 - blocked))
}

/// Mean response of one server that gets every `n`th request of a Poisson stream.
fn erlang_arrivals(n: i32, load: f64) -> f64 {
    let rate = f64::from(n) * load;
    let sigma = (0..2_000).fold(0.5, |it, _| (rate / (rate + 1.0 - it)).powi(n));
    1.0 / (1.0 - sigma)
}

#[test]
fn one_server_gives_the_mean_and_quantiles_of_m_m_1() {
    // At 0.8 one response in a thousand is too rare in these runs to be told within a tenth.
    for (load, shares) in [(0.5, [0.5, 0.9, 0.99, 0.999].as_slice()), (0.8, &[0.5, 0.9, 0.99])] {
        let runs = runs(&plan(1, 1, load), "nginx-rr");
        check("mean", &means(&runs), 1.0 / (1.0 - load), 0.01);
        for share in shares {
            let expected = -(1.0_f64 - share).ln() / (1.0 - load);
            check(&format!("p{share} at {load}"), &quantiles(&runs, *share), expected, 0.01);
        }
    }
}

#[test]
fn many_slots_give_erlang_c() {
    assert!((erlang_c(10, 0.8) - 0.409_180).abs() < 1e-6);
    for (slots, load) in [(2, 0.5), (2, 0.8), (10, 0.8), (7, 0.65)] {
        let expected = 1.0 + erlang_c(slots, load) / (f64::from(slots) * (1.0 - load));
        let runs = runs(&plan(1, slots, load), "nginx-rr");
        check(&format!("{slots} slots at {load}"), &means(&runs), expected, 0.01);
    }
}

#[test]
fn first_come_first_served_gives_pollaczek_and_khinchine() {
    for (demand, variation) in
        [(Law::Det, 0.0), (Law::Exp, 1.0), (Law::H2(4.0), 4.0), (Law::H2(10.0), 10.0)]
    {
        let load = 0.5;
        let runs = runs(&Plan { demand: demand.clone(), ..plan(1, 1, load) }, "nginx-rr");
        let expected = 1.0 + load * (1.0 + variation) / (2.0 * (1.0 - load));
        check(&format!("{demand:?}"), &means(&runs), expected, 0.02);
    }
}

#[test]
fn processor_sharing_does_not_feel_the_law() {
    for demand in [Law::Det, Law::Exp, Law::H2(4.0), Law::H2(10.0)] {
        let sharing = Discipline::Sharing;
        let plan = Plan { demand: demand.clone(), discipline: sharing, ..plan(1, 1, 0.5) };
        check(&format!("{demand:?}"), &means(&runs(&plan, "nginx-rr")), 2.0, 0.02);
    }
}

#[test]
fn round_robin_is_a_queue_with_erlang_arrivals() {
    assert!((erlang_arrivals(10, 0.8) - 2.9223).abs() < 5e-5);
    for (servers, load) in [(10, 0.5), (10, 0.8), (4, 0.7)] {
        let expected = erlang_arrivals(servers, load);
        let runs = runs(&plan(servers.unsigned_abs() as usize, 1, load), "nginx-rr");
        check(&format!("mean at {load}"), &means(&runs), expected, 0.01);
        let p99 = 100.0_f64.ln() * expected;
        check(&format!("p99 at {load}"), &quantiles(&runs, 0.99), p99, 0.01);
    }
}

#[test]
fn joining_the_shorter_of_two_queues_is_as_solved() {
    for (load, expected) in [(0.5, 1.426_321), (0.8, 2.955_737)] {
        let runs = runs(&plan(2, 1, load), "jsq");
        check(&format!("at {load}"), &means(&runs), expected, 0.005);
    }
}

#[test]
fn equal_jobs_in_turn_wait_as_in_one_queue_job_by_job() {
    let turns = Plan { demand: Law::Det, keeps_all: true, ..plan(10, 1, 0.8) };
    let central = Plan { demand: Law::Det, keeps_all: true, ..plan(1, 10, 0.8) };
    let subject = Subject::parse("nginx-rr").unwrap();
    let (turns, central) = (turns.run(&subject, 0).unwrap(), central.run(&subject, 0).unwrap());
    for (i, (one, other)) in turns.response.iter().zip(&central.response).enumerate() {
        // Times are kept in nanoseconds.
        assert!((one - other).abs() < 1e-6, "request {i}: {one} and {other}");
    }
}

#[test]
fn a_closed_loop_never_has_more_requests_than_users() {
    // One server, no pause: always busy with all users, so each waits for all of them.
    let plan = Plan {
        arrivals: Arrivals::Users(5, 0.0),
        demand: Law::Det,
        keeps_all: true,
        ..plan(1, 1, 0.5)
    };
    let run = plan.run(&Subject::parse("nginx-rr").unwrap(), 0).unwrap();
    assert!(run.response.iter().all(|it| (it - 5.0).abs() < 1e-6), "{:?}", &run.response[..9]);
}

#[test]
fn a_closed_loop_gives_mean_value_analysis() {
    for (users, pause) in [(50, 100.0), (20, 25.0)] {
        let (mut queue, mut expected) = (0.0, 0.0);
        for present in 1..=users {
            expected = 1.0 + queue;
            queue = f64::from(present) / (expected + pause) * expected;
        }
        let plan = Plan { arrivals: Arrivals::Users(users, pause), ..plan(1, 1, 0.5) };
        check(&format!("{users} users"), &means(&runs(&plan, "nginx-rr")), expected, 0.01);
    }
}

#[test]
fn two_choices_are_worth_what_was_found() {
    for (policy, servers, load, expected) in [
        ("sq:d=2", 10, 0.5, 1.2861),
        ("sq:d=2", 10, 0.8, 2.0749),
        ("sq:d=2,replace=true", 10, 0.8, 2.1633),
        ("sq:d=2", 100, 0.5, 1.2681),
        ("sq:d=5", 100, 0.5, 1.0341),
        ("jsq", 8, 0.8, 1.4566),
        ("jiq", 10, 0.8, 1.4825),
    ] {
        let found = means(&runs(&plan(servers, 1, load), policy));
        check(&format!("{policy} on {servers} at {load}"), &found, expected, 0.01);
    }
}

#[test]
fn unequal_servers_are_served_as_was_found() {
    for (policy, load, expected) in [
        ("random", 0.3, 2.9167),
        ("nginx-random", 0.3, 1.4286),
        ("nginx-random", 0.5, 2.0),
        ("nginx-rr", 0.3, 1.0808),
        ("nginx-least-conn", 0.3, 1.0130),
        ("nginx-least-conn", 0.8, 1.3270),
        ("haproxy-leastconn", 0.3, 1.1946),
        ("sed", 0.3, 0.6991),
        ("sed", 0.8, 1.4922),
        ("jsq", 0.8, 1.5283),
    ] {
        let found = means(&runs(&unequal(load), policy));
        check(&format!("{policy} at {load}"), &found, expected, 0.02);
    }
}

#[test]
fn old_news_send_the_herd_to_the_shortest_queue() {
    let found = |policy: &str, every: f64| {
        let balancers = Balancers { view: View::Periodic(every), ..Balancers::default() };
        let plan = Plan { balancers, ..plan(100, 1, 0.9) };
        let runs: Vec<_> = runs(&plan, policy);
        means(&runs)
    };
    for (policy, every, expected) in
        [("sq:d=2", 5.0, 4.0118), ("sq:d=10", 5.0, 8.6534), ("jsq", 1.0, 3.9775)]
    {
        check(&format!("{policy} every {every}"), &found(policy, every), expected, 0.03);
    }
}

#[test]
fn jobs_in_turn_on_shared_servers_feel_the_law() {
    for (demand, expected) in [(Law::Exp, 2.9324), (Law::Det, 1.2195)] {
        let plan = Plan { demand, discipline: Discipline::Sharing, ..plan(10, 1, 0.8) };
        check("round robin", &means(&runs(&plan, "nginx-rr")), expected, 0.03);
    }
}

#[test]
fn two_choices_without_weights_drown_slow_servers() {
    let of = |speed| Capacity { speed, weight: NonZeroU32::MIN };
    let servers = [vec![of(0.2); 50], vec![of(1.8); 50]].concat();
    let mean = |load, requests| {
        let plan = Plan { servers: servers.clone(), requests, warm_up: 0, ..plan(100, 1, load) };
        plan.run(&Subject::parse("sq:d=2,replace=true").unwrap(), 0).unwrap().times.mean().unwrap()
    };
    // Stable below 0.4 only, though the pool could do 1.
    assert!(mean(0.38, 400_000) < 1.5 * mean(0.38, 100_000));
    assert!(2.0 * mean(0.5, 100_000) < mean(0.5, 400_000));
}

#[test]
fn a_server_that_becomes_slow_costs_what_was_published() {
    let happens = |at, what| Change { at, servers: vec![0], what };
    let plan = Plan {
        servers: vec![Capacity::default(); 11],
        discipline: Discipline::Delay,
        arrivals: Arrivals::Poisson(1000.0),
        demand: Law::Normal(0.167, 0.005, 0.0),
        changes: vec![happens(15.0, Fate::Speed(0.0835)), happens(45.0, Fate::Up(0.0))],
        requests: 60_000,
        warm_up: 0,
        keeps_all: true,
        ..Plan::default()
    };
    for (policy, expected, tolerance) in [
        ("nginx-rr", 0.9545, 0.002),
        ("jsq", 0.9954, 0.001),
        ("p2c", 0.9949, 0.001),
        ("peak-ewma:decay=10s,penalty=0s", 0.9992, 0.0005),
    ] {
        let run = plan.run(&Subject::parse(policy).unwrap(), 0).unwrap();
        let in_time = run.response.iter().filter(|it| **it <= 1.0).count();
        let share = f64::from(u32::try_from(in_time).unwrap()) / 60_000.0;
        assert!((share - expected).abs() <= tolerance, "{policy}: {share}, known is {expected}");
    }
}

#[test]
fn common_requests_make_differences_sharp_and_intervals_cover() {
    let short = Plan { requests: 20_000, warm_up: 4_000, ..plan(10, 1, 0.8) };
    let (one, other) = (runs(&short, "jsq"), runs(&short, "sq:d=2"));
    let (one, other) = (means(&one), means(&other));
    let paired: Vec<f64> = one.iter().zip(&other).map(|(a, b)| b - a).collect();
    let shifted: Vec<f64> =
        one.iter().zip(other.iter().cycle().skip(1)).map(|(a, b)| b - a).collect();
    let error = |it: &[f64]| Estimate::of(it).unwrap().error;
    assert!(2.0 * error(&paired).powi(2) < error(&shifted).powi(2), "{paired:?} {shifted:?}");

    // 95 % of the intervals of short runs hold the truth, here within four standard errors.
    let single = Plan { requests: 6_000, warm_up: 1_000, ..plan(1, 1, 0.5) };
    let subject = Subject::parse("nginx-rr").unwrap();
    let covered = (0..100).filter(|campaign| {
        let values: Vec<f64> = (0..10)
            .map(|it| single.run(&subject, 10 * campaign + it).unwrap().times.mean().unwrap())
            .collect();
        let found = Estimate::of(&values).unwrap();
        (found.mean - 2.0).abs() <= found.half_width
    });
    let covered = covered.count();
    assert!((86..=100).contains(&covered), "{covered} of 100");
}
