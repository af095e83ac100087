//! Which server's point on the ring is nearest?

use crate::digest::xxh64;
use crate::options::Options;
use crate::ring::{Starts, small};
use crate::slots::Slots;
use crate::{Candidate, Draw, Policy, Refusal, Request, Time};

/// Consistent hashing to the nearest point, before or after the key; 16 points per weight.
///
/// With `factor=125` a server takes at most its share of 125 % of all requests in progress; whoever
/// is full is passed over. No key is a key drawn at random.
///
/// Source: HAProxy `lb_chash.c`, `chash_get_server_hash` and `chash_server_is_eligible`. Servers are
/// numbered as they stand in the list, and keys hashed by xxHash64 in place of sdbm and its
/// avalanche. A search among a few points; with a factor two passes over the candidates; no allocation.
#[derive(Debug)]
pub struct ConsistentHash {
    /// Percent, `None` for no limit.
    factor: Option<u32>,
    ring: NumberedRing,
    /// Requests each server may have at this pick.
    slots: Vec<u64>,
}

impl ConsistentHash {
    /// Reads `factor=`, a percentage above 100.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["factor"])?;
        let factor = options.value("factor", None, |it| {
            it.parse().ok().filter(|it| (101..=65_535).contains(it)).map(Some)
        })?;
        Ok(Self { factor, ring: NumberedRing::default(), slots: Vec::new() })
    }

    /// Shares out the places for one request more than there are.
    fn share_out(&mut self, factor: u32, candidates: &[Candidate]) {
        let usable = || candidates.iter().filter(|it| it.eligible);
        let weight = |it: &Candidate| u128::from(super::eweight(it));
        let total_weight = usable().map(weight).sum::<u128>().max(1);
        let served = usable().map(|it| u128::from(it.in_flight)).sum::<u128>();
        let places = ((served + 1) * u128::from(factor)).div_ceil(100);
        let (each, rest) = (places / total_weight, places % total_weight);
        let mut before = 0;
        self.slots.clear();
        self.slots.extend(candidates.iter().map(|it| {
            if !it.eligible {
                return 0;
            }
            let after = before + weight(it);
            let extra = rest * after / total_weight - rest * before / total_weight;
            before = after;
            u64::try_from(weight(it) * each + extra).unwrap_or(u64::MAX).max(1)
        }));
    }
}

impl Policy for ConsistentHash {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.ring.fit(candidates);
        let hash = match request.key {
            Some(key) if !key.is_empty() => upper_half(xxh64(key, 0)),
            _ => upper_half(draw.bits()),
        };
        if let Some(factor) = self.factor {
            self.share_out(factor, candidates);
            let has_room = |it: &usize| u64::from(candidates[*it].in_flight) < self.slots[*it];
            return self.ring.around(hash).find(has_room);
        }
        self.ring.around(hash).find(|it| candidates[*it].eligible)
    }

    fn relist(&mut self, _from: &[Option<usize>]) {
        self.ring.fitted = None;
    }
}

/// Draws points of the ring and takes the server with fewest requests for its weight.
///
/// Drawn with replacement; of equals the one with fewer picks in the last second. HAProxy's default
/// since 3.3, with two draws. An unusable server is drawn as the next usable one on the ring.
///
/// Source: HAProxy `backend.c`, `get_server_rnd`. A search among a few points for each draw, no allocation.
#[derive(Debug)]
pub struct RingRandom {
    draws: u32,
    ring: NumberedRing,
    rates: Slots<Rate>,
}

impl RingRandom {
    /// Reads `draws=2`, which is also the default.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let draws = Options::new(words, &["draws"])?
            .value("draws", 2, |it| it.parse().ok().filter(|it| (1..=1000).contains(it)))?;
        Ok(Self { draws, ring: NumberedRing::default(), rates: Slots::default() })
    }
}

impl Policy for RingRandom {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.ring.fit(candidates);
        let rates = self.rates.fit(candidates.len());
        let mut best: Option<usize> = None;
        for _ in 0..self.draws {
            let hash = upper_half(draw.bits());
            let drawn = self.ring.around(hash).find(|it| candidates[*it].eligible)?;
            let is_better = best.is_none_or(|it| {
                let rate = |it: usize| rates[it].at(request.now);
                let order = candidates[drawn].cmp_load(&candidates[it]);
                order.then(rate(drawn).cmp(&rate(it))).is_lt()
            });
            best = if is_better { Some(drawn) } else { best };
        }
        rates[best?].count(request.now);
        best
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.ring.fitted = None;
        self.rates.relist(from);
    }
}

/// Picks per second, from the present second and a fading one before.
#[derive(Clone, Debug, Default)]
struct Rate {
    second: u64,
    present: u64,
    previous: u64,
}

impl Rate {
    /// Source: HAProxy `freq_ctr.c`, `read_freq_ctr_period`.
    fn at(&self, now: Time) -> u64 {
        let into = now.as_nanos() % 1_000_000_000 / 1_000_000;
        match now.as_secs().saturating_sub(self.second) {
            0 => self.present + self.previous * (1000 - into) / 1000,
            1 => self.present * (1000 - into) / 1000,
            _ => 0,
        }
    }

    fn count(&mut self, now: Time) {
        match now.as_secs().saturating_sub(self.second) {
            0 => (),
            1 => (self.previous, self.present) = (self.present, 0),
            _ => (self.previous, self.present) = (0, 0),
        }
        self.second = self.second.max(now.as_secs());
        self.present += 1;
    }
}

