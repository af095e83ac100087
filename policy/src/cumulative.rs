//! Which candidate does a draw by weight fall on?

use crate::{Candidate, Draw};

/// Running sums of the weights of one list of candidates.
///
/// Every candidate has its range, eligible or not, so that a failure moves no one else's.
#[derive(Debug, Default)]
pub(crate) struct Cumulative {
    ends: Vec<u64>,
}

impl Cumulative {
    /// Sums the weights unless that is done. Allocates only for a list not seen before.
    pub(crate) fn fit(&mut self, candidates: &[Candidate]) {
        if self.ends.len() != candidates.len() {
            self.ends.clear();
            self.ends.extend(candidates.iter().scan(0, |sum, it| {
                *sum += u64::from(it.weight.get());
                Some(*sum)
            }));
        }
    }

    /// Makes the next [`Self::fit`] sum anew.
    pub(crate) fn forget(&mut self) {
        self.ends.clear();
    }

    /// Sum of all weights, 0 without candidates.
    pub(crate) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The candidate whose range holds `point`, `None` from the total on.
    pub(crate) fn at(&self, point: u64) -> Option<usize> {
        let position = self.ends.partition_point(|end| *end <= point);
        (position < self.ends.len()).then_some(position)
    }

    /// A candidate, as probable as its weight; `None` without candidates.
    pub(crate) fn draw(&self, draw: &mut dyn Draw) -> Option<usize> {
        self.at(draw.below(self.total()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pool;

    #[test]
    fn each_weight_is_a_range_of_points() {
        let mut sums = Cumulative::default();
        sums.fit(&pool("1 !2 3"));
        assert_eq!(sums.total(), 6);
        let positions = [0, 1, 2, 3, 4, 5, 6].map(|it| sums.at(it));
        let expected = [Some(0), Some(1), Some(1), Some(2), Some(2), Some(2), None];
        assert_eq!(positions, expected);
    }

    #[test]
    fn changed_weights_count_after_forgetting() {
        let mut sums = Cumulative::default();
        sums.fit(&pool("1 1"));
        sums.forget();
        sums.fit(&pool("1 5"));
        assert_eq!(sums.total(), 6);
    }
}
