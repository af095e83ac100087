//! How are turns taken by weight without any memory but a number?

use std::num::NonZeroU32;

use crate::round_robin::eligible;
use crate::{Candidate, Draw, Policy, Request};

/// Static stride: whoever stands at the next number accepts as often as its weight says.
///
/// Weights 5, 1, 1 give `a c a a b a a`.
///
/// Source: gRPC `grpc-go/balancer/weightedroundrobin/scheduler.go`, `edfScheduler.nextIndex`; weights
/// are scaled so that the largest of an eligible server is 65535. Two passes over the candidates at
/// most, no allocation; a few steps where it [follows](Policy::follow) them.
#[derive(Debug, Default)]
pub struct Stride {
    sequence: Sequence,
    follows: bool,
    /// The largest weight of an eligible candidate, where it follows and that is known.
    heaviest: Option<NonZeroU32>,
}

impl Policy for Stride {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        let search = || eligible(candidates).map(|it| candidates[it].weight).max();
        let heaviest = self.heaviest.or_else(search)?;
        self.heaviest = self.follows.then_some(heaviest);
        let weight = |it: usize| f64::from(candidates[it].weight.get());
        self.sequence.pick(f64::from(heaviest.get()), candidates, weight)
    }

    fn relist(&mut self, _from: &[Option<usize>]) {
        (self.follows, self.heaviest) = (false, None);
    }

    fn follow(&mut self, _candidates: &[Candidate]) {
        (self.follows, self.heaviest) = (true, None);
    }

    fn changed(&mut self, _position: usize, before: &Candidate, after: &Candidate) {
        if (before.eligible, before.weight) == (after.eligible, after.weight) {
            return;
        }
        if before.eligible {
            self.heaviest.take_if(|it| *it == before.weight);
        }
        if after.eligible {
            self.heaviest = self.heaviest.map(|it| it.max(after.weight));
        }
    }
}

/// The number at which the next pick begins.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    next: u64,
}

impl Sequence {
    /// Takes the first eligible candidate that accepts. Weights are above 0, `heaviest` is the largest
    /// of an eligible candidate.
    pub(super) fn pick(
        &mut self,
        heaviest: f64,
        candidates: &[Candidate],
        weight: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let len = candidates.len() as u64;
        // The heaviest accepts whenever it is asked, so this ends within a generation.
        loop {
            let (generation, position) = (self.next / len, self.next % len);
            self.next = self.next.wrapping_add(1);
            let at = usize::try_from(position).expect("a position is below the length");
            if candidates[at].eligible
                && accepts(scaled(weight(at), heaviest), generation, position)
            {
                return Some(at);
            }
        }
    }
}

/// A weight on a scale whose end is the heaviest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and MAX, or at the range's end"
)]
fn scaled(weight: f64, heaviest: f64) -> u64 {
    ((weight / heaviest * 65_535.0).round() as u64).clamp(1, MAX)
}

fn accepts(scaled: u64, generation: u64, position: u64) -> bool {
    let offset = position % MAX * (MAX / 2) % MAX;
    MAX - scaled <= (scaled * (generation % MAX) + offset) % MAX
}

const MAX: u64 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served, shares};

    #[track_caller]
    fn check(weights: &str, expected: &str) {
        let mut policy = Stride::default();
        assert_eq!(letters(&served(&mut policy, &pool(weights), expected)), expected, "{weights}");
    }

    #[test]
    fn turns_are_as_grpc_takes_them() {
        check("1 1 1", "abc abc");
        check("5 1 1", "acaabaa acaabaa");
        check("3 2 1", "abcaab abcaab");
    }

    #[test]
    fn an_unusable_server_is_passed_over() {
        check("1 !1 1", "ac ac");
        check("!1", "-");
        check("", "-");
    }

    #[test]
    fn shares_follow_the_weights_of_those_who_may_serve() {
        let picks = served(&mut Stride::default(), &pool("1 !900 2"), &"x".repeat(3000));
        assert!((shares(&picks, 3)[2] - 2.0 / 3.0).abs() < 0.01);
    }
}
