//! What follows when servers change: who is harmed, for how long, and where do requests go?

use super::{clock, tally::End};
use crate::stats::histogram::Histogram;

/// Of how many requests the share of the harmed is a running average.
const WINDOW: f64 = 100.0;

/// Shares of the harmed at which trouble begins and ends.
const TROUBLE: (f64, f64) = (0.05, 0.02);

/// Trouble that begins after so many requests is another one: queues are long by chance, too.
const SOON: u64 = 1_000;

/// What followed a change of servers until the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aftermath {
    /// Seconds from the start.
    pub at: f64,
    /// Requests that ended.
    pub requests: u64,
    /// Those of them that failed or took longer than 99 of 100 before the change.
    pub harmed: u64,
    /// Seconds until fewer than 2 of 100 requests were harmed, 0 if there were never more than 5 of
    /// the first thousand; `None` when it was not over.
    pub recovery: Option<f64>,
    /// Share of the attempts that the changed servers got.
    pub share: f64,
    /// Requests whose key went elsewhere than the request with this key before it.
    pub moved: u64,
}

/// Counts after a change.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    at: u64,
    servers: Vec<usize>,
    /// Longer than 99 of 100 requests before the change took.
    slow: u64,
    requests: u64,
    harmed: u64,
    share: f64,
    phase: Phase,
    /// Attempts on all and on the changed servers before.
    placed: (u64, u64),
    pub(super) moved: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Calm,
    Trouble,
    OverAt(u64),
}

impl Watch {
    pub(super) fn new(at: u64, servers: &[usize], before: &Histogram, placed: &[u64]) -> Self {
        let mut watch = Self {
            at,
            servers: Vec::new(),
            slow: before.quantile(0.99).map_or(u64::MAX, clock::nanos),
            requests: 0,
            harmed: 0,
            share: 0.0,
            phase: Phase::Calm,
            placed: (0, 0),
            moved: 0,
        };
        watch.join(servers, placed);
        watch
    }

    /// Whether a change of this instant belongs to it.
    pub(super) fn is_of(&self, at: u64) -> bool {
        self.at == at
    }

    /// Takes in more servers that change at the same time.
    pub(super) fn join(&mut self, servers: &[usize], placed: &[u64]) {
        self.servers.extend(servers);
        self.servers.sort_unstable();
        self.servers.dedup();
        self.placed = self.count(placed);
    }

    pub(super) fn end(&mut self, now: u64, taken: u64, end: End) {
        let harmed = end != End::Answered || self.slow < taken;
        self.requests += 1;
        self.harmed += u64::from(harmed);
        self.share += (f64::from(u8::from(harmed)) - self.share) / WINDOW;
        match self.phase {
            Phase::Calm if TROUBLE.0 < self.share && self.requests <= SOON => {
                self.phase = Phase::Trouble;
            }
            Phase::Trouble if self.share < TROUBLE.1 => self.phase = Phase::OverAt(now),
            _ => (),
        }
    }

    pub(super) fn close(self, placed: &[u64]) -> Aftermath {
        let (all, theirs) = self.count(placed);
        let (all, theirs) = (all - self.placed.0, theirs - self.placed.1);
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
        let share = theirs as f64 / all.max(1) as f64;
        Aftermath {
            at: clock::seconds(self.at),
            requests: self.requests,
            harmed: self.harmed,
            recovery: match self.phase {
                Phase::Calm => Some(0.0),
                Phase::Trouble => None,
                Phase::OverAt(end) => Some(clock::seconds(end - self.at)),
            },
            share,
            moved: self.moved,
        }
    }

    fn count(&self, placed: &[u64]) -> (u64, u64) {
        (placed.iter().sum(), self.servers.iter().map(|it| placed[*it]).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_begins_with_the_harmed_and_ends_when_they_are_few() {
        let mut before = Histogram::default();
        (1..=100).for_each(|it| before.record(it * 1_000_000));
        let second = 1_000_000_000;
        let mut watch = Watch::new(10 * second, &[1, 0], &before, &[4, 2, 6]);
        watch.join(&[1], &[4, 2, 6]);
        for at in 0..10 {
            watch.end((11 + at) * second, 1, End::TimedOut);
        }
        let still = watch.clone().close(&[5, 2, 9]);
        assert_eq!((still.requests, still.harmed, still.recovery), (10, 10, None));
        assert!((still.share - 0.25).abs() < 1e-9, "{still:?}");
        for at in 0..400 {
            // What took no longer than before is not harmed.
            watch.end(30 * second + at * second / 10, 90_000_000, End::Answered);
        }
        let over = watch.close(&[5, 2, 9]);
        assert_eq!((over.requests, over.harmed), (410, 10));
        // From 9.6 to 2 of 100 it takes 156 requests that are well.
        assert!((over.recovery.unwrap() - 35.5).abs() < 1.0, "{over:?}");
    }
}
