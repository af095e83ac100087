//! The same seed gives the same run, and a different policy gets the same requests.

use std::num::NonZeroU32;

use lab::sim::{
    Arrivals, Balancers, Capacity, Change, Discipline, Fate, Keys, Law, Patience, Plan, Split,
    Subject, View,
};
use policy::CATALOG;

/// A plan in which nothing happens.
pub(crate) fn plan() -> Plan {
    Plan {
        servers: vec![Capacity::default(); 5],
        arrivals: Arrivals::Poisson(3.5),
        demand: Law::H2(4.0),
        keys: Keys::uniform(100),
        requests: 2_000,
        warm_up: 0,
        seed: 7,
        keeps_all: true,
        ..Plan::default()
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
    let plan = Plan { discipline: Discipline::Delay, ..plan() };
    let responses = |id: &str| plan.run(&Subject::parse(id).unwrap(), 0).unwrap().response;
    assert_eq!(responses("nginx-rr"), responses("nginx-random-two"));
}

#[test]
fn an_unknown_policy_is_answered_with_the_known_ones() {
    let error = Subject::parse("nginx-leastconn").unwrap_err().to_string();
    assert!(error.contains("\"nginx-leastconn\"") && error.contains("nginx-least-conn"), "{error}");
    assert!(Subject::parse("nginx-rr:nonsense").is_err());
}

/// Everything that can go wrong, at once.
pub(crate) fn trouble() -> Plan {
    let happens = |at, server, what| Change { at, servers: vec![server], what };
    Plan {
        balancers: Balancers {
            count: 3,
            split: Split::Client,
            max_conns: NonZeroU32::new(6),
            queue: 4,
            fail_timeout: 2.0,
            ..Balancers::default()
        },
        server_queue: Some(8),
        patience: Patience { timeout: Some(6.0), retries: 2, budget: None },
        changes: vec![
            happens(40.0, 0, Fate::Down),
            happens(80.0, 0, Fate::Up(10.0)),
            happens(100.0, 1, Fate::Silent),
            happens(140.0, 1, Fate::Up(0.0)),
            happens(200.0, 2, Fate::Speed(0.1)),
            happens(260.0, 3, Fate::Errors(0.5, 0.01)),
            happens(300.0, 4, Fate::Leave),
            happens(350.0, 4, Fate::Join),
            happens(360.0, 4, Fate::Weight(NonZeroU32::MIN.saturating_add(2))),
        ],
        keeps_all: false,
        ..plan()
    }
}

#[test]
fn under_any_trouble_no_request_is_lost_and_littles_law_holds() {
    for view in [
        View::Own,
        View::Shared,
        View::Periodic(2.0),
        View::Individual(2.0),
        View::Age(0.5),
        View::Response,
    ] {
        let plan = Plan { balancers: Balancers { view, ..trouble().balancers }, ..trouble() };
        for entry in CATALOG {
            let subject = Subject::parse(entry.id).unwrap();
            let run = plan.run(&subject, 1).unwrap();
            assert!(run == plan.run(&subject, 1).unwrap(), "{} is not repeated", entry.id);
            let ends: u64 = run.ends.iter().sum();
            assert_eq!(ends + run.unfinished, 2_000, "{} with {view:?}: {:?}", entry.id, run.ends);
            assert_eq!(run.unfinished, 0, "{} with {view:?}", entry.id);
            assert!(0 < run.retries, "{}", entry.id);
            let error = (run.spent - run.present).abs() / run.spent;
            assert!(error < 1e-9, "{} with {view:?}: {} and {}", entry.id, run.spent, run.present);
        }
    }
}

#[test]
fn a_lost_server_gets_nothing_more_until_it_is_tried_again() {
    let change = Change { at: 100.0, servers: vec![0], what: Fate::Down };
    let plan = Plan {
        changes: vec![change],
        patience: Patience { retries: 1, ..Patience::default() },
        ..plan()
    };
    let run = plan.run(&Subject::parse("nginx-rr").unwrap(), 0).unwrap();
    // One attempt in turn, then one every ten seconds of the 570 that the run takes.
    assert_eq!(run.ends.iter().skip(1).sum::<u64>(), 0, "{:?}", run.ends);
    assert!((40..=70).contains(&run.retries), "{}", run.retries);
    assert!(run.placed[0] < 200 && 400 < run.placed[1], "{:?}", run.placed);
}

#[test]
fn balancers_that_wait_place_requests_when_somebody_is_free() {
    let one = |queue| Plan {
        servers: vec![Capacity::default()],
        arrivals: Arrivals::Poisson(0.7),
        balancers: Balancers { max_conns: NonZeroU32::new(1), queue, ..Balancers::default() },
        ..plan()
    };
    let subject = Subject::parse("nginx-rr").unwrap();
    let patient = one(10_000).run(&subject, 0).unwrap();
    let direct = Plan { balancers: Balancers::default(), ..one(0) }.run(&subject, 0).unwrap();
    // Where they wait makes no difference to how long.
    assert_eq!(patient.response, direct.response);
    let refused = one(0).run(&subject, 0).unwrap().ends;
    assert!(refused[lab::sim::End::Refused as usize] > 500, "{refused:?}");
}

#[test]
fn private_turns_come_in_pairs_where_shared_ones_alternate() {
    let placed = |count| {
        let plan = Plan {
            servers: vec![Capacity::default(); 3],
            balancers: Balancers { count, split: Split::Turns, ..Balancers::default() },
            arrivals: Arrivals::Even(1.0),
            requests: 2,
            ..plan()
        };
        plan.run(&Subject::parse("nginx-rr").unwrap(), 0).unwrap().placed
    };
    assert_eq!(placed(1), [1, 1, 0]);
    assert_eq!(placed(2), [2, 0, 0]);
}
