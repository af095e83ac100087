//! How are two candidates drawn, of which the better is taken?

use crate::cumulative::Cumulative;
use crate::{Candidate, Draw, Event, Policy, Request, RoundRobin, Time};

/// Two different eligible candidates, drawn by weight.
///
/// Draws that are not eligible or repeat the first are drawn again, more than 20 times is round
/// robin.
///
/// Source: nginx `ngx_http_upstream_random_module.c`, `ngx_http_upstream_get_random2_peer`.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    weights: Cumulative,
    fallback: RoundRobin,
}

impl Pair {
    /// Draws two and takes the second if `second_wins(first, second)`.
    pub(crate) fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
        second_wins: impl FnOnce(usize, usize) -> bool,
    ) -> Option<usize> {
        self.fallback.fit(candidates.len());
        if 1 < candidates.len() {
            self.weights.fit(candidates);
            let mut first = None;
            let mut in_vain = 0;
            while in_vain <= REDRAWS {
                let drawn = self.weights.draw(draw)?;
                match first {
                    None if candidates[drawn].eligible => first = Some(drawn),
                    Some(first) if candidates[drawn].eligible && drawn != first => {
                        return Some(if second_wins(first, drawn) { drawn } else { first });
                    }
                    _ => in_vain += 1,
                }
            }
        }
        self.fallback.pick(request, candidates, draw)
    }

    /// See [`Policy::relist`].
    pub(crate) fn relist(&mut self, from: &[Option<usize>]) {
        self.weights.forget();
        self.fallback.relist(from);
    }

    /// See [`Policy::learn`].
    pub(crate) fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

/// How many draws may fail before round robin takes over.
const REDRAWS: u32 = 20;
