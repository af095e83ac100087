//! What may a policy know of one backend?

use std::cmp::Ordering;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::Identity;

/// One backend, as a policy sees it at the moment of the decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its share of the traffic relative to the others.
    pub weight: NonZeroU32,
    /// Requests in progress on it, counted from the pick.
    pub in_flight: u32,
    /// Whether it may be picked now: not tried by this request, not down, healthy, below its limit.
    pub eligible: bool,
    /// How many units of `weight` the configuration's unit is worth here: 1 unless it is
    /// [scaled](Self::scaled).
    pub unit: u32,
    /// What each failure takes off its effective weight, see [`crate::RoundRobin`].
    pub failure_cost: u32,
    /// After how long without a look at it an opinion of it is old, see [`crate::LeastTime`].
    pub fail_timeout: Duration,
    /// What it is called, for policies that lay candidates on a ring.
    pub identity: Identity,
}

impl Candidate {
    /// An eligible candidate without a name that loses its whole effective weight by a failure and
    /// ten seconds for it, which are nginx's defaults.
    #[must_use]
    pub const fn new(weight: NonZeroU32, in_flight: u32) -> Self {
        Self {
            weight,
            in_flight,
            eligible: true,
            unit: 1,
            failure_cost: weight.get(),
            fail_timeout: Duration::from_secs(10),
            identity: Identity::NONE,
        }
    }

    /// The same candidate with a part of its weight, in hundredths of the configuration's unit.
    ///
    /// Where one server of a group starts slowly, all are scaled, the others with a share of 1.
    #[must_use]
    pub fn scaled(self, share: f64) -> Self {
        Self {
            weight: part(self.weight, share.min(1.0)),
            unit: UNITS.get(),
            failure_cost: self.failure_cost.saturating_mul(UNITS.get()),
            ..self
        }
    }

    /// Compares `in_flight / weight` exactly, by multiplying crosswise.
    pub fn cmp_load(&self, other: &Self) -> Ordering {
        self.load().cmp(&other.load())
    }

    /// What [`Self::cmp_load`] compares.
    pub(crate) fn load(&self) -> Load {
        Load { in_flight: self.in_flight, weight: self.weight.get() }
    }
}

/// Requests in progress over weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) in_flight: u32,
    pub(crate) weight: u32,
}

impl Ord for Load {
    /// Exactly, by multiplying crosswise.
    fn cmp(&self, other: &Self) -> Ordering {
        let cross = |a: &Self, b: &Self| u64::from(a.in_flight) * u64::from(b.weight);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Load {}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

const UNITS: NonZeroU32 = NonZeroU32::new(100).expect("not 0");

/// A share of a weight in units, at least one of them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast to u32 ends at its range"
)]
fn part(weight: NonZeroU32, share: f64) -> NonZeroU32 {
    let units = f64::from(weight.get()) * f64::from(UNITS.get()) * share;
    NonZeroU32::new(units.round() as u32).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(weight: u32, in_flight: u32) -> Candidate {
        Candidate::new(NonZeroU32::new(weight).unwrap(), in_flight)
    }

    #[test]
    fn the_largest_numbers_compare_without_rounding() {
        let (least, most) = (candidate(u32::MAX, u32::MAX - 1), candidate(u32::MAX, u32::MAX));
        assert_eq!(least.cmp_load(&most), Ordering::Less);
        assert_eq!(candidate(1, u32::MAX).cmp_load(&candidate(u32::MAX, 1)), Ordering::Greater);
    }

    #[test]
    fn a_scaled_weight_is_a_part_in_hundredths_and_never_nothing() {
        let weight = |share| candidate(3, 0).scaled(share).weight.get();
        assert_eq!([1.0, 0.5, 0.1, 0.0, 2.0, f64::NAN].map(weight), [300, 150, 30, 1, 300, 300]);
        let scaled = candidate(3, 0).scaled(0.5);
        assert_eq!((scaled.unit, scaled.failure_cost), (100, 300));
    }

    proptest! {
        #[test]
        fn load_orders_as_the_quotients_do(
            (w1, n1) in (1..=6_u32, 0..=6_u32),
            (w2, n2) in (1..=6_u32, 0..=6_u32),
        ) {
            // 60 is a multiple of every weight drawn, so these quotients are exact.
            let quotients = (n1 * (60 / w1)).cmp(&(n2 * (60 / w2)));
            prop_assert_eq!(candidate(w1, n1).cmp_load(&candidate(w2, n2)), quotients);
        }
    }
}
