//! How far does a limit grow while requests take no longer than they used to?

use crate::{Draw, Limit, Sample};

/// Scales the limit by long-term over present response time, and leaves room for a small queue.
///
/// Source: Netflix concurrency-limits, `Gradient2Limit.java` and `ExpAvgMeasurement.java`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient2 {
    limit: f64,
    /// Nanoseconds, 0 before the first sample.
    long_rtt: f64,
    /// Samples in the average, up to the end of its warm-up.
    samples: u32,
}

impl Default for Gradient2 {
    /// Starts at 20.
    fn default() -> Self {
        Self { limit: MIN, long_rtt: 0.0, samples: 0 }
    }
}

impl Limit for Gradient2 {
    fn limit(&self) -> u32 {
        super::whole(self.limit)
    }

    fn learn(&mut self, sample: &Sample, _draw: &mut dyn Draw) {
        let short = sample.rtt.as_secs_f64() * 1e9;
        self.average(short);
        if short <= 0.0 {
            return;
        }
        if 2.0 < self.long_rtt / short {
            self.long_rtt *= RECOVERY;
        }
        if f64::from(sample.in_flight) < self.limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * self.long_rtt / short).clamp(0.5, 1.0);
        let wanted = gradient * self.limit + QUEUE;
        self.limit = (self.limit * (1.0 - SMOOTHING) + wanted * SMOOTHING).clamp(MIN, MAX);
    }
}

impl Gradient2 {
    fn average(&mut self, short: f64) {
        self.samples = WARM_UP.min(self.samples + 1);
        let factor = match self.samples {
            WARM_UP => 2.0 / (LONG_WINDOW + 1.0),
            samples => f64::from(samples).recip(),
        };
        self.long_rtt += (short - self.long_rtt) * factor;
    }
}

const MIN: f64 = 20.0;
const MAX: f64 = 200.0;
const QUEUE: f64 = 4.0;
const LONG_WINDOW: f64 = 600.0;
const WARM_UP: u32 = 11;
const TOLERANCE: f64 = 1.5;
const SMOOTHING: f64 = 0.2;
/// What is left of a long-term average that has become more than twice too high.
const RECOVERY: f64 = 0.95;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{SplitMix64, Time};

    /// Learns one sample at a limit of 100 and a long-term average of 10 ms.
    fn learned(rtt_ms: u64, in_flight: u32) -> Gradient2 {
        let rtt = Duration::from_millis(rtt_ms);
        let mut limit = Gradient2 { limit: 100.0, long_rtt: 1e7, samples: WARM_UP };
        limit.learn(
            &Sample { rtt, in_flight, is_dropped: false, at: Time::ZERO },
            &mut SplitMix64::new(1),
        );
        limit
    }

    #[test]
    fn the_limit_grows_by_the_queue_and_shrinks_by_half_at_most() {
        let near = |limit: Gradient2, expected: f64| assert!((limit.limit - expected).abs() < 1e-6);
        near(learned(10, 100), 100.8);
        near(learned(40, 100), 90.8);
        near(learned(10, 40), 100.0);
        near(learned(10, 50), 100.8);
    }

    #[test]
    fn a_long_term_average_far_too_high_comes_down_faster() {
        let moved = |rtt_ms| learned(rtt_ms, 1).long_rtt / 1e7;
        assert!((moved(6) - (1.0 - 0.4 * 2.0 / 601.0)).abs() < 1e-9);
        assert!((moved(4) - (1.0 - 0.6 * 2.0 / 601.0) * 0.95).abs() < 1e-9);
    }

    #[test]
    fn the_first_ten_samples_are_averaged_evenly() {
        let mut limit = Gradient2::default();
        for short in 1..=10_u32 {
            limit.average(f64::from(short));
        }
        assert!((limit.long_rtt - 5.5).abs() < 1e-9);
    }
}
