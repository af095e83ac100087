//! What keeps a group serving when its servers or its clients do not behave?
//!
//! All of it is asked for by directives: without them a group behaves as nginx's does. What has
//! been learned outlives reloads, as far as the directive stays what it was.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policy::{Ejection, Level, Panic, RetryBudget, RetryTokens, Time};

use super::Upstream;
use super::backend::add;
use super::ejection::Ejector;
use super::group::Group;
use super::limiter::{self, Admitted, Limiter};
use super::queue::{self, Queue};

pub mod rows;

/// What the directives of a block ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    /// `outlier_ejection`
    pub ejection: Option<Ejection>,
    /// `panic_threshold`, in percent; 0 for never.
    pub panic_threshold: f64,
    /// `retry_budget`
    pub retries: Option<Budget>,
    /// `queue`
    pub queue: Option<queue::Rules>,
    /// `concurrency_limit`
    pub limit: Option<limiter::Rules>,
}

/// How many retries there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// A share of the requests in progress.
    pub share: RetryBudget,
    /// Where it is given, a share of the requests of such a time instead.
    pub window: Option<Duration>,
}

/// The protections of one group.
#[derive(Debug, Default)]
pub struct Protections {
    /// What the directives ask for.
    pub asked: Asked,
    /// Who sits out, where somebody may have to.
    pub ejector: Option<Arc<Ejector>>,
    /// Who waits, where somebody may.
    pub queue: Option<Arc<Queue>>,
    /// How many are let in, where that is limited.
    pub limiter: Option<Arc<Limiter>>,
    /// What is left for retries, where they are limited.
    pub retries: Option<Arc<Retries>>,
}

impl Protections {
    /// Puts in place what is asked for, with what is known from `before`.
    #[must_use]
    pub fn new(asked: Asked, before: Option<&Self>, seed: u64) -> Self {
        let ejector = asked.ejection.map(|rules| {
            let known = before.and_then(|it| it.ejector.clone());
            known.inspect(|it| it.set_rules(rules)).unwrap_or_else(|| Ejector::new(rules).into())
        });
        let queue = asked.queue.map(|_| before.and_then(|it| it.queue.clone()).unwrap_or_default());
        let limiter = asked.limit.map(|rules| {
            let known = before.and_then(|it| it.limiter.clone());
            let same = known.filter(|it| it.rules == rules);
            same.unwrap_or_else(|| Limiter::new(rules, seed).into())
        });
        let retries = asked.retries.map(|budget| {
            let known = before.and_then(|it| it.retries.clone());
            let same = known.filter(|it| it.budget == budget);
            same.unwrap_or_else(|| Retries::new(budget).into())
        });
        Self { asked, ejector, queue, limiter, retries }
    }

    /// Lets a request in, unless it is one too many: then when it may be made again, in seconds.
    pub fn admit(&self, now: Time) -> Result<Entrance, u64> {
        let admitted = match &self.limiter {
            Some(limiter) => Some(limiter.admit().ok_or(limiter.rules.retry_after)?),
            None => None,
        };
        let counted = self.retries.as_ref().map(|it| it.enter(now));
        Ok(Entrance { admitted: admitted.map(|it| Mutex::new(Some(it))), counted })
    }
}

impl Upstream {
    /// Whether so few servers are usable that all are treated alike.
    pub(super) fn ignores_health(&self, groups: &[Group; 2], now: Time) -> bool {
        let threshold = self.protections.asked.panic_threshold;
        if threshold <= 0.0 {
            return false;
        }
        let servers = || groups.iter().flat_map(|it| &it.servers).filter(|it| !it.terms.down);
        let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let healthy = count(servers().filter(|it| it.backend.usable_from() <= now).count());
        let level = Level { healthy, hosts: count(servers().count()) };
        let is_due = Panic { threshold, ..Panic::default() }.is_due(level);
        // Relaxed: the flag only says whether the change has been told.
        if is_due != self.is_panicking.swap(is_due, Ordering::Relaxed) {
            let (name, hosts) = (&self.name, level.hosts);
            let what = if is_due { "ignored" } else { "heeded again" };
            tracing::warn!(
                "{healthy} of {hosts} servers of upstream \"{name}\" are usable, health is {what}"
            );
        }
        is_due
    }
}

/// A request that was let in, until dropped.
#[derive(Debug, Default)]
pub struct Entrance {
    /// `None` where all are let in.
    admitted: Option<Mutex<Option<Admitted>>>,
    counted: Option<Counted>,
}

