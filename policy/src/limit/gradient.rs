//! How far does a limit grow while requests take hardly longer than where nothing waits?

use std::time::Duration;

use crate::{Draw, Limit, Sample, Time};

/// Scales the limit by the least over the present response time, and leaves room for bursts.
///
/// Now and then it lets next to nothing in, to learn how long a request takes that waits for
/// nothing. Unlike [`crate::Gradient2`] it does not get used to a queue.
///
/// Source: Envoy `adaptive_concurrency/controller/gradient_controller.cc`, with four differences:
///
/// - A limit is judged by requests that began under it, however long they take. Envoy's judges the
///   new limit by the old one's requests where those take longer than `update`, and swings.
/// - A measurement of slow requests is cut short, lest it cost more than it is good for.
/// - Whoever is quicker among many than the measured ones were alone shows that these were
///   disturbed, and takes their place.
/// - The room for bursts is half of the limit's square root, not all of it, lest requests to few
///   places take more than twice as long as alone.
#[derive(Clone, Debug)]
pub struct Gradient {
    rules: GradientRules,
    limit: u32,
    /// Median of requests that waited for nothing, `None` before the first measurement.
    least: Option<Duration>,
    /// Those of requests that began under the present limit.
    samples: Vec<Duration>,
    /// Since when that is the limit.
    since: Time,
    state: State,
    /// Updates in a row that ended at the smallest limit.
    at_min: u32,
}

/// How [`Gradient`] measures and what it may come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientRules {
    /// The smallest limit, and the one under which is measured how long a request takes.
    pub min: u32,
    /// The largest limit.
    pub max: u32,
    /// By which part a request may take longer, of 1.
    pub buffer: f64,
    /// Requests of a measurement.
    pub samples: usize,
    /// How often the limit changes.
    pub update: Duration,
    /// From a measurement to the next.
    pub interval: Duration,
    /// By which part of `interval` the next is late at most, of 1.
    pub jitter: f64,
}

impl Default for GradientRules {
    /// Envoy's, with its documented example of a measurement each minute.
    fn default() -> Self {
        Self {
            min: 3,
            max: 1000,
            buffer: 0.25,
            samples: 50,
            update: Duration::from_millis(100),
            interval: Duration::from_mins(1),
            jitter: 0.15,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Little is let in; the limit before.
    Measuring { before: u32 },
    /// When the limit changes next, and when is measured again.
    Following { update: Time, measure: Time },
}

impl Gradient {
    /// Begins with a measurement.
    #[must_use]
    pub fn new(rules: GradientRules) -> Self {
        Self {
            rules,
            limit: rules.min,
            least: None,
            samples: Vec::new(),
            since: Time::ZERO,
            state: State::Measuring { before: rules.min },
            at_min: 0,
        }
    }

    fn median(&mut self) -> Option<Duration> {
        let middle = self.samples.len() / 2;
        if self.samples.is_empty() {
            return None;
        }
        let median = *self.samples.select_nth_unstable(middle).1;
        self.samples.clear();
        Some(median)
    }

    fn measure(&mut self, now: Time) {
        self.state = State::Measuring { before: self.limit };
        self.limit = self.rules.min;
        self.since = now;
        self.samples.clear();
        self.at_min = 0;
    }

    /// Whether enough requests have been measured alone.
    fn is_measured(&self, now: Time) -> bool {
        let enough = 2 * self.rules.min as usize;
        let most = self.rules.interval.mul_f64(MOST_MEASURING);
        let is_late = most <= now.since(self.since) && enough <= self.samples.len();
        self.rules.samples <= self.samples.len() || is_late
    }

    /// Whether it can be told what the limit has led to: as many as it lets in at once are done.
    fn is_judged(&self) -> bool {
        self.rules.samples.min(self.limit as usize) <= self.samples.len()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast to u32 ends at its range"
    )]
    fn follow(&mut self, sample: Duration) {
        let least = self.least.map_or(sample, |it| it.min(sample));
        self.least = Some(least);
        let least = least.as_secs_f64() * (1.0 + self.rules.buffer);
        let gradient = (least / sample.as_secs_f64().max(1e-9)).clamp(0.5, 2.0);
        let limit = f64::from(self.limit) * gradient;
        let limit = (limit + limit.sqrt() / 2.0) as u32;
        self.limit = limit.clamp(self.rules.min, self.rules.max);
        self.at_min = if self.limit == self.rules.min { self.at_min + 1 } else { 0 };
    }
}

impl Default for Gradient {
    fn default() -> Self {
        Self::new(GradientRules::default())
    }
}

impl Limit for Gradient {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn learn(&mut self, sample: &Sample, draw: &mut dyn Draw) {
        if sample.is_dropped {
            return;
        }
        let now = sample.at;
        // What began under another limit tells how long the requests of that one waited.
        if now.since(self.since) < sample.rtt {
            return;
        }
        self.samples.push(sample.rtt);
        match self.state {
            State::Measuring { before } => {
                if !self.is_measured(now) {
                    return;
                }
                self.least = self.median();
                self.limit = before;
                self.since = now;
                let late = self.rules.interval.mul_f64(self.rules.jitter * draw.unit());
                let measure = now + self.rules.interval + late;
                self.state = State::Following { update: now + self.rules.update, measure };
            }
            State::Following { update, measure } => {
                let is_due = update <= now && self.is_judged();
                if !is_due && self.samples.len() < MOST_SAMPLES {
                    return;
                }
                if let Some(median) = self.median() {
                    self.follow(median);
                    self.since = now;
                }
                self.state = State::Following { update: now + self.rules.update, measure };
                if measure <= now || AT_MIN <= self.at_min {
                    self.measure(now);
                }
            }
        }
    }
}

/// The part of `interval` after which a measurement ends although `samples` are not there yet.
const MOST_MEASURING: f64 = 0.02;

/// Samples between two updates at most, whatever the time.
const MOST_SAMPLES: usize = 4096;

/// Updates in a row that end at the smallest limit, after which is measured anew.
const AT_MIN: u32 = 5;

#[cfg(test)]
mod tests {
    use std::{cmp::Reverse, collections::BinaryHeap};

