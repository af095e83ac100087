//! How does the least estimate stay known while answers come and time goes by?

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::levels::Quotient;
use crate::response_time::ResponseTimes;
use crate::rotation::Rotation;
use crate::round_robin::Turn;
use crate::slots::Slots;
use crate::{Candidate, Event, Time};

/// Candidates whose changes are told, by their estimates.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Those who are eligible.
    levels: BTreeMap<Quotient, Rotation>,
    places: Slots<Place>,
    /// Those whose estimates may have changed since the last pick.
    stale: Vec<usize>,
    /// Those who have failed since the last pick.
    failed: Vec<usize>,
    /// Those with running requests, whose average age changes with each pick.
    running: BTreeSet<usize>,
    /// In which second an estimate changes by itself; the next first.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// Where it stands, if it is eligible.
    level: Option<Quotient>,
    /// The end that counts of those in the heap.
    end: u64,
}

impl Following {
    /// All of a list; they find their places at the next pick, which tells the time.
    pub(super) fn of(times: &ResponseTimes, len: usize) -> Self {
        let running = (0..len).filter(|it| times.has_running(*it)).collect();
        let mut following = Self { stale: (0..len).collect(), running, ..Self::default() };
        following.places.fit(len);
        following
    }

    /// Everybody leaves.
    pub(super) fn dissolve(self, turns: &mut [Turn]) {
        for (_, mut level) in self.levels {
            level.dissolve(turns);
        }
    }

    /// See [`crate::Policy::changed`].
    pub(super) fn changed(&mut self, position: usize) {
        self.stale.push(position);
    }

    /// Takes note of a request that has begun.
    pub(super) fn started(&mut self, times: &ResponseTimes, position: usize) {
        self.stale.push(position);
        if times.has_running(position) {
            self.running.insert(position);
        }
    }

    /// See [`crate::Policy::learn`].
    pub(super) fn learn(&mut self, times: &ResponseTimes, position: usize, event: Event) {
        if self.places.len() <= position {
            return;
        }
        self.stale.push(position);
        if !times.has_running(position) {
            self.running.remove(&position);
        }
        if let Event::Failure { .. } = event {
            self.failed.push(position);
        }
    }

    /// As [`crate::Policy::pick`]; the request does not run yet.
    pub(super) fn pick(
        &mut self,
        times: &mut ResponseTimes,
        turns: &mut [Turn],
        candidates: &[Candidate],
        now: Time,
    ) -> Option<usize> {
        self.catch_up(times, turns, candidates, now);
        self.levels.first_entry()?.get_mut().least_turn(turns, candidates)
    }

    fn catch_up(
        &mut self,
        times: &mut ResponseTimes,
        turns: &mut [Turn],
        candidates: &[Candidate],
        now: Time,
    ) {
        let mut stale = std::mem::take(&mut self.stale);
        for position in self.running.iter().filter(|it| candidates[**it].eligible) {
            times.look_at_running(*position, now);
            stale.push(*position);
        }
        while let Some(Reverse((end, position))) = self.ends.peek().copied() {
            if now.as_secs() < end {
                break;
            }
            self.ends.pop();
            if self.places[position].end == end {
                self.places[position].end = 0;
                stale.push(position);
            }
        }
        for position in stale.drain(..) {
            self.renew(times, turns, (position, &candidates[position]), now);
        }
        self.stale = stale;
        for position in self.failed.drain(..) {
            let level = self.places[position].level.and_then(|it| self.levels.get_mut(&it));
            if let Some(level) = level {
                level.charge(turns, position);
            }
        }
    }

    /// Puts a candidate where its estimate belongs.
    fn renew(
        &mut self,
        times: &ResponseTimes,
        turns: &mut [Turn],
        (position, candidate): (usize, &Candidate),
        now: Time,
    ) {
        let (eta, end) = times.estimate(position, candidate, now);
        let under = candidate.weight.get();
        let level = candidate.eligible.then_some(Quotient { over: eta, under });
        let place = &mut self.places[position];
        if end < u64::MAX && place.end != end {
            place.end = end;
            self.ends.push(Reverse((end, position)));
        }
        let is_same = |a: Quotient, b: Quotient| (a.over, a.under) == (b.over, b.under);
        let before = std::mem::replace(&mut place.level, level);
        match (before, level) {
            (None, None) => return,
            (Some(before), Some(level)) if is_same(before, level) => return,
            _ => {}
        }
        if let Some(before) = before
            && let Some(rotation) = self.levels.get_mut(&before)
        {
            rotation.remove(turns, position);
            if rotation.is_empty() {
                self.levels.remove(&before);
            }
        }
        if let Some(level) = level {
            self.levels.entry(level).or_default().add(turns, position, under, 0);
        }
    }
}
