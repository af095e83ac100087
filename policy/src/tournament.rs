//! Which of many keys is least, when one of them changes at a time?

/// Keys by slot, of which the least is known at once.
///
/// A winner tree: the lesser of two keys goes on to the next pair. A change costs one walk up, which
/// ends where nothing changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tournament {
    /// The lesser key of pair `i` stands in pair `i / 2`, on the right if `i` is odd; the least of all
    /// stands so in pair 0. The slots are the pairs of the second half.
    pairs: Vec<[u128; 2]>,
    free: Vec<u32>,
}

/// More than any key.
const VACANT: u128 = u128::MAX;

impl Tournament {
    /// The least key, `None` without any.
    pub(crate) fn least(&self) -> Option<u128> {
        self.pairs.first().map(|it| it[1]).filter(|it| *it != VACANT)
    }

    /// Puts a key in a slot of its own, which it keeps until it leaves.
    pub(crate) fn enter(&mut self, key: u128) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        self.set(slot, key);
        slot
    }

    /// Empties a slot.
    pub(crate) fn leave(&mut self, slot: u32) {
        self.set(slot, VACANT);
        self.free.push(slot);
    }

    /// Replaces the key of a slot.
    pub(crate) fn set(&mut self, slot: u32, mut key: u128) {
        let slot = self.pairs.len() + slot as usize;
        let (mut at, mut side) = (slot / 2, slot % 2);
        loop {
            let pair = &mut self.pairs[at];
            if pair[side] == key {
                return;
            }
            pair[side] = key;
            if at == 0 {
                return;
            }
            key = pair[0].min(pair[1]);
            (at, side) = (at / 2, at % 2);
        }
    }

    /// Slots and their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u128)> {
        let keys = self.pairs[self.pairs.len() / 2..].as_flattened();
        (0..).zip(keys.iter().copied()).filter(|it| it.1 != VACANT)
    }

    /// Doubles the slots and returns the first new one; the others are free.
    fn grow(&mut self) -> u32 {
        let known: Vec<(u32, u128)> = self.iter().collect();
        let (slots, len) = (self.pairs.len(), (2 * self.pairs.len()).max(2));
        self.pairs = vec![[VACANT; 2]; len];
        for (slot, key) in known {
            self.set(slot, key);
        }
        let slot = |it: usize| u32::try_from(it).expect("an upstream has fewer than 2^32 servers");
        self.free.extend((slots + 1..len).rev().map(slot));
        slot(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draw, SplitMix64};

    #[test]
    fn the_least_key_is_the_one_a_search_finds() {
        let (mut tree, mut keys) = (Tournament::default(), Vec::<(u32, u128)>::new());
        let mut draw = SplitMix64::new(1);
        for _ in 0..4_000 {
            let key = u128::from(draw.below(50));
            let place = usize::try_from(draw.below(40)).unwrap();
            match (draw.below(3), keys.get_mut(place)) {
                (0, Some(_)) => tree.leave(keys.swap_remove(place).0),
                (1, Some(known)) => {
                    known.1 = key;
                    tree.set(known.0, key);
                }
                _ => keys.push((tree.enter(key), key)),
            }
            assert_eq!(tree.least(), keys.iter().map(|it| it.1).min());
        }
        keys.sort_unstable();
        assert!(tree.iter().eq(keys));
    }
}
