//! Who has least to do, when an idle server comes before any busy one?

use crate::least::Least;
use crate::levels::{Levels, Quotient, one_of};
use crate::{Candidate, Draw, Policy, Request};

/// Picks the smallest `(in_flight + 1) * 4096 / weight`, 0 for the idle; equals by a uniform draw.
///
/// Source: HAProxy `lb_fwlc.c`, `fwlc_get_key`; HAProxy draws a list among those of the key and takes
/// its head. One pass over the candidates, no allocation, one draw; a search where it
/// [follows](Policy::follow) them.
#[derive(Debug, Default)]
pub struct HaproxyLeastConn {
    least: Least,
    following: Option<Levels>,
}

impl Policy for HaproxyLeastConn {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        match &self.following {
            Some(levels) => levels.least(draw),
            None => one_of(self.least.among(candidates, |_, it| load(it)), draw),
        }
    }

    fn relist(&mut self, _from: &[Option<usize>]) {
        self.following = None;
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.following = Some(Levels::of(candidates, load));
    }

    fn changed(&mut self, position: usize, before: &Candidate, after: &Candidate) {
        if let Some(levels) = &mut self.following {
            levels.moved(position, before, after, load);
        }
    }
}

fn load(candidate: &Candidate) -> Quotient {
    Quotient { over: key(candidate), under: 1 }
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
        let picked = letters(&served(&mut HaproxyLeastConn::default(), &pool(backends), "x"));
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
        let picks =
            served(&mut HaproxyLeastConn::default(), &pool("1:0 3:0 1:1"), &"x".repeat(20_000));
        let shares = shares(&picks, 3);
        assert!((shares[0] - 0.5).abs() < 0.02 && shares[2] == 0.0, "{shares:?}");
    }
}
