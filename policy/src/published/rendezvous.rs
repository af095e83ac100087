//! Which server does a key belong to, so that no more keys move than must?

use crate::digest::xxh64;
use crate::{Candidate, Draw, Event, Policy, Request, RoundRobin, Time};

/// Each server scores the key, the highest score of an eligible one wins: `-weight / ln(hash)`.
///
/// A lost server's keys spread over all others by weight and no other key moves. The order of the
/// list does not matter. An empty key, or none, is round robin.
///
/// Source: D. Thaler, C. Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996; weights as
/// in J. Resch, "New Hashing Algorithms for Data Storage", 2015. One pass over the candidates and a
/// logarithm for each, no allocation.
#[derive(Debug, Default)]
pub struct Rendezvous {
    fallback: RoundRobin,
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
        let digest = xxh64(key, 0);
        let score = |it: usize| score(digest, &candidates[it]);
        // The later of equals would win a maximum, the first shall.
        crate::round_robin::eligible(candidates)
            .map(|it| (it, score(it)))
            .min_by(|a, b| b.1.total_cmp(&a.1))
            .map(|it| it.0)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.fallback.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits of the hash are all that is taken")]
fn score(digest: u64, candidate: &Candidate) -> f64 {
    let hash = xxh64(&digest.to_le_bytes(), candidate.identity.address) >> 11;
    let unit = (hash as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(candidate.weight.get()) / unit.ln()
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
}
