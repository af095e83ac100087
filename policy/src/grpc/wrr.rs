//! How are turns taken by the weight that servers' own reports give them?

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::options::{self, Options};
use crate::round_robin::eligible;
use crate::slots::Slots;
use crate::{Candidate, Draw, Event, Policy, Refusal, Report, Request, Time};

use super::stride::Sequence;

/// Weighted round robin by `requests / (utilization + errors / requests * penalty)`.
///
/// A server's weight counts once it has reported for `blackout`, until it has not for `expiration`;
/// one without counts as the mean of the others. With fewer than two weights turns are plain.
/// Configured weights do not matter.
///
/// Source: gRPC proposal A58, `grpc-go/balancer/weightedroundrobin/balancer.go`. Turns as in
/// [`crate::Stride`]. One pass over the candidates at least, no allocation; a few steps where it
/// [follows](Policy::follow) them, but for one pass an update.
#[derive(Debug)]
pub struct GrpcWrr {
    blackout: Duration,
    expiration: Duration,
    update: Duration,
    penalty: f64,
    reported: Slots<Option<Reported>>,
    /// Weights as of the last update.
    weights: Slots<f64>,
    updated_at: Option<Time>,
    sequence: Sequence,
    follows: bool,
    /// The largest weight of an eligible candidate, where it follows and that is known.
    heaviest: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Reported {
    weight: f64,
    first_at: Time,
    at: Time,
}

impl GrpcWrr {
    /// Reads `blackout=10s`, `expiration=180s`, `update=1s` and `penalty=1`, which are also the
    /// defaults.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["blackout", "expiration", "update", "penalty"])?;
        Ok(Self {
            blackout: options.value("blackout", Duration::from_secs(10), options::time)?,
            expiration: options.value("expiration", Duration::from_mins(3), options::time)?,
            update: options
                .value("update", Duration::from_secs(1), options::time)?
                .max(Duration::from_millis(100)),
            penalty: options.value("penalty", 1.0, |it| options::within(it, 0.0..=1e6))?,
            reported: Slots::default(),
            weights: Slots::default(),
            updated_at: None,
            sequence: Sequence::default(),
            follows: false,
            heaviest: None,
        })
    }

    /// Reckons all weights anew if that is due.
    fn update(&mut self, now: Time) {
        if self.updated_at.is_some_and(|it| now.since(it) < self.update) {
            return;
        }
        self.updated_at = Some(now);
        self.heaviest = None;
        let usable = |it: &Option<Reported>| {
            let it = (*it)?;
            let counts =
                self.blackout <= now.since(it.first_at) && now.since(it.at) < self.expiration;
            counts.then_some(it.weight)
        };
        let known = self.reported.iter().filter_map(usable);
        let (count, sum) = known.fold((0.0, 0.0), |(count, sum), it| (count + 1.0, sum + it));
        let mean = sum / count;
        for (weight, reported) in self.weights.iter_mut().zip(self.reported.iter()) {
            *weight = if count < 2.0 { 1.0 } else { usable(reported).unwrap_or(mean) };
        }
    }
}

impl Policy for GrpcWrr {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        if self.weights.len() != candidates.len() {
            self.updated_at = None;
        }
        self.reported.fit(candidates.len());
        self.weights.fit(candidates.len());
        self.update(request.now);
        let weight = |it: usize| self.weights[it];
        let search = || eligible(candidates).map(weight).max_by(f64::total_cmp);
        let heaviest = self.heaviest.or_else(search)?;
        self.heaviest = self.follows.then_some(heaviest);
        self.sequence.pick(heaviest, candidates, weight)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.reported.relist(from);
        self.weights.relist(from);
        self.updated_at = None;
        (self.follows, self.heaviest) = (false, None);
    }

    fn follow(&mut self, _candidates: &[Candidate]) {
        (self.follows, self.heaviest) = (true, None);
    }

    fn changed(&mut self, position: usize, before: &Candidate, after: &Candidate) {
        let Some(weight) = self.weights.get(position).copied() else { return };
        match (before.eligible, after.eligible) {
            (true, false) => _ = self.heaviest.take_if(|it| *it <= weight),
            (false, true) => self.heaviest = self.heaviest.map(|it| it.max(weight)),
            _ => (),
        }
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        if let (Event::Report(report), Some(old)) = (event, self.reported.get_mut(position))
            && let Some(weight) = weight(report, self.penalty)
        {
            let old = old.filter(|it| now.since(it.at) < self.expiration);
            let first_at = old.map_or(now, |it| it.first_at);
            *self.reported.get_mut(position).expect("seen above") =
                Some(Reported { weight, first_at, at: now });
        }
    }
}

