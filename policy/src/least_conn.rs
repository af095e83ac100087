//! Who has least to do for its weight?

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::rotation::Rotation;
use crate::round_robin::Turn;
use crate::{Candidate, Draw, Event, Policy, Request, RoundRobin, Time};

/// Picks the eligible candidate with the smallest `in_flight / weight`.
///
/// Ties go to weighted round robin among the tied, so an idle upstream is served in turn. A clear
/// winner leaves the turns as they are.
///
/// Source: nginx `ngx_http_upstream_least_conn_module.c`, `ngx_http_upstream_get_least_conn_peer`.
/// Two passes over the candidates, no allocation; a search where it [follows](Policy::follow) them.
#[derive(Debug, Default)]
pub struct LeastConn {
    ties: RoundRobin,
    following: Option<Following>,
}

/// Candidates whose changes are told, by what they have to do.
#[derive(Debug, Default)]
struct Following {
    /// Those who are eligible.
    levels: BTreeMap<Load, Rotation>,
    /// Those who have failed since the last pick.
    failed: Vec<usize>,
}

/// A candidate, for what it has to do.
#[derive(Clone, Copy, Debug)]
struct Load(Candidate);

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_load(&other.0)
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Load {}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Policy for LeastConn {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.ties.fit(candidates.len());
        if let Some(following) = &mut self.following {
            for position in following.failed.drain(..) {
                let level = candidates.get(position).map(|it| following.levels.get_mut(&Load(*it)));
                if let Some(level) = level.flatten() {
                    level.charge(&mut self.ties.turns, position);
                }
            }
            let mut least = following.levels.first_entry()?;
            let least = least.get_mut();
            if least.len() == 1 {
                return least.first();
            }
            return least.turn(&mut self.ties.turns, candidates);
        }
        let eligible = || candidates.iter().enumerate().filter(|(_, it)| it.eligible);
        let (first, least) = eligible().min_by(|(_, a), (_, b)| a.cmp_load(b))?;
        let mut tied = eligible().skip_while(|(it, _)| *it <= first);
        if tied.all(|(_, it)| it.cmp_load(least).is_ne()) {
            return Some(first);
        }
        let tied = eligible().filter(|(_, it)| it.cmp_load(least).is_eq());
        self.ties.pick_among(candidates, tied.map(|(position, _)| position))
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        for (_, mut level) in self.following.take().into_iter().flat_map(|it| it.levels) {
            level.dissolve(&mut self.ties.turns);
        }
        self.ties.relist(from);
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.ties.fit(candidates.len());
        let mut following = Following::default();
        for position in crate::round_robin::eligible(candidates) {
            following.enter(&mut self.ties.turns, position, &candidates[position]);
        }
        self.following = Some(following);
    }

    fn changed(&mut self, position: usize, before: &Candidate, after: &Candidate) {
        let Some(following) = &mut self.following else { return };
        let turns = &mut self.ties.turns;
        if before.eligible {
            following.leave(turns, position, before);
        }
        if after.eligible {
            following.enter(turns, position, after);
        }
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.ties.learn(position, event, now);
        if let (Event::Failure { .. }, Some(following)) = (event, &mut self.following) {
            following.failed.push(position);
        }
    }
}

impl Following {
    fn enter(&mut self, turns: &mut [Turn], position: usize, candidate: &Candidate) {
        let level = self.levels.entry(Load(*candidate)).or_default();
        level.add(turns, position, candidate.weight.get());
    }

    fn leave(&mut self, turns: &mut [Turn], position: usize, candidate: &Candidate) {
        let Entry::Occupied(mut level) = self.levels.entry(Load(*candidate)) else { return };
        level.get_mut().remove(turns, position);
        if level.get().len() == 0 {
            level.remove();
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
