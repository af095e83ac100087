//! How many requests does a group take at once before more would only wait in its servers?
//!
//! Whoever is one too many is refused before anything is done for it: see `concurrency_limit`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policy::{
    Aimd, Event, Gradient, Gradient2, GradientRules, Limit, Sample, SplitMix64, Time, Vegas,
};

use super::backend::add;

/// What `concurrency_limit` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How the limit follows what requests show.
    pub law: Law,
    /// When those who are refused may ask again, in whole seconds.
    pub retry_after: u64,
}

/// The laws that are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// Envoy's.
    Gradient(GradientRules),
    /// Netflix's.
    Gradient2,
    /// That of TCP Vegas.
    Vegas,
    /// One more for each success, a tenth less for each failure.
    Aimd,
}

/// The limit of one group, and how many it has let in. It outlives reloads that do not change it.
#[derive(Debug)]
pub struct Limiter {
    /// What it goes by.
    pub rules: Rules,
    law: Mutex<(Box<dyn Limit>, SplitMix64)>,
    limit: AtomicU32,
    admitted: AtomicU32,
    /// How many it refused.
    pub shed: AtomicU64,
}

/// One request that was let in, until dropped.
#[derive(Debug)]
#[must_use = "the request is let out as soon as this is dropped"]
pub struct Admitted(Arc<Limiter>);

impl Limiter {
    /// Knows nothing yet; chance begins at `seed`.
    pub(super) fn new(rules: Rules, seed: u64) -> Self {
        let law: Box<dyn Limit> = match rules.law {
            Law::Gradient(rules) => Box::new(Gradient::new(rules)),
            Law::Gradient2 => Box::<Gradient2>::default(),
            Law::Vegas => Box::<Vegas>::default(),
            Law::Aimd => Box::<Aimd>::default(),
        };
        Self {
            rules,
            limit: AtomicU32::new(law.limit()),
            law: Mutex::new((law, SplitMix64::new(seed))),
            admitted: AtomicU32::new(0),
            shed: AtomicU64::new(0),
        }
    }

    /// How many may be in progress at once.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Lets a request in, unless it is one too many.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let limit = self.limit();
        // Relaxed: the count steers a choice and publishes no other memory.
        let admitted = self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| {
            (it < limit).then_some(it + 1)
        });
        if admitted.is_err() {
            add(&self.shed, 1);
        }
        admitted.is_ok().then(|| Admitted(Arc::clone(self)))
    }

    /// Learns how an attempt of a request ended.
    pub(super) fn learn(&self, event: Event, now: Time) {
        let (rtt, is_dropped): (Duration, bool) = match event {
            // How long a body takes is its client's affair, and what a tunnel takes nobody's.
            Event::Success { head, status, .. } if status != 101 && status < 500 => (head, false),
            Event::Success { status: 101, .. } => return,
            // An error in no time says nothing about speed.
            Event::Success { total, .. } | Event::Failure { total, .. } => (total, true),
            _ => return,
        };
        let in_flight = self.admitted.load(Ordering::Relaxed);
        // A panic in it leaves a limit behind that the next request corrects.
        let mut law = self.law.lock().unwrap_or_else(PoisonError::into_inner);
        let (law, draw) = &mut *law;
        law.learn(&Sample { rtt, in_flight, is_dropped, at: now }, draw);
        self.limit.store(law.limit().max(1), Ordering::Relaxed);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_let_in_than_the_limit_says_until_one_has_ended() {
        let rules = Rules { law: Law::Gradient(GradientRules::default()), retry_after: 1 };
        let limiter = Arc::new(Limiter::new(rules, 1));
        let mut admitted: Vec<_> = (0..3).map(|_| limiter.admit().unwrap()).collect();
        assert!(limiter.admit().is_none());
        admitted.pop();
        assert!(limiter.admit().is_some());
        assert_eq!(limiter.shed.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_limit_grows_when_requests_take_no_longer() {
        let rules = Rules { law: Law::Gradient(GradientRules::default()), retry_after: 1 };
        let limiter = Limiter::new(rules, 1);
        for tick in 0..400_u64 {
            let now = Time::from_nanos(1_000_000_000 + tick * 10_000_000);
            limiter.learn(Event::success(Duration::from_millis(1)), now);
        }
        assert!(10 < limiter.limit());
    }
}
