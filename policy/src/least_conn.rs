//! Who has least to do for its weight?

use crate::least::Least;
use crate::rotation::Rotation;
use crate::{Candidate, Draw, Event, Policy, Request, RoundRobin, Time};

/// Picks the eligible candidate with the smallest `in_flight / weight`.
///
/// Ties go to weighted round robin among the tied, so an idle upstream is served in turn. A clear
/// winner leaves the turns as they are.
///
/// Source: nginx `ngx_http_upstream_least_conn_module.c`, `ngx_http_upstream_get_least_conn_peer`.
/// One pass over the candidates, no allocation; a search where it [follows](Policy::follow) them.
#[derive(Debug, Default)]
pub struct LeastConn {
    least: Least,
    ties: RoundRobin,
    following: Option<Following>,
}

/// What is kept of candidates whose changes are told.
#[derive(Debug, Default)]
struct Following {
    /// Those who are eligible, by what they have to do.
    rotation: Rotation,
    /// Those who have failed since the last pick.
    failed: Vec<usize>,
}

impl Policy for LeastConn {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.ties.fit(candidates.len());
        if let Some(Following { rotation, failed }) = &mut self.following {
            for position in failed.drain(..) {
                rotation.charge(&mut self.ties.turns, position);
            }
            return rotation.least_turn(&mut self.ties.turns, candidates);
        }
        match self.least.among(candidates, |_, it| it.load()) {
            [clear] => Some(*clear),
            tied => self.ties.pick_among(candidates, tied.iter().copied()),
        }
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        if let Some(mut following) = self.following.take() {
            following.rotation.dissolve(&mut self.ties.turns);
        }
        self.ties.relist(from);
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.ties.fit(candidates.len());
        let mut following = Following::default();
        for position in crate::round_robin::eligible(candidates) {
            let Candidate { weight, in_flight, .. } = candidates[position];
            following.rotation.add(&mut self.ties.turns, position, weight.get(), in_flight);
        }
        self.following = Some(following);
    }

    fn changed(&mut self, position: usize, before: &Candidate, after: &Candidate) {
        let Some(following) = &mut self.following else { return };
        let (turns, rotation) = (&mut self.ties.turns, &mut following.rotation);
        let is_shift = before.eligible && after.eligible && before.weight == after.weight;
        if is_shift {
            rotation.shift(turns, position, after.in_flight);
            return;
        }
        rotation.remove(turns, position);
        if after.eligible {
            rotation.add(turns, position, after.weight.get(), after.in_flight);
        }
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.ties.learn(position, event, now);
        if let (Event::Failure { .. }, Some(following)) = (event, &mut self.following) {
            following.failed.push(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served};

    /// Serves as many requests as `expected` has letters, none of which ends; counts stay as given.
    #[track_caller]
    fn check(backends: &str, expected: &str) {
        let order = letters(&served(&mut LeastConn::default(), &pool(backends), expected));
        assert_eq!(order, expected, "backends {backends}");
    }

    #[test]
    fn the_smallest_quotient_wins() {
        check("1:2 1:1 1:3", "bbb");
        check("3:2 1:1 2:2", "aaa");
        check("1:1 !1:0 1:2", "aaa");
        check("!1:0", "-");
    }

    #[test]
    fn idle_backends_are_served_in_turn() {
        check("1:0 1:0 1:0", "abca");
        check("3:0 2:0 1:0", "abacba abacba");
    }

    #[test]
    fn equal_quotients_share_by_weight_and_the_busier_stay_out() {
        check("1:1 1:0 2:0", "cbc cbc");
        check("4:2 2:1 1:1", "aba aba");
    }

    #[test]
    fn a_clear_winner_does_not_use_up_a_turn() {
        let mut policy = LeastConn::default();
        assert_eq!(letters(&served(&mut policy, &pool("1:0 1:1"), "aaa")), "aaa");
        assert_eq!(letters(&served(&mut policy, &pool("1:0 1:0"), "aba")), "aba");
    }
}
