//! Does the live balancer pick as the policy itself does?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use balancer::upstream::member::Member;
use balancer::upstream::protection::Protections;
use balancer::upstream::{Address, Keepalive, Lease, Plan, Tried, Upstream};
use policy::{
    CATALOG, Choice, Draw as _, Entry, Event, Identity, Policy, Record, Request, SplitMix64, Terms,
    Time,
};

use crate::support::{Balancer, Origin};

const WEIGHTS: [u32; 3] = [3, 2, 1];

/// Every policy that a block can ask for.
pub(crate) fn served() -> impl Iterator<Item = &'static Entry> {
    CATALOG.iter().filter(|it| it.directive.is_some())
}

/// What stands behind the directive's name in `nginx.conf`, once as a line and once for the policy.
pub(crate) fn words(entry: &Entry) -> (String, Vec<&'static str>) {
    let own = entry.directive.unwrap();
    let word = |it: &&'static str| match *it {
        "KEY" => "$request_uri",
        "bounded=" => "bounded=1.5",
        "least_time=" => "least_time=header",
        "least_time" => "least_time header",
        other => other,
    };
    let line = own.iter().map(word).collect::<Vec<_>>().join(" ");
    let options = match entry.name {
        "least_time" => vec!["header"],
        "hash_consistent_bounded" => vec!["bounded=1.5"],
        "random_two_least_time" => vec!["least_time=header"],
        _ => vec![],
    };
    (line, options)
}

fn terms(at: usize, name: &str) -> Terms {
    Terms {
        identity: Identity::new(name, name),
        weight: NonZeroU32::new(WEIGHTS[at]).unwrap(),
        max_fails: NonZeroU32::new(2),
        ..Terms::default()
    }
}

/// The policy and the facts it is shown, with nothing of the balancer around them.
struct Model {
    policy: Box<dyn Policy>,
    draw: SplitMix64,
    servers: Vec<(Terms, Record, u32)>,
}

impl Model {
    fn new(entry: &Entry, terms: &[Terms], seed: u64) -> Self {
        let mut policy = (entry.build)(&words(entry).1).unwrap();
        policy.relist(&vec![None; terms.len()]);
        (0..terms.len()).for_each(|it| policy.learn(it, Event::Idle, Time::ZERO));
        let servers = terms.iter().map(|it| (*it, Record::default(), 0)).collect();
        Self { policy, draw: SplitMix64::new(seed), servers }
    }

    fn pick(&mut self, request: &Request<'_>) -> Option<usize> {
        let candidates: Vec<_> = self
            .servers
            .iter()
            .map(|(terms, record, busy)| {
                terms.candidate(*busy, record.usable_from(terms), request.now)
            })
            .collect();
        let picked = self.policy.pick(request, &candidates, &mut self.draw)?;
        let (terms, record, busy) = &mut self.servers[picked];
        record.placed(request.now, terms);
        *busy += 1;
        Some(picked)
    }

    /// Tells everything, whether the policy listens or not.
    fn finish(&mut self, at: usize, head: Option<Duration>, event: Event, now: Time) {
        if let Some(elapsed) = head {
            self.policy.learn(at, Event::Head { elapsed }, now);
        }
        self.policy.learn(at, event, now);
        let (terms, record, busy) = &mut self.servers[at];
        record.observe(event, now, terms);
        *busy -= 1;
        if *busy == 0 {
            self.policy.learn(at, Event::Idle, now);
        }
    }
}

fn live(entry: &Entry, terms: &[Terms], seed: u64) -> Upstream {
    let choice = |()| {
        let entry = CATALOG.iter().find(|it| it.id == entry.id).unwrap();
        Choice { entry, key: None, policy: (entry.build)(&words(entry).1).unwrap() }
    };
    let member = |(number, terms): (usize, &Terms)| {
        let address = SocketAddr::from(([10, 0, 0, 1], u16::try_from(number).unwrap()));
        Member { terms: *terms, ..Member::fixed(number, Address::Inet(address)) }
    };
    Upstream::new(Plan {
        name: entry.name.to_owned(),
        choices: [(); 2].map(choice),
        key: None,
        sticky: None,
        members: terms.iter().enumerate().map(member).collect(),
        is_stream: false,
        keepalive: Keepalive::NONE,
        idle: Arc::default(),
        totals: Arc::default(),
        before: Vec::new(),
        protections: Protections::default(),
        state: None,
        probe: None,
        seed,
    })
}

