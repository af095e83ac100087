//! How does round robin find whose turn it is among thousands, without asking each?

use crate::Candidate;
use crate::candidate::Load;
use crate::round_robin::Turn;
use crate::tournament::Tournament;

/// Those who share turns, as [`crate::RoundRobin`] gives them one by one.
///
/// A turn is among those with the least load for their weight, which are all where loads are 0.
/// Candidates of one weight and load gain the same with each turn, so their order stays; what all of
/// them have gained is kept once. Only those who have lost weight by failures are asked one by one,
/// until they have it back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rotation {
    classes: Vec<Class>,
    recovering: Vec<Recovering>,
    /// Whose key in its class lacks what it paid last: most who pay have another load right after.
    owes: Option<usize>,
}

/// Members of equal weight.
#[derive(Clone, Debug)]
struct Class {
    weight: u32,
    /// Those that have members, the least load first.
    levels: Vec<Level>,
    /// Members by load, then by current weight less what their level has gained, most first.
    order: Tournament,
}

/// Members of equal weight and load.
#[derive(Clone, Copy, Debug)]
struct Level {
    load: u32,
    members: i64,
    /// What each member has gained here since the level began.
    gained: i64,
}

/// One who has lost weight.
#[derive(Clone, Copy, Debug)]
struct Recovering {
    position: usize,
    weight: u32,
    load: u32,
}

/// Where a candidate stands in the rotation it takes part in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Place {
    /// In none.
    #[default]
    Out,
    /// In a class; its current weight lacks what those with its load have gained.
    Class { class: u32, slot: u32, load: u32 },
    /// Among those who have lost weight.
    Recovering,
}

/// Beyond this, what a level has gained is handed out, long before it could overflow.
const MOST_GAINED: i64 = i64::MAX / 8;

impl Rotation {
    /// Whether nobody takes part.
    pub(crate) fn is_empty(&self) -> bool {
        self.recovering.is_empty() && self.classes.iter().all(|it| it.levels.is_empty())
    }

    /// The one with the least load for its weight, or one turn among those who share it.
    pub(crate) fn least_turn(
        &mut self,
        turns: &mut [Turn],
        candidates: &[Candidate],
    ) -> Option<usize> {
        self.settle(turns);
        let least = self.least()?;
        let mut tied = self.classes.iter().filter(|it| it.is_tied(least));
        let recovering = self.recovering.iter().filter(|it| it.load() == least);
        let mut recovering = recovering.map(|it| it.position);
        let only = match (tied.next(), tied.next(), recovering.next(), recovering.next()) {
            (Some(it), None, None, _) if it.levels[0].members == 1 => {
                it.order.least().map(position)
            }
            (None, _, Some(only), None) => Some(only),
            _ => None,
        };
        only.or_else(|| self.turn_among(least, turns, candidates))
    }

    /// Lets a candidate take part.
    pub(crate) fn add(&mut self, turns: &mut [Turn], position: usize, weight: u32, load: u32) {
        let turn = &mut turns[position];
        if !turn.is_whole() {
            turn.place = Place::Recovering;
            self.recovering.push(Recovering { position, weight, load });
            return;
        }
        let known = self.classes.iter().position(|it| it.weight == weight);
        // Weights that nobody has any more would be asked at each turn.
        let unused = || self.classes.iter().position(|it| it.levels.is_empty());
        let at = known.or_else(unused).unwrap_or_else(|| {
            self.classes.push(Class { weight, levels: Vec::new(), order: Tournament::default() });
            self.classes.len() - 1
        });
        self.classes[at].weight = weight;
        turn.current -= self.classes[at].join(load);
        let slot = self.classes[at].order.enter(key(load, turn.current, position));
        let class = u32::try_from(at).expect("there are at most as many weights as servers");
        turn.place = Place::Class { class, slot, load };
    }

    /// Lets a candidate take part no more; it keeps what it has gained.
    pub(crate) fn remove(&mut self, turns: &mut [Turn], position: usize) {
        let turn = &mut turns[position];
        // Whoever paid among the recovering may be in a class of another rotation by the next turn.
        self.owes.take_if(|it| *it == position);
        match std::mem::take(&mut turn.place) {
            Place::Out => {}
            Place::Recovering => self.recovering.retain(|it| it.position != position),
            Place::Class { class, slot, load } => {
                let class = &mut self.classes[class as usize];
                class.order.leave(slot);
                turn.current += class.leave(load);
            }
        }
    }

