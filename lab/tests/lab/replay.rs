//! The same seed gives the same run, and a different policy gets the same requests.

use std::num::NonZeroU32;

use lab::sim::{Arrivals, Capacity, Discipline, Law, Plan, Subject};
use policy::CATALOG;

fn plan() -> Plan {
    Plan {
        servers: vec![Capacity { speed: 1.0, weight: NonZeroU32::MIN }; 5],
        discipline: Discipline::Fcfs(NonZeroU32::MIN),
        arrivals: Arrivals::Poisson(3.5),
        demand: Law::H2(4.0),
        keys: 100,
        requests: 2_000,
        warm_up: 0,
        seed: 7,
    }
}

#[test]
fn every_policy_repeats_itself_and_serves_every_request() {
    for entry in CATALOG {
        let subject = Subject::parse(entry.id).unwrap();
        let run = plan().run(&subject, 3).unwrap();
        assert_eq!(run, plan().run(&subject, 3).unwrap(), "{}", entry.id);
        assert_eq!(run.placed.iter().sum::<u64>(), 2_000, "{}", entry.id);
        assert!(run.response.iter().all(|it| 0.0 < *it), "{}", entry.id);
    }
}

#[test]
fn another_seed_or_replication_is_another_run() {
    let subject = Subject::parse("nginx-rr").unwrap();
    let run = plan().run(&subject, 0).unwrap();
    assert_ne!(run, plan().run(&subject, 1).unwrap());
    assert_ne!(run, Plan { seed: 8, ..plan() }.run(&subject, 0).unwrap());
}

#[test]
fn policies_get_the_same_requests_even_if_one_draws_more() {
    // On servers that never let anybody wait, a response is the demand of its request.
    let plan = Plan { discipline: Discipline::Fcfs(NonZeroU32::new(10_000).unwrap()), ..plan() };
    let responses = |id: &str| plan.run(&Subject::parse(id).unwrap(), 0).unwrap().response;
    assert_eq!(responses("nginx-rr"), responses("nginx-random-two"));
}

#[test]
fn an_unknown_policy_is_answered_with_the_known_ones() {
    let error = Subject::parse("nginx-leastconn").unwrap_err().to_string();
    assert!(error.contains("\"nginx-leastconn\"") && error.contains("nginx-least-conn"), "{error}");
    assert!(Subject::parse("nginx-rr:nonsense").is_err());
}
