//! Which backend serves the next request?
//!
//! The answer depends on the arguments and on nothing else: this crate reads no clock, opens no
//! socket and draws no entropy of its own. The live balancer and the simulator therefore run the
//! same code, and a recorded decision can be repeated.
//!
//! Reading order: [`Policy`], then [`Candidate`], [`Request`], [`Event`] and [`Draw`], which are all
//! that a policy gets to see; [`RoundRobin`] and [`LeastConn`] as the pattern of every other policy;
//! [`CATALOG`], which lists them; then what decides who is eligible: [`Terms`], [`Health`],
//! [`Record`], [`Outlier`] and [`Panic`]; [`Retry`] and [`RetryBudget`] for what happens after a
//! failure; [`Limit`] for how much is let in at all.

mod candidate;
mod catalog;
mod choice;
mod cumulative;
mod digest;
mod draw;
mod envoy;
mod event;
mod ewma;
mod grpc;
mod haproxy;
mod hash;
mod hash_consistent;
mod health;
mod identity;
mod ip_hash;
mod least;
mod least_conn;
mod least_time;
mod levels;
mod limit;
mod options;
mod outlier;
mod pair;
mod panic;
mod published;
mod random;
mod record;
mod request;
mod response_time;
mod retry;
mod retry_budget;
mod ring;
mod rotation;
mod round_robin;
mod slots;
mod slow_start;
mod standings;
mod terms;
#[cfg(test)]
mod testing;
mod time;
mod tournament;
mod wheel;

use std::fmt::Debug;

pub use candidate::Candidate;
pub use catalog::{Built, CATALOG, Entry, Hears, Needs};
pub use choice::{Choice, Refusal};
pub use draw::{Draw, SplitMix64};
pub use envoy::edf::EdfRoundRobin;
pub use envoy::least_request::LeastRequest;
pub use envoy::ring_hash::RingHash;
pub use event::{Event, Report};
pub use ewma::Ewma;
pub use grpc::stride::Stride;
pub use grpc::wrr::GrpcWrr;
pub use haproxy::chash::{ConsistentHash, RingRandom};
pub use haproxy::first::First;
pub use haproxy::leastconn::HaproxyLeastConn;
pub use haproxy::roundrobin::FastRoundRobin;
pub use haproxy::static_rr::{MapHash, StaticRoundRobin};
pub use hash::Hash;
pub use hash_consistent::{BoundedHash, HashConsistent};
pub use health::{Health, Transition};
pub use identity::Identity;
pub use ip_hash::IpHash;
pub use least_conn::LeastConn;
pub use least_time::{LeastTime, RandomTwoLeastTime};
pub use limit::aimd::Aimd;
pub use limit::gradient::{Gradient, GradientRules};
pub use limit::gradient2::Gradient2;
pub use limit::vegas::Vegas;
pub use limit::{Limit, Sample};
pub use outlier::{Ejection, Outlier, Ranking};
pub use panic::{Level, Panic, Share};
pub use published::aperture::Aperture;
pub use published::choices::Choices;
pub use published::jiq::Jiq;
pub use published::least_latency::LeastLatency;
pub use published::maglev::Maglev;
pub use published::peak_ewma::PeakEwma;
pub use published::pingora::PingoraRoundRobin;
pub use published::prequal::Prequal;
pub use published::rendezvous::Rendezvous;
pub use published::shortest::Shortest;
pub use random::{Random, RandomTwo};
pub use record::Record;
pub use request::Request;
pub use retry::{Attempt, Class, Classes, Retry, Sent};
pub use retry_budget::{RetryBudget, RetryTokens};
pub use round_robin::RoundRobin;
pub use slow_start::SlowStart;
pub use terms::Terms;
pub use time::Time;

/// Places requests on candidates.
///
/// `&mut self` because most policies rotate; how threads share one is the caller's business.
///
/// Whoever picks also counts: a request is in flight from its pick to its [`Event`], and the counts
/// the next pick sees include it.
pub trait Policy: Debug + Send {
    /// Returns the position of the chosen candidate, or `None` when none is eligible.
    ///
    /// The position is in range and the candidate there is eligible. Candidates come in the order of
    /// the last [`Self::relist`], before the first of which any list will do; a policy that
    /// [refuses](Entry::refuses) `slow_start` may expect the weights of that time, too. Nothing is
    /// allocated after the first pick from a list that is not followed.
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize>;

    /// Takes over a new list: the candidate now at `i` stood at `from[i]`, or is new.
    fn relist(&mut self, from: &[Option<usize>]);

    /// Begins to follow candidates: from now to the next [`Self::relist`] every change of one is told
    /// by [`Self::changed`] before the next pick, so that a policy need not look at all of them.
    /// The answers are the same.
    fn follow(&mut self, _candidates: &[Candidate]) {}

    /// Takes note that a candidate is not what it was; told only after [`Self::follow`].
    fn changed(&mut self, _position: usize, _before: &Candidate, _after: &Candidate) {}

    /// Takes note of a request that went to `position` unasked, because its session is bound there.
    fn bind(&mut self, _position: usize, _request: &Request<'_>, _candidates: &[Candidate]) {}

    /// Names a candidate that should be asked for its load now, which [`Event::Probe`] answers.
    ///
    /// To be called after each pick until it answers `None`; [`Entry::needs`] says who asks at all.
    fn probe(&mut self, _candidates: &[Candidate], _draw: &mut dyn Draw) -> Option<usize> {
        None
    }

    /// Learns what became of a request placed at `position`. [`Entry::needs`] says who listens.
    fn learn(&mut self, _position: usize, _event: Event, _now: Time) {}
}
