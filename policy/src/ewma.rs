//! How long does a backend take, when the latest answers say most?

use std::time::Duration;

use crate::Time;

/// A response time that follows a worse one at once and a better one slowly.
///
/// Reading changes nothing: what was learned fades by the time that has passed, `e^(-t / decay)`.
///
/// Source: Finagle `PeakEwma.scala`, `Metric.observe`; tower `load/peak_ewma.rs`, `RttEstimate`.
/// There a read is an observation of 0, after which even a better answer may count as a peak.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ewma {
    learned: Option<Learned>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Learned {
    nanos: f64,
    at: Time,
}

impl Ewma {
    /// Learns how long a request took.
    pub fn learn(&mut self, taken: Duration, now: Time, decay: Duration) {
        let taken = nanos(taken);
        let nanos = match self.learned {
            Some(old) if taken <= old.nanos => {
                let kept = kept(old.at, now, decay);
                old.nanos * kept + taken * (1.0 - kept)
            }
            _ => taken,
        };
        self.learned = Some(Learned { nanos, at: now });
    }

    /// The estimate in nanoseconds, `None` before the first answer.
    pub fn nanos_at(&self, now: Time, decay: Duration) -> Option<f64> {
        self.learned.map(|it| it.nanos * kept(it.at, now, decay))
    }
}

/// Which part of an old estimate still counts.
fn kept(at: Time, now: Time, decay: Duration) -> f64 {
    if decay.is_zero() { 0.0 } else { (-nanos(now.since(at)) / nanos(decay)).exp() }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate needs no more than 52 bits")]
fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn learned(milliseconds: u64) -> Ewma {
        let mut ewma = Ewma::default();
        ewma.learn(Duration::from_millis(milliseconds), Time::ZERO, DECAY);
        ewma
    }

    #[track_caller]
    fn check(ewma: Ewma, second: u64, expected_ms: f64) {
        let nanos = ewma.nanos_at(Time::from_secs(second), DECAY).unwrap();
        assert!((nanos / 1e6 - expected_ms).abs() < 5e-4, "{nanos} ns at {second} s");
    }

    #[test]
    fn an_estimate_fades() {
        check(learned(100), 0, 100.0);
        check(learned(100), 1, 90.484);
        check(learned(100), 5, 60.653);
        check(learned(100), 10, 36.788);
        check(learned(100), 30, 4.979);
    }

    #[test]
    fn a_better_answer_counts_by_the_time_since_the_last_and_a_worse_one_at_once() {
        let mut ewma = learned(100);
        ewma.learn(Duration::from_millis(20), Time::from_secs(2), DECAY);
        check(ewma, 2, 85.4985);
        ewma.learn(Duration::from_millis(300), Time::from_secs(2), DECAY);
        check(ewma, 2, 300.0);
    }

    #[test]
    fn nothing_is_expected_before_the_first_answer() {
        assert_eq!(Ewma::default().nanos_at(Time::from_secs(1), DECAY), None);
    }

    #[test]
    fn without_decay_only_the_present_counts() {
        assert_eq!(learned(100).nanos_at(Time::from_secs(1), Duration::ZERO), Some(0.0));
    }
}
