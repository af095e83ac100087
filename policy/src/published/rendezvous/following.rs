//! Whose score is highest of many whose changes are told?

use std::hint::select_unpredictable;
use std::num::NonZeroU32;

use super::score::{Best, score, step};
use crate::Candidate;
use crate::digest::Mixer;
use crate::slots::Slots;

/// Those eligible of candidates whose changes are told.
#[derive(Debug, Default)]
pub(super) struct Following {
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

impl Following {
    /// Those of a list.
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        let mut following = Self::default();
        following.places.fit(candidates.len());
        for position in crate::round_robin::eligible(candidates) {
            following.enter(position, &candidates[position]);
        }
        following
    }

    /// The one with the highest score, of equals the first.
    pub(super) fn best(&self, key: Mixer) -> Option<usize> {
        let mut best = Best::default();
        self.classes.iter().for_each(|it| it.compete(key, &mut best));
        best.position
    }

    /// Takes note of one that is eligible now.
    pub(super) fn enter(&mut self, position: usize, candidate: &Candidate) {
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

    /// Takes note of one that is not eligible any more.
    pub(super) fn leave(&mut self, position: usize) {
        let (class, place) = self.places[position];
        let class = &mut self.classes[class];
        class.seeds.swap_remove(place);
        class.positions.swap_remove(place);
        if let Some(moved) = class.positions.get(place) {
            self.places[*moved].1 = place;
        }
    }
}

/// Seeds that are looked at together.
const PART: usize = 16;

impl Class {
    /// Has all of them compete. Of one weight the highest digest wins, so few take a logarithm.
    ///
    /// The pass only learns in which part that is: who it is would be a branch for each.
    fn compete(&self, key: Mixer, best: &mut Best) {
        let (parts, rest) = self.seeds.as_chunks::<PART>();
        let (mut top, mut at) = (key.highest(rest), parts.len());
        let mut elsewhere = 0;
        for (number, part) in parts.iter().enumerate() {
            let here = key.highest(part);
            at = select_unpredictable(top < here, number, at);
            elsewhere = elsewhere.max(top.min(here));
            top = top.max(here);
        }
        if top < best.bound(self.weight) {
            return;
        }
        let near = top.saturating_sub(step(top));
        let len = self.seeds.len();
        let looked_at = match near <= elsewhere {
            true => 0..len,
            false => at * PART..len.min((at + 1) * PART),
        };
        for place in looked_at {
            let digest = key.mix(self.seeds[place]);
            if near <= digest {
                best.meet(self.positions[place], score(self.weight, digest));
            }
        }
    }
}
