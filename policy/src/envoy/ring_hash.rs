//! Which server does a key belong to on a ring of bounded size?

use crate::digest::xxh64;
use crate::options::Options;
use crate::ring::small;
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

/// A ring with points by weight, `min_ring` of them at least; a key belongs to the next point.
///
/// From a point whose server is not eligible the key goes on to the next; an empty key, or none, is
/// round robin.
///
/// Source: Envoy `ring_hash_lb.cc`, `RingHashLoadBalancer::Ring`. Points are hashed from the digest
/// of an address and not from its text, so that they lie elsewhere. A binary search, no allocation.
#[derive(Debug)]
pub struct RingHash {
    min_ring: f64,
    points: Vec<(u64, u32)>,
    /// Length of the list this was made from.
    fitted: Option<usize>,
    fallback: RoundRobin,
}

impl RingHash {
    /// Reads `min_ring=1024`, which is also the default.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["min_ring"])?;
        let min_ring = options.value("min_ring", 1024, |it| {
            it.parse().ok().filter(|it| (1..=8_388_608).contains(it))
        })?;
        let fallback = RoundRobin::default();
        Ok(Self { min_ring: f64::from(min_ring), points: Vec::new(), fitted: None, fallback })
    }

    fn fit(&mut self, candidates: &[Candidate]) {
        if self.fitted == Some(candidates.len()) {
            return;
        }
        self.fitted = Some(candidates.len());
        self.points.clear();
        let weights = candidates.iter().map(|it| f64::from(it.weight.get()));
        let total = weights.clone().sum::<f64>();
        let least = weights.clone().fold(total, f64::min) / total;
        let scale = ((least * self.min_ring).ceil() / least).min(MAX_RING);
        let mut target = 0.0;
        let mut laid = 0.0;
        for (position, weight) in weights.enumerate() {
            target += scale * weight / total;
            let address = candidates[position].identity.address.to_le_bytes();
            let mut number = 0_u64;
            while laid < target {
                self.points.push((xxh64(&address, number), small(position)));
                number += 1;
                laid += 1.0;
            }
        }
        self.points.sort_unstable();
    }
}

const MAX_RING: f64 = 8_388_608.0;

impl Policy for RingHash {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.fallback.fit(candidates.len());
        let key = request.key.unwrap_or_default();
        if !key.is_empty() {
            self.fit(candidates);
            let hash = xxh64(key, 0);
            let (before, after) =
                self.points.split_at(self.points.partition_point(|(it, _)| *it < hash));
            let mut around = after.iter().chain(before).map(|it| it.1 as usize);
            if let Some(found) = around.find(|it| candidates[*it].eligible) {
                return Some(found);
            }
        }
        self.fallback.pick(request, candidates, draw)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.fitted = None;
        self.fallback.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{letters, named};

    fn counts(backends: &str) -> Vec<usize> {
        let mut policy = RingHash::from_words(&[]).unwrap();
        let candidates = named(backends);
        policy.fit(&candidates);
        let count = |it: usize| policy.points.iter().filter(|point| point.1 as usize == it).count();
        (0..candidates.len()).map(count).collect()
    }

    #[test]
    fn points_are_shared_by_weight_and_each_server_has_whole_ones() {
        assert_eq!(counts("1 1"), [512, 512]);
        assert_eq!(counts("1 2"), [342, 684]);
        assert_eq!(counts("1 1 1").iter().sum::<usize>(), 1026);
    }

    fn owners(backends: &str) -> String {
        let (mut policy, mut draw) = (RingHash::from_words(&[]).unwrap(), SplitMix64::new(1));
        let candidates = named(backends);
        let mut pick = |key: u8| {
            policy.pick(&Request::at(Time::ZERO).with_key(&[key]), &candidates, &mut draw)
        };
        letters(&(0..60).map(&mut pick).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_keys_of_a_lost_server_move() {
        let (before, after) = (owners("1 1 1"), owners("1 !1 1"));
        assert!(before.contains('b') && !after.contains('b'));
        let stays = |(before, after): (u8, u8)| before == b'b' || before == after;
        assert!(before.bytes().zip(after.bytes()).all(stays), "{before} {after}");
    }
}
