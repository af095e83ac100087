//! What else than its failures keeps a server from being picked: its health checks, or an ejection.
//!
//! Facts, like the record: they outlive reloads. What they come to is one point in time, which
//! picks read without a lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use policy::{Terms, Time};

use super::Backend;
use super::check::watch::{Limits, Watch};

/// Why a server gets no requests although its own failures allow it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Out {
    /// It has not passed its first health check yet.
    Checking,
    /// It does not pass its health checks.
    Unhealthy,
    /// It did worse than the others, and sits out until then.
    Ejected(Time),
}

/// What health checks have found, in nginx's words.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Checks {
    /// How many were made.
    pub checks: u64,
    /// How many did not pass.
    pub fails: u64,
    /// How often the server became unhealthy.
    pub unhealthy: u64,
    /// Whether the last one passed, `None` before the first.
    pub last_passed: Option<bool>,
}

/// One health check that a server has to pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Watched {
    /// Tells it from the others, and from what it was before a reload changed it.
    pub name: Arc<str>,
    /// Whether nothing is as bad as a check that has not passed.
    pub is_mandatory: bool,
    /// Whether what was known of the server before counts until the first result.
    pub is_persistent: bool,
}

/// The reasons themselves.
#[derive(Debug, Default)]
pub struct Standing {
    watches: Vec<Watch>,
    checks: Checks,
    ejected_until: Time,
    ejections: u64,
}

impl Standing {
    fn out_at(&self, now: Time) -> Option<Out> {
        let verdicts = || self.watches.iter().map(Watch::verdict);
        match () {
            () if verdicts().any(|it| it == Some(false)) => Some(Out::Unhealthy),
            () if self.watches.iter().any(Watch::is_awaited) => Some(Out::Checking),
            () if now < self.ejected_until => Some(Out::Ejected(self.ejected_until)),
            () => None,
        }
    }

    fn out_until(&self, now: Time) -> Time {
        match self.out_at(now) {
            Some(Out::Checking | Out::Unhealthy) => Time::MAX,
            Some(Out::Ejected(until)) => until,
            None => Time::ZERO,
        }
    }
}

/// What a result of a check has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// The server gets no more requests.
    Unhealthy,
    /// It gets requests again, or its first ones.
    Healthy,
}

impl Backend {
    /// Why it is out now, beside its failures.
    pub fn out_at(&self, now: Time) -> Option<Out> {
        self.standing().out_at(now)
    }

    /// What its health checks have found, `None` where it has none.
    pub fn checks(&self) -> Option<Checks> {
        let standing = self.standing();
        (!standing.watches.is_empty()).then_some(standing.checks)
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.standing().ejections
    }

    /// From now on it is watched by these checks. What is known of it by one of them stays.
    pub(super) fn watch(&self, checks: &[Watched], now: Time) {
        let mut standing = self.standing();
        if checks.is_empty() && standing.watches.is_empty() {
            return;
        }
        let verdicts: Vec<_> = standing.watches.iter().map(Watch::verdict).collect();
        let known = match () {
            () if verdicts.contains(&Some(false)) => Some(false),
            () if verdicts.contains(&None) => None,
            () => verdicts.first().copied().flatten(),
        };
        let mut before = std::mem::take(&mut standing.watches);
        let next = |it: &Watched| match before.iter().position(|old| old.name == it.name) {
            Some(at) => before.swap_remove(at).as_asked(it.is_mandatory),
            None => Watch::new(it, known.filter(|_| it.is_persistent), now),
        };
        standing.watches = checks.iter().map(next).collect();
        self.publish_standing(&standing, now);
    }

    /// It sits out until then; not at all for a time that is over.
    pub(super) fn eject(&self, until: Time, now: Time) {
        let mut standing = self.standing();
        if standing.ejected_until == until {
            return;
        }
        standing.ejected_until = until;
        standing.ejections += u64::from(now < until);
        self.publish_standing(&standing, now);
    }

    /// When a check is due again, `None` where it is not made any more.
    pub(super) fn due(&self, name: &str) -> Option<Time> {
        let standing = self.standing();
        standing.watches.iter().find(|it| *it.name == *name).map(|it| it.due)
    }

