//! Which server does a key belong to, so that few keys move when the list changes?

use crate::digest::Crc32;
use crate::options::Options;
use crate::ring::Ring;
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

/// Ketama: each server has 160 points per weight on a ring, a key belongs to the next point.
///
/// Servers of one name share its points and take turns. From a point without an eligible server the
/// key goes on to the next point, more than 20 times is round robin; so is an empty key, or none.
///
/// Source: nginx `ngx_http_upstream_hash_module.c`, `ngx_http_upstream_get_chash_peer`; the 20 as in
/// [`crate::IpHash`]. A search among a few points, no allocation.
#[derive(Debug, Default)]
pub struct HashConsistent {
    ring: Ring,
    turns: RoundRobin,
}

impl Policy for HashConsistent {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let Self { ring, turns } = self;
        let key = request.key.unwrap_or_default();
        if 1 < candidates.len() && !key.is_empty() {
            ring.fit(candidates);
            turns.fit(candidates.len());
            for sharing in ring.around(Crc32::START.then(key).end()).take(POINTS) {
                let eligible = sharing.iter().copied().filter(|it| candidates[*it].eligible);
                if let Some(found) = turns.pick_among(candidates, eligible) {
                    return Some(found);
                }
            }
        }
        turns.pick(request, candidates, draw)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.ring.forget();
        self.turns.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.turns.learn(position, event, now);
    }
}

/// How many points are looked at before round robin takes over.
const POINTS: usize = 21;

/// Ketama with a limit: who has its share of all requests in progress `factor` times is passed over.
///
/// The limit is `ceil(factor * (total + 1) * weight / sum of weights)` over the eligible servers, so
/// that one of them is always below it. Servers of one name are passed over one by one.
///
/// Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", arXiv
/// 1608.01350, with nginx's ring. One pass over the candidates, no allocation; a look at a few where it
/// [follows](Policy::follow) them.
#[derive(Debug)]
pub struct BoundedHash {
    factor: f64,
    ring: Ring,
    fallback: RoundRobin,
    following: Option<Sums>,
}

/// What those who are eligible have together.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    in_flight: u64,
    weights: u64,
}

impl Sums {
    fn of(candidates: &[Candidate]) -> Self {
        candidates.iter().fold(Self::default(), Self::with)
    }

    fn with(self, it: &Candidate) -> Self {
        if !it.eligible {
            return self;
        }
        Self {
            in_flight: self.in_flight + u64::from(it.in_flight),
            weights: self.weights + u64::from(it.weight.get()),
        }
    }

    fn without(self, it: &Candidate) -> Self {
        let Self { in_flight, weights } = Self::default().with(it);
        Self { in_flight: self.in_flight - in_flight, weights: self.weights - weights }
    }
}

impl BoundedHash {
    /// Reads `bounded=FACTOR`, 1.25 if it is missing. The factor is above 1.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["bounded"])?;
        let factor = options.value("bounded", 1.25, |it| {
            it.parse().ok().filter(|it: &f64| 1.0 < *it && it.is_finite())
        })?;
        let (ring, fallback) = (Ring::default(), RoundRobin::default());
        Ok(Self { factor, ring, fallback, following: None })
    }

    #[expect(clippy::cast_precision_loss, reason = "loads and weights stay far below 2^52")]
    fn has_room(&self, sums: Sums, it: &Candidate) -> bool {
        let share = f64::from(it.weight.get()) / sums.weights as f64;
        // Whole numbers are below a limit exactly when they are below it rounded up.
        it.eligible && f64::from(it.in_flight) < self.factor * (sums.in_flight + 1) as f64 * share
    }
}

