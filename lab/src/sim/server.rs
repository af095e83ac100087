//! How does a server share itself among its requests?

use std::{
    cmp::Ordering,
    collections::{BTreeSet, VecDeque},
    num::NonZeroU32,
};

/// The order in which a server works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Discipline {
    /// So many requests at a time, each at full speed, the others in the order of arrival.
    Fcfs(NonZeroU32),
    /// All at the same time, each with an equal part of the speed.
    Sharing,
}

/// One server and the requests on it; times and demands in seconds.
#[derive(Debug)]
pub(super) struct Server {
    speed: f64,
    taken: u64,
    version: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Fcfs {
        slots: usize,
        /// By the time at which they end.
        running: BTreeSet<Job>,
        waiting: VecDeque<(usize, f64)>,
    },
    Sharing {
        /// By the attained service at which they end.
        running: BTreeSet<Job>,
        /// What a request that was there from the start would have got so far.
        attained: f64,
        /// When `attained` was last right.
        since: f64,
    },
}

/// A request and the mark at which it ends.
#[derive(Clone, Copy, Debug)]
struct Job {
    end: f64,
    request: usize,
}

impl Server {
    pub(super) fn new(discipline: Discipline, speed: f64) -> Self {
        let work = match discipline {
            Discipline::Fcfs(slots) => Work::Fcfs {
                slots: usize::try_from(slots.get()).unwrap_or(usize::MAX),
                running: BTreeSet::new(),
                waiting: VecDeque::new(),
            },
            Discipline::Sharing => {
                Work::Sharing { running: BTreeSet::new(), attained: 0.0, since: 0.0 }
            }
        };
        Self { speed, taken: 0, version: 0, work }
    }

    /// Requests taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Changes whenever the next end may be another one.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Takes a request with its demand.
    pub(super) fn take(&mut self, now: f64, request: usize, demand: f64) {
        self.taken += 1;
        self.version += 1;
        let speed = self.speed;
        match &mut self.work {
            Work::Fcfs { slots, running, waiting } => {
                if running.len() < *slots {
                    running.insert(Job { end: now + demand / speed, request });
                } else {
                    waiting.push_back((request, demand));
                }
            }
            Work::Sharing { running, attained, since } => {
                advance(running.len(), attained, since, now, speed);
                running.insert(Job { end: *attained + demand, request });
            }
        }
    }

    /// When the next request ends if none comes before, `None` when there is none.
    pub(super) fn next_end(&self) -> Option<f64> {
        match &self.work {
            Work::Fcfs { running, .. } => Some(running.first()?.end),
            Work::Sharing { running, attained, since } => {
                let missing = running.first()?.end - attained;
                Some(since + missing * count(running.len()) / self.speed)
            }
        }
    }

    /// Ends the request that is due, `None` when there is none.
    pub(super) fn end(&mut self, now: f64) -> Option<usize> {
        self.version += 1;
        let speed = self.speed;
        match &mut self.work {
            Work::Fcfs { running, waiting, .. } => {
                let done = running.pop_first()?;
                if let Some((request, demand)) = waiting.pop_front() {
                    running.insert(Job { end: now + demand / speed, request });
                }
                Some(done.request)
            }
            Work::Sharing { running, attained, since } => {
                advance(running.len(), attained, since, now, speed);
                Some(running.pop_first()?.request)
            }
        }
    }
}

fn advance(running: usize, attained: &mut f64, since: &mut f64, now: f64, speed: f64) {
    if 0 < running {
        *attained += (now - *since) * speed / count(running);
    }
    *since = now;
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests run at a time")]
fn count(running: usize) -> f64 {
    running as f64
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        self.end.total_cmp(&other.end).then(self.request.cmp(&other.request))
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Job {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes requests `(arrival, demand)` and returns `(request, end)` in the order of the ends.
    fn ends(discipline: Discipline, speed: f64, requests: &[(f64, f64)]) -> Vec<(usize, f64)> {
        let mut server = Server::new(discipline, speed);
        let mut done = Vec::new();
        for (request, (arrival, demand)) in requests.iter().enumerate() {
            while let Some(end) = server.next_end().filter(|it| *it <= *arrival) {
                done.push((server.end(end).unwrap(), end));
            }
            server.take(*arrival, request, *demand);
        }
        while let Some(end) = server.next_end() {
            done.push((server.end(end).unwrap(), end));
        }
        done
    }

    #[test]
    fn first_come_is_first_served_on_each_slot() {
        let slots = |it| Discipline::Fcfs(NonZeroU32::new(it).unwrap());
        let requests = [(0.0, 4.0), (1.0, 1.0), (1.0, 1.0)];
        assert_eq!(ends(slots(1), 1.0, &requests), [(0, 4.0), (1, 5.0), (2, 6.0)]);
        assert_eq!(ends(slots(2), 1.0, &requests), [(1, 2.0), (2, 3.0), (0, 4.0)]);
        assert_eq!(ends(slots(1), 2.0, &requests), [(0, 2.0), (1, 2.5), (2, 3.0)]);
    }

    #[test]
    fn a_shared_server_gives_each_an_equal_part() {
        // Alone until 1, then in halves: 1 is done after 2 more seconds, 0 has 1 left and is alone.
        assert_eq!(ends(Discipline::Sharing, 1.0, &[(0.0, 3.0), (1.0, 1.0)]), [(1, 3.0), (0, 4.0)]);
        assert_eq!(ends(Discipline::Sharing, 2.0, &[(0.0, 3.0), (5.0, 1.0)]), [(0, 1.5), (1, 5.5)]);
    }
}
