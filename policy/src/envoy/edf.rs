//! Whose turn is due first?

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::{Candidate, Draw, Policy, Request};

/// Weighted round robin by earliest deadline. Weights 5, 1, 1 give `a a a a b c a`.
///
/// Equal weights take plain turns. A server that is not eligible when it is due loses its turn.
///
/// Source: Envoy `edf_scheduler.h` and `load_balancer_impl.cc`, `EdfLoadBalancerBase`. The random
/// offset from which Envoy starts is left out. Logarithmic but for the unusable, and one pass to see
/// whether weights are equal after a new list; no allocation.
#[derive(Debug, Default)]
pub struct EdfRoundRobin {
    schedule: Schedule,
    next: usize,
}

impl Policy for EdfRoundRobin {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        let weight = |it: &Candidate| f64::from(it.weight.get());
        self.schedule.fit(candidates, weight);
        if self.schedule.are_weights_equal {
            let around = (self.next..candidates.len()).chain(0..self.next.min(candidates.len()));
            let picked = around.into_iter().find(|it| candidates[*it].eligible)?;
            self.next = (picked + 1) % candidates.len();
            return Some(picked);
        }
        self.schedule.pick(candidates, weight)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.schedule.relist(from);
    }
}

/// Servers by the deadline of their next turn.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    turns: BinaryHeap<Turn>,
    unusable: Vec<usize>,
    now: f64,
    /// Orders equal deadlines by arrival.
    arrivals: u64,
    /// Whether no weight differs, so that there is nothing to schedule.
    pub(crate) are_weights_equal: bool,
    /// Length of the list this was made from.
    fitted: Option<usize>,
}

#[derive(Debug)]
struct Turn {
    deadline: f64,
    arrival: u64,
    position: usize,
}

impl Schedule {
    /// Gives each server its first turn unless that is done.
    pub(crate) fn fit(&mut self, candidates: &[Candidate], weight: impl Fn(&Candidate) -> f64) {
        if self.fitted == Some(candidates.len()) {
            return;
        }
        self.fitted = Some(candidates.len());
        self.are_weights_equal = candidates.windows(2).all(|it| it[0].weight == it[1].weight);
        self.turns.clear();
        self.turns.reserve(candidates.len());
        self.unusable.reserve(candidates.len());
        self.now = 0.0;
        for (position, candidate) in candidates.iter().enumerate() {
            self.add(position, weight(candidate));
        }
    }

    /// Takes the first server that is due and eligible, and gives it another turn.
    pub(crate) fn pick(
        &mut self,
        candidates: &[Candidate],
        weight: impl Fn(&Candidate) -> f64,
    ) -> Option<usize> {
        let picked = loop {
            let Some(turn) = self.turns.pop() else { break None };
            self.now = turn.deadline;
            if candidates[turn.position].eligible {
                break Some(turn.position);
            }
            self.unusable.push(turn.position);
        };
        if let Some(position) = picked {
            self.add(position, weight(&candidates[position]));
        }
        while let Some(position) = self.unusable.pop() {
            self.add(position, weight(&candidates[position]));
        }
        picked
    }

    /// Makes the next [`Self::fit`] begin anew, unless the list stays the same.
    pub(crate) fn relist(&mut self, from: &[Option<usize>]) {
        let same = |(new, old): (usize, &Option<usize>)| *old == Some(new);
        if self.fitted != Some(from.len()) || !from.iter().enumerate().all(same) {
            self.fitted = None;
        }
    }

    fn add(&mut self, position: usize, weight: f64) {
        self.arrivals += 1;
        let deadline = self.now + weight.recip();
        self.turns.push(Turn { deadline, arrival: self.arrivals, position });
    }
}

impl Ord for Turn {
    /// The earliest deadline is the greatest, as a heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.arrival.cmp(&self.arrival))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Turn {}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served};

    #[track_caller]
    fn check(weights: &str, expected: &str) {
        let mut policy = EdfRoundRobin::default();
        assert_eq!(letters(&served(&mut policy, &pool(weights), expected)), expected, "{weights}");
    }

    #[test]
    fn turns_are_as_envoy_takes_them() {
        check("1 1 1", "abc abc");
        check("5 1 1", "aaaabca aaaaabc");
        check("3 2 1", "abacba abaacb");
    }

    #[test]
    fn an_unusable_server_loses_its_turn() {
        check("1 !1 1", "ac ac");
        check("2 !2 1", "aca aca");
        check("!1 !2", "-");
        check("", "-");
    }
}
