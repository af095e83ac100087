//! What has happened on one backend?
//!
//! Facts only. What they mean depends on the [`Terms`], which every reload may change; facts stay.

use std::time::Duration;

use crate::{Event, Health, Terms, Time, Transition};

/// Facts about one backend, from the first request to the last, over all reloads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    health: Health,
    successes: u64,
    failures: u64,
    outages: u64,
    down_since: Option<Time>,
    downtime: Duration,
    recovered_at: Option<Time>,
}

impl Record {
    /// Learns the end of a request.
    pub fn observe(&mut self, event: Event, now: Time, terms: &Terms) -> Option<Transition> {
        let transition = match event {
            Event::Success { .. } => {
                self.successes += 1;
                self.health.succeed(terms)
            }
            Event::Failure { .. } => {
                self.failures += 1;
                self.health.fail(now, terms)
            }
            Event::Abandoned { .. }
            | Event::Head { .. }
            | Event::Idle
            | Event::Probe { .. }
            | Event::Report(_) => None,
        };
        match transition {
            Some(Transition::Down) => self.go_out(now),
            Some(Transition::Up) => self.recover(now),
            None => (),
        }
        transition
    }

    /// Takes note that the backend is out: it failed too often, or a probe did not pass.
    pub fn go_out(&mut self, now: Time) {
        self.outages += 1;
        self.down_since.get_or_insert(now);
    }

    /// Takes note that the backend is back: it answered, a probe passed, or a name resolved to it
    /// anew.
    pub fn recover(&mut self, now: Time) {
        self.downtime = self.downtime_at(now);
        self.down_since = None;
        self.recovered_at = Some(now);
    }

    /// Forgets the failures of a backend that has passed a probe which began after them.
    pub fn heal(&mut self, now: Time, terms: &Terms) -> Option<Transition> {
        let transition = self.health.heal(terms);
        if transition.is_some() {
            self.recover(now);
        }
        transition
    }

    /// When the backend last came back, `None` if it never did: what [`crate::SlowStart`] counts
    /// from.
    pub const fn recovered_at(&self) -> Option<Time> {
        self.recovered_at
    }

    /// Takes note of a pick, see [`Health::placed`]. Needed only while [`Self::fails`] is not 0.
    pub fn placed(&mut self, now: Time, terms: &Terms) {
        self.health.placed(now, terms);
    }

    /// From when on the backend may be picked; [`Time::ZERO`] unless it has failed too often.
    pub fn usable_from(&self, terms: &Terms) -> Time {
        self.health.usable_from(terms)
    }

    /// Failures counted since the last success that cleared them.
    pub const fn fails(&self) -> u32 {
        self.health.fails()
    }

    /// Requests that ended well.
    pub const fn successes(&self) -> u64 {
        self.successes
    }

    /// Requests that ended with a failure of the backend.
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// How often the backend has gone down.
    pub const fn outages(&self) -> u64 {
        self.outages
    }

    /// When the backend went down, `None` while it is up.
    pub const fn down_since(&self) -> Option<Time> {
        self.down_since
    }

    /// Sum of all outages, a present one included up to `now`.
    pub fn downtime_at(&self, now: Time) -> Duration {
        let present = self.down_since.map_or(Duration::ZERO, |it| now.since(it));
        self.downtime.saturating_add(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: Event = Event::success(Duration::from_millis(5));

    #[test]
    fn an_outage_is_counted_and_measured_until_the_backend_answers() {
        let terms = Terms::default();
        let at = Time::from_secs;
        let mut record = Record::default();
        assert_eq!(record.observe(Event::FAILURE, at(100), &terms), Some(Transition::Down));
        assert_eq!(record.usable_from(&terms), at(111));
        assert_eq!(record.downtime_at(at(103)), Duration::from_secs(3));
        record.placed(at(111), &terms);
        assert_eq!(record.observe(ANSWERED, at(112), &terms), Some(Transition::Up));
        assert_eq!(record.observe(ANSWERED, at(113), &terms), None);
        assert_eq!(record.recovered_at(), Some(at(112)));
        assert_eq!(record.downtime_at(at(500)), Duration::from_secs(12));
        assert_eq!((record.successes(), record.failures(), record.outages()), (2, 1, 1));
    }

    #[test]
    fn a_probe_that_passed_ends_an_outage() {
        let terms = Terms::default();
        let at = Time::from_secs;
        let mut record = Record::default();
        record.observe(Event::FAILURE, at(100), &terms);
        assert_eq!(record.heal(at(103), &terms), Some(Transition::Up));
        assert_eq!((record.usable_from(&terms), record.down_since()), (Time::ZERO, None));
        assert_eq!(record.downtime_at(at(500)), Duration::from_secs(3));
        assert_eq!(record.heal(at(104), &terms), None);
        assert_eq!(record.recovered_at(), Some(at(103)));
    }

    #[test]
    fn a_client_that_left_proves_nothing() {
        let mut record = Record::default();
        let left = Event::Abandoned { head: None, total: Duration::from_mins(1) };
        assert_eq!(record.observe(left, Time::ZERO, &Terms::default()), None);
        assert_eq!(record, Record::default());
    }

    #[test]
    fn other_terms_apply_to_old_facts_at_once() {
        let mut record = Record::default();
        record.observe(Event::FAILURE, Time::from_secs(100), &Terms::default());
        let patient = Terms { max_fails: None, ..Terms::default() };
        assert_eq!(record.usable_from(&patient), Time::ZERO);
    }
}