/// Weights that can be added up and divided by each other without losing them.
const SANE: RangeInclusive<f64> = 1e-15..=1e15;

/// `None` for a report that makes no sense, or without requests or without load.
fn weight(report: Report, penalty: f64) -> Option<f64> {
    let Report { requests, errors, utilization } = report;
    let weight = requests / (utilization + errors / requests * penalty);
    (0.0 < requests && 0.0 < utilization && SANE.contains(&weight)).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{letters, pool};

    fn report(requests: f64, errors: f64, utilization: f64) -> Report {
        Report { requests, errors, utilization }
    }

    #[track_caller]
    fn check(policy: &mut GrpcWrr, second: u64, expected: &str) {
        let mut draw = SplitMix64::new(1);
        let request = Request::at(Time::from_secs(second));
        let mut pick = |_| policy.pick(&request, &pool("1 1 1"), &mut draw);
        let picks = expected.chars().map(&mut pick).collect::<Vec<_>>();
        assert_eq!(letters(&picks), expected, "at {second} s");
    }

    fn reported(second: u64) -> GrpcWrr {
        let mut policy = GrpcWrr::from_words(&[]).unwrap();
        check(&mut policy, 0, "abc");
        for (position, requests) in [(0, 500.0), (1, 100.0), (2, 100.0)] {
            let event = Event::Report(report(requests, 0.0, 1.0));
            policy.learn(position, event, Time::from_secs(0));
            policy.learn(position, event, Time::from_secs(second));
        }
        policy
    }

    #[test]
    fn weights_are_as_the_proposal_reckons_them() {
        assert_eq!(weight(report(100.0, 0.0, 0.5), 1.0), Some(200.0));
        let with_errors = weight(report(100.0, 10.0, 0.5), 1.0).unwrap();
        assert!((with_errors - 166.667).abs() < 1e-3);
        assert_eq!(weight(report(0.0, 0.0, 0.5), 1.0), None);
        assert_eq!(weight(report(100.0, 0.0, 0.0), 1.0), None);
        assert_eq!(weight(report(f64::NAN, 0.0, 0.5), 1.0), None);
    }

    #[test]
    fn weights_count_after_the_blackout_and_until_they_expire() {
        check(&mut reported(5), 9, "abcabc");
        assert_eq!(weights_at(&mut reported(5), 10), [500.0, 100.0, 100.0]);
        assert_eq!(weights_at(&mut reported(5), 184), [500.0, 100.0, 100.0]);
        assert_eq!(weights_at(&mut reported(5), 185), [1.0; 3]);
    }

    fn weights_at(policy: &mut GrpcWrr, second: u64) -> Vec<f64> {
        policy.update(Time::from_secs(second));
        policy.weights.to_vec()
    }

    #[test]
    fn turns_follow_the_reports() {
        let mut policy = reported(5);
        policy.sequence = Sequence::default();
        check(&mut policy, 10, "acaabaa");
    }

    #[test]
    fn a_server_without_a_report_counts_as_the_mean() {
        let mut policy = reported(5);
        policy.relist(&[Some(0), Some(1), None]);
        assert_eq!(weights_at(&mut policy, 10), [500.0, 100.0, 300.0]);
    }

    #[test]
    fn weights_are_reckoned_once_a_period() {
        let mut policy = reported(5);
        weights_at(&mut policy, 10);
        policy.learn(1, Event::Report(report(900.0, 0.0, 1.0)), Time::from_secs(10));
        assert_eq!(weights_at(&mut policy, 10)[1].to_string(), "100");
        assert_eq!(weights_at(&mut policy, 11)[1].to_string(), "900");
    }
}
