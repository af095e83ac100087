//! Which server does a key belong to, in one step and with almost even shares?

use crate::digest::xxh64;
use crate::options::Options;
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

/// A table of servers, filled by each in turn as its own permutation of the table says.
///
/// A heavier server takes more turns. The order of the list does not matter: servers are sorted by
/// address. An entry whose server is not eligible hands its keys to the next entry; an empty key, or
/// none, is round robin.
///
/// Source: D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
/// 2016, section 3.4; weights as in Envoy `maglev_lb.cc`. The second hash of an address is taken from
/// its first. One step for a key, no allocation; building takes `table * ln(table)` steps.
#[derive(Debug)]
pub struct Maglev {
    /// A prime, so that every permutation reaches every entry.
    size: u32,
    /// Positions of the servers; empty before the first pick from a list.
    table: Vec<usize>,
    /// Length of the list this was made from.
    fitted: Option<usize>,
    fallback: RoundRobin,
}

impl Maglev {
    /// Reads `table=65537`, which is also the default: a prime up to 5000011.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let size = Options::new(words, &["table"])?.value("table", 65_537, |it| {
            it.parse().ok().filter(|it| (2..=5_000_011).contains(it) && is_prime(*it))
        })?;
        Ok(Self { size, table: Vec::new(), fitted: None, fallback: RoundRobin::default() })
    }

    fn fit(&mut self, candidates: &[Candidate]) {
        if self.fitted != Some(candidates.len()) {
            self.table = filled(self.size, candidates);
            self.fitted = Some(candidates.len());
        }
    }
}

