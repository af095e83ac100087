//! When is a failing server left alone, and when is it tried again?

use crate::{Terms, Time};

/// What one server's requests have shown, for `max_fails` and `fail_timeout`.
///
/// nginx counts in whole seconds, and so does this: a server that failed at 3.9 s with a
/// `fail_timeout` of 10 s is out while the clock shows 13, and usable from 14.0 s on.
///
/// A group of a single server is never taken out; its caller observes nothing.
///
/// Source: nginx `ngx_http_upstream_round_robin.c`, `ngx_http_upstream_get_peer` and
/// `ngx_http_upstream_free_round_robin_peer`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Health {
    fails: u32,
    /// Whole second of the last failure.
    accessed: Option<u64>,
    /// Whole second of the last failure, or of the last pick that looked whether it is over.
    checked: Option<u64>,
}

/// A change that is worth telling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transition {
    /// The server has failed too often and is left alone for `fail_timeout`.
    Down,
    /// The server has answered after it was down.
    Up,
}

impl Health {
    /// Failures counted since the last success that cleared them.
    ///
    /// While it is 0, [`Self::placed`] changes nothing that a later answer depends on.
    pub const fn fails(&self) -> u32 {
        self.fails
    }

    /// Counts a failure.
    pub fn fail(&mut self, now: Time, terms: &Terms) -> Option<Transition> {
        let was_down = self.has_failed(terms);
        self.fails = self.fails.saturating_add(1);
        self.accessed = Some(now.as_secs());
        self.checked = self.accessed;
        (!was_down && self.has_failed(terms)).then_some(Transition::Down)
    }

    /// Takes note of a good answer. It clears the failures if a pick has looked since the last one.
    pub fn succeed(&mut self, terms: &Terms) -> Option<Transition> {
        if self.checked <= self.accessed {
            return None;
        }
        let was_down = self.has_failed(terms);
        self.fails = 0;
        was_down.then_some(Transition::Up)
    }

    /// Forgets all failures: something else than a request has shown that the server answers.
    pub fn heal(&mut self, terms: &Terms) -> Option<Transition> {
        let was_down = self.has_failed(terms);
        self.fails = 0;
        was_down.then_some(Transition::Up)
    }

    /// Takes note of a pick. The first after `fail_timeout` starts another: if it fails too, or as
    /// long as it runs, no second request is risked.
    pub fn placed(&mut self, now: Time, terms: &Terms) {
        let second = now.as_secs();
        let fail_timeout = terms.fail_timeout.as_secs();
        if self.checked.is_none_or(|it| fail_timeout < second.saturating_sub(it)) {
            self.checked = Some(second);
        }
    }

    /// From when on the server may be picked; [`Time::ZERO`] unless it has failed too often.
    pub fn usable_from(&self, terms: &Terms) -> Time {
        match self.checked {
            Some(checked) if self.has_failed(terms) => {
                let last = checked.saturating_add(terms.fail_timeout.as_secs());
                Time::from_secs(last.saturating_add(1))
            }
            _ => Time::ZERO,
        }
    }

    fn has_failed(&self, terms: &Terms) -> bool {
        terms.max_fails.is_some_and(|it| it.get() <= self.fails)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const TERMS: Terms = Terms {
        identity: crate::Identity::NONE,
        weight: NonZeroU32::MIN,
        max_fails: NonZeroU32::new(2),
        fail_timeout: std::time::Duration::from_secs(10),
        max_conns: None,
        slow_start: None,
        backup: false,
        down: false,
    };

    /// Plays a history, one word per step: `f3` fails at second 3, `p` places, `s` succeeds.
    fn played(history: &str) -> Health {
        let mut health = Health::default();
        for step in history.split_whitespace() {
            let (kind, second) = step.split_at(1);
            let now = Time::from_secs(second.parse().unwrap());
            match kind {
                "f" => _ = health.fail(now, &TERMS),
                "s" => _ = health.succeed(&TERMS),
                "p" => health.placed(now, &TERMS),
                _ => panic!("{step} is no step"),
            }
        }
        health
    }

    #[track_caller]
    fn check(history: &str, usable_from: u64) {
        let expected = Time::from_secs(usable_from);
        assert_eq!(played(history).usable_from(&TERMS), expected, "after {history}");
    }

    #[test]
    fn a_server_is_out_from_the_last_failure_allowed_until_the_timeout_is_over() {
        check("p1 f1", 0);
        check("p1 f1 p2 f3", 14);
        check("p1 f1 p2 f3 f4", 15);
    }

    #[test]
    fn seconds_count_whole_as_nginx_counts_them() {
        let mut health = played("p1 f1");
        let late_in_the_third = Time::from_nanos(3_900_000_000);
        assert_eq!(health.fail(late_in_the_third, &TERMS), Some(Transition::Down));
        assert_eq!(health.usable_from(&TERMS), Time::from_secs(14));
    }

    #[test]
    fn one_request_for_each_timeout_tries_a_failed_server() {
        check("p1 f1 p2 f3 p14", 25);
        check("p1 f1 p2 f3 p14 f15", 26);
        check("p1 f1 p2 f3 p14 s16", 0);
    }

    #[test]
    fn failures_are_forgotten_only_when_a_success_follows_a_later_check() {
        assert_eq!(played("p1 f1 p2 s2").fails(), 1);
        assert_eq!(played("p1 f1 p12 s12").fails(), 0);
        assert_eq!(played("p1 f1 p11 s11").fails(), 1);
    }

    #[test]
    fn a_server_that_is_healed_is_usable_at_once() {
        let mut health = played("p1 f1 p2 f3");
        assert_eq!(health.heal(&TERMS), Some(Transition::Up));
        assert_eq!((health.usable_from(&TERMS), health.fails()), (Time::ZERO, 0));
        assert_eq!(health.heal(&TERMS), None);
    }

    #[test]
    fn only_changes_are_told() {
        let mut health = played("p1 f1");
        assert_eq!(health.fail(Time::from_secs(3), &TERMS), Some(Transition::Down));
        assert_eq!(health.fail(Time::from_secs(4), &TERMS), None);
        health.placed(Time::from_secs(15), &TERMS);
        assert_eq!(health.fail(Time::from_secs(16), &TERMS), None);
        health.placed(Time::from_secs(27), &TERMS);
        assert_eq!(health.succeed(&TERMS), Some(Transition::Up));
        assert_eq!(health.succeed(&TERMS), None);
    }

    #[test]
    fn without_a_limit_no_number_of_failures_takes_a_server_out() {
        let endless = Terms { max_fails: None, ..TERMS };
        assert_eq!(played("f1 f2 f3").usable_from(&endless), Time::ZERO);
        assert_eq!(Health::default().fail(Time::ZERO, &endless), None);
    }
}
