//! How does a server share itself among its requests?

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
    num::NonZeroU32,
};

use super::{agenda::NEVER, clock};

/// The order in which a server works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Discipline {
    /// So many requests at a time, each at full speed, the others in the order of arrival.
    Fcfs(NonZeroU32),
    /// All at the same time, each with an equal part of the speed.
    Sharing,
    /// All at the same time, each at full speed: a delay that load does not change.
    Delay,
}

/// One server and the requests on it; times in nanoseconds, demands in seconds.
#[derive(Debug)]
pub(super) struct Server {
    speed: f64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Fcfs {
        slots: usize,
        /// By the time at which they end.
        running: BinaryHeap<Reverse<(u64, u32)>>,
        waiting: VecDeque<(u32, f64)>,
    },
    Sharing {
        /// By the attained service at which they end.
        running: BinaryHeap<Reverse<Mark>>,
        /// Nanoseconds that a request which was there from the start would have got so far.
        attained: f64,
        /// When `attained` was last right.
        since: u64,
    },
}

/// A request and the attained service at which it ends.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: f64,
    request: u32,
}

impl Server {
    pub(super) fn new(discipline: Discipline, speed: f64) -> Self {
        let slots = match discipline {
            Discipline::Fcfs(slots) => usize::try_from(slots.get()).unwrap_or(usize::MAX),
            Discipline::Delay => usize::MAX,
            Discipline::Sharing => {
                let running = BinaryHeap::new();
                return Self { speed, work: Work::Sharing { running, attained: 0.0, since: 0 } };
            }
        };
        let (running, waiting) = (BinaryHeap::new(), VecDeque::new());
        Self { speed, work: Work::Fcfs { slots, running, waiting } }
    }

    /// Demand worked off per second now.
    pub(super) fn speed(&self) -> f64 {
        self.speed
    }

    /// Requests that wait for a slot.
    pub(super) fn waiting(&self) -> usize {
        match &self.work {
            Work::Fcfs { waiting, .. } => waiting.len(),
            Work::Sharing { .. } => 0,
        }
    }

    /// Whether a request that comes now would have to wait.
    pub(super) fn is_full(&self) -> bool {
        match &self.work {
            Work::Fcfs { slots, running, .. } => *slots <= running.len(),
            Work::Sharing { .. } => false,
        }
    }

    /// Requests on the server.
    pub(super) fn present(&self) -> usize {
        match &self.work {
            Work::Fcfs { running, waiting, .. } => running.len() + waiting.len(),
            Work::Sharing { running, .. } => running.len(),
        }
    }

    /// Takes a request with its demand.
    pub(super) fn take(&mut self, now: u64, request: u32, demand: f64) {
        let speed = self.speed;
        match &mut self.work {
            Work::Fcfs { slots, running, waiting } => {
                if running.len() < *slots {
                    running.push(Reverse((now + clock::nanos(demand / speed), request)));
                } else {
                    waiting.push_back((request, demand));
                }
            }
            Work::Sharing { running, attained, since } => {
                advance(running.len(), attained, since, now, speed);
                running.push(Reverse(Mark { end: *attained + demand * 1e9, request }));
            }
        }
    }

    /// When the next request ends if none comes before, [`NEVER`] when there is none.
    pub(super) fn next_end(&self) -> u64 {
        match &self.work {
            Work::Fcfs { running, .. } => running.peek().map_or(NEVER, |it| it.0.0),
            Work::Sharing { running, attained, since } => {
                let Some(Reverse(first)) = running.peek() else { return NEVER };
                let missing = (first.end - attained).max(0.0) / 1e9;
                since + clock::nanos(missing * clock::count(running.len()) / self.speed)
            }
        }
    }

    /// Ends the request that is due, `None` when there is none.
    pub(super) fn end(&mut self, now: u64) -> Option<u32> {
        let speed = self.speed;
        match &mut self.work {
            Work::Fcfs { running, waiting, .. } => {
                let Reverse((_, done)) = running.pop()?;
                if let Some((request, demand)) = waiting.pop_front() {
                    running.push(Reverse((now + clock::nanos(demand / speed), request)));
                }
                Some(done)
            }
            Work::Sharing { running, attained, since } => {
                advance(running.len(), attained, since, now, speed);
                running.pop().map(|it| it.0.request)
            }
        }
    }

