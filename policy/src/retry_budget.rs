//! How many retries may there be, so that they do not bury servers that are already in trouble?

use std::time::Duration;

use crate::Time;

/// A share of the requests in progress: Envoy's budget, and that of the `retry_budget` directive.
///
/// Source: Envoy `circuit_breaker.proto`, `RetryBudget`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryBudget {
    /// Percent of requests in progress.
    pub percent: u32,
    /// Retries that are always allowed.
    pub min: u32,
}

impl Default for RetryBudget {
    /// Envoy's: 20 percent, 3 retries.
    fn default() -> Self {
        Self { percent: 20, min: 3 }
    }
}

impl RetryBudget {
    /// Retries that may be in progress at once while `requests` are.
    pub fn limit(&self, requests: u32) -> u32 {
        let share = u64::from(requests) * u64::from(self.percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.min)
    }
}

/// Tokens which requests bring and retries use up, forgotten after a while.
///
/// Source: Finagle `RetryBudget.scala` and `TokenBucket.newLeakyBucket`; tower
/// `retry/budget/tps_budget.rs`. Both count in ten slots.
#[derive(Clone, Debug)]
pub struct RetryTokens {
    slot: Duration,
    deposit: i64,
    withdrawal: i64,
    reserve: i64,
    slots: [i64; SLOTS],
    /// Number of the present slot since the origin of time.
    present: u128,
}

const SLOTS: usize = 10;

impl RetryTokens {
    /// Finagle's budget: `ratio` retries for each request and `per_second` besides, kept for `ttl`.
    #[must_use]
    pub fn finagle(ttl: Duration, per_second: u32, ratio: f64) -> Self {
        Self::new(ttl, per_second, 1000, rounded_down(1000.0 / ratio))
    }

    /// Tower's budget: the same, but a retry costs a whole number of requests.
    #[must_use]
    pub fn tower(ttl: Duration, per_second: u32, ratio: f64) -> Self {
        Self::new(ttl, per_second, 1, rounded_down(1.0 / ratio))
    }

    /// A share of the requests of such a time, and `min` retries besides.
    #[must_use]
    pub fn share(window: Duration, percent: u32, min: u32) -> Self {
        let reserve = i64::from(min) * 100;
        Self { reserve, ..Self::new(window, 0, i64::from(percent), 100) }
    }

    fn new(ttl: Duration, per_second: u32, deposit: i64, withdrawal: i64) -> Self {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let reserve = i64::from(per_second).saturating_mul(seconds).saturating_mul(withdrawal);
        let slot = (ttl / 10).max(Duration::from_nanos(1));
        Self { slot, deposit, withdrawal, reserve, slots: [0; SLOTS], present: 0 }
    }

    /// Takes note of a request.
    pub fn deposit(&mut self, now: Time) {
        let deposit = self.deposit;
        let slot = self.slot_at(now);
        *slot = slot.saturating_add(deposit);
    }

    /// Pays for a retry. Without the means nothing is paid and the retry must not be.
    #[must_use = "a retry that is not paid for must not be"]
    pub fn withdraw(&mut self, now: Time) -> bool {
        let withdrawal = self.withdrawal;
        self.slot_at(now);
        let is_paid = withdrawal <= self.balance();
        if is_paid {
            *self.slot_at(now) -= withdrawal;
        }
        is_paid
    }

    fn balance(&self) -> i64 {
        self.slots.iter().fold(self.reserve, |sum, it| sum.saturating_add(*it))
    }

    /// The present slot, after those that are too old have been emptied.
    fn slot_at(&mut self, now: Time) -> &mut i64 {
        let present = u128::from(now.as_nanos()) / self.slot.as_nanos();
        let passed = present.saturating_sub(self.present).min(SLOTS as u128);
        for _ in 0..passed {
            self.slots.rotate_right(1);
            self.slots[0] = 0;
        }
        self.present = self.present.max(present);
        &mut self.slots[0]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast to i64 ends at its range")]
fn rounded_down(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_share_of_the_requests_in_progress_may_be_retries() {
        assert_eq!(RetryBudget::default().limit(10), 3);
        assert_eq!(RetryBudget::default().limit(40), 8);
        assert_eq!(RetryBudget { percent: 200, min: 0 }.limit(u32::MAX), u32::MAX);
    }

    fn paid(tokens: &mut RetryTokens, now: Time) -> usize {
        (0..1000).take_while(|_| tokens.withdraw(now)).count()
    }

    #[test]
    fn finagles_reserve_pays_a_hundred_retries_from_cold() {
        let mut tokens = RetryTokens::finagle(TTL, 10, 0.2);
        assert_eq!((tokens.deposit, tokens.withdrawal), (1000, 5000));
        assert_eq!(paid(&mut tokens, Time::ZERO), 100);
        for _ in 0..10 {
            tokens.deposit(Time::ZERO);
        }
        assert_eq!(paid(&mut tokens, Time::ZERO), 2);
    }

    #[test]
    fn a_retry_costs_tower_five_requests_at_a_fifth() {
        let mut tokens = RetryTokens::tower(TTL, 0, 0.2);
        assert_eq!(tokens.withdrawal, 5);
        for _ in 0..9 {
            tokens.deposit(Time::ZERO);
        }
        assert_eq!(paid(&mut tokens, Time::ZERO), 1);
    }

    #[test]
    fn a_share_of_the_requests_of_a_time_and_some_besides_are_paid() {
        let mut tokens = RetryTokens::share(TTL, 20, 3);
        assert_eq!(paid(&mut tokens, Time::ZERO), 3);
        for _ in 0..10 {
            tokens.deposit(Time::ZERO);
        }
        assert_eq!(paid(&mut tokens, Time::ZERO), 2);
        assert_eq!(paid(&mut tokens, Time::from_secs(10)), 3);
    }

    #[test]
    fn tokens_and_debts_are_forgotten_after_their_time() {
        let mut tokens = RetryTokens::tower(TTL, 1, 0.2);
        assert_eq!(paid(&mut tokens, Time::ZERO), 10);
        assert_eq!(paid(&mut tokens, Time::from_secs(9)), 0);
        assert_eq!(paid(&mut tokens, Time::from_secs(10)), 10);
        for _ in 0..5 {
            tokens.deposit(Time::from_secs(10));
        }
        assert_eq!(paid(&mut tokens, Time::from_secs(19)), 1);
        assert_eq!(paid(&mut tokens, Time::from_secs(500)), 10);
    }
}
