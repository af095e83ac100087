//! Whom does a number point at, and who serves when it points at nobody who may?

use crate::cumulative::Cumulative;
use crate::{Candidate, Draw, Event, Policy, Request, RoundRobin, Time};

/// Candidates side by side, each as wide as its weight, and turns for when pointing fails.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    weights: Cumulative,
    fallback: RoundRobin,
}

impl Wheel {
    /// Picks the first eligible candidate that `point` falls on, given the number of the attempt and
    /// the sum of all weights. After the attempt numbered 20, and for a single candidate, it is
    /// round robin.
    ///
    /// Source: nginx `ngx_http_upstream_random_module.c`, `ngx_http_upstream_ip_hash_module.c` and
    /// `ngx_http_upstream_hash_module.c`, the loops of their `get_…_peer`. nginx counts attempts over
    /// all tries of a request, without the picks they made; here each pick counts anew, those who
    /// were tried before included.
    pub(crate) fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
        mut point: impl FnMut(u8, u64, &mut dyn Draw) -> u64,
    ) -> Option<usize> {
        self.fallback.fit(candidates.len());
        if 1 < candidates.len() {
            self.weights.fit(candidates);
            for attempt in 0..=LAST_ATTEMPT {
                let found = self.weights.at(point(attempt, self.weights.total(), draw))?;
                if candidates[found].eligible {
                    return Some(found);
                }
            }
        }
        self.turn(request, candidates, draw)
    }

    /// Takes a turn without pointing.
    pub(crate) fn turn(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.fallback.pick(request, candidates, draw)
    }

    /// See [`crate::Policy::relist`].
    pub(crate) fn relist(&mut self, from: &[Option<usize>]) {
        self.weights.forget();
        self.fallback.relist(from);
    }

    /// See [`crate::Policy::learn`].
    pub(crate) fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

const LAST_ATTEMPT: u8 = 20;