    /// Learns a result of a check that had begun at `began`.
    pub(super) fn checked(
        &self,
        name: &str,
        has_passed: bool,
        limits: Limits,
        (began, now, next): (Time, Time, Time),
        terms: &Terms,
    ) -> Option<Change> {
        let (was_out, is_out) = {
            let mut standing = self.standing();
            let was_out = standing.out_at(now);
            let counts = &mut standing.checks;
            counts.checks += 1;
            counts.fails += u64::from(!has_passed);
            counts.last_passed = Some(has_passed);
            let watch = standing.watches.iter_mut().find(|it| *it.name == *name)?;
            watch.due = next;
            watch.observe(has_passed, limits);
            let is_out = standing.out_at(now);
            if is_out == Some(Out::Unhealthy) && was_out != is_out {
                standing.checks.unhealthy += 1;
            }
            self.publish_standing(&standing, now);
            (was_out, is_out)
        };
        let is_bad = |it: Option<Out>| it == Some(Out::Unhealthy);
        let healed = if has_passed { self.heal(began, now, terms) } else { None };
        match (is_bad(was_out), is_bad(is_out)) {
            (false, true) => {
                self.go_out(now);
                Some(Change::Unhealthy)
            }
            (true, false) => {
                self.recover(now);
                Some(Change::Healthy)
            }
            _ if healed.is_some() => Some(Change::Healthy),
            _ => (was_out == Some(Out::Checking) && is_out.is_none()).then_some(Change::Healthy),
        }
    }

    fn publish_standing(&self, standing: &Standing, now: Time) {
        // Relaxed: the moment steers a choice and publishes no other memory.
        self.out_until.store(standing.out_until(now).as_nanos(), Ordering::Relaxed);
        self.tell();
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // Each change is whole before anything in it can panic.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::num::NonZeroU32;

    use super::*;
    use crate::upstream::Address;

    const LIMITS: Limits = Limits { fails: NonZeroU32::MIN, passes: NonZeroU32::MIN };
    const AT: Time = Time::from_secs(100);

    fn backend() -> Backend {
        Backend::new(Address::Inet(SocketAddr::from(([10, 0, 0, 1], 1))))
    }

    fn watched(name: &str, is_mandatory: bool) -> Watched {
        Watched { name: name.into(), is_mandatory, is_persistent: false }
    }

    fn result(backend: &Backend, name: &str, has_passed: bool) -> Option<Change> {
        backend.checked(name, has_passed, LIMITS, (AT, AT, AT), &Terms::default())
    }

    #[test]
    fn a_server_that_fails_one_of_two_checks_is_out() {
        let backend = backend();
        backend.watch(&[watched("a", false), watched("b", false)], AT);
        assert_eq!(result(&backend, "a", true), None);
        assert_eq!(result(&backend, "b", false), Some(Change::Unhealthy));
        assert_eq!((backend.out_at(AT), backend.usable_from()), (Some(Out::Unhealthy), Time::MAX));
        assert_eq!(result(&backend, "b", true), Some(Change::Healthy));
        assert_eq!((backend.out_at(AT), backend.usable_from()), (None, Time::ZERO));
        let checks = Checks { checks: 3, fails: 1, unhealthy: 1, last_passed: Some(true) };
        assert_eq!(backend.checks(), Some(checks));
    }

    #[test]
    fn a_mandatory_check_must_pass_before_the_first_request() {
        let backend = backend();
        backend.watch(&[watched("a", true)], AT);
        assert_eq!((backend.out_at(AT), backend.usable_from()), (Some(Out::Checking), Time::MAX));
        assert_eq!(result(&backend, "a", true), Some(Change::Healthy));
        assert_eq!(backend.usable_from(), Time::ZERO);
    }

    #[test]
    fn what_a_check_has_found_stays_while_the_check_does() {
        let backend = backend();
        backend.watch(&[watched("a", true)], AT);
        result(&backend, "a", false);
        backend.watch(&[watched("a", true), watched("b", false)], AT);
        assert_eq!(backend.out_at(AT), Some(Out::Unhealthy));
        backend.watch(&[watched("b", false)], AT);
        assert_eq!(backend.out_at(AT), None);
        backend.watch(&[watched("c", true)], AT);
        assert_eq!(backend.out_at(AT), Some(Out::Checking));
        backend.watch(&[], AT);
        assert_eq!((backend.out_at(AT), backend.checks()), (None, None));
    }

    #[test]
    fn a_persistent_check_begins_with_what_was_known() {
        let backend = backend();
        backend.watch(&[watched("a", true)], AT);
        result(&backend, "a", true);
        backend.watch(&[Watched { is_persistent: true, ..watched("b", true) }], AT);
        assert_eq!(backend.out_at(AT), None);
    }

    #[test]
    fn a_check_that_passes_ends_the_failures_before_it() {
        let backend = backend();
        let terms = Terms::default();
        backend.watch(&[watched("a", false)], AT);
        backend.observe(policy::Event::FAILURE, AT, &terms);
        assert!(AT < backend.usable_from());
        let (earlier, later) = (Time::from_secs(99), Time::from_secs(101));
        backend.checked("a", true, LIMITS, (earlier, later, later), &terms);
        assert!(later < backend.usable_from());
        let change = backend.checked("a", true, LIMITS, (later, later, later), &terms);
        assert_eq!((change, backend.usable_from()), (Some(Change::Healthy), Time::ZERO));
    }
}
