//! How do requests go round, each server as often as its weight says, and never in bursts?

use std::hint::select_unpredictable;

use crate::rotation::{Place, Rotation};
use crate::slots::Slots;
use crate::{Candidate, Draw, Event, Policy, Request, Time};

/// Smooth weighted round robin, nginx's default. Weights 5, 1, 1 give `a a b a c a a`.
///
/// At each pick every eligible candidate gains its effective weight; the one with most pays for all.
/// A failure lowers the effective weight by [`Candidate::failure_cost`] (nginx: `weight / max_fails`,
/// integer), each pick in which the candidate takes part returns 1 of it.
///
/// Source: nginx `ngx_http_upstream_round_robin.c`, `ngx_http_upstream_get_peer` and
/// `ngx_http_upstream_free_round_robin_peer`. The loss is kept instead of the remainder, so that a
/// change of weight needs no event. One pass over the candidates, no allocation; a search where it
/// [follows](Policy::follow) them.
#[derive(Debug, Default)]
pub struct RoundRobin {
    pub(crate) turns: Slots<Turn>,
    following: Option<Following>,
}

/// What is kept of candidates whose changes are told.
#[derive(Debug)]
struct Following {
    /// Those who are eligible.
    rotation: Rotation,
    /// Sum of all weights.
    weights: i64,
    /// Those who have failed since the last pick.
    failed: Vec<usize>,
}

impl Following {
    /// Has those who have failed lose weight.
    fn settle(&mut self, turns: &mut [Turn]) {
        for position in self.failed.drain(..) {
            self.rotation.charge(turns, position);
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) current: i64,
    lost: u32,
    /// Failures since the last pick; their cost is known when the candidate is seen again.
    failures: u32,
    pub(crate) place: Place,
}

impl Turn {
    /// Whether it brings its whole weight.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost == 0 && self.failures == 0
    }

    /// Takes part in one pick and returns the weight it brought.
    pub(crate) fn join(&mut self, candidate: &Candidate) -> i64 {
        let weight = candidate.weight.get();
        if self.failures != 0 {
            let charged = candidate.failure_cost.saturating_mul(self.failures);
            self.failures = 0;
            self.lost = self.lost.saturating_add(charged);
        }
        let effective = i64::from(weight.saturating_sub(self.lost));
        self.current += effective;
        self.lost = self.lost.min(weight).saturating_sub(candidate.unit);
        effective
    }
}

impl RoundRobin {
    /// Prepares to learn about `len` candidates before the first of them has taken a turn.
    pub(crate) fn fit(&mut self, len: usize) {
        self.turns.fit(len);
    }

    /// Takes one turn among the candidates at `positions`; the first of equals wins.
    pub(crate) fn pick_among(
        &mut self,
        candidates: &[Candidate],
        mut positions: impl Iterator<Item = usize>,
    ) -> Option<usize> {
        let turns = self.turns.fit(candidates.len());
        let mut best = positions.next()?;
        let mut total = turns[best].join(&candidates[best]);
        let mut most = turns[best].current;
        for position in positions {
            let turn = &mut turns[position];
            total += turn.join(&candidates[position]);
            // Nobody can foretell who has most.
            let is_more = most < turn.current;
            best = select_unpredictable(is_more, position, best);
            most = most.max(turn.current);
        }
        turns[best].current -= total;
        Some(best)
    }
}

/// Positions of the candidates that may be picked.
pub(crate) fn eligible(candidates: &[Candidate]) -> impl Iterator<Item = usize> {
    candidates.iter().enumerate().filter_map(|(position, it)| it.eligible.then_some(position))
}

