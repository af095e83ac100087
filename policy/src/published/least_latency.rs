//! Who has answered fastest for its weight, errors counted against it?

use crate::least::Least;
use crate::options::{self, Options};
use crate::slots::Slots;
use crate::standings::Standings;
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

/// Picks the smallest `latency * (1 + error_penalty * errors) * (in_flight + 1) / weight`.
///
/// Latency and the part of errors are averages that move by `alpha` with each answer; an error is a
/// failure or a status of 429 or from 500 on, and counts as no less than good answers of the whole
/// group take of late, so that whoever fails at once is not taken for fast. Servers without an answer come first, in turn, but one
/// request at a time. Unlike [`crate::PeakEwma`] it looks at all candidates, and forgets only by new
/// answers.
///
/// One pass over the candidates, no allocation; a search where it [follows](Policy::follow) them.
#[derive(Debug)]
pub struct LeastLatency {
    alpha: f64,
    error_penalty: f64,
    seen: Slots<Seen>,
    /// Seconds that good answers take, whoever gives them; `None` before the first.
    usual: Option<f64>,
    least: Least,
    ties: RoundRobin,
    following: Option<Standings<u64>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// Seconds, `None` before the first end of a request.
    latency: Option<f64>,
    /// Part of requests that were errors, of 1.
    errors: f64,
}

impl LeastLatency {
    /// Reads `alpha=0.1`, of 1, and `error_penalty=10`, which are also the defaults.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["alpha", "error_penalty"])?;
        let alpha = options.value("alpha", 0.1, |it| options::within(it, f64::EPSILON..=1.0))?;
        let error_penalty =
            options.value("error_penalty", 10.0, |it| options::within(it, 0.0..=1e6))?;
        let (seen, least, ties) = (Slots::default(), Least::default(), RoundRobin::default());
        Ok(Self { alpha, error_penalty, seen, usual: None, least, ties, following: None })
    }
}

impl Seen {
    fn cost(&self, candidate: &Candidate, error_penalty: f64) -> f64 {
        let requests = f64::from(candidate.in_flight);
        let cost = match self.latency {
            Some(latency) => latency * (1.0 + error_penalty * self.errors) * (requests + 1.0),
            // Nothing for the idle.
            None => UNKNOWN_AND_BUSY * requests,
        };
        cost / f64::from(candidate.weight.get())
    }
}

impl Policy for LeastLatency {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.ties.fit(candidates.len());
        let seen = &*self.seen.fit(candidates.len());
        // The bits of numbers that are not negative sort as they do.
        let cost = |it: usize| seen[it].cost(&candidates[it], self.error_penalty).to_bits();
        if let Some(standings) = &mut self.following {
            let turns = &mut self.ties.turns;
            standings.catch_up(turns, |it| {
                let Candidate { eligible, weight, .. } = candidates[it];
                eligible.then(|| (cost(it), weight.get()))
            });
            return standings.first()?.turn(turns, candidates);
        }
        let tied = self.least.among(candidates, |it, _| cost(it));
        self.ties.pick_among(candidates, tied.iter().copied())
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        if let Some(standings) = self.following.take() {
            standings.dissolve(&mut self.ties.turns);
        }
        self.seen.relist(from);
        self.ties.relist(from);
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.ties.fit(candidates.len());
        self.seen.fit(candidates.len());
        self.following = Some(Standings::of(candidates.len()));
    }

    fn changed(&mut self, position: usize, _before: &Candidate, _after: &Candidate) {
        if let Some(standings) = &mut self.following {
            standings.touch(position);
        }
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.ties.learn(position, event, now);
        if let Some(standings) = &mut self.following {
            standings.learn(position, event);
        }
        let Some(seen) = self.seen.get_mut(position) else { return };
        let alpha = self.alpha;
        let moved = |old: f64, new: f64| old + (new - old) * alpha;
        let (total, error) = match (event.error(), event) {
            (Some(took), _) => (took.as_secs_f64().max(self.usual.unwrap_or(NO_ANSWER)), 1.0),
            (None, Event::Success { total, .. }) => {
                let total = total.as_secs_f64();
                self.usual = Some(self.usual.map_or(total, |it| moved(it, total)));
                (total, 0.0)
            }
            _ => return,
        };
        seen.latency = Some(seen.latency.map_or(total, |it| moved(it, total)));
        seen.errors = moved(seen.errors, error);
    }
}

/// Seconds that no answer takes.
const UNKNOWN_AND_BUSY: f64 = 1e6;

/// Seconds that an error counts before anything is known of good answers.
const NO_ANSWER: f64 = 0.001;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{letters, pool, served};

    fn policy(words: &[&str]) -> LeastLatency {
        let mut policy = LeastLatency::from_words(words).unwrap();
        served(&mut policy, &pool("1 1"), "x");
        policy.relist(&[Some(0), Some(1)]);
        policy
    }

    fn answered(milliseconds: u64) -> Event {
        Event::success(Duration::from_millis(milliseconds))
    }

    #[track_caller]
    fn check(policy: &mut LeastLatency, backends: &str, expected: &str) {
        assert_eq!(letters(&served(policy, &pool(backends), "x")), expected, "{backends}");
    }

    #[test]
    fn the_fastest_for_its_weight_and_load_wins() {
        let mut policy = policy(&[]);
        policy.learn(0, answered(100), Time::ZERO);
        policy.learn(1, answered(40), Time::ZERO);
        check(&mut policy, "1 1", "b");
        check(&mut policy, "1:0 1:1", "b");
        check(&mut policy, "1:0 1:2", "a");
        check(&mut policy, "3:0 1:0", "a");
    }

    #[test]
    fn an_unknown_server_is_tried_with_one_request() {
        let mut policy = policy(&[]);
        policy.learn(0, answered(1), Time::ZERO);
        check(&mut policy, "1:9 1:0", "b");
        check(&mut policy, "1:9 1:1", "a");
    }

    #[test]
    fn errors_make_a_fast_server_slow() {
        let mut policy = policy(&["alpha=0.5", "error_penalty=10"]);
        for _ in 0..5 {
            policy.learn(0, Event::FAILURE, Time::ZERO);
            policy.learn(1, answered(5), Time::ZERO);
        }
        check(&mut policy, "1 1", "b");
    }

    #[test]
    fn whoever_fails_at_once_is_not_taken_for_fast() {
        let mut policy = policy(&[]);
        for _ in 0..50 {
            policy.learn(1, answered(1000), Time::ZERO);
            policy.learn(0, Event::FAILURE, Time::ZERO);
        }
        check(&mut policy, "1 1:9", "b");
        check(&mut policy, "1 1:10", "a");
    }

    #[test]
    fn averages_move_by_alpha() {
        let mut policy = policy(&["alpha=0.5"]);
        policy.learn(0, answered(100), Time::ZERO);
        policy.learn(0, answered(200), Time::ZERO);
        assert!((policy.seen[0].latency.unwrap() - 0.15).abs() < 1e-9);
    }
}
