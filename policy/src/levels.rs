//! Which of many candidates has least, and which of several equals is drawn?

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::{Candidate, Draw};

/// A load over what bears it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotient {
    pub(crate) over: u64,
    pub(crate) under: u32,
}

impl Ord for Quotient {
    /// Exactly, by multiplying crosswise.
    fn cmp(&self, other: &Self) -> Ordering {
        let cross = |a: &Self, b: &Self| u128::from(a.over) * u128::from(b.under);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl PartialOrd for Quotient {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Quotient {}

impl PartialEq for Quotient {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

/// One of several positions by one uniform draw, which is left out where there is no choice.
pub(crate) fn one_of(positions: &[usize], draw: &mut dyn Draw) -> Option<usize> {
    positions.get(drawn(positions.len(), draw)).copied()
}

/// Candidates whose changes are told, by their load.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    levels: BTreeMap<Quotient, Members>,
}

impl Levels {
    /// Those of a list who are eligible.
    pub(crate) fn of(candidates: &[Candidate], load: impl Fn(&Candidate) -> Quotient) -> Self {
        let mut levels = Self::default();
        for position in crate::round_robin::eligible(candidates) {
            levels.enter(load(&candidates[position]), position);
        }
        levels
    }

    /// Takes note of a change, see [`crate::Policy::changed`].
    pub(crate) fn moved(
        &mut self,
        position: usize,
        before: &Candidate,
        after: &Candidate,
        load: impl Fn(&Candidate) -> Quotient,
    ) {
        if before.eligible {
            self.leave(load(before), position);
        }
        if after.eligible {
            self.enter(load(after), position);
        }
    }

    fn enter(&mut self, load: Quotient, position: usize) {
        self.levels.entry(load).or_default().insert(position);
    }

    fn leave(&mut self, load: Quotient, position: usize) {
        let Some(level) = self.levels.get_mut(&load) else { return };
        level.remove(position);
        if level.len == 0 {
            self.levels.remove(&load);
        }
    }

    /// [`one_of`] those who have least.
    pub(crate) fn least(&self, draw: &mut dyn Draw) -> Option<usize> {
        let (_, level) = self.levels.first_key_value()?;
        level.nth(drawn(level.len, draw))
    }
}

/// A number below `count`; nothing is drawn where there is no choice.
fn drawn(count: usize, draw: &mut dyn Draw) -> usize {
    match count {
        0 | 1 => 0,
        _ => usize::try_from(draw.below(count as u64)).unwrap_or_default(),
    }
}

/// A set of positions, a bit for each up to the last; the `n`th is found by counting bits.
#[derive(Debug, Default)]
struct Members {
    words: Vec<u64>,
    len: usize,
}

impl Members {
    fn insert(&mut self, position: usize) {
        let (word, bit) = (position / 64, 1 << (position % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.len += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    fn remove(&mut self, position: usize) {
        let Some(word) = self.words.get_mut(position / 64) else { return };
        let bit = 1 << (position % 64);
        self.len -= usize::from(*word & bit != 0);
        *word &= !bit;
    }

    fn nth(&self, mut n: usize) -> Option<usize> {
        for (at, word) in self.words.iter().enumerate() {
            let ones = word.count_ones() as usize;
            if ones <= n {
                n -= ones;
                continue;
            }
            let mut word = *word;
            for _ in 0..n {
                word &= word - 1;
            }
            return Some(at * 64 + word.trailing_zeros() as usize);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_counted_from_the_first_position() {
        let mut members = Members::default();
        for position in [700, 3, 64, 63, 3] {
            members.insert(position);
        }
        members.remove(63);
        members.remove(9999);
        assert_eq!([0, 1, 2, 3].map(|it| members.nth(it)), [Some(3), Some(64), Some(700), None]);
        assert_eq!(members.len, 3);
    }

    #[test]
    fn quotients_order_without_rounding() {
        let quotient = |over, under| Quotient { over, under };
        assert_eq!(quotient(2, 4), quotient(1, 2));
        assert!(quotient(u64::MAX - 1, u32::MAX) < quotient(u64::MAX, u32::MAX));
        assert!(quotient(1, u32::MAX) < quotient(u64::MAX, 1));
    }
}
