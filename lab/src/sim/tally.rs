//! What was seen in a run?

use super::{
    aftermath::{Aftermath, Watch},
    clock,
};
use crate::stats::histogram::Histogram;

/// Points of time at which in-flight counts are kept.
const SAMPLES: usize = 400;

/// Servers whose in-flight counts are kept over time.
const WATCHED: usize = 16;

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// With an answer.
    Answered,
    /// With an answer that says error.
    Error,
    /// No server took it.
    Refused,
    /// The server it was on was lost.
    Lost,
    /// Nobody waited any longer.
    TimedOut,
}

/// What was seen in one replication.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Arrival to answer, of the requests after the warm-up that were answered without error.
    pub times: Histogram,
    /// The same in seconds in the order of arrival, if the plan [keeps](super::Plan::keeps_all) them;
    /// not a number for requests without answer.
    pub response: Vec<f64>,
    /// Requests after the warm-up that ended so, by [`End`].
    pub ends: [u64; 5],
    /// Attempts that each server got, in the order of the plan, warm-up included.
    pub placed: Vec<u64>,
    /// Share of time that each server worked, warm-up included.
    pub busy: Vec<f64>,
    /// Attempts beyond the first of each request.
    pub retries: u64,
    /// From the first instant to the last end, in seconds.
    pub length: f64,
    /// Requests that had no end when nothing was left to happen.
    pub unfinished: u64,
    /// Seconds that all requests spent between arrival and end, warm-up included.
    pub spent: f64,
    /// The number of requests present, summed over time: by Little's law the same as `spent`.
    pub present: f64,
    /// Means of consecutive batches of answered times, to see the warm-up; first `batch`, which is how many
    /// requests one stands for.
    pub batches: (u64, Vec<f64>),
    /// Seconds from the start, and requests on each of the first servers.
    pub series: Vec<(f64, Vec<u32>)>,
    /// What followed each change of servers; those of one instant are one.
    pub changes: Vec<Aftermath>,
}

/// Counts while a run goes on.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) run: Run,
    warm_up: u64,
    busy: Vec<u64>,
    busy_since: Vec<u64>,
    spent: u128,
    present: u128,
    last: u64,
    pub(super) live: u64,
    batch: (u64, f64),
    every: u64,
    pub(super) next_sample: u64,
    watch: Option<Watch>,
    /// Where the last request of each key went, if that is watched; nowhere yet is the last number.
    homes: Vec<u32>,
}

/// More keys than these are not watched, for they would take more memory than the servers.
const MOST_KEYS: u64 = 1 << 20;

impl Tally {
    /// Keys are watched if servers change and the policy looks at them.
    pub(super) fn new(servers: usize, plan: &super::Plan, looks_at_keys: bool) -> Self {
        let watched = looks_at_keys && !plan.changes.is_empty() && plan.keys.count() <= MOST_KEYS;
        let keys = if watched { usize::try_from(plan.keys.count()).unwrap_or(0) } else { 0 };
        let run = Run {
            placed: vec![0; servers],
            batches: (64, Vec::new()),
            response: if plan.keeps_all {
                vec![f64::NAN; usize::try_from(plan.requests).unwrap_or(0)]
            } else {
                Vec::new()
            },
            ..Run::default()
        };
        Self {
            run,
            warm_up: plan.warm_up,
            busy: vec![0; servers],
            busy_since: vec![0; servers],
            spent: 0,
            present: 0,
            last: 0,
            live: 0,
            batch: (0, 0.0),
            every: 1_000_000,
            next_sample: 0,
            watch: None,
            homes: vec![u32::MAX; keys],
        }
    }

    /// Servers have changed.
    pub(super) fn changed(&mut self, now: u64, servers: &[usize]) {
        if let Some(watch) = self.watch.as_mut().filter(|it| it.is_of(now)) {
            watch.join(servers, &self.run.placed);
            return;
        }
        self.end_watch();
        self.watch = Some(Watch::new(now, servers, &self.run.times, &self.run.placed));
    }

    /// A request with a key was placed for the first time.
    pub(super) fn placed(&mut self, key: u64, server: u32) {
        let Some(home) = usize::try_from(key).ok().and_then(|it| self.homes.get_mut(it)) else {
            return;
        };
        let before = std::mem::replace(home, server);
        if let Some(watch) = &mut self.watch
            && before != server
            && before != u32::MAX
        {
            watch.moved += 1;
        }
    }

    fn end_watch(&mut self) {
        let over = self.watch.take().map(|it| it.close(&self.run.placed));
        self.run.changes.extend(over);
    }

    /// Adds up who is there until now.
    pub(super) fn advance(&mut self, now: u64) {
        self.present += u128::from(self.live) * u128::from(now - self.last);
        self.last = now;
    }

    pub(super) fn works(&mut self, server: usize, now: u64, before: bool, after: bool) {
        match (before, after) {
            (false, true) => self.busy_since[server] = now,
            (true, false) => self.busy[server] += now - self.busy_since[server],
            _ => (),
        }
    }

    pub(super) fn busy_until(&self, server: usize, now: u64, works: bool) -> u64 {
        self.busy[server] + if works { now - self.busy_since[server] } else { 0 }
    }

    /// A request has ended, for its client.
    pub(super) fn end(&mut self, number: u64, arrived: u64, now: u64, end: End) {
        self.live -= 1;
        let taken = now - arrived;
        self.spent += u128::from(taken);
        if let Some(watch) = &mut self.watch {
            watch.end(now, taken, end);
        }
        if end == End::Answered {
            self.batched(clock::seconds(taken));
        }
        if number < self.warm_up {
            return;
        }
        self.run.ends[end as usize] += 1;
        if end == End::Answered {
            self.run.times.record(taken);
            if let Some(place) = self.run.response.get_mut(usize::try_from(number).unwrap_or(0)) {
                *place = clock::seconds(taken);
            }
        }
    }

    fn batched(&mut self, seconds: f64) {
        self.batch = (self.batch.0 + 1, self.batch.1 + seconds);
        let (size, means) = &mut self.run.batches;
        if self.batch.0 == *size {
            means.push(self.batch.1 / clock::seconds(*size * 1_000_000_000));
            self.batch = (0, 0.0);
            if means.len() == 4096 {
                *means = means.chunks(2).map(|it| f64::midpoint(it[0], it[1])).collect();
                *size *= 2;
            }
        }
    }

    /// Keeps what is on the servers; when there are too many samples, every other goes.
    pub(super) fn sample(&mut self, now: u64, present: impl Iterator<Item = usize>) {
        let counts = present.take(WATCHED).map(|it| u32::try_from(it).unwrap_or(u32::MAX));
        self.run.series.push((clock::seconds(now), counts.collect()));
        if self.run.series.len() == SAMPLES {
            let mut keep = false;
            self.run.series.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
        self.next_sample = now + self.every;
    }

    pub(super) fn into_run(mut self, now: u64, works: impl Iterator<Item = bool>) -> Run {
        self.end_watch();
        let length = clock::seconds(now);
        let busy = works.enumerate().map(|(server, works)| {
            clock::seconds(self.busy_until(server, now, works)) / length.max(1e-9)
        });
        self.run.busy = busy.collect();
        let warm_up = usize::try_from(self.warm_up).unwrap_or(0).min(self.run.response.len());
        self.run.response.drain(..warm_up);
        #[expect(clippy::cast_precision_loss, reason = "compared to eleven digits")]
        let seconds = |it: u128| it as f64 / 1e9;
        Run {
            length,
            unfinished: self.live,
            spent: seconds(self.spent),
            present: seconds(self.present),
            ..self.run
        }
    }
}