impl Policy for BoundedHash {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let key = request.key.unwrap_or_default();
        self.fallback.fit(candidates.len());
        if !key.is_empty() {
            self.ring.fit(candidates);
            let sums = self.following.unwrap_or_else(|| Sums::of(candidates));
            let around = self.ring.around(Crc32::START.then(key).end()).flatten().copied();
            if let Some(found) = around
                .take_while(|_| 0 < sums.weights)
                .find(|it| self.has_room(sums, &candidates[*it]))
            {
                return Some(found);
            }
        }
        self.fallback.pick(request, candidates, draw)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.ring.forget();
        self.fallback.relist(from);
        self.following = None;
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.following = Some(Sums::of(candidates));
    }

    fn changed(&mut self, _position: usize, before: &Candidate, after: &Candidate) {
        self.following = self.following.map(|it| it.without(before).with(after));
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, named};
    use crate::{Identity, SplitMix64};

    fn picked(policy: &mut dyn Policy, candidates: &[Candidate], keys: &str) -> String {
        let mut draw = SplitMix64::new(1);
        let mut serve = |key: &str| {
            let request = Request::at(Time::ZERO).with_key(key.as_bytes());
            policy.pick(&request, candidates, &mut draw)
        };
        letters(&keys.split(' ').map(&mut serve).collect::<Vec<_>>())
    }

    #[test]
    fn keys_of_a_lost_server_spread_and_the_others_stay() {
        let mut policy = HashConsistent::default();
        let keys = (0..100).map(|it| format!("key-{it}")).collect::<Vec<_>>().join(" ");
        let before = picked(&mut policy, &named("1 1 1"), &keys);
        let after = picked(&mut policy, &named("1 !1 1"), &keys);
        let stays = |(before, after): (u8, u8)| before == b'b' || before == after;
        assert!(before.contains('b') && before.bytes().zip(after.bytes()).all(stays));

        let mut without_b = named("1 1 1");
        without_b.remove(1);
        let alone = picked(&mut HashConsistent::default(), &without_b, &keys);
        assert_eq!(after, alone.replace('b', "c"));
    }

    #[test]
    fn servers_of_one_name_take_turns() {
        let mut candidates = named("1 1 1");
        candidates[1].identity = candidates[0].identity;
        candidates[2].identity = candidates[0].identity;
        assert_eq!(picked(&mut HashConsistent::default(), &candidates, "a a a a"), "abca");
    }

    #[test]
    fn the_ring_follows_a_new_list() {
        let mut policy = HashConsistent::default();
        picked(&mut policy, &named("1 1"), "a");
        policy.relist(&[Some(1), Some(0)]);
        let mut turned = named("1 1");
        turned.reverse();
        let straight = picked(&mut HashConsistent::default(), &named("1 1"), "a c e g 1 3 5");
        let swapped = straight.replace('a', "x").replace('b', "a").replace('x', "b");
        assert_eq!(picked(&mut policy, &turned, "a c e g 1 3 5"), swapped);
    }

    #[test]
    fn an_empty_key_takes_turns() {
        assert_eq!(picked(&mut HashConsistent::default(), &named("1 1 1"), "   "), "abca");
        assert_eq!(picked(&mut bounded(1.25), &named("1 1 1"), "   "), "abca");
    }

    fn bounded(factor: f64) -> BoundedHash {
        BoundedHash::from_words(&[&format!("bounded={factor}")]).unwrap()
    }

    #[test]
    fn a_full_server_is_passed_over_and_taken_again_when_there_is_room() {
        // The key "e" belongs to c. One in flight: ceil(1.25 * 2 / 3) = 1.
        assert_eq!(picked(&mut bounded(1.25), &named("1:0 1:0 1:0"), "e"), "c");
        assert_ne!(picked(&mut bounded(1.25), &named("1:0 1:0 1:1"), "e"), "c");
        assert_eq!(picked(&mut bounded(1.25), &named("1:1 1:1 1:1"), "e"), "c");
        assert_eq!(picked(&mut bounded(3.0), &named("1:0 1:0 1:1"), "e"), "c");
    }

    #[test]
    fn the_limit_is_the_share_times_the_factor_rounded_up() {
        let has_room = |backend: &str, in_flight: u64| {
            bounded(1.25).has_room(Sums { in_flight, weights: 4 }, &named(backend)[0])
        };
        assert_eq!(["1:31", "1:32"].map(|it| has_room(it, 100)), [true, false]);
        assert_eq!(["1:0", "1:1"].map(|it| has_room(it, 0)), [true, false]);
        assert_eq!(["1:9", "1:10"].map(|it| has_room(it, 31)), [true, false]);
    }

    #[test]
    fn a_factor_that_bounds_nothing_is_refused() {
        for word in ["bounded=1", "bounded=0.5", "bounded=inf", "bounded=", "bounded=x", "b=2"] {
            assert_eq!(
                BoundedHash::from_words(&[word]).unwrap_err(),
                Refusal { word: 0 },
                "{word}"
            );
        }
    }

    #[test]
    fn names_decide_and_addresses_do_not() {
        let mut other = named("1 1 1");
        for it in &mut other {
            it.identity.address = Identity::new("", "elsewhere").address;
        }
        assert_eq!(picked(&mut HashConsistent::default(), &other, "a e g"), "bca");
    }
}
