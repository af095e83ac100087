//! Which server does a key belong to, so that no more keys move than must?

use std::num::NonZeroU32;

use crate::digest::{Word, xxh64};
use crate::slots::Slots;
use crate::{Candidate, Draw, Event, Policy, Request, RoundRobin, Time};

/// Each server scores the key, the highest score of an eligible one wins: `-weight / ln(hash)`.
///
/// A lost server's keys spread over all others by weight and no other key moves. The order of the
/// list does not matter. An empty key, or none, is round robin.
///
/// Source: D. Thaler, C. Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996; weights as
/// in J. Resch, "New Hashing Algorithms for Data Storage", 2015. One pass over the candidates and a
/// logarithm for the few that could win, no allocation; where it [follows](Policy::follow) them, the pass
/// is over nothing but their digests.
#[derive(Debug, Default)]
pub struct Rendezvous {
    fallback: RoundRobin,
    following: Option<Following>,
}

impl Policy for Rendezvous {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let key = request.key.unwrap_or_default();
        if key.is_empty() {
            return self.fallback.pick(request, candidates, draw);
        }
        self.fallback.fit(candidates.len());
        let key = Word::new(xxh64(key, 0));
        let mut best = Best::default();
        if let Some(following) = &self.following {
            following.classes.iter().for_each(|it| it.compete(key, &mut best));
            return best.position;
        }
        for position in crate::round_robin::eligible(candidates) {
            let Candidate { weight, identity, .. } = &candidates[position];
            let digest = key.digest(identity.address);
            if best.may_reach(*weight, digest) {
                best.meet(position, score(*weight, digest));
            }
        }
        best.position
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.fallback.relist(from);
        self.following = None;
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        let mut following = Following::default();
        following.places.fit(candidates.len());
        for position in crate::round_robin::eligible(candidates) {
            following.enter(position, &candidates[position]);
        }
        self.following = Some(following);
    }

    fn changed(&mut self, position: usize, before: &Candidate, after: &Candidate) {
        let Some(following) = &mut self.following else { return };
        if (before.eligible, before.weight) == (after.eligible, after.weight) {
            return;
        }
        if before.eligible {
            following.leave(position);
        }
        if after.eligible {
            following.enter(position, after);
        }
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

/// What is taken of a digest, between 0 and 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits of the digest are all that is taken")]
fn unit(digest: u64) -> f64 {
    ((digest >> 11) as f64 + 0.5) / UNITS
}

fn score(weight: NonZeroU32, digest: u64) -> f64 {
    -f64::from(weight.get()) / unit(digest).ln()
}

/// 2^53.
const UNITS: f64 = 9_007_199_254_740_992.0;

/// More than all that rounding may add to a score.
const ROUNDING: f64 = 1e-9;

/// Digests that differ by more have scores that differ, for one weight.
fn step(digest: u64) -> u64 {
    (digest >> 40) + (1 << 12)
}

/// The highest score so far.
#[derive(Debug, Default)]
struct Best {
    score: f64,
    position: Option<usize>,
}

impl Best {
    /// Whether a candidate may reach the score, by the first terms of `-ln(1 - x)`.
    fn may_reach(&self, weight: NonZeroU32, digest: u64) -> bool {
        let x = 1.0 - unit(digest);
        let terms = x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 3.0)));
        self.score * terms <= f64::from(weight.get()) * (1.0 + ROUNDING)
    }

    /// The least digest with which a candidate of this weight may reach the score, by the first of these
    /// terms: it is nearly all where the digests of winners are.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast to u64 ends at its range"
    )]
    fn bound(&self, weight: NonZeroU32) -> u64 {
        let room = f64::from(weight.get()) * (1.0 + ROUNDING) / self.score.max(0.0);
        (((1.0 - room) * UNITS - 4.0) as u64) << 11
    }

    /// Of equals the first of the list stays.
    fn meet(&mut self, position: usize, score: f64) {
        let is_better = self
            .position
            .is_none_or(|best| self.score.total_cmp(&score).then(position.cmp(&best)).is_lt());
        if is_better {
            *self = Self { score, position: Some(position) };
        }
    }
}

/// Those eligible of candidates whose changes are told.
#[derive(Debug, Default)]
struct Following {
    classes: Vec<Class>,
    /// Class and place in it.
    places: Slots<(usize, usize)>,
}

/// Candidates of one weight.
#[derive(Debug)]
struct Class {
    weight: NonZeroU32,
    /// Digests of their addresses, close together for the pass over all of them.
    seeds: Vec<u64>,
    positions: Vec<usize>,
}

