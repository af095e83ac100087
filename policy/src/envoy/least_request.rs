//! Who has fewest requests, when weights may differ?

use crate::options::{self, Options};
use crate::{Candidate, Choices, Draw, Event, Policy, Refusal, Request, Time};

use super::edf::Schedule;

/// Equal weights: the least busy of `choice_count` draws with replacement. Unequal weights: earliest
/// deadline by `weight / (in_flight + 1)^bias`.
///
/// A server's weight is reckoned when its turn ends, so that its load counts at the turn after.
///
/// Source: Envoy `least_request_lb.cc`, `hostWeight` and `unweightedHostPick`. Cost as in
/// [`Choices`] and [`crate::EdfRoundRobin`].
#[derive(Debug)]
pub struct LeastRequest {
    bias: f64,
    choices: Choices,
    schedule: Schedule,
}

impl LeastRequest {
    /// Reads `choice_count=2` and `bias=1`, which are also the defaults.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["choice_count", "bias"])?;
        let count = options
            .value("choice_count", 2, |it| it.parse().ok().filter(|it| (2..=1000).contains(it)))?;
        let bias = options.value("bias", 1.0, |it| options::within(it, 0.0..=100.0))?;
        Ok(Self { bias, choices: Choices::with_replacement(count), schedule: Schedule::default() })
    }
}

impl Policy for LeastRequest {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let weight = |it: &Candidate| weight(it, self.bias);
        self.schedule.fit(candidates, weight);
        if self.schedule.are_weights_equal {
            return self.choices.pick(request, candidates, draw);
        }
        self.schedule.pick(candidates, weight)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.choices.relist(from);
        self.schedule.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.choices.learn(position, event, now);
    }
}

/// Never 0, so that every deadline is finite.
fn weight(candidate: &Candidate, bias: f64) -> f64 {
    let requests = f64::from(candidate.in_flight) + 1.0;
    (f64::from(candidate.weight.get()) / requests.powf(bias)).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served, shares};

    #[test]
    fn weight_two_with_four_requests_counts_as_four_tenths() {
        assert!((weight(&pool("2:4")[0], 1.0) - 0.4).abs() < 1e-12);
        assert!((weight(&pool("2:4")[0], 0.0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn without_bias_unequal_weights_are_plain_weighted_turns() {
        let mut policy = LeastRequest::from_words(&["bias=0"]).unwrap();
        assert_eq!(letters(&served(&mut policy, &pool("5 1 1"), "aaaabca")), "aaaabca");
    }

    #[test]
    fn a_busy_server_gets_fewer_turns() {
        let mut policy = LeastRequest::from_words(&[]).unwrap();
        let picks = served(&mut policy, &pool("2:3 1:0"), &"x".repeat(3000));
        assert!((shares(&picks, 2)[0] - 1.0 / 3.0).abs() < 0.01);
    }

    #[test]
    fn equal_weights_are_drawn_with_replacement() {
        let mut policy = LeastRequest::from_words(&[]).unwrap();
        let picks = served(&mut policy, &pool("1:1 1:0"), &"x".repeat(40_000));
        assert!((shares(&picks, 2)[0] - 0.25).abs() < 0.01);
    }
}
