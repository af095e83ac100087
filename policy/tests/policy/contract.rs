//! What every entry of the catalog owes its caller.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use policy::{
    CATALOG, Candidate, Draw, Entry, Event, Hears, Policy, Report, Request, SplitMix64, Time,
};
use proptest::prelude::*;

use crate::pool::{idle, named, policy};

/// One thing that may happen to a pool.
#[derive(Clone, Debug)]
enum Step {
    /// Some candidates become eligible, the others not; then a request is placed.
    Pick { eligible: u8, key: u8 },
    /// The oldest request still running ends.
    End { how: u8, after_ms: u32 },
    /// The list changes: old positions, some of them out of range, and newcomers.
    Relist { from: Vec<Option<usize>>, weights: Vec<u32> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<u8>(), 0..4_u8).prop_map(|(eligible, key)| Step::Pick { eligible, key }),
        4 => (0..3_u8, after_ms()).prop_map(|(how, after_ms)| Step::End { how, after_ms }),
        1 => proptest::collection::vec((proptest::option::of(0..5_usize), 1..=4_u32), 0..5)
            .prop_map(|list| {
                let (from, weights) = list.into_iter().unzip();
                Step::Relist { from, weights }
            }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Answers may come at once, later, or when all that was known of their server is old.
fn after_ms() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..4_u32, 2 => 5..200_u32, 1 => 5_000..40_000_u32]
}

/// A policy with all that a caller keeps beside it.
struct Pool {
    policy: Box<dyn Policy>,
    candidates: Vec<Candidate>,
    running: Vec<usize>,
    draw: SplitMix64,
    now: Time,
    /// The candidates as the policy was told of them, where it follows.
    told: Option<Vec<Candidate>>,
    /// Whether weights may only change with the list.
    refuses_slow_start: bool,
}

/// What a policy said when it was asked to pick.
#[derive(Debug, PartialEq)]
struct Answer(Option<usize>);

impl Pool {
    fn new(entry: &Entry, weights: &[u32]) -> Self {
        // Tables and rings of the usual size take longer to lay than all else together.
        let words: &[&str] = match entry.name {
            "maglev" => &["table=101"],
            "envoy_ring_hash" => &["min_ring=10"],
            _ => &[],
        };
        Self::with(entry, words, weights)
    }

    fn with(entry: &Entry, words: &[&str], weights: &[u32]) -> Self {
        let policy = (entry.build)(words).unwrap();
        let draw = SplitMix64::new(7);
        let (candidates, running) = (named(weights), Vec::new());
        let refuses_slow_start = entry.refuses.contains(&"slow_start");
        let (now, told) = (Time::ZERO, None);
        Self { policy, candidates, running, draw, now, told, refuses_slow_start }
    }

    /// Has the policy follow.
    fn follow(&mut self) {
        self.policy.follow(&self.candidates);
        self.told = Some(self.candidates.clone());
    }

    /// Tells a policy that follows what has changed.
    fn tell(&mut self) {
        let told = self.told.iter_mut().flatten();
        for (position, (before, after)) in told.zip(&self.candidates).enumerate() {
            if before != after {
                self.policy.changed(position, before, after);
                *before = *after;
            }
        }
    }

    /// Plays one step and returns the pick, if it was one.
    fn play(&mut self, step: &Step) -> Option<Answer> {
        match step {
            Step::Pick { eligible, key } => {
                for (position, it) in self.candidates.iter_mut().enumerate() {
                    it.eligible = eligible >> position & 1 == 1;
                }
                return Some(Answer(self.pick(*key)));
            }
            Step::End { how, after_ms } if !self.running.is_empty() => {
                let position = self.running.remove(0);
                let total = Duration::from_millis(u64::from(*after_ms));
                self.now = self.now + total;
                self.candidates[position].in_flight -= 1;
                let head = (how % 2 == 0).then_some(total / 2);
                if let Some(elapsed) = head {
                    self.policy.learn(position, Event::Head { elapsed }, self.now);
                }
                let event = match how {
                    0 => Event::success(total),
                    1 => Event::Failure { head, total },
                    _ => Event::Abandoned { head, total },
                };
                self.policy.learn(position, event, self.now);
            }
            Step::End { .. } => (),
            Step::Relist { from, weights } => {
                self.candidates = named(weights);
                self.running.clear();
                self.policy.relist(from);
                if self.told.is_some() {
                    self.follow();
                }
            }
        }
        None
    }

