//! Which server has which place in a fixed map?

use crate::{Candidate, Draw, Policy, Request};

/// Walks a map with as many places as the weights have parts. Weights 3, 2, 1 give `a a b a b c`.
///
/// Source: HAProxy `lb_map.c`, `recalc_server_map` and `map_get_server_rr`. HAProxy builds the map of
/// the usable servers, here an unusable one is passed over. A step, no allocation.
#[derive(Debug, Default)]
pub struct StaticRoundRobin {
    map: ServerMap,
    next: usize,
}

impl Policy for StaticRoundRobin {
    fn pick(
        &mut self,
        _request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.map.fit(candidates);
        let (place, picked) = self.map.first_eligible(self.next, candidates)?;
        self.next = (place + 1) % self.map.places.len();
        Some(picked)
    }

    fn relist(&mut self, _from: &[Option<usize>]) {
        self.map.fitted = None;
    }
}

/// Hashes the key into the same map, `hash % places`; no key walks it.
///
/// Source: HAProxy `backend.c`, `gen_hash` with its default sdbm, and `map_get_server_hash`.
/// HAProxy builds the map of the usable servers, here an unusable one hands its keys to the next
/// place. A step, no allocation.
#[derive(Debug, Default)]
pub struct MapHash {
    turns: StaticRoundRobin,
}

impl Policy for MapHash {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let Some(key) = request.key.filter(|it| !it.is_empty()) else {
            return self.turns.pick(request, candidates, draw);
        };
        self.turns.map.fit(candidates);
        let hash = usize::try_from(sdbm(key)).expect("32 bits fit");
        let places = self.turns.map.places.len().max(1);
        self.turns.map.first_eligible(hash % places, candidates).map(|it| it.1)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.turns.relist(from);
    }
}

/// Source: HAProxy `hash.c`, `hash_sdbm`.
fn sdbm(key: &[u8]) -> u32 {
    key.iter().fold(0, |hash: u32, byte| {
        let shifted = (hash << 6).wrapping_add(hash << 16).wrapping_sub(hash);
        shifted.wrapping_add(u32::from(*byte))
    })
}

/// Which server stands at which place.
#[derive(Debug, Default)]
struct ServerMap {
    places: Vec<usize>,
    /// Length of the list this was made from.
    fitted: Option<usize>,
}

impl ServerMap {
    fn fit(&mut self, candidates: &[Candidate]) {
        if self.fitted != Some(candidates.len()) {
            self.places = places(candidates);
            self.fitted = Some(candidates.len());
        }
    }

    /// The first place from `start` on whose server is eligible, and that server.
    fn first_eligible(&self, start: usize, candidates: &[Candidate]) -> Option<(usize, usize)> {
        let (before, after) = self.places.split_at(start.min(self.places.len()));
        let around = (start..).zip(after).chain((0..).zip(before));
        let mut around = around.map(|(place, it)| (place, *it));
        around.find(|(_, it)| candidates[*it].eligible)
    }
}

fn places(candidates: &[Candidate]) -> Vec<usize> {
    let weights = candidates.iter().map(|it| i64::from(it.weight.get().min(256)));
    let divisor = weights.clone().fold(0, greatest_common_divisor);
    let weights = weights.map(|it| it / divisor).collect::<Vec<_>>();
    let total = weights.iter().sum::<i64>();
    let mut scores = vec![0; weights.len()];
    let next_place = |_| {
        let mut best = (0, 0);
        for (position, (score, weight)) in scores.iter_mut().zip(&weights).enumerate() {
            *score += weight;
            let value = (*score + total) / total;
            if best.1 < value {
                best = (position, value);
            }
        }
        scores[best.0] -= total;
        best.0
    };
    (0..total).map(next_place).collect()
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, pool, served};
    use crate::{SplitMix64, Time};

    #[track_caller]
    fn check(weights: &str, expected: &str) {
        let mut policy = StaticRoundRobin::default();
        assert_eq!(letters(&served(&mut policy, &pool(weights), expected)), expected, "{weights}");
    }

    #[test]
    fn places_are_shared_as_haproxy_shares_them() {
        check("1 1 1", "abc abc");
        check("5 1 1", "aaabaac aaabaac");
        check("3 2 1", "aababc aababc");
        check("30 20 10", "aababc aababc");
    }

    #[test]
    fn an_unusable_server_is_passed_over() {
        check("3 !2 1", "aaac aaac");
        check("!1", "-");
        check("", "-");
    }

    #[test]
    fn keys_hash_to_places_and_no_key_takes_turns() {
        let (mut policy, mut draw) = (MapHash::default(), SplitMix64::new(1));
        let candidates = pool("1 1 1");
        let mut pick = |key: &str| {
            policy.pick(&Request::at(Time::ZERO).with_key(key.as_bytes()), &candidates, &mut draw)
        };
        // sdbm of one byte is that byte: 97 % 3 is 1.
        let picks = ["a", "b", "c", "", ""].map(&mut pick);
        assert_eq!(letters(&picks), "bca".to_owned() + "ab");
    }

    #[test]
    fn sdbm_mixes_as_published() {
        assert_eq!(sdbm(b"a"), 97);
        assert_eq!(sdbm(b"ab"), 97 * 65_599 + 98);
    }
}
