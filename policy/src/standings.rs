//! Whose turn is it among those who cost least, while what they cost changes one by one?

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;

use crate::Event;
use crate::rotation::Rotation;
use crate::round_robin::Turn;
use crate::slots::Slots;

/// Candidates whose changes are told, by what a request costs on each; those of one cost take turns.
///
/// Who changes is only noted; the next pick, which knows the time, finds all of them their places.
#[derive(Debug)]
pub(crate) struct Standings<K> {
    /// Those who are eligible.
    levels: BTreeMap<K, Rotation>,
    /// The level and weight of each of them.
    places: Slots<Option<(K, u32)>>,
    /// Those whose place may be another since the last pick.
    stale: Vec<usize>,
    /// Those who have failed since the last pick.
    failed: Vec<usize>,
    /// Levels that are empty: whoever costs something else soon needs one again.
    spare: Vec<Rotation>,
}

/// Empty levels that are kept.
const SPARE: usize = 8;

impl<K: Copy + Ord> Standings<K> {
    /// All of a list; they find their places at the next pick.
    pub(crate) fn of(len: usize) -> Self {
        let mut places = Slots::default();
        places.fit(len);
        Self {
            levels: BTreeMap::new(),
            places,
            stale: (0..len).collect(),
            failed: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Everybody leaves.
    pub(crate) fn dissolve(self, turns: &mut [Turn]) {
        for (_, mut level) in self.levels {
            level.dissolve(turns);
        }
    }

    /// Takes note of a candidate that is, or costs, something else.
    pub(crate) fn touch(&mut self, position: usize) {
        if position < self.places.len() {
            self.stale.push(position);
        }
    }

    /// See [`crate::Policy::learn`].
    pub(crate) fn learn(&mut self, position: usize, event: Event) {
        self.touch(position);
        if let Event::Failure { .. } = event {
            self.failed.push(position);
        }
    }

    /// Finds a place for all who may need another: `place` is told a position and answers with cost and
    /// weight, `None` for who is not eligible.
    pub(crate) fn catch_up(
        &mut self,
        turns: &mut [Turn],
        mut place: impl FnMut(usize) -> Option<(K, u32)>,
    ) {
        while let Some(position) = self.stale.pop() {
            let after = place(position);
            let before = std::mem::replace(&mut self.places[position], after);
            if before == after {
                continue;
            }
            if let Some((level, _)) = before {
                self.leave(turns, position, level);
            }
            if let Some((level, weight)) = after {
                let spare = &mut self.spare;
                let level =
                    self.levels.entry(level).or_insert_with(|| spare.pop().unwrap_or_default());
                level.add(turns, position, weight, 0);
            }
        }
        for position in self.failed.drain(..) {
            let level = self.places.get(position).copied().flatten();
            if let Some(level) = level.and_then(|it| self.levels.get_mut(&it.0)) {
                level.charge(turns, position);
            }
        }
    }

    /// Those who cost least.
    pub(crate) fn first(&mut self) -> Option<&mut Rotation> {
        self.levels.first_entry().map(OccupiedEntry::into_mut)
    }

    fn leave(&mut self, turns: &mut [Turn], position: usize, level: K) {
        let Some(rotation) = self.levels.get_mut(&level) else { return };
        rotation.remove(turns, position);
        if rotation.is_empty()
            && let Some(rotation) = self.levels.remove(&level)
            && self.spare.len() < SPARE
        {
            self.spare.push(rotation);
        }
    }
}
