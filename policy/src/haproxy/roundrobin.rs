//! How do turns go round in a tree, whatever the number of servers?

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::slots::Slots;
use crate::{Candidate, Draw, Policy, Request};

/// Fast weighted round robin: each server has a position, the next at which it is due.
///
/// Weights 5, 1, 1 give `a a a b a a c`. Servers wait in three trees: those never served, those due
/// in this turn, those due in the next one. An unusable server loses its turn.
///
/// Source: HAProxy `lb_fwrr.c`, `fwrr_get_next_server`, `fwrr_update_position` and `fwrr_queue_srv`,
/// for one thread group. Logarithmic but for the unusable; no allocation.
#[derive(Debug, Default)]
pub struct FastRoundRobin {
    init: Tree,
    current: Tree,
    next: Tree,
    turns: Slots<Turn>,
    /// Servers taken out during a pick because they may not serve.
    unusable: Vec<usize>,
    position: u64,
    weight: u64,
    /// Orders equal keys by arrival.
    arrivals: u64,
    /// Length of the list this was made from.
    fitted: Option<usize>,
}

/// Key, arrival, server; the smallest first.
type Tree = BinaryHeap<Reverse<(u64, u64, usize)>>;

#[derive(Clone, Debug, Default)]
struct Turn {
    due: u64,
    remainder: u64,
}

impl FastRoundRobin {
    fn fit(&mut self, candidates: &[Candidate]) {
        if self.fitted == Some(candidates.len()) {
            return;
        }
        self.fitted = Some(candidates.len());
        self.turns.fit(candidates.len());
        for tree in [&mut self.init, &mut self.current, &mut self.next] {
            tree.clear();
            tree.reserve(candidates.len());
        }
        self.unusable.reserve(candidates.len());
        self.position = 0;
        self.weight = candidates.iter().map(weight).sum();
        for (server, candidate) in candidates.iter().enumerate() {
            self.arrivals += 1;
            self.init.push(Reverse((MAX_WEIGHT - weight(candidate), self.arrivals, server)));
        }
    }

    /// Takes the server out that is due now, else one that was never served, else the next one.
    fn pop(&mut self) -> Option<usize> {
        let is_due = |it: &Reverse<(u64, u64, usize)>| self.turns[it.0.2].due <= self.position;
        if self.current.peek().is_some_and(is_due) {
            return self.current.pop().map(|it| it.0.2);
        }
        if let Some(Reverse((_, _, server))) = self.init.pop() {
            self.turns[server] = Turn::default();
            return Some(server);
        }
        self.current.pop().map(|it| it.0.2)
    }

    /// Moves the server to where its weight says it is due next.
    fn advance(&mut self, server: usize, candidate: &Candidate) {
        let turn = &mut self.turns[server];
        let weight = weight(candidate);
        if turn.due == 0 {
            turn.due = self.position;
        }
        turn.due += self.weight / weight;
        turn.remainder += self.weight % weight;
        if weight <= turn.remainder {
            turn.remainder -= weight;
            turn.due += 1;
        }
    }

    fn queue(&mut self, server: usize, candidate: &Candidate) {
        let weight = weight(candidate);
        let turn = &mut self.turns[server];
        self.arrivals += 1;
        if 2 * self.weight <= turn.due {
            turn.due -= self.weight;
            self.next.push(Reverse((MAX_WEIGHT - weight, self.arrivals, server)));
        } else {
            let key = 256 * turn.due + (MAX_WEIGHT + turn.remainder - weight) / 16;
            self.current.push(Reverse((key, self.arrivals, server)));
        }
    }
}

impl Policy for FastRoundRobin {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.fit(candidates);
        let mut has_switched = false;
        let picked = loop {
            match self.pop() {
                Some(server) => {
                    self.advance(server, &candidates[server]);
                    self.position += 1;
                    self.unusable.push(server);
                    if candidates[server].eligible {
                        break self.unusable.pop();
                    }
                }
                None if has_switched => break None,
                None => {
                    has_switched = true;
                    std::mem::swap(&mut self.init, &mut self.next);
                    self.position = self.weight;
                }
            }
        };
        if let Some(server) = picked {
            self.queue(server, &candidates[server]);
        }
        while let Some(server) = self.unusable.pop() {
            self.queue(server, &candidates[server]);
        }
        picked
    }

    /// Begins anew, unless the list stays the same: positions mean nothing among other weights.
    fn relist(&mut self, from: &[Option<usize>]) {
        let same = |(new, old): (usize, &Option<usize>)| *old == Some(new);
        if self.fitted != Some(from.len()) || !from.iter().enumerate().all(same) {
            self.fitted = None;
            self.turns = Slots::default();
        }
    }
}

const MAX_WEIGHT: u64 = 4096;

fn weight(candidate: &Candidate) -> u64 {
    u64::from(super::eweight(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served, shares};

    #[track_caller]
    fn check(weights: &str, expected: &str) {
        let mut policy = FastRoundRobin::default();
        assert_eq!(letters(&served(&mut policy, &pool(weights), expected)), expected, "{weights}");
    }

    #[test]
    fn turns_are_as_haproxy_takes_them() {
        check("1 1 1", "abc abc");
        check("5 1 1", "aaabaac aaabaac");
        check("3 2 1", "abacab abacab");
    }

    #[test]
    fn an_unusable_server_loses_its_turn() {
        check("1 !1 1", "ac ac");
        check("!1 !1", "-");
        check("", "-");
    }

    #[test]
    fn shares_stay_right_over_many_turns_of_the_trees() {
        let picks = served(&mut FastRoundRobin::default(), &pool("7 3 2 1"), &"x".repeat(13_000));
        let shares = shares(&picks, 4);
        for (share, expected) in shares.iter().zip([7.0, 3.0, 2.0, 1.0]) {
            assert!((share - expected / 13.0).abs() < 0.01, "{shares:?}");
        }
    }
}
