//! What does the configuration say about one server?

use std::num::NonZeroU32;
use std::time::Duration;

use crate::{Candidate, Identity, Time};

/// The parameters of one `server` line. They apply to old facts at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// What the server is called.
    pub identity: Identity,
    /// Share of the traffic relative to the others.
    pub weight: NonZeroU32,
    /// Failures within `fail_timeout` that take the server out, `None` (nginx: 0) for never.
    pub max_fails: Option<NonZeroU32>,
    /// How long the server is out, and how long failures are counted. Whole seconds count, as in
    /// nginx; a fraction is cut off.
    pub fail_timeout: Duration,
    /// Requests in progress at which no more are placed, `None` (nginx: 0) for no limit.
    pub max_conns: Option<NonZeroU32>,
    /// How long it takes after a recovery to get its whole share, `None` (nginx: 0) for no time.
    pub slow_start: Option<Duration>,
    /// Serves only when no other can; the caller keeps these in a list and a policy of their own.
    pub backup: bool,
    /// Never picked.
    pub down: bool,
}

impl Default for Terms {
    /// nginx's: weight 1, one failure within ten seconds, no limit.
    fn default() -> Self {
        Self {
            identity: Identity::NONE,
            weight: NonZeroU32::MIN,
            max_fails: Some(NonZeroU32::MIN),
            fail_timeout: Duration::from_secs(10),
            max_conns: None,
            slow_start: None,
            backup: false,
            down: false,
        }
    }
}

impl Terms {
    /// The server as a policy sees it at `now`, with `in_flight` requests in progress and usable
    /// from the point that [`crate::Record::usable_from`] gave.
    ///
    /// Which servers a request has tried is the caller's to add.
    pub fn candidate(&self, in_flight: u32, usable_from: Time, now: Time) -> Candidate {
        let has_room = self.max_conns.is_none_or(|limit| in_flight < limit.get());
        let mut candidate = Candidate::new(self.weight, in_flight);
        candidate.eligible = !self.down && has_room && usable_from <= now;
        candidate.fail_timeout = self.fail_timeout;
        candidate.identity = self.identity;
        candidate.failure_cost = self.max_fails.map_or(0, |it| self.weight.get() / it);
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(terms: Terms, in_flight: u32, usable_from: u64, eligible: bool) {
        let candidate =
            terms.candidate(in_flight, Time::from_secs(usable_from), Time::from_secs(5));
        assert_eq!(candidate.eligible, eligible, "{in_flight} on {terms:?} from {usable_from}");
    }

    #[test]
    fn a_server_is_eligible_unless_it_is_down_full_or_failed() {
        let limited = Terms { max_conns: NonZeroU32::new(2), ..Terms::default() };
        check(Terms::default(), u32::MAX, 0, true);
        check(Terms { down: true, ..Terms::default() }, 0, 0, false);
        check(limited, 1, 0, true);
        check(limited, 2, 0, false);
        check(Terms::default(), 0, 5, true);
        check(Terms::default(), 0, 6, false);
    }

    #[test]
    fn a_failure_costs_the_weight_over_max_fails_rounded_down() {
        let cost = |weight, max_fails| {
            let weight = NonZeroU32::new(weight).unwrap();
            let terms = Terms { weight, max_fails: NonZeroU32::new(max_fails), ..Terms::default() };
            terms.candidate(0, Time::ZERO, Time::ZERO).failure_cost
        };
        assert_eq!([cost(5, 1), cost(5, 2), cost(1, 2), cost(5, 0)], [5, 2, 0, 0]);
    }
}
