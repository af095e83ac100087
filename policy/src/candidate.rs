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
            failure_cost: weight.get(),
            fail_timeout: Duration::from_secs(10),
            identity: Identity::NONE,
        }
    }

    /// Compares `in_flight / weight` exactly, by multiplying crosswise.
    pub fn cmp_load(&self, other: &Self) -> Ordering {
        cross(self.in_flight, other.weight).cmp(&cross(other.in_flight, self.weight))
    }
}

fn cross(in_flight: u32, weight: NonZeroU32) -> u64 {
    u64::from(in_flight) * u64::from(weight.get())
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
