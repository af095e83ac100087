//! Who of a list has least, when nobody can foretell who it is?

use std::hint::select_unpredictable;

use crate::Candidate;

/// Room for the positions of those who have least.
///
/// Loads change with each pick, so a branch on them is foretold wrongly as often as not, and costs more
/// than comparing: there is none here.
#[derive(Debug, Default)]
pub(crate) struct Least {
    /// Only the first few mean anything, and only to the pick that found them.
    tied: Vec<usize>,
}

impl Least {
    /// Positions of the eligible candidates with the least load, in the order of the list.
    ///
    /// One pass over the candidates. Allocates only for a list longer than any before.
    pub(crate) fn among<L: Copy + Ord>(
        &mut self,
        candidates: &[Candidate],
        mut load: impl FnMut(usize, &Candidate) -> L,
    ) -> &[usize] {
        if self.tied.len() < candidates.len() {
            self.tied.resize(candidates.len(), 0);
        }
        let mut eligible = candidates.iter().enumerate().filter(|(_, it)| it.eligible);
        let Some((first, candidate)) = eligible.next() else { return &[] };
        let mut least = load(first, candidate);
        let mut count = 1;
        self.tied[0] = first;
        for (position, candidate) in eligible {
            let load = load(position, candidate);
            let (is_less, is_least) = (load < least, load <= least);
            least = select_unpredictable(is_less, load, least);
            count = select_unpredictable(is_less, 0, count);
            // Whoever has more is written over by the next.
            self.tied[count] = position;
            count += usize::from(is_least);
        }
        &self.tied[..count]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::pool;

    #[track_caller]
    fn check(backends: &str, expected: &[usize]) {
        let mut least = Least::default();
        assert_eq!(least.among(&pool(backends), |_, it| it.in_flight), expected, "{backends}");
    }

    #[test]
    fn those_with_least_come_in_the_order_of_the_list() {
        check("1:2 1:1 1:3 1:1", &[1, 3]);
        check("1:1 1:1 1:0", &[2]);
        check("1:0 !1:0 1:0", &[0, 2]);
        check("!1:0 1:7 !1:0", &[1]);
    }

    #[test]
    fn nobody_has_least_where_nobody_is_eligible() {
        check("", &[]);
        check("!1:0", &[]);
    }

    proptest! {
        #[test]
        fn a_search_finds_the_same(
            lists in proptest::collection::vec(
                proptest::collection::vec((0..=3_u32, any::<bool>()), 0..150),
                1..4,
            ),
        ) {
            let mut least = Least::default();
            for list in lists {
                let mut candidates = pool(&"1 ".repeat(list.len()));
                for (candidate, (in_flight, eligible)) in candidates.iter_mut().zip(&list) {
                    (candidate.in_flight, candidate.eligible) = (*in_flight, *eligible);
                }
                let eligible = || crate::round_robin::eligible(&candidates);
                let fewest = eligible().map(|it| list[it].0).min();
                let expected: Vec<_> = eligible().filter(|it| Some(list[*it].0) == fewest).collect();
                prop_assert_eq!(least.among(&candidates, |_, it| it.in_flight), expected);
            }
        }
    }
}