/// The points of all servers, numbered from 1 as they stand in the list.
#[derive(Debug, Default)]
struct NumberedRing {
    points: Vec<(u32, u32)>,
    starts: Starts,
    /// Length of the list this was made from.
    fitted: Option<usize>,
}

impl NumberedRing {
    fn fit(&mut self, candidates: &[Candidate]) {
        if self.fitted == Some(candidates.len()) {
            return;
        }
        self.fitted = Some(candidates.len());
        self.points.clear();
        for (position, (number, candidate)) in (1_u32..).zip(candidates).enumerate() {
            let first = number.wrapping_mul(4096);
            let hashes = (0..super::eweight(candidate)).map(|it| full_hash(first.wrapping_add(it)));
            self.points.extend(hashes.map(|it| (it, small(position))));
        }
        self.points.sort_unstable();
        self.starts = Starts::of(&self.points);
    }

    /// The servers of the points from the nearest one on, once around.
    fn around(&self, hash: u32) -> impl Iterator<Item = usize> {
        let next = self.starts.first_from(hash, &self.points);
        let len = self.points.len().max(1);
        let next = if next < len { next } else { 0 };
        let previous = next.checked_sub(1).unwrap_or(len - 1);
        let distance = |place: usize, is_before: bool| {
            let point = self.points.get(place).map_or(0, |it| it.0);
            if is_before { hash.wrapping_sub(point) } else { point.wrapping_sub(hash) }
        };
        let nearest =
            if distance(previous, true) <= distance(next, false) { previous } else { next };
        let (before, after) = self.points.split_at(nearest.min(self.points.len()));
        after.iter().chain(before).map(|it| it.1 as usize)
    }
}

/// Source: HAProxy `hash.h`, `full_hash`.
fn full_hash(number: u32) -> u32 {
    let mut a = number;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

fn upper_half(bits: u64) -> u32 {
    u32::try_from(bits >> 32).expect("half of 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{letters, pool, served, shares};

    #[test]
    fn a_hash_just_above_a_point_goes_back_to_it() {
        let points = vec![(100, 0), (200, 1)];
        let starts = Starts::of(&points);
        let ring = NumberedRing { points, starts, fitted: Some(2) };
        let owner = |hash| ring.around(hash).next();
        assert_eq!([101, 150, 151, 200, 201].map(owner), [0, 0, 1, 1, 1].map(Some));
        assert_eq!([0, u32::MAX].map(owner), [Some(0), Some(0)]);
    }

    #[test]
    fn points_come_sixteen_to_a_weight() {
        let mut ring = NumberedRing::default();
        ring.fit(&pool("1 2"));
        let count = |it: u32| ring.points.iter().filter(|point| point.1 == it).count();
        assert_eq!([count(0), count(1)], [16, 32]);
    }

    fn owners(policy: &mut ConsistentHash, backends: &str) -> String {
        let candidates = pool(backends);
        let mut draw = SplitMix64::new(1);
        let mut pick = |key: u8| {
            policy.pick(&Request::at(Time::ZERO).with_key(&[key]), &candidates, &mut draw)
        };
        letters(&(0..60).map(&mut pick).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_keys_of_a_lost_server_move() {
        let mut policy = ConsistentHash::from_words(&[]).unwrap();
        let (before, after) = (owners(&mut policy, "1 1 1"), owners(&mut policy, "1 !1 1"));
        assert!(before.contains('b') && !after.contains('b'));
        let stays = |(before, after): (u8, u8)| before == b'b' || before == after;
        assert!(before.bytes().zip(after.bytes()).all(stays), "{before} {after}");
    }

    #[test]
    fn a_full_server_is_passed_over() {
        let mut policy = ConsistentHash::from_words(&["factor=125"]).unwrap();
        assert!(owners(&mut policy, "1:5 1:5 1:5").contains('b'));
        assert!(!owners(&mut policy, "1:5 1:9 1:5").contains('b'));
    }

    #[test]
    fn places_are_shared_out_to_the_last() {
        let mut policy = ConsistentHash::from_words(&["factor=125"]).unwrap();
        policy.share_out(125, &pool("1:25 1:25 1:25 1:24"));
        assert_eq!(policy.slots, [31, 31, 31, 32]);
        policy.share_out(125, &pool("2:3 !1:9 1:0"));
        assert_eq!(policy.slots, [3, 0, 2]);
        policy.share_out(125, &pool("1:0 1:0 1:0 1:0"));
        assert_eq!(policy.slots, [1, 1, 1, 1]);
    }

    #[test]
    fn draws_prefer_the_less_loaded_and_then_the_less_picked() {
        let mut policy = RingRandom::from_words(&["draws=20"]).unwrap();
        let picks = served(&mut policy, &pool("1:1 1:0 1:1"), &"x".repeat(2000));
        assert!(shares(&picks, 3)[1] > 0.9, "{:?}", shares(&picks, 3));
        let mut policy = RingRandom::from_words(&["draws=20"]).unwrap();
        let picks = served(&mut policy, &pool("1:0 1:0 1:0"), &"x".repeat(6000));
        assert!(shares(&picks, 3).iter().all(|it| (it - 1.0 / 3.0).abs() < 0.01));
    }

    #[test]
    fn a_rate_fades_over_the_second_that_follows() {
        let mut rate = Rate::default();
        (0..10).for_each(|_| rate.count(Time::from_secs(5)));
        let at = |milliseconds: u64| rate.at(Time::from_nanos(milliseconds * 1_000_000));
        assert_eq!([5000, 5999, 6000, 6500, 7000].map(at), [10, 10, 10, 5, 0]);
    }
}