/// Two thousand steps: requests come with keys and clients, and end well, badly or not at all.
fn replay(entry: &Entry, seed: u64) {
    let terms: Vec<_> = (0..3).map(|it| terms(it, &format!("10.0.0.1:{it}"))).collect();
    let (live, mut model) = (live(entry, &terms, seed), Model::new(entry, &terms, seed));
    let position = |it: &Lease<'_>| usize::from(it.backend.name.as_bytes()[9] - b'0');
    let mut events = SplitMix64::new(seed ^ 0x5eed);
    let mut running: VecDeque<Lease<'_>> = VecDeque::new();
    let mut now = Time::from_secs(100);
    for step in 0..2000 {
        now = now + Duration::from_millis(events.below(60));
        if events.below(2) == 0 || running.is_empty() {
            let key = events.below(50).to_string();
            let client = [10, 0, u8::try_from(events.below(50)).unwrap(), 1];
            let request = Request::at(now).with_key(key.as_bytes()).from_client(client.into());
            let lease = live.pick(&request, &Tried::default(), None);
            let picked = lease.as_ref().map(position);
            assert_eq!(picked, model.pick(&request), "{} at step {step}", entry.id);
            running.extend(lease);
            continue;
        }
        let which = usize::try_from(events.below(running.len() as u64)).unwrap();
        let lease = running.remove(which).unwrap();
        let (at, total) = (position(&lease), now.since(lease.began));
        let head = (events.below(8) > 0).then_some(total / 2);
        let event = match (events.below(10), head) {
            (0, _) => Event::Abandoned { head, total },
            (1, _) | (_, None) => Event::Failure { head, total },
            (2, Some(head)) => Event::Success { head, total, status: 500 },
            (_, Some(head)) => Event::Success { head, total, status: 200 },
        };
        if let Some(elapsed) = head {
            lease.head(elapsed, now);
        }
        lease.finish(event, now);
        model.finish(at, head, event, now);
    }
    drop(running);
    assert!(live.servers().iter().all(|it| it.backend.in_flight() == 0), "{}", entry.id);
}

#[test]
fn the_live_group_picks_as_the_policy_does_whatever_happens() {
    // Probes are answered by the live group alone.
    for entry in served().filter(|it| !it.needs.probes) {
        (1..=3).for_each(|seed| replay(entry, seed));
    }
}

/// Whose picks neither chance nor measured times decide, as long as requests do not overlap.
const CERTAIN: [&str; 18] = [
    "round_robin",
    "least_conn",
    "ip_hash",
    "hash",
    "hash_consistent",
    "hash_consistent_bounded",
    "maglev",
    "rendezvous",
    "jiq",
    "haproxy_roundrobin",
    "haproxy_static_rr",
    "haproxy_first",
    "haproxy_hash",
    "haproxy_chash",
    "envoy_edf",
    "envoy_ring_hash",
    "grpc_stride",
    "pingora_rr",
];

#[test]
fn every_policy_serves_on_sockets_and_the_certain_ones_in_their_order() {
    let origins = [Origin::named("0"), Origin::named("1"), Origin::named("2")];
    let (mut groups, mut locations) = (String::new(), String::new());
    for entry in served() {
        let (name, line) = (entry.name, words(entry).0);
        let end = if line.is_empty() { "" } else { ";" };
        write!(groups, "upstream {name} {{ {line}{end} ").unwrap();
        for (origin, weight) in origins.iter().zip(WEIGHTS) {
            write!(groups, "server {} weight={weight} max_fails=2; ", origin.name()).unwrap();
        }
        groups.push_str("}\n");
        writeln!(locations, "location /{name}/ {{ proxy_pass http://{name}; }}").unwrap();
    }
    let balancer =
        Balancer::start(&format!("{groups} server {{ listen 127.0.0.1:PORT; {locations} }}"));
    let terms: Vec<_> = (0..3).map(|it| terms(it, &origins[it].name())).collect();
    let mut client = balancer.client();
    for entry in served() {
        let mut model = Model::new(entry, &terms, 1);
        for number in 0..12 {
            let path = format!("/{}/{number}", entry.name);
            let answer = client.get(&path);
            assert_eq!(answer.status, 200, "{path}");
            let now = Time::from_secs(100 + number);
            let request =
                Request::at(now).with_key(path.as_bytes()).from_client([127, 0, 0, 1].into());
            let picked = model.pick(&request).unwrap();
            if CERTAIN.contains(&entry.name) {
                assert_eq!(answer.text(), picked.to_string(), "{path}");
            }
            model.finish(picked, None, Event::success(Duration::ZERO), now);
        }
    }
    for name in CERTAIN {
        assert!(served().any(|it| it.name == name), "{name}");
    }
    for (origin, name) in origins.iter().zip(["first", "second", "third"]) {
        assert!(!origin.seen().is_empty(), "the {name} server was never asked");
    }
}