impl Class {
    /// Has all of them compete. Of one weight the highest digest wins, so few take a logarithm.
    fn compete(&self, key: Word, best: &mut Best) {
        let mut bound = best.bound(self.weight);
        let mut top: Option<(u64, usize)> = None;
        for (seed, position) in self.seeds.iter().zip(&self.positions) {
            let digest = key.digest(*seed);
            if digest < bound {
                continue;
            }
            let this = (digest, *position);
            let other = top.unwrap_or(this);
            let (low, high) = if other < this { (other, this) } else { (this, other) };
            if low != high && high.0 - low.0 <= step(high.0) {
                best.meet(low.1, score(self.weight, low.0));
            }
            top = Some(high);
            bound = bound.max(high.0.saturating_sub(step(high.0)));
        }
        if let Some((digest, position)) = top {
            best.meet(position, score(self.weight, digest));
        }
    }
}

impl Following {
    fn enter(&mut self, position: usize, candidate: &Candidate) {
        let Candidate { weight, identity, .. } = candidate;
        let known = self.classes.iter().position(|it| it.weight == *weight);
        // Weights that nobody has any more make room for others.
        let unused = || self.classes.iter().position(|it| it.seeds.is_empty());
        let at = known.or_else(unused).unwrap_or_else(|| {
            let (seeds, positions) = (Vec::new(), Vec::new());
            self.classes.push(Class { weight: *weight, seeds, positions });
            self.classes.len() - 1
        });
        let class = &mut self.classes[at];
        class.weight = *weight;
        self.places[position] = (at, class.seeds.len());
        class.seeds.push(identity.address);
        class.positions.push(position);
    }

    fn leave(&mut self, position: usize) {
        let (class, place) = self.places[position];
        let class = &mut self.classes[class];
        class.seeds.swap_remove(place);
        class.positions.swap_remove(place);
        if let Some(moved) = class.positions.get(place) {
            self.places[*moved].1 = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{named, shares};

    fn picks(candidates: &[Candidate]) -> Vec<Option<usize>> {
        let (mut policy, mut draw) = (Rendezvous::default(), SplitMix64::new(1));
        let mut pick = |key: u32| {
            let key = key.to_le_bytes();
            policy.pick(&Request::at(Time::ZERO).with_key(&key), candidates, &mut draw)
        };
        (0..20_000).map(&mut pick).collect()
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let shares = shares(&picks(&named("1 2 3")), 3);
        for (share, expected) in shares.iter().zip([1.0, 2.0, 3.0]) {
            assert!((share - expected / 6.0).abs() < 0.01, "{shares:?}");
        }
    }

    #[test]
    fn only_the_keys_of_a_lost_server_move() {
        let (before, after) = (picks(&named("1 2 3")), picks(&named("1 !2 3")));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().count() > 0);
        assert!(moved.into_iter().all(|(before, _)| *before == Some(1)));
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let mut turned = named("1 2 3");
        turned.reverse();
        let straight = picks(&named("1 2 3"));
        assert!(straight.iter().zip(picks(&turned)).all(|(a, b)| Some(2 - a.unwrap()) == b));
    }

    /// Scores all, as the rule says.
    fn search(key: u64, candidates: &[Candidate]) -> Option<usize> {
        let digest = xxh64(&key.to_le_bytes(), 0).to_le_bytes();
        let score = |it: &usize| {
            let Candidate { weight, identity, .. } = candidates[*it];
            score(weight, xxh64(&digest, identity.address))
        };
        let eligible = crate::round_robin::eligible(candidates);
        eligible.min_by(|a, b| score(b).total_cmp(&score(a)))
    }

    #[test]
    fn whoever_gets_no_logarithm_would_not_have_won() {
        let mut draw = SplitMix64::new(5);
        for len in [1, 2, 5, 40, 300] {
            let weights: Vec<String> = (0..len).map(|_| (1 + draw.below(4)).to_string()).collect();
            let mut candidates = named(&weights.join(" "));
            // Two with one name have one score.
            candidates[len - 1].identity = candidates[len / 2].identity;
            let (mut plain, mut follows) = (Rendezvous::default(), Rendezvous::default());
            follows.follow(&candidates);
            for _ in 0..1_000 {
                let at = usize::try_from(draw.below(len as u64)).unwrap();
                let before = candidates[at];
                let weight = 1 + u32::try_from(draw.below(9)).unwrap();
                candidates[at].weight = NonZeroU32::new(weight).unwrap();
                candidates[at].eligible = 0 < draw.below(4);
                follows.changed(at, &before, &candidates[at]);
                let key = draw.bits();
                let bytes = key.to_le_bytes();
                let request = Request::at(Time::ZERO).with_key(&bytes);
                let expected = search(key, &candidates);
                assert_eq!(plain.pick(&request, &candidates, &mut draw), expected);
                assert_eq!(follows.pick(&request, &candidates, &mut draw), expected);
            }
        }
    }
}
