//! The live balancer and the simulator, asked for the same work, tell the same.

use std::time::Duration;

use lab::validate::{Pair, Validation};

#[test]
fn live_servers_answer_as_their_model_foretells() {
    let validation = Validation {
        pools: Vec::new(),
        loads: Vec::new(),
        policies: Vec::new(),
        law: "exp".to_owned(),
        // Long beside what a busy machine adds.
        mean: Duration::from_millis(80),
        time: Duration::from_secs(15),
        warm_up: Duration::from_secs(1),
        reps: 1,
        seed: 7,
    };
    let of = |policy: &str| {
        let pair = Pair::of(&validation, "1x3,0.5", 0.7, policy, 0, &|| Ok(())).unwrap();
        println!("{policy}: {pair:?}");
        let [requests, lost] = pair.requests;
        assert!(300 < requests && lost == 0, "{pair:?}");
        pair
    };
    let [turns, counts] = ["round_robin", "least_conn"].map(of);
    for pair in [&turns, &counts] {
        // Nobody is faster than the model, but for what rounding and a policy that meets two answers in
        // another order make of it.
        let [measured, predicted] = pair.mean;
        assert!(0.85 * predicted <= measured && measured <= 1.5 * predicted, "{pair:?}");
    }
    for (measured, predicted) in turns.shares[0].iter().zip(&turns.shares[1]) {
        assert!((measured - predicted).abs() < 0.01, "{turns:?}");
    }
    // The pool's slow server drowns where it gets a fourth of all requests, in both worlds.
    assert!(2.0 * counts.mean[0] < turns.mean[0], "{turns:?} {counts:?}");
    assert!(2.0 * counts.mean[1] < turns.mean[1], "{turns:?} {counts:?}");
}
