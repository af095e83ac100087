//! What would be best, if all queues could be seen at no cost?

use crate::least::Least;
use crate::levels::{Levels, Quotient, one_of};
use crate::{Candidate, Draw, Policy, Request};

/// Looks at all eligible candidates and takes the least, equals by a uniform draw.
///
/// As a model it gives bounds for what other policies can achieve. One pass over the candidates, no
/// allocation, one draw; a search where it [follows](Policy::follow) them.
#[derive(Debug)]
pub struct Shortest {
    by: By,
    least: Least,
    following: Option<Levels>,
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
    pub fn jsq() -> Self {
        Self::by(By::Requests)
    }

    /// Fewest requests over weight.
    #[must_use]
    pub fn jsq_weighted() -> Self {
        Self::by(By::RequestsOverWeight)
    }

    /// Shortest expected delay: `(requests + 1) / weight`, weight standing for speed.
    #[must_use]
    pub fn sed() -> Self {
        Self::by(By::OneMoreOverWeight)
    }

    fn by(by: By) -> Self {
        Self { by, least: Least::default(), following: None }
    }
}

impl By {
    fn load(self, candidate: &Candidate) -> Quotient {
        let (requests, weight) = (u64::from(candidate.in_flight), candidate.weight.get());
        match self {
            Self::Requests => Quotient { over: requests, under: 1 },
            Self::RequestsOverWeight => Quotient { over: requests, under: weight },
            Self::OneMoreOverWeight => Quotient { over: requests + 1, under: weight },
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
        if let Some(levels) = &self.following {
            return levels.least(draw);
        }
        let least = &mut self.least;
        // As `By::load`: each kind has its own pass, with numbers no larger than it needs.
        let tied = match self.by {
            By::Requests => least.among(candidates, |_, it| it.in_flight),
            By::RequestsOverWeight => least.among(candidates, |_, it| it.load()),
            By::OneMoreOverWeight => least.among(candidates, |_, it| self.by.load(it)),
        };
        one_of(tied, draw)
    }

    fn relist(&mut self, _from: &[Option<usize>]) {
        self.following = None;
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.following = Some(Levels::of(candidates, |it| self.by.load(it)));
    }

    fn changed(&mut self, position: usize, before: &Candidate, after: &Candidate) {
        if let Some(levels) = &mut self.following {
            levels.moved(position, before, after, |it| self.by.load(it));
        }
    }
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
