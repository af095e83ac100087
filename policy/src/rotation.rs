//! How does round robin find whose turn it is among thousands, without asking each?

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::Candidate;
use crate::round_robin::Turn;

/// Those who share turns, as [`crate::RoundRobin`] gives them one by one.
///
/// Candidates of one weight gain the same with each turn, so their order stays; what all of them
/// have gained is kept once. Only those who have lost weight by failures are asked one by one, until
/// they have it back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rotation {
    classes: Vec<Class>,
    /// Those who have lost weight.
    recovering: Vec<usize>,
}

/// Members of equal weight.
#[derive(Clone, Debug)]
struct Class {
    weight: u32,
    /// What each member has gained here since the class began.
    gained: i64,
    /// The current weight of each less `gained`, most first, and its position.
    order: BTreeSet<(Reverse<i64>, usize)>,
}

/// Where a candidate stands in the rotation it takes part in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Place {
    /// In none.
    #[default]
    Out,
    /// In the class of this weight; its current weight lacks what the class has gained.
    Class(u32),
    /// Among those who have lost weight.
    Recovering,
}

/// Beyond this, what a class has gained is handed out, long before it could overflow.
const MOST_GAINED: i64 = i64::MAX / 8;

impl Rotation {
    /// How many take part.
    pub(crate) fn len(&self) -> usize {
        self.recovering.len() + self.classes.iter().map(|it| it.order.len()).sum::<usize>()
    }

    /// The first who takes part, the only one where there is no other.
    pub(crate) fn first(&self) -> Option<usize> {
        let first = self.classes.iter().find_map(|it| it.order.first()).map(|(_, it)| *it);
        first.or_else(|| self.recovering.first().copied())
    }

    /// Lets a candidate take part.
    pub(crate) fn add(&mut self, turns: &mut [Turn], position: usize, weight: u32) {
        let turn = &mut turns[position];
        if !turn.is_whole() {
            turn.place = Place::Recovering;
            self.recovering.push(position);
            return;
        }
        let known = self.classes.iter().position(|it| it.weight == weight);
        let at = known.unwrap_or_else(|| {
            self.classes.push(Class { weight, gained: 0, order: BTreeSet::new() });
            self.classes.len() - 1
        });
        let class = &mut self.classes[at];
        turn.place = Place::Class(weight);
        turn.current -= class.gained;
        class.order.insert((Reverse(turn.current), position));
    }

    /// Lets a candidate take part no more; it keeps what it has gained.
    pub(crate) fn remove(&mut self, turns: &mut [Turn], position: usize) {
        let turn = &mut turns[position];
        match std::mem::take(&mut turn.place) {
            Place::Out => {}
            Place::Recovering => self.recovering.retain(|it| *it != position),
            Place::Class(weight) => {
                if let Some(class) = self.classes.iter_mut().find(|it| it.weight == weight) {
                    class.order.remove(&(Reverse(turn.current), position));
                    turn.current += class.gained;
                }
            }
        }
    }

    /// Puts one that has failed with those who have lost weight.
    pub(crate) fn charge(&mut self, turns: &mut [Turn], position: usize) {
        if let Some(Place::Class(weight)) = turns.get(position).map(|it| it.place) {
            self.remove(turns, position);
            self.add(turns, position, weight);
        }
    }

    /// Everybody leaves.
    pub(crate) fn dissolve(&mut self, turns: &mut [Turn]) {
        for class in &mut self.classes {
            class.hand_out(turns);
        }
        for (_, position) in self.classes.drain(..).flat_map(|it| it.order) {
            turns[position].place = Place::Out;
        }
        for position in self.recovering.drain(..) {
            turns[position].place = Place::Out;
        }
    }

    /// The current weight of a candidate, whether it takes part or not.
    pub(crate) fn current(&self, turns: &[Turn], position: usize) -> i64 {
        let Turn { current, place, .. } = turns[position];
        let class = self.classes.iter().find(|it| place == Place::Class(it.weight));
        current + class.map_or(0, |it| it.gained)
    }

    /// One turn: everybody gains, the one with most pays for all; the first of equals.
    pub(crate) fn turn(&mut self, turns: &mut [Turn], candidates: &[Candidate]) -> Option<usize> {
        let total = self.gain(turns, candidates);
        let top = |it: &Class| {
            let (Reverse(current), position) = *it.order.first()?;
            Some((current + it.gained, Reverse(position)))
        };
        let recovering = self.recovering.iter().map(|it| (turns[*it].current, Reverse(*it)));
        let (_, Reverse(picked)) = self.classes.iter().filter_map(top).chain(recovering).max()?;
        self.pay(turns, candidates, picked, total);
        Some(picked)
    }

    /// Everybody gains; the sum of it.
    pub(crate) fn gain(&mut self, turns: &mut [Turn], candidates: &[Candidate]) -> i64 {
        let mut total = 0;
        for class in &mut self.classes {
            class.gained += i64::from(class.weight);
            let members = i64::try_from(class.order.len()).unwrap_or(i64::MAX);
            total += i64::from(class.weight) * members;
            if MOST_GAINED < class.gained {
                class.hand_out(turns);
            }
        }
        total + self.recovering.iter().map(|it| turns[*it].join(&candidates[*it])).sum::<i64>()
    }

    /// One pays for all. Those who have their whole weight back join the others of that weight.
    pub(crate) fn pay(
        &mut self,
        turns: &mut [Turn],
        candidates: &[Candidate],
        position: usize,
        total: i64,
    ) {
        let weight = |it: usize| candidates[it].weight.get();
        let is_member = turns[position].place != Place::Out;
        if is_member {
            self.remove(turns, position);
        }
        turns[position].current -= total;
        if is_member {
            self.add(turns, position, weight(position));
        }
        let mut at = 0;
        while let Some(position) = self.recovering.get(at).copied() {
            if turns[position].is_whole() {
                self.recovering.swap_remove(at);
                self.add(turns, position, weight(position));
            } else {
                at += 1;
            }
        }
    }
}

impl Class {
    fn hand_out(&mut self, turns: &mut [Turn]) {
        let members = std::mem::take(&mut self.order);
        for (_, position) in members {
            turns[position].current += self.gained;
            self.order.insert((Reverse(turns[position].current), position));
        }
        self.gained = 0;
    }
}
