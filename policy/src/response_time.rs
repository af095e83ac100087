//! How long does a server take, as nginx measures it?

use std::time::Duration;

use crate::slots::Slots;
use crate::{Candidate, Event, Time};

/// Response times of all servers of a group, and the estimates made from them.
///
/// Source: nginx `ngx_http_upstream_least_time_module.c`, from `ngx_http_upstream_least_time_eta` to
/// `ngx_http_upstream_free_least_time_peer`.
#[derive(Debug)]
pub(crate) struct ResponseTimes {
    until: Until,
    counts_running: bool,
    /// What an error takes at least, `None` where it takes what it took.
    penalty: Option<Duration>,
    times: Slots<Times>,
}

/// Up to where a response is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Until {
    Head,
    LastByte,
}

#[derive(Clone, Debug, Default)]
struct Times {
    /// Average of the measured times, 0 before the first.
    answer_ms: u64,
    running: Running,
    /// Whole second of the last failure, or of the pick that looked whether it is over.
    checked: Option<u64>,
    /// The estimate at the present pick.
    eta: u64,
    steady: Steady,
}

/// What one request takes, known for as long as only the number of requests changes.
#[derive(Clone, Debug, Default)]
struct Steady {
    ms: u64,
    /// Seconds in which this holds: from the first until before the second.
    from: u64,
    until: u64,
    /// For whoever has this many seconds.
    fail_timeout: u64,
}

/// Requests that still wait for what is measured, and for how long.
#[derive(Clone, Debug, Default)]
struct Running {
    count: u64,
    /// Sum of their ages at `changed_ms`.
    sum_ms: u64,
    changed_ms: u64,
    /// Average of their average age over the picks.
    average_ms: u64,
}

impl ResponseTimes {
    /// Measures `until` there, and the age of running requests if `counts_running`.
    pub(crate) fn new(until: Until, counts_running: bool, penalty: Option<Duration>) -> Self {
        Self { until, counts_running, penalty, times: Slots::default() }
    }

    /// Makes room for `len` servers.
    pub(crate) fn fit(&mut self, len: usize) {
        self.times.fit(len);
    }

    /// Moves what is known to the new positions.
    pub(crate) fn relist(&mut self, from: &[Option<usize>]) {
        self.times.relist(from);
    }

    /// Milliseconds until a request placed now would be done. Running requests are looked at.
    pub(crate) fn look(&mut self, position: usize, candidate: &Candidate, now: Time) -> u64 {
        let times = &mut self.times[position];
        if !times.steady.holds(candidate, now) {
            times.running.look(millis_at(now));
            times.settle(candidate, now);
        }
        times.eta = times.steady.ms * (1 + u64::from(candidate.in_flight));
        times.eta
    }

    /// Looks at the running requests of one server, as a pick does.
    pub(crate) fn look_at_running(&mut self, position: usize, now: Time) {
        self.times[position].running.look(millis_at(now));
    }

    /// As [`Self::look`], without a look at running requests; and the second in which the estimate
    /// changes by itself.
    pub(crate) fn estimate(&self, position: usize, candidate: &Candidate, now: Time) -> (u64, u64) {
        let times = &self.times[position];
        (times.estimate(candidate, now), times.changes_at(candidate, now))
    }

    /// Whether requests run that are counted.
    pub(crate) fn has_running(&self, position: usize) -> bool {
        0 < self.times[position].running.count
    }

    /// What the last [`Self::look`] said.
    pub(crate) fn eta(&self, position: usize) -> u64 {
        self.times[position].eta
    }

    /// What is known of one server.
    #[cfg(test)]
    pub(crate) fn at(&self, position: usize) -> (u64, u64, u64) {
        let Times { answer_ms, running, .. } = &self.times[position];
        (*answer_ms, running.count, running.average_ms)
    }

    /// Notes that a request starts to run at `position`.
    pub(crate) fn start(&mut self, position: usize, candidate: &Candidate, now: Time) {
        let times = &mut self.times[position];
        times.look(candidate, now);
        if self.counts_running {
            times.steady.until = 0;
            times.running.grow(millis_at(now));
            times.running.count += 1;
        }
    }