impl Entrance {
    /// The servers are done with the request; what is left is its client's.
    pub fn leave(&self) {
        if let Some(admitted) = &self.admitted {
            *admitted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Whether the request may be tried again. Once it may, it stays a retry to its end.
    pub fn permits_retry(&self, now: Time) -> bool {
        self.counted.as_ref().is_none_or(|it| it.permits_retry(now))
    }
}

/// What is left for retries.
#[derive(Debug)]
pub struct Retries {
    budget: Budget,
    tokens: Option<Mutex<RetryTokens>>,
    requests: AtomicU32,
    retrying: AtomicU32,
    /// Retries that there were no means for.
    pub refused: AtomicU64,
}

impl Retries {
    fn new(budget: Budget) -> Self {
        let RetryBudget { percent, min } = budget.share;
        let tokens = budget.window.map(|it| Mutex::new(RetryTokens::share(it, percent, min)));
        let (requests, retrying) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { budget, tokens, requests, retrying, refused: AtomicU64::new(0) }
    }

    fn enter(self: &Arc<Self>, now: Time) -> Counted {
        // Relaxed: these counts steer a choice and publish no other memory.
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(tokens) = &self.tokens {
            tokens.lock().unwrap_or_else(PoisonError::into_inner).deposit(now);
        }
        Counted { retries: Arc::clone(self), is_retry: AtomicU32::new(0) }
    }

    fn permit(&self, now: Time) -> bool {
        if let Some(tokens) = &self.tokens {
            return tokens.lock().unwrap_or_else(PoisonError::into_inner).withdraw(now);
        }
        let limit = self.budget.share.limit(self.requests.load(Ordering::Relaxed));
        let permitted = self.retrying.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| {
            (it < limit).then_some(it + 1)
        });
        permitted.is_ok()
    }
}

/// A request in progress, and whether it is being tried again.
#[derive(Debug)]
struct Counted {
    retries: Arc<Retries>,
    is_retry: AtomicU32,
}

impl Counted {
    fn permits_retry(&self, now: Time) -> bool {
        let held = self.is_retry.load(Ordering::Relaxed) == 1;
        let by_tokens = self.retries.tokens.is_some();
        let is_permitted = (held && !by_tokens) || self.retries.permit(now);
        if is_permitted && !by_tokens {
            self.is_retry.store(1, Ordering::Relaxed);
        }
        if !is_permitted {
            add(&self.retries.refused, 1);
        }
        is_permitted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.retries.requests.fetch_sub(1, Ordering::Relaxed);
        self.retries.retrying.fetch_sub(self.is_retry.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protections(window: Option<Duration>) -> Protections {
        let share = RetryBudget { percent: 20, min: 1 };
        let retries = Some(Budget { share, window });
        Protections::new(Asked { retries, ..Asked::default() }, None, 1)
    }

    #[test]
    fn a_share_of_the_requests_in_progress_may_be_tried_again() {
        let protections = protections(None);
        let now = Time::from_secs(1);
        let requests: Vec<_> = (0..10).map(|_| protections.admit(now).unwrap()).collect();
        let permitted = |it: &Entrance| it.permits_retry(now);
        assert_eq!(requests.iter().filter(|it| permitted(it)).count(), 2);
        // One that is being tried again already may go on.
        assert!(permitted(&requests[0]) && !permitted(&requests[9]));
        drop(requests);
        let (one, two) = (protections.admit(now).unwrap(), protections.admit(now).unwrap());
        assert!(permitted(&one) && !permitted(&two));
        let retries = protections.retries.as_ref().unwrap();
        assert_eq!(retries.refused.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn a_share_of_the_requests_of_a_time_may_be_tried_again() {
        let protections = protections(Some(Duration::from_secs(10)));
        let now = Time::from_secs(100);
        let permitted = || {
            let requests = (0..10).map(|_| protections.admit(now).unwrap());
            requests.filter(|it| it.permits_retry(now)).count()
        };
        assert_eq!([permitted(), permitted()], [3, 2]);
    }

    #[test]
    fn what_was_learned_stays_while_the_directive_does() {
        let before = protections(None);
        let same = Protections::new(before.asked, Some(&before), 2);
        assert!(Arc::ptr_eq(before.retries.as_ref().unwrap(), same.retries.as_ref().unwrap()));
        let window = protections(Some(Duration::from_secs(1))).asked;
        let other = Protections::new(window, Some(&before), 2);
        assert!(!Arc::ptr_eq(before.retries.as_ref().unwrap(), other.retries.as_ref().unwrap()));
    }
}