impl Policy for RoundRobin {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        let Some(following) = &mut self.following else {
            return self.pick_among(candidates, eligible(candidates));
        };
        following.settle(&mut self.turns);
        following.rotation.turn(&mut self.turns, candidates)
    }

    /// A bound request takes the turn of its candidate, at most one turn ahead of the others.
    fn bind(&mut self, position: usize, _request: &Request<'_>, candidates: &[Candidate]) {
        self.turns.fit(candidates.len());
        let Some(bound) = candidates.get(position) else { return };
        let is_ahead = |current: i64, total: i64| current <= i64::from(bound.weight.get()) - total;
        if let Some(following) = &mut self.following {
            following.settle(&mut self.turns);
            let rotation = &mut following.rotation;
            if !is_ahead(rotation.current(&self.turns, position), following.weights) {
                let paid = rotation.gain(&mut self.turns, candidates);
                rotation.pay(&mut self.turns, position, paid);
            }
            return;
        }
        let total = candidates.iter().map(|it| i64::from(it.weight.get())).sum::<i64>();
        if is_ahead(self.turns[position].current, total) {
            return;
        }
        let mut paid = 0;
        for it in eligible(candidates) {
            paid += self.turns[it].join(&candidates[it]);
        }
        self.turns[position].current -= paid;
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        if let Some(mut following) = self.following.take() {
            following.rotation.dissolve(&mut self.turns);
        }
        self.turns.relist(from);
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.turns.fit(candidates.len());
        let mut rotation = Rotation::default();
        for it in eligible(candidates) {
            rotation.add(&mut self.turns, it, candidates[it].weight.get(), 0);
        }
        let weights = candidates.iter().map(|it| i64::from(it.weight.get())).sum();
        self.following = Some(Following { rotation, weights, failed: Vec::new() });
    }

    fn changed(&mut self, position: usize, before: &Candidate, after: &Candidate) {
        let Some(following) = &mut self.following else { return };
        if (before.eligible, before.weight) == (after.eligible, after.weight) {
            return;
        }
        following.weights += i64::from(after.weight.get()) - i64::from(before.weight.get());
        following.rotation.remove(&mut self.turns, position);
        if after.eligible {
            following.rotation.add(&mut self.turns, position, after.weight.get(), 0);
        }
    }

    fn learn(&mut self, position: usize, event: Event, _now: Time) {
        if let (Event::Failure { .. }, Some(turn)) = (event, self.turns.get_mut(position)) {
            turn.failures = turn.failures.saturating_add(1);
            if let Some(following) = &mut self.following {
                following.failed.push(position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served};

    /// Serves as many requests as `expected` has letters; blanks separate periods.
    #[track_caller]
    fn check(weights: &str, expected: &str) {
        let order = letters(&served(&mut RoundRobin::default(), &pool(weights), expected));
        assert_eq!(order, expected, "weights {weights}");
    }

    #[test]
    fn turns_are_as_nginx_takes_them() {
        check("1 1 1", "abc abc");
        check("5 1 1", "aabacaa aabacaa");
        check("3 2 1", "abacba abacba");
        check("7 3", "abaaabaaba");
    }

    #[test]
    fn those_who_sit_out_are_passed_over_and_gain_nothing() {
        check("1 !1 1", "ac ac");
        check("!1", "-");
        check("", "-");
    }

    #[test]
    fn current_weights_pass_through_the_states_nginx_documents() {
        let mut policy = RoundRobin::default();
        let candidates = pool("5 1 1");
        let states =
            [[-2, 1, 1], [-4, 2, 2], [1, -4, 3], [-1, -3, 4], [4, -2, -2], [2, -1, -1], [0, 0, 0]];
        for expected in states {
            policy.pick_among(&candidates, 0..3);
            assert_eq!([0, 1, 2].map(|it: usize| policy.turns[it].current), expected);
        }
    }

    #[test]
    fn failures_cost_weight_which_comes_back_one_pick_at_a_time() {
        let mut policy = RoundRobin::default();
        let mut candidates = pool("5 1");
        candidates[0].failure_cost = 5 / 2;
        policy.pick_among(&candidates, 0..2);
        let mut effective_after = |failures: usize| {
            for _ in 0..failures {
                policy.learn(0, Event::FAILURE, Time::ZERO);
            }
            policy.turns[0].join(&candidates[0])
        };
        assert_eq!(effective_after(1), 3);
        assert_eq!(effective_after(0), 4);
        assert_eq!(effective_after(2), 1);
        assert_eq!([(); 5].map(|()| effective_after(0)), [2, 3, 4, 5, 5]);
        assert_eq!(effective_after(3), 0);
    }

    #[test]
    fn a_bound_request_takes_a_turn_but_never_two_in_advance() {
        let mut policy = RoundRobin::default();
        let (candidates, request) = (pool("1 1 1"), Request::at(Time::ZERO));
        let mut current_after_binding = || {
            policy.bind(0, &request, &candidates);
            [0, 1, 2].map(|it: usize| policy.turns[it].current)
        };
        assert_eq!(current_after_binding(), [-2, 1, 1]);
        assert_eq!(current_after_binding(), [-2, 1, 1]);
        assert_eq!(letters(&served(&mut policy, &candidates, "bca")), "bca");
    }

    #[test]
    fn a_turn_taken_counts_after_the_list_has_changed() {
        let mut policy = RoundRobin::default();
        assert_eq!(letters(&served(&mut policy, &pool("1 1"), "a")), "a");
        policy.relist(&[Some(0), None, Some(1)]);
        assert_eq!(letters(&served(&mut policy, &pool("1 1 1"), "cba")), "cba");
    }
}