    /// See [`crate::Policy::learn`].
    pub(crate) fn learn(&mut self, position: usize, event: Event, now: Time) {
        let Some(times) = self.times.get_mut(position) else { return };
        times.steady.until = 0;
        // With `inflight` the head counts when it comes, without it when the answer has ended well.
        let at_head = self.until == Until::Head && self.counts_running;
        let (measured, waited) = match event {
            Event::Head { elapsed } if at_head => (Some(elapsed), Some(elapsed)),
            Event::Head { .. } | Event::Idle | Event::Probe { .. } | Event::Report(_) => {
                (None, None)
            }
            Event::Success { .. } if at_head => (None, None),
            Event::Success { head, total, .. } if self.until == Until::Head => {
                (Some(head), Some(total))
            }
            Event::Success { total, .. } => (Some(total), Some(total)),
            Event::Failure { head, total } | Event::Abandoned { head, total } => {
                (None, (!at_head || head.is_none()).then_some(total))
            }
        };
        let measured = match (self.penalty, event.error()) {
            (Some(penalty), Some(took)) => Some(took.max(penalty)),
            _ => measured,
        };
        if let Some(measured) = measured {
            average(&mut times.answer_ms, millis(measured));
        }
        if let Some(waited) = waited {
            times.running.leave(millis(waited), millis_at(now));
        }
        if let Event::Failure { .. } = event {
            times.checked = Some(now.as_secs());
        }
    }
}

impl Times {
    /// Takes note of a pick, as [`crate::Health::placed`] does.
    fn look(&mut self, candidate: &Candidate, now: Time) {
        if self.is_old(candidate, now) {
            self.checked = Some(now.as_secs());
            self.steady.until = 0;
        }
    }

    fn is_old(&self, candidate: &Candidate, now: Time) -> bool {
        let fail_timeout = candidate.fail_timeout.as_secs();
        self.checked.is_none_or(|it| fail_timeout < now.as_secs().saturating_sub(it))
    }

    /// The whole second in which time alone will have changed the estimate, never for `u64::MAX`.
    fn changes_at(&self, candidate: &Candidate, now: Time) -> u64 {
        let checked = self.checked.unwrap_or(0);
        let step = candidate.fail_timeout.as_secs().saturating_add(1);
        let halvings = now.as_secs().saturating_sub(checked) / step;
        let left = u32::try_from(halvings).ok().and_then(|it| self.answer_ms.checked_shr(it));
        match left {
            None | Some(0) => u64::MAX,
            Some(_) => checked.saturating_add((halvings + 1).saturating_mul(step)),
        }
    }

    /// Reckons what one request takes. Seldom needed where no running request is looked at.
    #[cold]
    fn settle(&mut self, candidate: &Candidate, now: Time) {
        let until = if self.running.count == 0 { self.changes_at(candidate, now) } else { 0 };
        let (ms, from) = (self.for_one(candidate, now), now.as_secs());
        self.steady = Steady { ms, from, until, fail_timeout: candidate.fail_timeout.as_secs() };
    }

    /// Milliseconds until a request placed now would be done.
    fn estimate(&self, candidate: &Candidate, now: Time) -> u64 {
        self.for_one(candidate, now) * (1 + u64::from(candidate.in_flight))
    }

    /// Milliseconds that one request takes.
    fn for_one(&self, candidate: &Candidate, now: Time) -> u64 {
        let mut time = self.answer_ms;
        if self.is_old(candidate, now) {
            let unseen = now.as_secs().saturating_sub(self.checked.unwrap_or(0));
            let halvings = unseen / candidate.fail_timeout.as_secs().saturating_add(1);
            let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
            time = time.checked_shr(halvings).unwrap_or(0);
        }
        if 0 < self.running.count {
            time = time.max(self.running.average_ms);
        }
        // Above the limit all are equally slow; below it, near times are equally fast.
        if 5000 < time { 5000 } else { time + 20 - time % 20 }
    }
}

