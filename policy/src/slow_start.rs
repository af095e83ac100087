//! Which part of its weight does a server get after it has come back?

use std::time::Duration;

/// How the weight grows over time.
///
/// Source: Envoy `slow_start.rst`; nginx's `slow_start` and HAProxy's `slowstart` are the linear
/// case, see [`Self::linear`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// From the recovery until the weight is whole.
    pub window: Duration,
    /// The least part, of 1.
    pub min: f64,
    /// 1 grows evenly, more grows fast at first, less grows late. Above 0.
    pub aggression: f64,
}

impl SlowStart {
    /// Grows evenly from next to nothing, as nginx's commercial edition documents it.
    #[must_use]
    pub const fn linear(window: Duration) -> Self {
        Self { window, min: 0.0, aggression: 1.0 }
    }

    /// Envoy's defaults: evenly, from a tenth on.
    #[must_use]
    pub const fn envoy(window: Duration) -> Self {
        Self { window, min: 0.1, aggression: 1.0 }
    }

    /// The part of the weight which a server gets so long after its recovery, up to 1.
    ///
    /// A server counts as up for one second at least.
    pub fn share(&self, since_recovery: Duration) -> f64 {
        if self.window <= since_recovery {
            return 1.0;
        }
        let since = since_recovery.max(Duration::from_secs(1)).as_secs_f64();
        let share = (since / self.window.as_secs_f64()).powf(self.aggression.recip());
        share.max(self.min).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_1_SQRT_2;

    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);

    #[track_caller]
    fn check(start: SlowStart, expected: [f64; 7]) {
        for (second, expected) in [0, 3, 6, 15, 30, 45, 60].into_iter().zip(expected) {
            let share = start.share(Duration::from_secs(second));
            assert!((share - expected).abs() < 5e-5, "{share} after {second} s, {start:?}");
        }
    }

    /// A window of 60 s, at least a tenth: the values of Envoy's formula.
    #[test]
    fn shares_grow_as_the_aggression_says() {
        let envoy = SlowStart::envoy(WINDOW);
        check(envoy, [0.1, 0.1, 0.1, 0.25, 0.5, 0.75, 1.0]);
        let fast = [0.1291, 0.2236, 0.3162, 0.5, FRAC_1_SQRT_2, 0.8660, 1.0];
        check(SlowStart { aggression: 2.0, ..envoy }, fast);
        check(SlowStart { aggression: 0.5, ..envoy }, [0.1, 0.1, 0.1, 0.1, 0.25, 0.5625, 1.0]);
    }

    #[test]
    fn a_linear_start_begins_next_to_nothing() {
        check(SlowStart::linear(WINDOW), [1.0 / 60.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0]);
    }

    #[test]
    fn without_a_window_the_share_is_whole_at_once() {
        check(SlowStart::linear(Duration::ZERO), [1.0; 7]);
        check(SlowStart::linear(Duration::from_millis(500)), [1.0; 7]);
    }
}
