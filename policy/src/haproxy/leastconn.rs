//! Who has least to do, when an idle server comes before any busy one?

use crate::{Candidate, Draw, Policy, Request};

/// Picks the smallest `(in_flight + 1) * 4096 / weight`, 0 for the idle; equals by a uniform draw.
///
/// Source: HAProxy `lb_fwlc.c`, `fwlc_get_key`; HAProxy draws a list among those of the key and takes
/// its head. One pass over the candidates, no allocation, one draw for each equal.
#[derive(Debug, Default)]
pub struct HaproxyLeastConn;

impl Policy for HaproxyLeastConn {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let mut best: Option<(usize, u64)> = None;
        let mut equals = 0;
        for position in crate::round_robin::eligible(candidates) {
            let key = key(&candidates[position]);
            let is_less = best.is_none_or(|(_, least)| key < least);
            let is_equal = best.is_some_and(|(_, least)| key == least);
            equals = if is_less { 1 } else { equals + u64::from(is_equal) };
            if is_less || (is_equal && draw.below(equals) == 0) {
                best = Some((position, key));
            }
        }
        best.map(|it| it.0)
    }

    fn relist(&mut self, _from: &[Option<usize>]) {}
}

fn key(candidate: &Candidate) -> u64 {
    match candidate.in_flight {
        0 => 0,
        busy => (u64::from(busy) + 1) * 4096 / u64::from(super::eweight(candidate)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served, shares};

    #[track_caller]
    fn check(backends: &str, expected: &str) {
        let picked = letters(&served(&mut HaproxyLeastConn, &pool(backends), "x"));
        assert_eq!(picked, expected, "{backends}");
    }

    #[test]
    fn an_idle_server_precedes_any_busy_one() {
        check("9:1 1:0", "b");
        check("3:1 1:1", "a");
        check("3:6 1:1", "b");
        check("!1:0 1:7", "b");
        check("!1:0", "-");
    }

    #[test]
    fn keys_are_rounded_down() {
        assert_eq!(["1:1", "3:1", "3:2", "1:0"].map(|it| key(&pool(it)[0])), [512, 170, 256, 0]);
    }

    #[test]
    fn equals_are_equally_likely() {
        let picks = served(&mut HaproxyLeastConn, &pool("1:0 3:0 1:1"), &"x".repeat(20_000));
        let shares = shares(&picks, 3);
        assert!((shares[0] - 0.5).abs() < 0.02 && shares[2] == 0.0, "{shares:?}");
    }
}
