//! One short experiment against the real store, the balancer and nginx in its place.

use std::num::NonZeroU8;

use lab::{
    csv,
    experiment::{self, Experiment, Pool},
    record::Record,
    shop::{Data, Seed},
};

const POLICIES: [&str; 6] = [
    "round_robin",
    "nginx:round_robin",
    "hash",
    "nginx:hash",
    "hash_consistent",
    "nginx:hash_consistent",
];

#[test]
fn policies_and_a_control_meet_the_same_requests_and_everything_is_kept() {
    let plan = Experiment {
        title: "Short".to_owned(),
        policies: POLICIES.map(str::to_owned).into(),
        pools: vec![Pool::Equal],
        servers: NonZeroU8::new(2).unwrap(),
        rates: vec![40.0],
        arrivals: "even".to_owned(),
        reps: 1,
        seconds: 1.0,
        warmup: 0.2,
        pause: 0.0,
        data: Data::Embedded,
        store: Seed::Small,
        // The machine that runs the tests may be busy.
        late_ms: 1e4,
        load_cpu: 1.0,
        ..Experiment::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("record");
    let mut out = Vec::new();
    experiment::run(&plan, "short", Some(folder.clone()), &mut out).unwrap();
    let record = Record::read(&folder).unwrap();
    let out = String::from_utf8(out).unwrap();

    assert_eq!(record.loads(), ["equal, 40/s open"]);
    assert_eq!(record.policies("equal, 40/s open"), POLICIES);
    for policy in POLICIES {
        let rows = record.valid("equal, 40/s open", policy, "");
        assert_eq!(rows.len(), 1, "{out}");
        let row = rows[0];
        // 40 requests are due in the second that counts, give or take one at either end.
        let answered = row.figure("answered").unwrap();
        assert!((39.0..=41.0).contains(&answered), "{policy}: {row:?}\n{out}");
        assert_eq!(row.figure("failed"), Some(0.0), "{policy}: {row:?}\n{out}");
        assert!(row.figure("sent_p50") <= row.figure("p50"), "{row:?}");
        assert_eq!(row.figure("balancer_p50").is_some(), !policy.contains(':'), "{row:?}");
        assert!(!record.valid("equal, 40/s open", policy, "POST /orders").is_empty());
        assert!(record.series.iter().any(|it| it.1 == policy && it.3.len() == 2));
    }
    for name in ["commit", "command", "processor", "seed", "experiment"] {
        assert!(record.about.facts.contains_key(name), "{name}");
    }
    let requests = std::fs::read_to_string(folder.join("requests.csv")).unwrap();
    let requests = csv::records(&requests);
    let of = |policy: &str| -> Vec<(&str, &str)> {
        let same = requests.iter().filter(|it| it[1] == policy);
        same.map(|it| (it[3].as_str(), it[8].as_str())).collect()
    };
    let turns = of("round_robin");
    assert!((46..=49).contains(&turns.len()), "{}", turns.len());
    // Turns are exact for ours and for nginx, whichever of two late requests came first.
    for policy in ["round_robin", "nginx:round_robin"] {
        let first = of(policy).iter().filter(|it| it.1 == "store-1").count();
        assert!((2 * first).abs_diff(turns.len()) <= 1, "{policy}: {first} of {}", turns.len());
    }
    // The same key leads to the same server, request by request.
    for policy in ["hash", "hash_consistent"] {
        assert_eq!(of(policy), of(&format!("nginx:{policy}")), "{policy}\n{out}");
    }
}