    fn pick(&mut self, key: u8) -> Option<usize> {
        let key = [key];
        let client = IpAddr::V4(Ipv4Addr::new(10, 0, key[0], 1));
        let request = Request::at(self.now).with_key(&key).from_client(client);
        self.tell();
        let picked = self.policy.pick(&request, &self.candidates, &mut self.draw)?;
        if let Some(candidate) = self.candidates.get_mut(picked) {
            candidate.in_flight += 1;
            self.running.push(picked);
        }
        Some(picked)
    }
}

fn weights() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(1..=4_u32, 0..5)
}

/// Those of a hundred fail, recover and change while the loads of most tie.
#[test]
fn a_hundred_that_are_followed_get_the_same_answers() {
    let follow = [
        "nginx-rr",
        "nginx-least-conn",
        "nginx-least-time",
        "least-latency",
        "rendezvous",
        "bounded-hash",
        "grpc-stride",
        "grpc-wrr",
    ];
    for entry in CATALOG.iter().filter(|it| follow.contains(&it.id)) {
        let weights: Vec<u32> = (0..100).map(|it| 1 + it % 3).collect();
        let (mut plain, mut follows) = (Pool::new(entry, &weights), Pool::new(entry, &weights));
        follows.follow();
        let mut draw = SplitMix64::new(3);
        for step in 0..20_000 {
            let what = draw.below(20);
            let at = usize::try_from(draw.below(100)).unwrap();
            let weight = NonZeroU32::new(1 + u32::try_from(draw.below(4)).unwrap()).unwrap();
            let key = u8::try_from(draw.below(256)).unwrap();
            for pool in [&mut plain, &mut follows] {
                match what {
                    0 => pool.candidates[at].eligible = step % 3 == 0,
                    1 => pool.candidates[at].eligible = true,
                    2 => {
                        (pool.candidates[at].weight, pool.candidates[at].failure_cost) =
                            (weight, 1);
                    }
                    3 => {
                        pool.play(&Step::End { how: 1, after_ms: 1 });
                    }
                    4..11 => {
                        pool.play(&Step::End { how: 0, after_ms: 1 + u32::from(key) / 32 });
                    }
                    11 => {
                        let requests = f64::from(1 + key % 8);
                        let report = Report { requests, errors: 0.0, utilization: 0.5 };
                        pool.policy.learn(at, Event::Report(report), pool.now);
                    }
                    _ => (),
                }
            }
            if 11 < what {
                assert_eq!(plain.pick(key), follows.pick(key), "{}, step {step}", entry.id);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_pick_is_eligible_and_exists_whenever_one_can(weights in weights(), steps in steps()) {
        for entry in CATALOG {
            let mut pool = Pool::new(entry, &weights);
            for step in &steps {
                let Some(Answer(picked)) = pool.play(step) else { continue };
                let eligible = |it: usize| pool.candidates.get(it).is_some_and(|it| it.eligible);
                let one_can = pool.candidates.iter().any(|it| it.eligible);
                prop_assert_eq!(picked.is_some(), one_can, "{}", entry.id);
                prop_assert!(picked.is_none_or(eligible), "{} picked {:?}", entry.id, picked);
            }
        }
    }

    #[test]
    fn the_same_seed_and_history_give_the_same_answers(weights in weights(), steps in steps()) {
        for entry in CATALOG {
            let (mut one, mut other) = (Pool::new(entry, &weights), Pool::new(entry, &weights));
            for step in &steps {
                prop_assert_eq!(one.play(step), other.play(step), "{}", entry.id);
            }
        }
    }

    #[test]
    fn a_policy_that_follows_gives_the_same_answers(weights in weights(), steps in steps()) {
        let pools = CATALOG.iter().map(|it| [(); 2].map(|()| Pool::new(it, &weights)));
        let least_time = CATALOG.iter().find(|it| it.id == "nginx-least-time").unwrap();
        let measured = [&["inflight"] as &[&str], &["header"], &["header", "inflight"]];
        let pools = pools.chain(
            measured.iter().map(|it| [(); 2].map(|()| Pool::with(least_time, it, &weights))),
        );
        for [mut plain, mut follows] in pools {
            follows.follow();
            for (number, step) in (0_u32..).zip(&steps) {
                let answer = plain.play(step);
                prop_assert_eq!(answer, follows.play(step), "{:?}", plain.policy);
                for pool in [&mut plain, &mut follows] {
                    let len = pool.candidates.len().max(1);
                    let Some(it) = pool.candidates.get_mut(number as usize % len) else { continue };
                    if !pool.refuses_slow_start {
                        it.weight = NonZeroU32::new(1 + number % 4).unwrap();
                        it.failure_cost = it.weight.get() / (1 + number % 3);
                    }
                    if let Step::Pick { key: 0, .. } = step {
                        let request = Request::at(pool.now);
                        pool.tell();
                        pool.policy.bind(number as usize % len, &request, &pool.candidates);
                    }
                }
            }
        }
    }

    #[test]
    fn least_conn_agrees_with_exhaustive_search(
        pool in proptest::collection::vec((1..=4_u32, 0..=4_u32, any::<bool>()), 1..6),
    ) {
        let candidate = |&(weight, in_flight, eligible): &(u32, u32, bool)| {
            let mut candidate = Candidate::new(NonZeroU32::new(weight).unwrap(), in_flight);
            candidate.eligible = eligible;
            candidate
        };
        let candidates = pool.iter().map(candidate).collect::<Vec<_>>();
        let mut draw = SplitMix64::new(1);
        let request = Request::at(Time::ZERO);
        if let Some(picked) = policy("nginx-least-conn").pick(&request, &candidates, &mut draw) {
            // 12 is a multiple of every weight drawn, so these quotients are exact.
            let load = |(weight, in_flight, _): (u32, u32, bool)| in_flight * (12 / weight);
            let least = pool.iter().filter(|it| it.2).map(|it| load(*it)).min();
            prop_assert_eq!(Some(load(pool[picked])), least);
        }
    }

    #[test]
    fn a_period_of_turns_serves_each_server_its_weight_and_ends_where_it_began(
        weights in proptest::collection::vec(1..=5_u32, 1..6),
    ) {
        let (mut policy, mut draw) = (policy("nginx-rr"), SplitMix64::new(1));
        let candidates = idle(&weights);
        let fresh = format!("{policy:?}").replace("[]", "");
        let mut served = vec![0; weights.len()];
        let mut states = Vec::new();
        for _ in 0..2 {
            for _ in 0..weights.iter().sum::<u32>() {
                served[policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw).unwrap()] += 1;
            }
            states.push(format!("{policy:?}"));
        }
        prop_assert_eq!(&states[0], &states[1]);
        prop_assert_ne!(&states[0], &fresh);
        prop_assert_eq!(served, weights.iter().map(|it| 2 * it).collect::<Vec<_>>());
    }
}

proptest! {
    // Every step lays every ring anew.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_list_that_stays_the_same_changes_no_answer(weights in weights(), steps in steps()) {
        for entry in CATALOG {
            let (mut left, mut told) = (Pool::new(entry, &weights), Pool::new(entry, &weights));
            for step in &steps {
                prop_assert_eq!(left.play(step), told.play(step), "{}", entry.id);
                let same = (0..told.candidates.len()).map(Some).collect::<Vec<_>>();
                told.policy.relist(&same);
            }
        }
    }
}

#[test]
fn the_largest_numbers_are_numbers_like_any_other() {
    let most = NonZeroU32::MAX;
    // A ring of the most points there may be takes a minute to lay without optimization.
    let rings = ["bounded-hash", "envoy-ring-hash", "nginx-ketama"];
    for entry in CATALOG.iter().filter(|it| !rings.contains(&it.id)) {
        let mut pool = Pool::new(entry, &[1, 1, 1]);
        pool.candidates[1].weight = most;
        pool.candidates[1].failure_cost = u32::MAX;
        pool.candidates[2] = pool.candidates[1];
        pool.candidates[2].in_flight = u32::MAX;
        pool.policy.relist(&[None; 3]);
        for now in [Time::ZERO, Time::MAX, Time::from_secs(1)] {
            let request = Request::at(now).with_key(b"key");
            for event in [Event::FAILURE, Event::success(Duration::MAX), Event::Idle] {
                let picked = pool.policy.pick(&request, &pool.candidates, &mut pool.draw);
                assert!(picked.is_some_and(|it| it < 3), "{}", entry.id);
                pool.policy.learn(1, event, now);
            }
        }
    }
}

#[test]
fn words_no_policy_knows_are_refused_by_all() {
    for entry in CATALOG {
        let refusal = (entry.build)(&["no_such_option=1"]).unwrap_err();
        assert_eq!(refusal.word, 0, "{}", entry.id);
    }
}

#[test]
fn an_event_about_nobody_is_ignored() {
    let mut draw = SplitMix64::new(1);
    for entry in CATALOG {
        let mut policy = (entry.build)(&[]).unwrap();
        policy.learn(3, Event::FAILURE, Time::ZERO);
        let picked = policy.pick(&Request::at(Time::ZERO), &idle(&[1]), &mut draw);
        assert_eq!(picked, Some(0), "{}", entry.id);
    }
}

/// Policies whose answer depends on the keys and names alone, not on where a server stands.
#[test]
fn keys_keep_their_servers_when_the_list_is_turned_around() {
    let mut draw = SplitMix64::new(1);
    for id in ["nginx-ketama", "maglev", "rendezvous", "envoy-ring-hash"] {
        let (mut straight, mut turned) = (policy(id), policy(id));
        let candidates = named(&[1, 2, 3, 1]);
        let reversed = candidates.iter().rev().copied().collect::<Vec<_>>();
        let mut seen = [false; 4];
        for key in 0..200_u8 {
            let key = [key];
            let request = Request::at(Time::ZERO).with_key(&key);
            let owner = straight.pick(&request, &candidates, &mut draw).unwrap();
            let same = turned.pick(&request, &reversed, &mut draw).unwrap();
            assert_eq!(owner, 3 - same, "{id}, {key:?}");
            seen[owner] = true;
        }
        assert_eq!(seen, [true; 4], "{id}");
    }
}

#[test]
fn whoever_wants_to_hear_of_failures_listens() {
    for entry in CATALOG.iter().filter(|it| it.needs.hears != Hears::Nothing) {
        let mut pool = Pool::new(entry, &[1, 1]);
        assert!(pool.pick(1).is_some(), "{}", entry.id);
        let before = format!("{:?}", pool.policy);
        pool.policy.learn(0, Event::FAILURE, Time::ZERO);
        assert_ne!(before, format!("{:?}", pool.policy), "{} did not listen", entry.id);
    }
}

#[test]
fn whoever_does_not_listen_says_so() {
    for entry in CATALOG {
        let mut pool = Pool::new(entry, &[1, 1]);
        assert!(pool.pick(1).is_some(), "{}", entry.id);
        let before = format!("{:?}", pool.policy);
        let total = Duration::from_millis(7);
        let heard: &[Event] = match entry.needs.hears {
            Hears::Nothing => &[Event::FAILURE, Event::success(total)],
            Hears::Failures => &[Event::success(total)],
            Hears::Ends | Hears::Heads => &[],
        };
        for event in heard {
            pool.policy.learn(0, *event, Time::ZERO);
        }
        assert_eq!(before, format!("{:?}", pool.policy), "{} listened", entry.id);
    }
}
