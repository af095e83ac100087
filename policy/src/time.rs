//! When is it, on the caller's clock?

use std::ops::Add;
use std::time::Duration;

/// A point on the caller's clock: nanoseconds after an origin which the caller chooses.
///
/// A live balancer counts from the epoch or from its start, a simulator from zero. Only differences
/// and, where nginx counts so, whole seconds matter. The range is 584 years; sums end there.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The end of the range: what is due then is never due.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point `secs` seconds after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(NANOS_PER_SEC))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the origin, as nginx's `ngx_time()` counts.
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOS_PER_SEC
    }

    /// What has passed since `earlier`; nothing if that is later than `self`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, passed: Duration) -> Self {
        let nanos = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

const NANOS_PER_SEC: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_counted_when_it_is_over() {
        assert_eq!(Time::from_nanos(1_999_999_999).as_secs(), 1);
        assert_eq!(Time::from_nanos(2_000_000_000).as_secs(), 2);
    }

    #[test]
    fn sums_and_differences_end_at_the_range() {
        assert_eq!(
            Time::from_secs(3) + Duration::from_millis(250),
            Time::from_nanos(3_250_000_000)
        );
        assert_eq!(Time::MAX + Duration::MAX, Time::MAX);
        assert_eq!(Time::from_secs(u64::MAX), Time::MAX);
        assert_eq!(Time::from_secs(5).since(Time::from_secs(2)), Duration::from_secs(3));
        assert_eq!(Time::from_secs(2).since(Time::from_secs(5)), Duration::ZERO);
    }
}
