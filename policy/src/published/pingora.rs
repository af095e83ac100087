//! What do turns look like when nobody smooths them?

use crate::cumulative::Cumulative;
use crate::{Candidate, Draw, Policy, Request};

/// Pingora's own selection, a baseline: each server weight times in a row, `a a a a a b c`.
///
/// A server that is not eligible makes it take further ticks over the list without weights.
///
/// Source: Pingora `pingora-load-balancing/src/selection/weighted.rs` and `algorithms.rs`. Servers
/// stand as in the list, Pingora sorts them by address. A binary search, no allocation.
#[derive(Debug, Default)]
pub struct PingoraRoundRobin {
    weights: Cumulative,
    ticks: u64,
}

impl PingoraRoundRobin {
    fn tick(&mut self) -> u64 {
        self.ticks = self.ticks.wrapping_add(1);
        self.ticks.wrapping_sub(1)
    }
}

impl Policy for PingoraRoundRobin {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.weights.fit(candidates);
        let turn = self.tick().checked_rem(self.weights.total())?;
        let picked = self.weights.at(turn)?;
        if candidates[picked].eligible {
            return Some(picked);
        }
        let len = candidates.len() as u64;
        let mut fallbacks = candidates.iter().map(|_| self.tick() % len);
        fallbacks.find_map(|it| {
            let it = usize::try_from(it).ok()?;
            candidates[it].eligible.then_some(it)
        })
    }

    fn relist(&mut self, _from: &[Option<usize>]) {
        self.weights.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served};

    #[track_caller]
    fn check(weights: &str, expected: &str) {
        let mut policy = PingoraRoundRobin::default();
        assert_eq!(letters(&served(&mut policy, &pool(weights), expected)), expected, "{weights}");
    }

    #[test]
    fn turns_are_as_pingora_takes_them() {
        check("1 1 1", "abc abc");
        check("5 1 1", "aaaaabc aaaaabc");
        check("3 2 1", "aaabbc aaabbc");
    }

    #[test]
    fn the_server_after_an_unusable_one_gets_its_requests() {
        check("!9 1 1", "bbbbb");
        check("!1", "-");
        check("", "-");
    }
}