impl Policy for Maglev {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let key = request.key.unwrap_or_default();
        self.fallback.fit(candidates.len());
        if !key.is_empty() && candidates.iter().any(|it| it.eligible) {
            self.fit(candidates);
            let entry = xxh64(key, 0) % u64::from(self.size);
            let entry = usize::try_from(entry).expect("a table is shorter than 2^32 entries");
            let (before, after) = self.table.split_at(entry);
            let found = after.iter().chain(before).find(|it| candidates[**it].eligible);
            if let Some(found) = found {
                return Some(*found);
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

/// One server while the table is filled.
struct Filler {
    position: usize,
    address: u64,
    weight: u64,
    /// What its turns so far are worth; it waits until its weight has caught up.
    target: u64,
    next: u64,
    skip: u64,
}

fn filled(size: u32, candidates: &[Candidate]) -> Vec<usize> {
    let entries = u64::from(size);
    let filler = |(position, candidate): (usize, &Candidate)| {
        let address = candidate.identity.address;
        let skip = xxh64(&address.to_le_bytes(), 1) % (entries - 1) + 1;
        let weight = u64::from(candidate.weight.get());
        Filler { position, address, weight, target: 0, next: address % entries, skip }
    };
    let mut fillers = candidates.iter().enumerate().map(filler).collect::<Vec<_>>();
    fillers.sort_by_key(|it| (it.address, it.position));
    let heaviest = fillers.iter().map(|it| it.weight).max().unwrap_or(1);

    let mut table = vec![None; usize::try_from(size).expect("a table fits in memory")];
    let mut free = if fillers.is_empty() { 0 } else { table.len() };
    let mut round = 0;
    while 0 < free {
        round += 1;
        for filler in &mut fillers {
            if free == 0 || round * filler.weight < filler.target {
                continue;
            }
            filler.target += heaviest;
            loop {
                let entry = usize::try_from(filler.next).expect("an entry is below the size");
                filler.next = (filler.next + filler.skip) % entries;
                if table[entry].is_none() {
                    table[entry] = Some(filler.position);
                    break;
                }
            }
            free -= 1;
        }
    }
    table.into_iter().flatten().collect()
}

fn is_prime(number: u32) -> bool {
    2 <= number && (2..=number.isqrt()).all(|it| !number.is_multiple_of(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{letters, named};
    use crate::{Identity, SplitMix64};

    const SIZE: u32 = 65_537;

    fn counts(candidates: &[Candidate]) -> Vec<usize> {
        let table = filled(SIZE, candidates);
        (0..candidates.len()).map(|it| table.iter().filter(|owner| **owner == it).count()).collect()
    }

    fn many(len: usize) -> Vec<Candidate> {
        named(&"1 ".repeat(len))
    }

    #[test]
    fn shares_are_even_to_one_entry() {
        for len in [3, 10, 100] {
            let fair = 65_537 / len;
            let counts = counts(&many(len));
            assert!(counts.iter().all(|it| *it == fair || *it == fair + 1), "{counts:?}");
        }
    }

    #[test]
    fn a_server_of_double_weight_has_two_thirds_of_the_table() {
        assert_eq!(counts(&named("1 2")), [21_846, 43_691]);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let straight = many(5);
        let turned = straight.iter().rev().copied().collect::<Vec<_>>();
        let turned = filled(SIZE, &turned).iter().map(|it| 4 - it).collect::<Vec<_>>();
        assert_eq!(filled(SIZE, &straight), turned);
    }

    /// Of a hundred servers 1.579 % are known to move. Of ten it is 10.22 %, from tables filled by drawn
    /// permutations; the list on which 14.546 % were found is not known.
    #[test]
    fn few_keys_of_the_others_move_when_a_server_leaves() {
        for (len, known) in [(10, 0.102_2), (100, 0.015_79)] {
            let all = many(len);
            let before = filled(SIZE, &all);
            let moved = |lost: usize| {
                let rest = [&all[..lost], &all[lost + 1..]].concat();
                let after = filled(SIZE, &rest);
                let place = |it: usize| if it < lost { it } else { it + 1 };
                before.iter().zip(&after).filter(|(a, b)| **a != place(**b)).count()
            };
            let moved = u32::try_from((0..10).map(moved).sum::<usize>()).unwrap();
            let share = f64::from(moved) / f64::from(SIZE) / 10.0;
            let off = (share / known - 1.0).abs();
            assert!(off < 0.05, "{share:.5} of {len}, known is {known}");
        }
    }

    fn picked(policy: &mut Maglev, candidates: &[Candidate], keys: &str) -> String {
        let mut draw = SplitMix64::new(1);
        let mut serve = |key: &str| {
            let request = Request::at(Time::ZERO).with_key(key.as_bytes());
            policy.pick(&request, candidates, &mut draw)
        };
        letters(&keys.split(' ').map(&mut serve).collect::<Vec<_>>())
    }

    #[test]
    fn an_unusable_server_hands_its_keys_on_and_keeps_the_others() {
        let mut policy = Maglev::from_words(&[]).unwrap();
        let keys = "a b c d e f g h i j k l m n o p";
        let before = picked(&mut policy, &named("1 1 1"), keys);
        let after = picked(&mut policy, &named("1 !1 1"), keys);
        assert!(before.contains('b') && !after.contains('b'), "{before} {after}");
        let stayed = before.bytes().zip(after.bytes()).filter(|(it, _)| *it != b'b');
        assert!(stayed.into_iter().all(|(before, after)| before == after), "{before} {after}");
    }

    #[test]
    fn an_empty_key_takes_turns() {
        assert_eq!(picked(&mut Maglev::from_words(&[]).unwrap(), &named("1 1 1"), "   "), "abca");
    }

    #[test]
    fn more_servers_than_entries_leave_some_without_keys() {
        let mut policy = Maglev::from_words(&["table=2"]).unwrap();
        let only_one = |it: usize| {
            let mut candidates = many(3);
            for (position, candidate) in candidates.iter_mut().enumerate() {
                candidate.eligible = position == it;
            }
            candidates
        };
        let served = [0, 1, 2].map(|it| picked(&mut policy, &only_one(it), "key"));
        assert_eq!(served, ["a", "b", "c"]);
    }

    #[test]
    fn servers_without_a_name_share_evenly_all_the_same() {
        let mut candidates = many(3);
        for it in &mut candidates {
            it.identity = Identity::NONE;
        }
        assert_eq!(counts(&candidates), [21_846, 21_846, 21_845]);
    }

    #[test]
    fn a_table_is_a_prime_not_above_the_limit() {
        let size = |word: &str| Maglev::from_words(&[word]).map(|it| it.size);
        assert_eq!(size("table=7"), Ok(7));
        assert_eq!(size("table=5000011"), Ok(5_000_011));
        for refused in ["table=65536", "table=0", "table=1", "table=5000077", "table=x"] {
            assert_eq!(size(refused), Err(Refusal { word: 0 }), "{refused}");
        }
    }
}
