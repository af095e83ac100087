//! Which policies are there, what are they called, and what do they need?

use crate::{
    Aperture, BoundedHash, Choices, ConsistentHash, EdfRoundRobin, FastRoundRobin, First, GrpcWrr,
    HaproxyLeastConn, Hash, HashConsistent, IpHash, Jiq, LeastConn, LeastLatency, LeastRequest,
    LeastTime, Maglev, MapHash, PeakEwma, PingoraRoundRobin, Policy, Prequal, Random, RandomTwo,
    RandomTwoLeastTime, Refusal, Rendezvous, RingHash, RingRandom, RoundRobin, Shortest,
    StaticRoundRobin, Stride,
};

/// Every policy. The directives, the simulator, the benches and the reports read this list.
pub const CATALOG: &[Entry] = &[
    Entry {
        id: "nginx-rr",
        name: "round_robin",
        directive: Some(&[]),
        needs: Needs::FAILURES,
        refuses: &[],
        build: |words| plain::<RoundRobin>(words),
    },
    Entry {
        id: "nginx-least-conn",
        name: "least_conn",
        directive: Some(&["least_conn"]),
        needs: Needs::FAILURES,
        refuses: &[],
        build: |words| plain::<LeastConn>(words),
    },
    Entry {
        id: "nginx-random",
        name: "random",
        directive: Some(&["random"]),
        needs: Needs::FAILURES,
        refuses: &["backup", "slow_start"],
        build: |words| plain::<Random>(words),
    },
    Entry {
        id: "nginx-random-two",
        name: "random_two",
        directive: Some(&["random", "two"]),
        needs: Needs::FAILURES,
        refuses: &["backup", "slow_start"],
        build: |words| match words {
            ["least_conn", rest @ ..] => plain::<RandomTwo>(rest).map_err(|it| it.after(1)),
            _ => plain::<RandomTwo>(words),
        },
    },
    Entry {
        id: "nginx-random-two-least-time",
        name: "random_two_least_time",
        directive: Some(&["random", "two", "least_time="]),
        needs: Needs { hears: Hears::Ends, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| Ok(Box::new(RandomTwoLeastTime::from_words(words)?)),
    },
    Entry {
        id: "nginx-ip-hash",
        name: "ip_hash",
        directive: Some(&["ip_hash"]),
        needs: Needs { client: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| plain::<IpHash>(words),
    },
    Entry {
        id: "nginx-hash",
        name: "hash",
        directive: Some(&["hash", "KEY"]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| plain::<Hash>(words),
    },
    Entry {
        id: "nginx-ketama",
        name: "hash_consistent",
        directive: Some(&["hash", "KEY", "consistent"]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| plain::<HashConsistent>(words),
    },
    Entry {
        id: "bounded-hash",
        name: "hash_consistent_bounded",
        directive: Some(&["hash", "KEY", "consistent", "bounded="]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| Ok(Box::new(BoundedHash::from_words(words)?)),
    },
    Entry {
        id: "nginx-least-time",
        name: "least_time",
        directive: Some(&["least_time"]),
        needs: Needs { hears: Hears::Heads, ..Needs::FAILURES },
        refuses: &[],
        build: |words| Ok(Box::new(LeastTime::from_words(words)?)),
    },
    Entry {
        id: "peak-ewma",
        name: "peak_ewma",
        directive: Some(&["peak_ewma"]),
        needs: Needs { hears: Hears::Ends, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| Ok(Box::new(PeakEwma::from_words(words)?)),
    },
    Entry {
        id: "prequal",
        name: "prequal",
        directive: Some(&["prequal"]),
        needs: Needs { probes: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| Ok(Box::new(Prequal::from_words(words)?)),
    },
    Entry {
        id: "maglev",
        name: "maglev",
        directive: Some(&["maglev", "KEY"]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| Ok(Box::new(Maglev::from_words(words)?)),
    },
    Entry {
        id: "random",
        name: "uniform",
        directive: Some(&["uniform"]),
        needs: Needs::FAILURES,
        refuses: &["slow_start"],
        build: |words| bare(words, Choices::uniform),
    },
    Entry {
        id: "p2c",
        name: "p2c",
        directive: Some(&["p2c"]),
        needs: Needs::FAILURES,
        refuses: &["slow_start"],
        build: |words| bare(words, Choices::p2c),
    },
    Entry {
        id: "sq",
        name: "sq",
        directive: Some(&["sq"]),
        needs: Needs::FAILURES,
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(Choices::from_words(words)?)),
    },
    Entry {
        id: "jsq",
        name: "jsq",
        directive: Some(&["jsq"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| bare(words, Shortest::jsq),
    },
    Entry {
        id: "jsq-weighted",
        name: "jsq_weighted",
        directive: Some(&["jsq_weighted"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| bare(words, Shortest::jsq_weighted),
    },
    Entry {
        id: "sed",
        name: "sed",
        directive: Some(&["sed"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| bare(words, Shortest::sed),
    },
    Entry {
        id: "jiq",
        name: "jiq",
        directive: Some(&["jiq"]),
        needs: Needs { idle: true, ..Needs::FAILURES },
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(Jiq::from_words(words)?)),
    },
    Entry {
        id: "least-latency",
        name: "least_latency",
        directive: Some(&["least_latency"]),
        needs: Needs { hears: Hears::Ends, ..Needs::NOTHING },
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(LeastLatency::from_words(words)?)),
    },
    Entry {
        id: "rendezvous",
        name: "rendezvous",
        directive: Some(&["rendezvous", "KEY"]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["slow_start"],
        build: |words| plain::<Rendezvous>(words),
    },
    Entry {
        id: "haproxy-roundrobin",
        name: "haproxy_roundrobin",
        directive: Some(&["haproxy_roundrobin"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| plain::<FastRoundRobin>(words),
    },
    Entry {
        id: "haproxy-static-rr",
        name: "haproxy_static_rr",
        directive: Some(&["haproxy_static_rr"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| plain::<StaticRoundRobin>(words),
    },
    Entry {
        id: "haproxy-leastconn",
        name: "haproxy_leastconn",
        directive: Some(&["haproxy_leastconn"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| plain::<HaproxyLeastConn>(words),
    },
    Entry {
        id: "haproxy-first",
        name: "haproxy_first",
        directive: Some(&["haproxy_first"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| plain::<First>(words),
    },
    Entry {
        id: "haproxy-hash",
        name: "haproxy_hash",
        directive: Some(&["haproxy_hash", "KEY"]),
        needs: Needs { key: true, ..Needs::NOTHING },
        refuses: &["slow_start"],
        build: |words| plain::<MapHash>(words),
    },
    Entry {
        id: "haproxy-chash",
        name: "haproxy_chash",
        directive: Some(&["haproxy_chash", "KEY"]),
        needs: Needs { key: true, ..Needs::NOTHING },
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(ConsistentHash::from_words(words)?)),
    },
    Entry {
        id: "haproxy-random",
        name: "haproxy_random",
        directive: Some(&["haproxy_random"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(RingRandom::from_words(words)?)),
    },
    Entry {
        id: "envoy-edf",
        name: "envoy_edf",
        directive: Some(&["envoy_edf"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| plain::<EdfRoundRobin>(words),
    },
    Entry {
        id: "envoy-least-request",
        name: "envoy_least_request",
        directive: Some(&["envoy_least_request"]),
        needs: Needs::FAILURES,
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(LeastRequest::from_words(words)?)),
    },
    Entry {
        id: "grpc-stride",
        name: "grpc_stride",
        directive: Some(&["grpc_stride"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| plain::<Stride>(words),
    },
    Entry {
        id: "envoy-ring-hash",
        name: "envoy_ring_hash",
        directive: Some(&["envoy_ring_hash", "KEY"]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(RingHash::from_words(words)?)),
    },
    Entry {
        id: "grpc-wrr",
        name: "grpc_wrr",
        directive: Some(&["grpc_wrr"]),
        needs: Needs { reports: true, ..Needs::NOTHING },
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(GrpcWrr::from_words(words)?)),
    },
    Entry {
        id: "aperture-deterministic",
        name: "aperture_deterministic",
        directive: Some(&["aperture_deterministic"]),
        needs: Needs::FAILURES,
        refuses: &["slow_start"],
        build: |words| Ok(Box::new(Aperture::from_words(words)?)),
    },
    Entry {
        id: "pingora-rr",
        name: "pingora_rr",
        directive: Some(&["pingora_rr"]),
        needs: Needs::NOTHING,
        refuses: &["slow_start"],
        build: |words| plain::<PingoraRoundRobin>(words),
    },
];

/// One policy: its names, what it needs, and how it is built.
#[derive(Debug)]
pub struct Entry {
    /// Names it on command lines, in metrics and in reports.
    pub id: &'static str,
    /// Names it in file names (`configs/nginx/NAME.conf`).
    pub name: &'static str,
    /// The words by which an `upstream` block asks for it, `KEY` standing for what to hash and
    /// `NAME=` for an option; no words for the default, `None` if no block can ask for it.
    pub directive: Option<&'static [&'static str]>,
    /// What the caller has to provide.
    pub needs: Needs,
    /// Parameters of `server` which nginx does not accept with it. A policy that refuses
    /// `slow_start` sees a changed weight only after [`Policy::relist`].
    pub refuses: &'static [&'static str],
    /// Builds it from the words that follow the directive, such as `name=value`.
    pub build: fn(&[&str]) -> Built,
}

/// A policy, unless its words make no sense.
pub type Built = Result<Box<dyn Policy>, Refusal>;

/// What a policy needs besides the candidates. Who needs less can be asked with less work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each names one thing to provide")]
pub struct Needs {
    /// Whether it hashes [`crate::Request::key`].
    pub key: bool,
    /// Whether it hashes [`crate::Request::client`].
    pub client: bool,
    /// Which ends of requests [`Policy::learn`] has to tell it.
    pub hears: Hears,
    /// Whether it asks for probes by [`Policy::probe`] and lives on what they find.
    pub probes: bool,
    /// Whether it lives on [`crate::Event::Idle`].
    pub idle: bool,
    /// Whether it lives on [`crate::Event::Report`].
    pub reports: bool,
}

impl Needs {
    const NOTHING: Self = Self {
        key: false,
        client: false,
        hears: Hears::Nothing,
        probes: false,
        idle: false,
        reports: false,
    };

    const FAILURES: Self = Self { hears: Hears::Failures, ..Self::NOTHING };
}

/// Which events a policy listens to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Hears {
    /// None of them.
    Nothing,
    /// [`crate::Event::Failure`]; the others make no difference.
    Failures,
    /// The end of every request.
    Ends,
    /// The end of every request, and [`crate::Event::Head`] before it.
    Heads,
}

/// Builds a policy without options from its default.
fn plain<P: Default + Policy + 'static>(words: &[&str]) -> Built {
    bare(words, P::default)
}

/// Builds a policy without options.
fn bare<P: Policy + 'static>(words: &[&str], new: impl FnOnce() -> P) -> Built {
    if words.is_empty() { Ok(Box::new(new())) } else { Err(Refusal { word: 0 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_names_and_directives_are_given_once() {
        for (position, entry) in CATALOG.iter().enumerate() {
            for other in &CATALOG[..position] {
                assert_ne!(entry.id, other.id);
                assert_ne!(entry.name, other.name);
                assert!(entry.directive.is_none() || entry.directive != other.directive);
            }
        }
    }
}