    /// Takes note of another load.
    pub(crate) fn shift(&mut self, turns: &mut [Turn], position: usize, to: u32) {
        let turn = &mut turns[position];
        match &mut turn.place {
            Place::Out => {}
            Place::Recovering => {
                let all = self.recovering.iter_mut();
                all.filter(|it| it.position == position).for_each(|it| it.load = to);
            }
            Place::Class { class, slot, load } => {
                self.owes.take_if(|it| *it == position);
                let class = &mut self.classes[*class as usize];
                turn.current += class.leave(*load) - class.join(to);
                class.order.set(*slot, key(to, turn.current, position));
                *load = to;
            }
        }
    }

    /// Puts one that has failed with those who have lost weight.
    pub(crate) fn charge(&mut self, turns: &mut [Turn], position: usize) {
        if let Some(Place::Class { class, load, .. }) = turns.get(position).map(|it| it.place) {
            let weight = self.classes[class as usize].weight;
            self.remove(turns, position);
            self.add(turns, position, weight, load);
        }
    }

    /// Everybody leaves.
    pub(crate) fn dissolve(&mut self, turns: &mut [Turn]) {
        for class in &mut self.classes {
            for (_, key) in class.order.iter() {
                let turn = &mut turns[position(key)];
                turn.current += class.levels[class.find(load(key)).unwrap_or(0)].gained;
                turn.place = Place::Out;
            }
        }
        self.classes.clear();
        self.owes = None;
        for it in self.recovering.drain(..) {
            turns[it.position].place = Place::Out;
        }
    }

    /// The current weight of a candidate, whether it takes part or not.
    pub(crate) fn current(&self, turns: &[Turn], position: usize) -> i64 {
        let Turn { current, place, .. } = turns[position];
        let Place::Class { class, load, .. } = place else { return current };
        let class = &self.classes[class as usize];
        current + class.find(load).map_or(0, |it| class.levels[it].gained)
    }

    /// One turn among those with the least load: each gains, the one with most pays for all; the
    /// first of equals.
    pub(crate) fn turn(&mut self, turns: &mut [Turn], candidates: &[Candidate]) -> Option<usize> {
        self.settle(turns);
        self.turn_among(self.least()?, turns, candidates)
    }

    fn turn_among(
        &mut self,
        least: Load,
        turns: &mut [Turn],
        candidates: &[Candidate],
    ) -> Option<usize> {
        let total = self.gain_of(least, turns, candidates);
        let top = |it: &Class| {
            let level = it.levels.first().filter(|_| it.is_tied(least))?;
            let position = position(it.order.least()?);
            Some((turns[position].current + level.gained, position))
        };
        let recovering = self.recovering.iter().filter(|it| it.load() == least);
        let recovering = recovering.map(|it| (turns[it.position].current, it.position));
        let all = self.classes.iter().filter_map(top).chain(recovering);
        let (_, picked) = all.max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)))?;
        self.pay(turns, picked, total);
        Some(picked)
    }

    /// Everybody with the least load gains; the sum of it.
    pub(crate) fn gain(&mut self, turns: &mut [Turn], candidates: &[Candidate]) -> i64 {
        self.least().map_or(0, |it| self.gain_of(it, turns, candidates))
    }

    fn gain_of(&mut self, least: Load, turns: &mut [Turn], candidates: &[Candidate]) -> i64 {
        let mut total = 0;
        for class in &mut self.classes {
            let weight = class.weight;
            let Some(level) = class.levels.first_mut() else { continue };
            if (Load { in_flight: level.load, weight }) == least {
                level.gained += i64::from(weight);
                total += i64::from(weight) * level.members;
                if MOST_GAINED < level.gained {
                    class.hand_out(turns);
                }
            }
        }
        let recovering = self.recovering.iter().filter(|it| it.load() == least);
        total + recovering.map(|it| turns[it.position].join(&candidates[it.position])).sum::<i64>()
    }

    /// One pays for all. Those who have their whole weight back join the others of that weight.
    pub(crate) fn pay(&mut self, turns: &mut [Turn], position: usize, total: i64) {
        self.settle(turns);
        turns[position].current -= total;
        self.owes = Some(position);
        let mut at = 0;
        while let Some(&Recovering { position, weight, load }) = self.recovering.get(at) {
            if turns[position].is_whole() {
                self.recovering.swap_remove(at);
                self.add(turns, position, weight, load);
            } else {
                at += 1;
            }
        }
    }

    /// Puts whoever owes where it belongs.
    fn settle(&mut self, turns: &[Turn]) {
        let Some(position) = self.owes.take() else { return };
        let Turn { current, place, .. } = turns[position];
        if let Place::Class { class, slot, load } = place {
            self.classes[class as usize].order.set(slot, key(load, current, position));
        }
    }

    /// The least load and its weight.
    fn least(&self) -> Option<Load> {
        let classes = self
            .classes
            .iter()
            .filter_map(|it| Some(Load { in_flight: it.levels.first()?.load, weight: it.weight }));
        let recovering = self.recovering.iter().map(Recovering::load);
        classes.chain(recovering).min()
    }
}

