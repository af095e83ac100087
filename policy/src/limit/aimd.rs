//! How far does a limit grow by trial and error?

use std::time::Duration;

use crate::{Draw, Limit, Sample};

/// One more after each success while the limit is used, a tenth less after each loss.
///
/// Source: Netflix concurrency-limits, `AIMDLimit.java`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Aimd {
    limit: u32,
    /// A request that takes longer counts as lost.
    timeout: Duration,
}

impl Default for Aimd {
    /// Starts at 20; requests of more than five seconds are lost.
    fn default() -> Self {
        Self { limit: MIN, timeout: Duration::from_secs(5) }
    }
}

impl Limit for Aimd {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn learn(&mut self, sample: &Sample, _draw: &mut dyn Draw) {
        let limit = if sample.is_dropped || self.timeout < sample.rtt {
            (self.limit - 1).min(self.limit * 9 / 10)
        } else if self.limit <= sample.in_flight.saturating_mul(2) {
            self.limit + 1
        } else {
            self.limit
        };
        self.limit = limit.clamp(MIN, MAX);
    }
}

const MIN: u32 = 20;
const MAX: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SplitMix64, Time};

    #[track_caller]
    fn check(in_flight: u32, rtt: Duration, is_dropped: bool, expected: u32) {
        let mut limit = Aimd { limit: 100, ..Aimd::default() };
        limit
            .learn(&Sample { rtt, in_flight, is_dropped, at: Time::ZERO }, &mut SplitMix64::new(1));
        assert_eq!(limit.limit(), expected, "{in_flight} in flight, {rtt:?}");
    }

    #[test]
    fn success_adds_one_when_the_limit_is_used_and_loss_takes_a_tenth() {
        let short = Duration::from_millis(5);
        check(50, short, false, 101);
        check(49, short, false, 100);
        check(50, short, true, 90);
        check(50, Duration::from_secs(5), false, 101);
        check(50, Duration::from_millis(5001), false, 90);
    }

    #[test]
    fn the_limit_stays_within_its_range() {
        let mut limit = Aimd::default();
        let mut draw = SplitMix64::new(1);
        let lost = Sample { rtt: Duration::ZERO, in_flight: 20, is_dropped: true, at: Time::ZERO };
        limit.learn(&lost, &mut draw);
        assert_eq!(limit.limit(), MIN);
        for _ in 0..1000 {
            let in_flight = limit.limit();
            limit.learn(&Sample { in_flight, is_dropped: false, ..lost }, &mut draw);
        }
        assert_eq!(limit.limit(), MAX);
    }
}
