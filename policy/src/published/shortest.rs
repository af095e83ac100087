//! What would be best, if all queues could be seen at no cost?

use std::cmp::Ordering;

use crate::{Candidate, Draw, Policy, Request};

/// Looks at all eligible candidates and takes the least, equals by a uniform draw.
///
/// As a model it gives bounds for what other policies can achieve. One pass over the candidates, no
/// allocation, one draw for each equal.
#[derive(Debug)]
pub struct Shortest {
    by: By,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Requests,
    RequestsOverWeight,
    OneMoreOverWeight,
}

impl Shortest {
    /// Join the shortest queue: fewest requests.
    #[must_use]
    pub const fn jsq() -> Self {
        Self { by: By::Requests }
    }

    /// Fewest requests over weight.
    #[must_use]
    pub const fn jsq_weighted() -> Self {
        Self { by: By::RequestsOverWeight }
    }

    /// Shortest expected delay: `(requests + 1) / weight`, weight standing for speed.
    #[must_use]
    pub const fn sed() -> Self {
        Self { by: By::OneMoreOverWeight }
    }

    fn cmp(&self, a: &Candidate, b: &Candidate) -> Ordering {
        match self.by {
            By::Requests => a.in_flight.cmp(&b.in_flight),
            By::RequestsOverWeight => a.cmp_load(b),
            By::OneMoreOverWeight => {
                let cross = |a: &Candidate, b: &Candidate| {
                    (u128::from(a.in_flight) + 1) * u128::from(b.weight.get())
                };
                cross(a, b).cmp(&cross(b, a))
            }
        }
    }
}

impl Policy for Shortest {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut equals = 0;
        for position in crate::round_robin::eligible(candidates) {
            let order =
                best.map_or(Ordering::Less, |it| self.cmp(&candidates[position], &candidates[it]));
            equals = if order.is_lt() { 1 } else { equals + u64::from(order.is_eq()) };
            // Each of n equals replaces the one before with a chance of 1/n: all are as likely.
            if order.is_lt() || (order.is_eq() && draw.below(equals) == 0) {
                best = Some(position);
            }
        }
        best
    }

    fn relist(&mut self, _from: &[Option<usize>]) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served, shares};

    #[track_caller]
    fn check(mut policy: Shortest, backends: &str, expected: &str) {
        let picked = letters(&served(&mut policy, &pool(backends), "x"));
        assert_eq!(picked, expected, "{policy:?}, {backends}");
    }

    #[test]
    fn each_kind_has_its_own_least() {
        check(Shortest::jsq(), "9:3 1:2 1:3", "b");
        check(Shortest::jsq_weighted(), "9:3 1:2 1:3", "a");
        check(Shortest::jsq(), "9:3 !1:2 1:4", "a");
        check(Shortest::jsq(), "!1:2", "-");
    }

    /// At low load they part: a slow idle server, or a fast one that is busy?
    #[test]
    fn a_fast_busy_server_may_be_done_before_a_slow_idle_one_is() {
        check(Shortest::jsq_weighted(), "3:1 1:0", "b");
        check(Shortest::sed(), "3:1 1:0", "a");
    }

    #[test]
    fn equals_are_equally_likely() {
        let picks = served(&mut Shortest::jsq(), &pool("1:0 1:0 1:1 1:0"), &"x".repeat(30_000));
        let shares = shares(&picks, 4);
        for (share, expected) in shares.iter().zip([1.0, 1.0, 0.0, 1.0]) {
            assert!((share - expected / 3.0).abs() < 0.01, "{shares:?}");
        }
    }
}
