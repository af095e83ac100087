//! How much do a few random choices achieve?

use crate::cumulative::Cumulative;
use crate::options::Options;
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

/// Draws `d` eligible candidates and takes the one with the fewest requests; the first drawn of equals.
///
/// Drawn with or without replacement, uniformly or by weight; by weight the requests count over
/// weight, too. With one draw it is random, with two distinct ones power of two choices. More than
/// 20 draws in vain end the drawing; if nothing was drawn, it is round robin.
///
/// Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. Two
/// distinct draws: Finagle `P2CPick.scala`, tower `balance/p2c/service.rs`. With replacement: Envoy
/// `least_request_lb.cc`. Cost grows with `d`, not with the candidates; no allocation.
#[derive(Debug)]
pub struct Choices {
    d: usize,
    with_replacement: bool,
    weights: Option<Cumulative>,
    drawn: Vec<usize>,
    fallback: RoundRobin,
}

impl Choices {
    /// Two distinct uniform draws, as Finagle and tower do.
    #[must_use]
    pub fn p2c() -> Self {
        Self::new(2, false, None)
    }

    /// One uniform draw.
    #[must_use]
    pub fn uniform() -> Self {
        Self::new(1, true, None)
    }

    /// Uniform draws with replacement, as Envoy does.
    pub(crate) fn with_replacement(d: usize) -> Self {
        Self::new(d, true, None)
    }

    /// Reads `d=2`, `replace=false` and `weighted=false`, which are also the defaults.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["d", "replace", "weighted"])?;
        let d = options.value("d", 2, |it| it.parse().ok().filter(|it| (1..=1000).contains(it)))?;
        let replaces = options.value("replace", false, |it| it.parse().ok())?;
        let is_weighted = options.value("weighted", false, |it| it.parse().ok())?;
        Ok(Self::new(d, replaces, is_weighted.then(Cumulative::default)))
    }

    fn new(d: usize, with_replacement: bool, weights: Option<Cumulative>) -> Self {
        let drawn = Vec::with_capacity(d);
        Self { d, with_replacement, weights, drawn, fallback: RoundRobin::default() }
    }
}

impl Policy for Choices {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.fallback.fit(candidates.len());
        if let Some(weights) = &mut self.weights {
            weights.fit(candidates);
        }
        self.drawn.clear();
        let mut in_vain = 0;
        while self.drawn.len() < self.d && in_vain <= REDRAWS {
            let it = match &self.weights {
                Some(weights) => weights.draw(draw)?,
                None => usize::try_from(draw.below(candidates.len() as u64)).ok()?,
            };
            let is_new = self.with_replacement || !self.drawn.contains(&it);
            if is_new && candidates.get(it)?.eligible {
                self.drawn.push(it);
            } else {
                in_vain += 1;
            }
        }
        let cmp = |a: &usize, b: &usize| {
            let (a, b) = (&candidates[*a], &candidates[*b]);
            if self.weights.is_some() { a.cmp_load(b) } else { a.in_flight.cmp(&b.in_flight) }
        };
        let best = self.drawn.iter().copied().min_by(cmp);
        best.or_else(|| self.fallback.pick(request, candidates, draw))
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        if let Some(weights) = &mut self.weights {
            weights.forget();
        }
        self.fallback.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

/// How many draws may fail before the pick makes do with what it has.
const REDRAWS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, letters, pool, served, shares};

    #[track_caller]
    fn check(words: &[&str], backends: &str, drawn: &str, expected: &str) {
        let candidates = pool(backends);
        let is_weighted = words.contains(&"weighted=true");
        let weight = |it: &Candidate| if is_weighted { it.weight.get() } else { 1 };
        let weights = candidates.iter().map(weight).collect::<Vec<_>>();
        let mut policy = Choices::from_words(words).unwrap();
        let mut draw = Script::onto(&weights, drawn);
        let picked = policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw);
        assert_eq!(letters(&[picked]), expected, "{words:?}, {backends}, drawn {drawn}");
    }

    #[test]
    fn the_least_busy_of_the_drawn_wins_and_the_first_of_equals() {
        check(&[], "1:2 1:1 1:0", "ab", "b");
        check(&[], "1:1 1:1 1:0", "ba", "b");
        check(&["d=3"], "1:2 1:1 1:0", "abc", "c");
        check(&["d=1"], "1:2 1:1 1:0", "a", "a");
    }

    #[test]
    fn without_replacement_no_one_is_drawn_twice() {
        check(&[], "1:2 1:1 1:0", "aab", "b");
        check(&["replace=true"], "1:2 1:1 1:0", "aa", "a");
    }

    #[test]
    fn by_weight_requests_count_over_weight() {
        check(&["weighted=true"], "4:3 1:1", "ba", "a");
        check(&[], "4:3 1:1", "ba", "b");
    }

    #[test]
    fn when_draws_fail_the_pick_makes_do() {
        check(&[], "1:1 !1:0 1:0", &("a".to_owned() + &"b".repeat(21)), "a");
        check(&[], "1:1 !1:0 1:0", &"b".repeat(21), "a");
    }

    /// Of two, the busier one is returned when both draws fall on it.
    #[test]
    fn with_replacement_the_busier_of_two_gets_a_quarter() {
        let mut policy = Choices::with_replacement(2);
        let picks = served(&mut policy, &pool("1:1 1:0"), &"x".repeat(40_000));
        assert!((shares(&picks, 2)[0] - 0.25).abs() < 0.01);
        let picks = served(&mut Choices::p2c(), &pool("1:1 1:0"), &"x".repeat(1000));
        assert!(shares(&picks, 2)[0] < 1e-9);
    }
}