impl Class {
    /// Whether its least loaded have this load for their weight.
    fn is_tied(&self, least: Load) -> bool {
        let first = self.levels.first();
        first.is_some_and(|it| Load { in_flight: it.load, weight: self.weight } == least)
    }

    fn find(&self, load: u32) -> Result<usize, usize> {
        self.levels.binary_search_by_key(&load, |it| it.load)
    }

    /// Counts a member in; what the others with its load have gained before.
    fn join(&mut self, load: u32) -> i64 {
        let at = self.find(load).unwrap_or_else(|at| {
            self.levels.insert(at, Level { load, members: 0, gained: 0 });
            at
        });
        self.levels[at].members += 1;
        self.levels[at].gained
    }

    /// Counts a member out; what it has gained.
    fn leave(&mut self, load: u32) -> i64 {
        let Ok(at) = self.find(load) else { return 0 };
        let level = &mut self.levels[at];
        level.members -= 1;
        let gained = level.gained;
        if level.members == 0 {
            self.levels.remove(at);
        }
        gained
    }

    /// Gives the members with the least load what they have gained.
    fn hand_out(&mut self, turns: &mut [Turn]) {
        let Some(level) = self.levels.first_mut() else { return };
        let gained = std::mem::take(&mut level.gained);
        let least = level.load;
        let members: Vec<_> = self.order.iter().filter(|it| load(it.1) == least).collect();
        for (slot, member) in members {
            let position = position(member);
            turns[position].current += gained;
            self.order.set(slot, key(least, turns[position].current, position));
        }
    }
}

impl Recovering {
    fn load(&self) -> Load {
        Load { in_flight: self.load, weight: self.weight }
    }
}

/// Sorts by load, then by current weight, most first, then by position.
fn key(load: u32, current: i64, position: usize) -> u128 {
    let position = u32::try_from(position).expect("an upstream has fewer than 2^32 servers");
    // With the sign turned, bits sort as the number does; with all of them turned, the other way.
    let order = !(current.cast_unsigned() ^ (1 << 63));
    u128::from(load) << 96 | u128::from(order) << 32 | u128::from(position)
}

fn position(key: u128) -> usize {
    usize::try_from(key & u128::from(u32::MAX)).expect("it was made from a position")
}

fn load(key: u128) -> u32 {
    u32::try_from(key >> 96).expect("32 of 128 bits are left")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pool;

    #[test]
    fn keys_sort_by_load_then_by_most_weight_then_by_position() {
        let sorted = [
            key(0, i64::MAX, 7),
            key(0, 1, 0),
            key(0, 1, 1),
            key(0, -1, 0),
            key(0, i64::MIN, 0),
            key(1, i64::MAX, 0),
        ];
        assert!(sorted.is_sorted());
        assert_eq!((load(sorted[5]), position(sorted[0])), (1, 7));
    }

    #[test]
    fn what_was_gained_for_long_is_handed_out_and_the_order_stays() {
        let candidates = pool("1 1 1");
        let mut turns = vec![Turn::default(); 3];
        let mut rotation = Rotation::default();
        (0..3).for_each(|it| rotation.add(&mut turns, it, 1, 0));
        assert_eq!(rotation.turn(&mut turns, &candidates), Some(0));
        rotation.classes[0].levels[0].gained += MOST_GAINED;
        (0..3).for_each(|it| turns[it].current -= MOST_GAINED);
        (0..3).for_each(|it| {
            let Place::Class { slot, .. } = turns[it].place else { unreachable!() };
            rotation.classes[0].order.set(slot, key(0, turns[it].current, it));
        });
        let next = [(); 4].map(|()| rotation.turn(&mut turns, &candidates));
        assert_eq!(next, [Some(1), Some(2), Some(0), Some(1)]);
        assert!(rotation.classes[0].levels[0].gained < 9);
    }
}
