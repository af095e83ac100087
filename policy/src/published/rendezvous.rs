//! Which server does a key belong to, so that no more keys move than must?

use std::hint::select_unpredictable;

use self::following::Following;
use self::score::{Best, is_clear, score, shortfall};
use crate::digest::{Mixer, xxh64};
use crate::{Candidate, Draw, Event, Policy, Request, RoundRobin, Time};

mod following;
mod score;

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
        let key = Mixer::new(xxh64(key, 0));
        match &self.following {
            Some(following) => following.best(key),
            None => best(key, candidates),
        }
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.fallback.relist(from);
        self.following = None;
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.following = Some(Following::of(candidates));
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

/// The eligible candidate with the highest score, of equals the first.
///
/// Nobody can foretell who is better than all before, so the pass has no branch on it.
fn best(key: Mixer, candidates: &[Candidate]) -> Option<usize> {
    let mut eligible = candidates.iter().enumerate().filter(|(_, it)| it.eligible);
    let digest = |it: &Candidate| key.mix(it.identity.address);
    let (mut leader, first) = eligible.next()?;
    let (mut least, mut second) = (shortfall(first.weight, digest(first)), f64::INFINITY);
    for (position, it) in eligible {
        let this = shortfall(it.weight, digest(it));
        let is_less = this < least;
        let more = if is_less { least } else { this };
        second = if more < second { more } else { second };
        least = if is_less { this } else { least };
        leader = select_unpredictable(is_less, position, leader);
    }
    let Candidate { weight, .. } = candidates[leader];
    let highest = digest(&candidates[leader]);
    if is_clear(weight, highest, second) {
        return Some(leader);
    }
    let mut best = Best::default();
    best.meet(leader, score(weight, highest));
    for position in crate::round_robin::eligible(candidates) {
        let (weight, digest) = (candidates[position].weight, digest(&candidates[position]));
        if best.may_reach(weight, digest) {
            best.meet(position, score(weight, digest));
        }
    }
    best.position
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

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

    /// Checks that counts are within four standard deviations of what is expected.
    #[track_caller]
    fn check_chance(counts: &[(f64, f64)]) {
        let far = counts.iter().map(|(count, expected)| (count - expected).powi(2) / expected);
        let chi_square = far.sum::<f64>();
        let expected = f64::from(u32::try_from(counts.len()).unwrap());
        assert!(chi_square < expected + 4.0 * (2.0 * expected).sqrt(), "{chi_square}: {counts:?}");
    }

    /// The keys are consecutive numbers: nothing could be more alike.
    #[test]
    #[expect(clippy::cast_precision_loss, reason = "there are far less than 2^52 keys")]
    fn the_keys_of_each_lost_server_are_shared_by_weight() {
        for backends in ["1 1 1 1 1 1 1 1 1 1", "1 2 3 1 2 3 1 2 3 1", "1 9 1 1 30"] {
            let all = named(backends);
            let shared = |picks: &[Option<usize>], among: &[Candidate]| -> Vec<(f64, f64)> {
                let weight = |it: &Candidate| f64::from(u32::from(it.eligible) * it.weight.get());
                let total = among.iter().map(weight).sum::<f64>();
                let found = shares(picks, among.len()).into_iter().zip(among);
                let found = found.filter(|(_, it)| it.eligible);
                let scale = picks.len() as f64;
                found.map(|(share, it)| (scale * share, scale * weight(it) / total)).collect()
            };
            let before = picks(&all);
            check_chance(&shared(&before, &all));
            let mut moved = Vec::new();
            for lost in 0..all.len() {
                let mut rest = all.clone();
                rest[lost].eligible = false;
                let after = before.iter().zip(picks(&rest)).filter(|it| *it.0 == Some(lost));
                moved.extend(shared(&after.map(|it| it.1).collect::<Vec<_>>(), &rest));
            }
            check_chance(&moved);
        }
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
        let key = Mixer::new(xxh64(&key.to_le_bytes(), 0));
        let score = |it: &usize| {
            let Candidate { weight, identity, .. } = candidates[*it];
            score(weight, key.mix(identity.address))
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
            // Two with one name have one score, if they have one weight.
            for at in (len / 2..len).skip(1).step_by(2) {
                candidates[at].identity = candidates[at - len / 2].identity;
            }
            let (mut plain, mut follows) = (Rendezvous::default(), Rendezvous::default());
            follows.follow(&candidates);
            for _ in 0..2_000 {
                let at = usize::try_from(draw.below(len as u64)).unwrap();
                let before = candidates[at];
                let weight = 1 + u32::try_from(draw.below(3)).unwrap();
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
