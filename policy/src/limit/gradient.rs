//! How far does a limit grow while requests take hardly longer than where nothing waits?

use std::time::Duration;

use crate::{Draw, Limit, Sample, Time};

/// Scales the limit by the least over the present response time, and leaves room for bursts.
///
/// Now and then it lets next to nothing in, to learn how long a request takes that waits for
/// nothing. Unlike [`crate::Gradient2`] it does not get used to a queue.
///
/// Source: Envoy `adaptive_concurrency/controller/gradient_controller.cc`.
#[derive(Clone, Debug)]
pub struct Gradient {
    rules: GradientRules,
    limit: u32,
    /// Median of requests that waited for nothing, `None` before the first measurement.
    least: Option<Duration>,
    samples: Vec<Duration>,
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
    /// Little is let in since then; the limit before.
    Measuring { since: Time, before: u32 },
    /// When the limit changes next, and when is measured again.
    Following { update: Time, measure: Time },
}

impl Gradient {
    /// Begins with a measurement.
    #[must_use]
    pub fn new(rules: GradientRules) -> Self {
        let since = Time::ZERO;
        Self {
            rules,
            limit: rules.min,
            least: None,
            samples: Vec::new(),
            state: State::Measuring { since, before: rules.min },
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
        self.state = State::Measuring { since: now, before: self.limit };
        self.limit = self.rules.min;
        self.samples.clear();
        self.at_min = 0;
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast to u32 ends at its range"
    )]
    fn follow(&mut self, sample: Duration) {
        let Some(least) = self.least else { return };
        let least = least.as_secs_f64() * (1.0 + self.rules.buffer);
        let gradient = (least / sample.as_secs_f64().max(1e-9)).clamp(0.5, 2.0);
        let limit = f64::from(self.limit) * gradient;
        let limit = (limit + limit.sqrt()) as u32;
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
        match self.state {
            // What began under another limit has waited for others.
            State::Measuring { since, .. } if now.since(since) < sample.rtt => {}
            State::Measuring { before, .. } => {
                self.samples.push(sample.rtt);
                if self.samples.len() < self.rules.samples {
                    return;
                }
                self.least = self.median();
                self.limit = before;
                let late = self.rules.interval.mul_f64(self.rules.jitter * draw.unit());
                let measure = now + self.rules.interval + late;
                self.state = State::Following { update: now + self.rules.update, measure };
            }
            State::Following { update, measure } => {
                self.samples.push(sample.rtt);
                if now < update && self.samples.len() < MOST_SAMPLES {
                    return;
                }
                if let Some(median) = self.median() {
                    self.follow(median);
                }
                self.state = State::Following { update: now + self.rules.update, measure };
                if measure <= now || AT_MIN <= self.at_min {
                    self.measure(now);
                }
            }
        }
    }
}

/// Samples between two updates at most, whatever the time.
const MOST_SAMPLES: usize = 4096;

/// Updates in a row that end at the smallest limit, after which is measured anew.
const AT_MIN: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    const MS: Duration = Duration::from_millis(1);

    /// A server of so many places, each busy for 10 ms by a request, under a load that fills every
    /// limit: how the limit and the response time are after some seconds.
    fn settled(places: u32, rules: GradientRules) -> (u32, Duration) {
        let (mut limit, mut draw) = (Gradient::new(rules), SplitMix64::new(1));
        let (mut now, mut rtt) = (Time::from_secs(1), Duration::ZERO);
        while now < Time::from_secs(7) {
            let in_flight = limit.limit();
            rtt = (10 * MS).mul_f64((f64::from(in_flight) / f64::from(places)).max(1.0));
            now = now + rtt / in_flight;
            let sample = Sample { rtt, in_flight, is_dropped: false, at: now };
            limit.learn(&sample, &mut draw);
        }
        (limit.limit(), rtt)
    }

    #[test]
    fn the_limit_keeps_the_places_busy_and_the_queue_short() {
        for places in [4, 8, 16, 64, 256] {
            let (limit, rtt) = settled(places, GradientRules::default());
            assert!(places <= limit, "{limit} for {places}");
            assert!(rtt <= 20 * MS, "{rtt:?} for {places}");
        }
    }

    #[test]
    fn the_limit_stays_within_its_bounds() {
        let rules = GradientRules { min: 2, max: 10, ..GradientRules::default() };
        assert_eq!(settled(100, rules).0, 10);
        assert!(2 <= settled(1, rules).0);
    }

    #[test]
    fn what_began_before_a_measurement_is_not_measured() {
        let mut limit = Gradient::new(GradientRules { samples: 1, ..GradientRules::default() });
        let mut draw = SplitMix64::new(1);
        limit.state = State::Measuring { since: Time::from_secs(10), before: 20 };
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
