//! How long is the queue, judged by the best response time ever seen?

use crate::{Draw, Limit, Sample};

/// Grows while next to nothing queues, shrinks when much does.
///
/// Source: Netflix concurrency-limits, `VegasLimit.java`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vegas {
    limit: f64,
    /// Best response time in nanoseconds since the last new baseline, `None` before the first.
    best: Option<f64>,
    /// Samples since the last new baseline.
    samples: f64,
    /// Part of the period after which the baseline is measured anew.
    jitter: f64,
}

impl Default for Vegas {
    /// Starts at 20.
    fn default() -> Self {
        Self { limit: 20.0, best: None, samples: 0.0, jitter: 1.0 }
    }
}

impl Limit for Vegas {
    fn limit(&self) -> u32 {
        super::whole(self.limit)
    }

    fn learn(&mut self, sample: &Sample, draw: &mut dyn Draw) {
        let rtt = sample.rtt.as_secs_f64() * 1e9;
        if rtt <= 0.0 {
            return;
        }
        self.samples += 1.0;
        if self.jitter * PERIOD * self.limit <= self.samples {
            self.jitter = f64::midpoint(1.0, draw.unit());
            self.samples = 0.0;
            self.best = Some(rtt);
            return;
        }
        match self.best {
            Some(best) if best <= rtt => self.limit = self.next(sample, best / rtt).clamp(1.0, MAX),
            _ => self.best = Some(rtt),
        }
    }
}

impl Vegas {
    /// The limit after a sample that took longer than the best by the inverse of `ratio`.
    fn next(&self, sample: &Sample, ratio: f64) -> f64 {
        let step = self.limit.log10().floor().max(1.0);
        let (alpha, beta) = (3.0 * step, 6.0 * step);
        if sample.is_dropped {
            return self.limit - step;
        }
        if f64::from(sample.in_flight) * 2.0 < self.limit {
            return self.limit;
        }
        match (self.limit * (1.0 - ratio)).ceil() {
            queue if queue <= step => self.limit + beta,
            queue if queue < alpha => self.limit + step,
            queue if beta < queue => self.limit - step,
            _ => self.limit,
        }
    }
}

const MAX: f64 = 1000.0;
/// Samples between two baselines for each unit of the limit, before jitter.
const PERIOD: f64 = 30.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{SplitMix64, Time};

    /// Learns one sample at a limit of 20 and a best time of 100 ms.
    #[track_caller]
    fn check(rtt_ms: u64, in_flight: u32, is_dropped: bool, expected: u32) {
        let mut limit = Vegas { best: Some(1e8), ..Vegas::default() };
        let rtt = Duration::from_millis(rtt_ms);
        limit
            .learn(&Sample { rtt, in_flight, is_dropped, at: Time::ZERO }, &mut SplitMix64::new(1));
        assert_eq!(limit.limit(), expected, "{rtt_ms} ms, {in_flight} in flight");
    }

    #[test]
    fn the_limit_follows_the_queue() {
        check(104, 20, false, 26);
        check(110, 20, false, 21);
        check(120, 20, false, 20);
        check(200, 20, false, 19);
    }

    #[test]
    fn an_unused_limit_stays_and_a_loss_lowers_it() {
        check(104, 9, false, 20);
        check(104, 10, false, 26);
        check(104, 1, true, 19);
    }

    #[test]
    fn a_better_time_only_moves_the_baseline() {
        let mut limit = Vegas { best: Some(1e8), ..Vegas::default() };
        let rtt = Duration::from_millis(50);
        let sample = Sample { rtt, in_flight: 20, is_dropped: false, at: Time::ZERO };
        limit.learn(&sample, &mut SplitMix64::new(1));
        assert_eq!((limit.limit(), limit.best), (20, Some(5e7)));
    }

    #[test]
    fn the_baseline_is_measured_anew_after_a_while() {
        let mut limit = Vegas { best: Some(1e8), samples: 599.0, ..Vegas::default() };
        let sample = Sample {
            rtt: Duration::from_secs(9),
            in_flight: 20,
            is_dropped: false,
            at: Time::ZERO,
        };
        limit.learn(&sample, &mut SplitMix64::new(1));
        assert_eq!((limit.limit(), limit.best), (20, Some(9e9)));
        assert!((0.5..=1.0).contains(&limit.jitter));
    }
}