impl Steady {
    fn holds(&self, candidate: &Candidate, now: Time) -> bool {
        (self.from..self.until).contains(&now.as_secs())
            && self.fail_timeout == candidate.fail_timeout.as_secs()
    }
}

impl Running {
    /// Lets all grow older.
    fn grow(&mut self, now_ms: u64) {
        let grown = now_ms.saturating_sub(self.changed_ms).saturating_mul(self.count);
        self.sum_ms = self.sum_ms.saturating_add(grown);
        self.changed_ms = now_ms;
    }

    /// Takes their present age into the average.
    fn look(&mut self, now_ms: u64) {
        if let Some(age) = self.sum_ms.checked_div(self.count) {
            let age = age.saturating_add(now_ms.saturating_sub(self.changed_ms));
            average(&mut self.average_ms, age);
        }
    }

    /// Forgets one that has waited for so long.
    fn leave(&mut self, waited_ms: u64, now_ms: u64) {
        self.grow(now_ms);
        self.sum_ms = self.sum_ms.saturating_sub(waited_ms);
        self.count = self.count.saturating_sub(1);
        if self.count == 0 {
            self.sum_ms = 0;
        }
    }
}

/// Moves an average by one twentieth; 0 is no average yet.
///
/// Source: nginx `ngx_http_upstream_round_robin.h`, `ngx_http_upstream_response_time_avg`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "nginx computes it so, and milliseconds stay far below 2^52"
)]
fn average(average: &mut u64, value: u64) {
    *average = match *average {
        0 => value,
        old => (0.5 + 0.05 * value as f64 + 0.95 * old as f64) as u64,
    };
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn millis_at(now: Time) -> u64 {
    now.as_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pool;

    const AT_ONCE: Time = Time::from_secs(1000);

    #[track_caller]
    fn check_eta(answer_ms: u64, in_flight: u32, expected: u64) {
        let times = Times { answer_ms, checked: Some(1000), ..Times::default() };
        let candidate = pool(&format!("1:{in_flight}"))[0];
        assert_eq!(times.estimate(&candidate, AT_ONCE), expected, "{answer_ms} ms, {in_flight}");
    }

    #[test]
    fn estimates_have_nginx_steps_and_limit() {
        check_eta(0, 0, 20);
        check_eta(5, 0, 20);
        check_eta(19, 1, 40);
        check_eta(20, 0, 40);
        check_eta(39, 2, 120);
        check_eta(100, 3, 480);
        check_eta(4999, 0, 5000);
        check_eta(5000, 0, 5020);
        check_eta(5001, 0, 5000);
        check_eta(9000, 2, 15_000);
    }

    #[test]
    fn averages_round_as_nginx_does() {
        let mut value = 0;
        let after = [100, 100, 200, 50, 50].map(|it| {
            average(&mut value, it);
            value
        });
        assert_eq!(after, [100, 100, 105, 102, 99]);
    }

    #[test]
    fn a_slow_server_not_picked_for_long_gets_another_chance() {
        let candidate = pool("1")[0];
        let times = Times { answer_ms: 400, checked: Some(1000), ..Times::default() };
        let eta_at = |second| times.estimate(&candidate, Time::from_secs(second));
        assert_eq!([1010, 1011, 1021, 1022].map(eta_at), [420, 220, 220, 120]);
        assert_eq!(eta_at(1_000_000), 20);
    }

    #[test]
    fn what_is_kept_is_kept_for_one_fail_timeout_and_until_it_fades() {
        let mut times = ResponseTimes::new(Until::LastByte, false, None);
        times.fit(1);
        times.times[0] = Times { answer_ms: 400, checked: Some(1000), ..Times::default() };
        let mut look = |second, fail_timeout| {
            let fail_timeout = Duration::from_secs(fail_timeout);
            times.look(0, &Candidate { fail_timeout, ..pool("1")[0] }, Time::from_secs(second))
        };
        assert_eq!([1005, 1010, 1011, 1010].map(|it| look(it, 10)), [420, 420, 220, 420]);
        assert_eq!([look(1010, 10), look(1010, 4), look(1010, 10)], [420, 120, 420]);
    }
}
