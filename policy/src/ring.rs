//! Where on the ring do the servers' points lie?

use crate::{Candidate, digest::Crc32};

/// The points of all servers, sorted, and the candidates that share each server's name.
///
/// nginx lays 160 for each unit of weight, whatever that costs; here weights count for less when all
/// together would need more than [`MOST_POINTS`].
///
/// Source: nginx `ngx_http_upstream_hash_module.c`, `ngx_http_upstream_update_chash` and
/// `ngx_http_upstream_find_chash_point`.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// Hash, and which of `groups` it belongs to. No hash stands twice.
    points: Vec<(u32, u32)>,
    starts: Starts,
    /// Positions of the candidates of one name.
    groups: Vec<Vec<usize>>,
    /// Length of the list this was made from.
    fitted: Option<usize>,
}

impl Ring {
    /// Lays the points unless that is done. Allocates only for a list not seen before.
    pub(crate) fn fit(&mut self, candidates: &[Candidate]) {
        if self.fitted == Some(candidates.len()) {
            return;
        }
        *self = Self { fitted: Some(candidates.len()), ..Self::default() };
        let total = candidates.iter().map(|it| 160 * u64::from(it.weight.get())).sum::<u64>();
        let mut names = Vec::<(u32, u32)>::new();
        for (position, candidate) in candidates.iter().enumerate() {
            let name = candidate.identity.line;
            let group = match names.binary_search_by_key(&name.end(), |it| it.0) {
                Ok(at) => names[at].1,
                Err(at) => {
                    let group = small(self.groups.len());
                    names.insert(at, (name.end(), group));
                    self.groups.push(Vec::new());
                    group
                }
            };
            self.groups[group as usize].push(position);
            let wanted = 160 * u64::from(candidate.weight.get());
            let laid = if total <= MOST_POINTS { wanted } else { scaled(wanted, total) };
            let hashes = points(name).take(usize::try_from(laid).unwrap_or(usize::MAX));
            self.points.extend(hashes.map(|it| (it, group)));
        }
        self.points.sort_unstable();
        self.points.dedup_by_key(|it| it.0);
        self.starts = Starts::of(&self.points);
    }

    /// Makes the next [`Self::fit`] lay the points anew.
    pub(crate) fn forget(&mut self) {
        self.fitted = None;
    }

    /// The candidates of each point from the first that is not below `hash`, once around.
    pub(crate) fn around(&self, hash: u32) -> impl Iterator<Item = &[usize]> {
        let first = self.starts.first_from(hash, &self.points);
        let (before, after) = self.points.split_at(first);
        after.iter().chain(before).map(|(_, group)| self.groups[*group as usize].as_slice())
    }
}

/// Where in a list of points those of each part of the ring begin, so that no search has to go far.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// How far a hash is shifted to tell its part.
    shift: u32,
    /// One more than there are parts: the last is where all end.
    starts: Vec<u32>,
}

impl Starts {
    /// About one point to a part, more where there would be too many parts.
    pub(crate) fn of(points: &[(u32, u32)]) -> Self {
        let parts = points.len().clamp(2, MOST_PARTS).next_power_of_two();
        let shift = u32::BITS - parts.ilog2();
        let mut starts = Vec::with_capacity(parts + 1);
        for (place, (hash, _)) in points.iter().enumerate() {
            starts.resize(starts.len().max((hash >> shift) as usize + 1), small(place));
        }
        starts.resize(parts + 1, small(points.len()));
        Self { shift, starts }
    }

    /// Place of the first point that is not below `hash`.
    pub(crate) fn first_from(&self, hash: u32, points: &[(u32, u32)]) -> usize {
        let part = (hash >> self.shift) as usize;
        let [start, end] = [self.starts[part], self.starts[part + 1]].map(|it| it as usize);
        start + points[start..end].partition_point(|(it, _)| *it < hash)
    }
}

/// 4 MiB of starts.
const MOST_PARTS: usize = 1 << 20;

