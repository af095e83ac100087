//! Nothing is lost, repeated or oversold when a part fails under orders.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{num::NonZeroU8, time::Duration};

use lab::faults::{Fault, Outcome, Trial};

#[track_caller]
fn check(fault: Fault, outage: Duration) {
    let trial = Trial {
        faults: vec![fault],
        // A debug build on a machine of two cores keeps up with this; `lab faults` sends more.
        rate: 60.0,
        time: Duration::from_secs(9),
        outage,
        replicas: NonZeroU8::new(2).unwrap(),
        csv: None,
    };
    let outcome = Outcome::of(fault, &trial, &|| Ok(())).unwrap();
    assert_eq!(outcome.faults(), Vec::<String>::new(), "{outcome:?}");
    assert_eq!(outcome.sent.answers.len(), 540);
    assert_eq!(outcome.sent.placed().count(), outcome.books.rows);
    assert!(
        0 < outcome.sent.refused(),
        "the few pieces are not sold out: nothing could be oversold"
    );
}

#[test]
fn a_killed_database_loses_no_order() {
    check(Fault::Mariadb, Duration::from_secs(2));
}

#[test]
fn a_killed_redis_fails_no_order_and_is_filled_again() {
    check(Fault::Redis, Duration::from_secs(2));
}

#[test]
fn a_killed_replica_places_no_order_twice() {
    check(Fault::Replica, Duration::from_secs(2));
}

#[test]
fn a_network_that_stalls_delays_orders_and_loses_none() {
    check(Fault::Stall, Duration::from_secs(5));
}
