//! How few servers are enough?

use crate::{Candidate, Draw, Policy, Request};

/// Picks the first eligible candidate, so that the last ones are needed only at high load.
///
/// Source: HAProxy `lb_fas.c`, `fas_get_next_server`. Weights do not matter.
#[derive(Debug, Default)]
pub struct First;

impl Policy for First {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        candidates.iter().position(|it| it.eligible)
    }

    fn relist(&mut self, _from: &[Option<usize>]) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served};

    #[test]
    fn the_first_with_room_serves() {
        for (backends, expected) in [("1:9 1:0", "a"), ("!1 !1 1", "c"), ("!1", "-")] {
            assert_eq!(letters(&served(&mut First, &pool(backends), "x")), expected);
        }
    }
}