/// 128 MiB of points.
const MOST_POINTS: u64 = 1 << 24;

/// A server's part of all points that there may be, at least one.
fn scaled(wanted: u64, total: u64) -> u64 {
    let part = u128::from(wanted) * u128::from(MOST_POINTS) / u128::from(total);
    u64::try_from(part).unwrap_or(MOST_POINTS).max(1)
}

/// A place in a list in half the size: a ring is large, and a lookup waits for memory.
pub(crate) fn small(position: usize) -> u32 {
    u32::try_from(position).expect("an upstream has fewer than 2^32 servers")
}

/// The endless sequence of a server's points, each hashed from the one before.
fn points(name: Crc32) -> impl Iterator<Item = u32> {
    let mut previous = 0_u32;
    std::iter::repeat_with(move || {
        previous = name.then(&previous.to_le_bytes()).end();
        previous
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::Identity;

    #[track_caller]
    fn check(line: &str, expected: [u32; 4]) {
        let first = points(Identity::new(line, "").line).take(4).collect::<Vec<_>>();
        assert_eq!(first, expected, "{line}");
    }

    #[test]
    fn points_are_as_nginx_lays_them() {
        check("127.0.0.1:18081", [107_741_689, 3_706_434_429, 1_791_921_449, 3_399_818_008]);
        check("10.0.0.1:443", [3_927_464_997, 3_667_281_858, 43_317_179, 1_807_998_681]);
    }

    #[test]
    fn points_beyond_all_measure_are_scaled_by_weight() {
        let wanted = [1, u64::from(u32::MAX)].map(|it| it * 160);
        let total = wanted.iter().sum();
        assert_eq!(wanted.map(|it| scaled(it, total)), [1, MOST_POINTS - 1]);
        assert_eq!(scaled(total / 4, total), MOST_POINTS / 4);
    }

    #[test]
    fn a_hash_between_two_points_belongs_to_the_next_and_the_ring_closes() {
        let points = vec![(10, 0), (20, 1)];
        let starts = Starts::of(&points);
        let ring = Ring { points, starts, groups: vec![vec![0], vec![1]], fitted: Some(2) };
        let owner = |hash| ring.around(hash).next().map(|it| it[0]);
        assert_eq!([10, 11, 20, 21].map(owner), [Some(0), Some(1), Some(1), Some(0)]);
    }

    proptest! {
        #[test]
        fn a_search_of_one_part_finds_what_a_search_of_all_would(
            crowded in proptest::collection::btree_set(0..64_u32, 0..40),
            spread in proptest::collection::btree_set(any::<u32>(), 0..200),
            hash in any::<u32>(),
        ) {
            for lowest in [0, 0x7fff_ffe0, u32::MAX - 63] {
                let hashes = crowded.iter().map(|it| lowest + it).chain(spread.iter().copied());
                let hashes = hashes.collect::<BTreeSet<_>>();
                let points = hashes.iter().map(|it| (*it, 0)).collect::<Vec<_>>();
                let starts = Starts::of(&points);
                let near = hashes.iter().flat_map(|it| [it.saturating_sub(1), *it, it.saturating_add(1)]);
                for hash in near.chain([0, hash, u32::MAX]) {
                    let expected = points.partition_point(|it| it.0 < hash);
                    prop_assert_eq!(starts.first_from(hash, &points), expected);
                }
            }
        }
    }

    #[test]
    fn no_ring_has_more_parts_than_there_may_be() {
        let points = (0..3 << 20).map(|it| (it * 1000, 0)).collect::<Vec<_>>();
        let starts = Starts::of(&points);
        assert_eq!(starts.starts.len(), MOST_PARTS + 1);
        for hash in [0, 1, 999, 1000, 1001, 3_000_000_000, u32::MAX] {
            assert_eq!(starts.first_from(hash, &points), points.partition_point(|it| it.0 < hash));
        }
    }
}
