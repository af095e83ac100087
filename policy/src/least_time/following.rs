//! How does the least estimate stay known while answers come and time goes by?

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::levels::Quotient;
use crate::response_time::ResponseTimes;
use crate::round_robin::Turn;
use crate::slots::Slots;
use crate::standings::Standings;
use crate::{Candidate, Event, Time};

/// Candidates whose changes are told, by their estimates.
#[derive(Debug)]
pub(super) struct Following {
    standings: Standings<Quotient>,
    /// Those with running requests, whose average age changes with each pick.
    running: BTreeSet<usize>,
    /// In which second an estimate changes by itself; the next first.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    /// The end of each that counts of those in the heap.
    end: Slots<u64>,
}

impl Following {
    /// All of a list; they find their places at the next pick, which tells the time.
    pub(super) fn of(times: &ResponseTimes, len: usize) -> Self {
        let running = (0..len).filter(|it| times.has_running(*it)).collect();
        let mut end = Slots::default();
        end.fit(len);
        Self { standings: Standings::of(len), running, ends: BinaryHeap::new(), end }
    }

    /// Everybody leaves.
    pub(super) fn dissolve(self, turns: &mut [Turn]) {
        self.standings.dissolve(turns);
    }

    /// See [`crate::Policy::changed`].
    pub(super) fn changed(&mut self, position: usize) {
        self.standings.touch(position);
    }

    /// Takes note of a request that has begun.
    pub(super) fn started(&mut self, times: &ResponseTimes, position: usize) {
        self.standings.touch(position);
        if times.has_running(position) {
            self.running.insert(position);
        }
    }

    /// See [`crate::Policy::learn`].
    pub(super) fn learn(&mut self, times: &ResponseTimes, position: usize, event: Event) {
        if self.end.len() <= position {
            return;
        }
        self.standings.learn(position, event);
        if !times.has_running(position) {
            self.running.remove(&position);
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
        let Self { standings, running, ends, end } = self;
        for position in running.iter().filter(|it| candidates[**it].eligible) {
            times.look_at_running(*position, now);
            standings.touch(*position);
        }
        while let Some(Reverse((second, position))) = ends.peek().copied() {
            if now.as_secs() < second {
                break;
            }
            ends.pop();
            if end[position] == second {
                end[position] = 0;
                standings.touch(position);
            }
        }
        standings.catch_up(turns, |position| {
            let candidate = &candidates[position];
            let (eta, second) = times.estimate(position, candidate, now);
            if second < u64::MAX && end[position] != second {
                end[position] = second;
                ends.push(Reverse((second, position)));
            }
            let under = candidate.weight.get();
            candidate.eligible.then_some((Quotient { over: eta, under }, under))
        });
        standings.first()?.least_turn(turns, candidates)
    }
}
