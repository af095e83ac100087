//! Ten times more than a server can do leaves it doing all it can, where the balancer lets in what it
//! can do.

use std::time::Duration;

use lab::overload::{Capacity, Outcome, Overload};

#[test]
fn a_limit_of_concurrency_keeps_a_server_serving_in_time_what_it_can() {
    let overload = Overload {
        places: 4,
        // Long for a machine that does other things as well.
        service: Duration::from_millis(50),
        times: 10.0,
        time: Duration::from_secs(12),
        warm_up: Duration::from_secs(4),
        clients: 200,
        seed: 1,
        csv: None,
    };
    let capacity = Capacity::of(&overload, &|| Ok(())).unwrap();
    let of = |limit| Outcome::of(&overload, limit, capacity, &|| Ok(())).unwrap();
    let (off, on) = (of("off"), of("gradient samples=20"));
    println!("{capacity:?}\n{off:?}\n{on:?}");
    // Without it nobody is refused and everybody waits, some for as long as two hundred clients
    // before four places do.
    assert_eq!((off.refused, off.let_in), (0.0, 0.0), "{off:?}");
    assert!(10.0 < off.slowdown[0], "{off:?}");
    // With it hardly anybody waits, and the server does about as much. How near it comes to all it can
    // do, and how long the last of a hundred waits, `lab overload` tells of a machine that is free.
    assert!(off.served / 2.0 < on.served, "{off:?} {on:?}");
    assert!(on.slowdown[0] < off.slowdown[0] / 4.0, "{off:?} {on:?}");
    assert!(2.0 * on.served < on.refused, "{on:?}");
    assert!(on.refusal[0] < capacity.takes, "{on:?}");
    assert_eq!((on.silent, on.lost[0]), (0, 0), "{on:?}");
}