    use super::*;
    use crate::SplitMix64;

    const MS: Duration = Duration::from_millis(1);

    /// A server of so many places, each busy with a request for `service`, a tenth more or less,
    /// under a load that fills every limit: which part of the places is busy, and how many times
    /// as long as alone the 99th of 100 requests takes.
    fn loaded(places: u32, service: Duration, rules: GradientRules) -> (f64, f64) {
        let (mut limit, mut draw) = (Gradient::new(rules), SplitMix64::new(1));
        let (first, last) = (Time::from_secs(20), Time::from_secs(100));
        let mut free: BinaryHeap<_> = (0..places).map(|_| Reverse(Time::ZERO)).collect();
        let mut inside = BinaryHeap::new();
        let (mut now, mut times) = (Time::ZERO, Vec::new());
        while now < last {
            while inside.len() < limit.limit() as usize {
                let Reverse(place) = free.pop().unwrap();
                let ended = now.max(place) + service.mul_f64(0.9 + 0.2 * draw.unit());
                free.push(Reverse(ended));
                inside.push(Reverse((ended, now)));
            }
            let Reverse((ended, began)) = inside.pop().unwrap();
            now = ended;
            let rtt = ended.since(began);
            if first <= began {
                times.push(rtt.as_secs_f64() / service.as_secs_f64());
            }
            let in_flight = limit.limit();
            limit.learn(&Sample { rtt, in_flight, is_dropped: false, at: now }, &mut draw);
        }
        let could = f64::from(places) * last.since(first).as_secs_f64() / service.as_secs_f64();
        let done = u32::try_from(times.len()).unwrap();
        let busy = f64::from(done) / could;
        let at = times.len() * 99 / 100;
        (busy, *times.select_nth_unstable_by(at, f64::total_cmp).1)
    }

    #[test]
    fn the_places_are_busy_and_the_queue_is_short_whatever_a_request_takes() {
        for places in [4, 8, 16, 64, 128] {
            for service in [20, 50, 200, 500] {
                let (busy, slower) = loaded(places, service * MS, GradientRules::default());
                assert!(0.95 <= busy, "{places} of {service} ms: {busy}");
                assert!(slower <= 2.1, "{places} of {service} ms: {slower}");
            }
        }
    }

    #[test]
    fn a_disturbed_measurement_is_forgotten_as_soon_as_it_is_refuted() {
        let rules = GradientRules { samples: 1, ..GradientRules::default() };
        let (mut limit, mut draw) = (Gradient::new(rules), SplitMix64::new(1));
        let mut learn = |rtt, at: u32| {
            let at = Time::from_secs(10) + at * MS;
            limit.learn(&Sample { rtt, in_flight: 3, is_dropped: false, at }, &mut draw);
            limit.least
        };
        assert_eq!(learn(500 * MS, 0), Some(500 * MS));
        assert_eq!(learn(20 * MS, 200), Some(20 * MS));
    }

    #[test]
    fn the_limit_stays_within_its_bounds() {
        let rules = GradientRules { min: 2, max: 10, ..GradientRules::default() };
        let busy = loaded(100, 10 * MS, rules).0;
        assert!((0.09..=0.1).contains(&busy), "{busy}");
        assert!(1.8 <= loaded(1, 10 * MS, rules).1);
    }

    #[test]
    fn what_began_before_a_measurement_is_not_measured() {
        let mut limit = Gradient::new(GradientRules { samples: 1, ..GradientRules::default() });
        let mut draw = SplitMix64::new(1);
        limit.since = Time::from_secs(10);
        limit.state = State::Measuring { before: 20 };
        let mut learn = |rtt: Duration, at| {
            let sample = Sample { rtt, in_flight: 3, is_dropped: false, at };
            limit.learn(&sample, &mut draw);
            (limit.least, limit.limit())
        };
        assert_eq!(learn(200 * MS, Time::from_secs(10) + 100 * MS), (None, 3));
        assert_eq!(learn(50 * MS, Time::from_secs(10) + 100 * MS), (Some(50 * MS), 20));
    }

    #[test]
    fn after_an_interval_it_is_measured_again() {
        let rules = GradientRules { samples: 1, jitter: 0.0, ..GradientRules::default() };
        let (mut limit, mut draw) = (Gradient::new(rules), SplitMix64::new(1));
        let mut learn = |second| {
            let at = Time::from_secs(second);
            let sample = Sample { rtt: 10 * MS, in_flight: 3, is_dropped: false, at };
            limit.learn(&sample, &mut draw);
            (limit.limit(), matches!(limit.state, State::Measuring { .. }))
        };
        assert_eq!(learn(10), (3, false));
        let (grown, is_measuring) = learn(11);
        assert!(3 < grown && !is_measuring);
        assert_eq!(learn(70), (3, true));
    }

    #[test]
    fn failures_say_nothing_about_speed() {
        let mut limit = Gradient::default();
        let sample = Sample { rtt: MS, in_flight: 3, is_dropped: true, at: Time::from_secs(9) };
        limit.learn(&sample, &mut SplitMix64::new(1));
        assert!(limit.samples.is_empty());
    }
}
