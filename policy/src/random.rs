//! Does chance serve as well as counting?

use crate::pair::Pair;
use crate::wheel::Wheel;
use crate::{Candidate, Draw, Event, Policy, Request, Time};

/// Draws by weight; a candidate that is not eligible is drawn again, more than 20 times is round robin.
///
/// Source: nginx `ngx_http_upstream_random_module.c`, `ngx_http_upstream_get_random_peer`. nginx
/// counts the 20 over all attempts of a request, here each attempt has its own.
/// A binary search for each draw, no allocation.
#[derive(Debug, Default)]
pub struct Random {
    wheel: Wheel,
}

impl Policy for Random {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.wheel.pick(request, candidates, draw, |_, total, draw| draw.below(total))
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.wheel.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.wheel.learn(position, event, now);
    }
}

/// Draws two different candidates by weight and takes the less loaded; a tie goes to the second.
///
/// Draws that are not eligible or repeat the first are drawn again, more than 20 times is round robin.
///
/// Source: nginx `ngx_http_upstream_random_module.c`, `ngx_http_upstream_get_random2_peer`; the 20
/// as in [`Random`]. A binary search for each draw, no allocation.
#[derive(Debug, Default)]
pub struct RandomTwo {
    pair: Pair,
}

impl Policy for RandomTwo {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let second_wins =
            |first: usize, second: usize| candidates[second].cmp_load(&candidates[first]).is_le();
        self.pair.pick(request, candidates, draw, second_wins)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.pair.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.pair.learn(position, event, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, letters, pool, served, shares};

    /// Picks once from `backends` with draws that fall on the given candidates.
    #[track_caller]
    fn check(mut policy: impl Policy, backends: &str, drawn: &str, expected: char) {
        let candidates = pool(backends);
        let weights = candidates.iter().map(|it| it.weight.get()).collect::<Vec<_>>();
        let mut draw = Script::onto(&weights, drawn);
        let picked = policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw);
        assert_eq!(letters(&[picked]), expected.to_string(), "{backends}, drawn {drawn}");
    }

    #[test]
    fn one_draw_decides_when_it_is_eligible() {
        check(Random::default(), "1 2 3", "c", 'c');
        check(Random::default(), "1 2 !3", "ccb", 'b');
    }

    #[test]
    fn after_the_twenty_first_vain_draw_round_robin_decides() {
        check(Random::default(), "1 1 !1", &("c".repeat(20) + "b"), 'b');
        check(Random::default(), "1 1 !1", &("c".repeat(21) + "b"), 'a');
        check(RandomTwo::default(), "2 3 !1", &("c".repeat(20) + "ba"), 'a');
        check(RandomTwo::default(), "2 3 !1", &("c".repeat(20) + "aa"), 'b');
        check(RandomTwo::default(), "2 3 !1", &"c".repeat(21), 'b');
    }

    #[test]
    fn of_two_the_less_loaded_wins_and_a_tie_goes_to_the_second() {
        check(RandomTwo::default(), "1:0 1:0 1:0", "bc", 'c');
        check(RandomTwo::default(), "1:0 1:1 1:0", "ab", 'a');
        check(RandomTwo::default(), "1:1 3:2 1:0", "ab", 'b');
        check(RandomTwo::default(), "1:1 3:3 1:0", "ab", 'b');
        check(RandomTwo::default(), "1:1 3:4 1:0", "ab", 'a');
    }

    #[test]
    fn the_same_candidate_is_not_compared_with_itself() {
        check(RandomTwo::default(), "1:1 1:0 1:2", "aaac", 'a');
    }

    #[test]
    fn one_server_needs_no_draw() {
        check(Random::default(), "1", "", 'a');
        check(RandomTwo::default(), "1", "", 'a');
        check(RandomTwo::default(), "!1", "", '-');
    }

    #[test]
    fn shares_follow_the_weights() {
        let picks = served(&mut Random::default(), &pool("1 2 3 !4"), &"x".repeat(60_000));
        let shares = shares(&picks, 4);
        for (share, expected) in shares.iter().zip([1.0, 2.0, 3.0, 0.0]) {
            assert!((share - expected / 6.0).abs() < 0.01, "{shares:?}");
        }
    }
}
