//! The simulator is believed only while it gives the answers that are known.

#![expect(clippy::unwrap_used, reason = "a plan that cannot run is the failure to see")]

use std::num::NonZeroU32;

use lab::{
    sim::{Arrivals, Capacity, Discipline, Law, Plan, Run, Subject},
    stats::{Estimate, mean, quantile},
};

const REPLICATIONS: u64 = 10;

fn plan(servers: usize, slots: u32, load: f64) -> Plan {
    let pool = f64::from(u32::try_from(servers).unwrap() * slots);
    Plan {
        servers: vec![Capacity { speed: 1.0, weight: NonZeroU32::MIN }; servers],
        discipline: Discipline::Fcfs(NonZeroU32::new(slots).unwrap()),
        arrivals: Arrivals::Poisson(load * pool),
        demand: Law::Exp,
        keys: 1,
        requests: 60_000,
        warm_up: 10_000,
        seed: 430,
    }
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
    runs.iter().map(|it| mean(&it.response).unwrap()).collect()
}

fn quantiles(runs: &[Run], share: f64) -> Vec<f64> {
    runs.iter().map(|it| quantile(&mut it.response.clone(), share).unwrap()).collect()
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
    for (slots, load, expected) in [(2, 0.5, 1.333_333), (2, 0.8, 2.777_778), (10, 0.8, 1.204_590)]
    {
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
        let runs = runs(&Plan { demand, ..plan(1, 1, load) }, "nginx-rr");
        let expected = 1.0 + load * (1.0 + variation) / (2.0 * (1.0 - load));
        check(&format!("{demand:?}"), &means(&runs), expected, 0.02);
    }
}

#[test]
fn processor_sharing_does_not_feel_the_law() {
    for demand in [Law::Det, Law::Exp, Law::H2(4.0), Law::H2(10.0)] {
        let plan = Plan { demand, discipline: Discipline::Sharing, ..plan(1, 1, 0.5) };
        check(&format!("{demand:?}"), &means(&runs(&plan, "nginx-rr")), 2.0, 0.02);
    }
}

#[test]
fn round_robin_is_a_queue_with_erlang_arrivals() {
    for (load, expected) in [(0.5, 1.3246), (0.8, 2.9223)] {
        let runs = runs(&plan(10, 1, load), "nginx-rr");
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
    let turns = Plan { demand: Law::Det, ..plan(10, 1, 0.8) };
    let central = Plan { demand: Law::Det, ..plan(1, 10, 0.8) };
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
    let plan = Plan { arrivals: Arrivals::Users(5, 0.0), demand: Law::Det, ..plan(1, 1, 0.5) };
    let run = plan.run(&Subject::parse("nginx-rr").unwrap(), 0).unwrap();
    assert!(run.response.iter().all(|it| (it - 5.0).abs() < 1e-6), "{:?}", &run.response[..9]);
}
