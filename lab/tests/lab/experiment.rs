//! One short experiment against the real store, the balancer and nginx in its place.

use std::num::NonZeroU8;

use lab::{
    experiment::{self, Experiment, Pool},
    record::Record,
    shop::{Data, Seed},
};

#[test]
fn policies_and_a_control_meet_the_same_requests_and_everything_is_kept() {
    let plan = Experiment {
        title: "Short".to_owned(),
        policies: ["round_robin", "nginx:round_robin"].map(str::to_owned).into(),
        pools: vec![Pool::Equal],
        servers: NonZeroU8::new(2).unwrap(),
        rates: vec![40.0],
        arrivals: "even".to_owned(),
        reps: 1,
        seconds: 2.0,
        warmup: 0.5,
        pause: 0.0,
        data: Data::Embedded,
        store: Seed::Small,
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
    assert_eq!(record.policies("equal, 40/s open"), ["round_robin", "nginx:round_robin"]);
    for policy in ["round_robin", "nginx:round_robin"] {
        let rows = record.valid("equal, 40/s open", policy, "");
        assert_eq!(rows.len(), 1, "{out}");
        let row = rows[0];
        // 80 requests are due in the two seconds that count, give or take one at either end.
        let answered = row.figure("answered").unwrap();
        assert!((79.0..=81.0).contains(&answered), "{policy}: {row:?}\n{out}");
        assert_eq!(row.figure("failed"), Some(0.0), "{policy}: {row:?}\n{out}");
        assert!(row.figure("sent_p50") <= row.figure("p50"), "{row:?}");
        assert!(row.shares.iter().all(|it| (0.45..=0.55).contains(it)), "{policy}: {row:?}");
        assert_eq!(row.figure("balancer_p50").is_some(), policy == "round_robin", "{row:?}");
        assert!(!record.valid("equal, 40/s open", policy, "POST /orders").is_empty());
        assert!(record.series.iter().any(|it| it.1 == policy && it.3.len() == 2));
    }
    for name in ["commit", "command", "processor", "seed", "experiment"] {
        assert!(record.about.facts.contains_key(name), "{name}");
    }
    let requests = std::fs::read_to_string(folder.join("requests.csv")).unwrap();
    let lines = requests.lines().count();
    assert!(lines % 2 == 1 && (1 + 2 * 98..=1 + 2 * 101).contains(&lines), "{lines}\n{out}");
}
