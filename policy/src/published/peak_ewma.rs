//! Who answers fastest now, and has least to do?

use std::time::Duration;

use crate::options::{self, Options};
use crate::pair::Pair;
use crate::slots::Slots;
use crate::{Candidate, Draw, Event, Ewma, Policy, Refusal, Request, Time};

/// Draws two by weight and takes the lower `response time * (in_flight + 1) / weight`.
///
/// A server that has not answered yet counts as `default_rtt` while it is idle and as very slow while
/// it is busy. A failure and a status of 429 or from 500 on count as a response time of at least
/// `penalty`: a server that fails fast must not look fast.
///
/// Source: Finagle `PeakEwma.scala` and `P2CPick.scala`, tower `load/peak_ewma.rs`; the penalty is
/// Linkerd's load biaser. The draw is by weight and the cost over weight, theirs know no weights.
/// A binary search for each draw, no allocation.
#[derive(Debug)]
pub struct PeakEwma {
    decay: Duration,
    default_rtt: Duration,
    penalty: Duration,
    times: Slots<Ewma>,
    pair: Pair,
}

impl PeakEwma {
    /// Reads `decay=10s`, `default_rtt=30ms` and `penalty=5s`, which are also the defaults.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["decay", "default_rtt", "penalty"])?;
        Ok(Self {
            decay: options.value("decay", Duration::from_secs(10), options::time)?,
            default_rtt: options.value("default_rtt", Duration::from_millis(30), options::time)?,
            penalty: options.value("penalty", Duration::from_secs(5), options::time)?,
            times: Slots::default(),
            pair: Pair::default(),
        })
    }
}

impl Policy for PeakEwma {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let Self { decay, default_rtt, times, pair, .. } = self;
        let times = times.fit(candidates.len());
        let cost_at = |it: usize| {
            let time = times[it].nanos_at(request.now, *decay);
            cost(time, *default_rtt, &candidates[it])
        };
        pair.pick(request, candidates, draw, |first, second| cost_at(second) < cost_at(first))
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.times.relist(from);
        self.pair.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.pair.learn(position, event, now);
        let taken = match (event.error(), event) {
            (Some(took), _) => took.max(self.penalty),
            (None, Event::Success { total, .. }) => total,
            _ => return,
        };
        if let Some(time) = self.times.get_mut(position) {
            time.learn(taken, now, self.decay);
        }
    }
}

/// Nanoseconds until a request placed now would be done, over weight.
fn cost(time: Option<f64>, default_rtt: Duration, candidate: &Candidate) -> f64 {
    let requests = f64::from(candidate.in_flight);
    let cost = match time {
        Some(nanos) => nanos * (requests + 1.0),
        None if 0 < candidate.in_flight => UNKNOWN_AND_BUSY + requests,
        None => default_rtt.as_secs_f64() * 1e9,
    };
    cost / f64::from(candidate.weight.get())
}

/// More nanoseconds than any estimate has: Finagle's `Long.MaxValue >> 16`, 39 hours.
const UNKNOWN_AND_BUSY: f64 = 1.407_374_883_553_28e14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, letters, pool};

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> PeakEwma {
        PeakEwma::from_words(&["decay=1s", "default_rtt=20ms"]).unwrap()
    }

    /// Picks between the two of `backends`, the first of which is drawn first.
    #[track_caller]
    fn check(policy: &mut PeakEwma, backends: &str, now: Time, expected: &str) {
        let candidates = pool(backends);
        let weights = candidates.iter().map(|it| it.weight.get()).collect::<Vec<_>>();
        policy.relist(&[Some(0), Some(1)]);
        let picked = policy.pick(&Request::at(now), &candidates, &mut Script::onto(&weights, "ab"));
        assert_eq!(letters(&[picked]), expected, "{backends}");
    }

    /// The case of tower's `compound_decay`: calls at 100 and 200 ms end at 300 and 400 ms.
    #[test]
    fn the_cost_is_the_response_time_for_each_request_and_one_more() {
        let at = |milliseconds: u64| Time::from_nanos(milliseconds * 1_000_000);
        let mut time = Ewma::default();
        let cost_of = |time: &Ewma, in_flight, now| {
            let backends = format!("1:{in_flight}");
            let nanos = time.nanos_at(now, SECOND);
            (cost(nanos, Duration::from_millis(20), &pool(&backends)[0]) / 1e6).round().to_string()
        };
        assert_eq!(cost_of(&time, 0, at(0)), "20");
        time.learn(Duration::from_millis(200), at(300), SECOND);
        assert_eq!(cost_of(&time, 1, at(300)), "400");
        time.learn(Duration::from_millis(200), at(400), SECOND);
        assert_eq!(cost_of(&time, 0, at(400)), "200");
    }

    #[test]
    fn the_lower_cost_wins_and_a_tie_goes_to_the_first() {
        let mut policy = policy();
        check(&mut policy, "1 1", Time::ZERO, "a");
        policy.learn(0, Event::success(SECOND * 2), Time::ZERO);
        policy.learn(1, Event::success(SECOND), Time::ZERO);
        check(&mut policy, "1:0 1:0", Time::ZERO, "b");
        check(&mut policy, "1:0 1:1", Time::ZERO, "a");
        check(&mut policy, "1:0 1:2", Time::ZERO, "a");
        check(&mut policy, "1:0 2:2", Time::ZERO, "b");
    }

    #[test]
    fn a_busy_server_that_never_answered_is_the_last_choice() {
        let mut policy = policy();
        check(&mut policy, "1 1", Time::ZERO, "a");
        policy.learn(1, Event::success(SECOND * 30), Time::ZERO);
        check(&mut policy, "1:1 1:99", Time::ZERO, "b");
        check(&mut policy, "1:0 1:0", Time::ZERO, "a");
    }

    #[test]
    fn a_server_that_fails_fast_does_not_look_fast() {
        for event in [
            Event::FAILURE,
            Event::Success { head: Duration::ZERO, total: Duration::ZERO, status: 503 },
            Event::Success { head: Duration::ZERO, total: Duration::ZERO, status: 429 },
        ] {
            let mut policy = policy();
            check(&mut policy, "1 1", Time::ZERO, "a");
            policy.learn(0, event, Time::ZERO);
            policy.learn(1, Event::success(SECOND), Time::ZERO);
            check(&mut policy, "1 1", Time::ZERO, "b");
        }
    }

    #[test]
    fn a_client_that_left_teaches_nothing() {
        let mut policy = policy();
        check(&mut policy, "1 1", Time::ZERO, "a");
        policy.learn(0, Event::Abandoned { head: None, total: SECOND * 9 }, Time::ZERO);
        assert_eq!(policy.times[0], Ewma::default());
    }
}