    /// Works at another speed from now on, also on what has begun.
    pub(super) fn set_speed(&mut self, now: u64, speed: f64) {
        let before = self.speed;
        self.speed = speed;
        match &mut self.work {
            // What is only delayed is on its way already.
            Work::Fcfs { slots: usize::MAX, .. } => (),
            Work::Fcfs { running, .. } => {
                let left = |end: u64| clock::seconds(end.saturating_sub(now)) * before / speed;
                let changed = running.drain().map(|Reverse((end, request))| {
                    Reverse((now + clock::nanos(left(end)), request))
                });
                *running = changed.collect::<Vec<_>>().into();
            }
            Work::Sharing { running, attained, since } => {
                advance(running.len(), attained, since, now, before);
            }
        }
    }

    /// Loses everything, as a crash does; in the order of the requests' slots.
    pub(super) fn crash(&mut self) -> Vec<u32> {
        let mut lost: Vec<u32> = match &mut self.work {
            Work::Fcfs { running, waiting, .. } => {
                let running = running.drain().map(|it| it.0.1);
                running.chain(waiting.drain(..).map(|it| it.0)).collect()
            }
            Work::Sharing { running, .. } => running.drain().map(|it| it.0.request).collect(),
        };
        lost.sort_unstable();
        lost
    }
}

fn advance(running: usize, attained: &mut f64, since: &mut u64, now: u64, speed: f64) {
    if 0 < running {
        *attained += clock::seconds(now - *since) * 1e9 * speed / clock::count(running);
    }
    *since = now;
}

impl Ord for Mark {
    fn cmp(&self, other: &Self) -> Ordering {
        self.end.total_cmp(&other.end).then(self.request.cmp(&other.request))
    }
}

impl PartialOrd for Mark {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Mark {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Takes requests `(arrival, demand)`, changes the speed, and returns `(request, end)` in the
    /// order of the ends.
    fn ends(
        discipline: Discipline,
        speed: f64,
        requests: &[(u64, f64)],
        change: Option<(u64, f64)>,
    ) -> Vec<(u32, f64)> {
        let mut server = Server::new(discipline, speed);
        let mut done = Vec::new();
        let mut run_to = |server: &mut Server, until: u64| {
            while server.next_end() <= until && server.next_end() < NEVER {
                let end = server.next_end();
                done.push((server.end(end).unwrap(), clock::seconds(end)));
            }
        };
        for (number, (arrival, demand)) in (0..).zip(requests) {
            run_to(&mut server, arrival * SECOND);
            server.take(arrival * SECOND, number, *demand);
        }
        if let Some((at, speed)) = change {
            run_to(&mut server, at * SECOND);
            server.set_speed(at * SECOND, speed);
        }
        run_to(&mut server, NEVER);
        done
    }

    #[test]
    fn first_come_is_first_served_on_each_slot() {
        let slots = |it| Discipline::Fcfs(NonZeroU32::new(it).unwrap());
        let requests = [(0, 4.0), (1, 1.0), (1, 1.0)];
        assert_eq!(ends(slots(1), 1.0, &requests, None), [(0, 4.0), (1, 5.0), (2, 6.0)]);
        assert_eq!(ends(slots(2), 1.0, &requests, None), [(1, 2.0), (2, 3.0), (0, 4.0)]);
        assert_eq!(ends(slots(1), 2.0, &requests, None), [(0, 2.0), (1, 2.5), (2, 3.0)]);
        assert_eq!(ends(Discipline::Delay, 1.0, &requests, None), [(1, 2.0), (2, 2.0), (0, 4.0)]);
    }

    #[test]
    fn a_shared_server_gives_each_an_equal_part() {
        // Alone until 1, then in halves: 1 is done after 2 more seconds, 0 has 1 left and is alone.
        let shared = Discipline::Sharing;
        assert_eq!(ends(shared, 1.0, &[(0, 3.0), (1, 1.0)], None), [(1, 3.0), (0, 4.0)]);
        assert_eq!(ends(shared, 2.0, &[(0, 3.0), (5, 1.0)], None), [(0, 1.5), (1, 5.5)]);
    }

    #[test]
    fn another_speed_changes_what_is_left() {
        // At 2 the first has half of its work left, which takes 4 at half speed.
        let one = Discipline::Fcfs(NonZeroU32::MIN);
        let slower = Some((2, 0.5));
        assert_eq!(ends(one, 1.0, &[(0, 4.0), (1, 1.0)], slower), [(0, 6.0), (1, 8.0)]);
        assert_eq!(ends(Discipline::Sharing, 1.0, &[(0, 4.0)], slower), [(0, 6.0)]);
    }
}
