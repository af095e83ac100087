//! Who will be done first, as nginx estimates it?

use std::time::Duration;

use crate::slots::Slots;
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

/// Picks the smallest `time * (1 + in_flight) / weight`, ties as [`crate::LeastConn`] does.
///
/// The time is an average of good answers in whole milliseconds, in steps of 20 and up to 5000; it
/// halves for each `fail_timeout` without a pick, so that a slow server gets another chance. With
/// `inflight` the average age of running requests counts when it is higher.
///
/// Source: nginx `ngx_http_upstream_least_time_module.c`, `ngx_http_upstream_get_least_time_peer`
/// and `ngx_http_upstream_least_time_eta`. Three passes over the candidates, no allocation.
#[derive(Debug)]
pub struct LeastTime {
    until: Until,
    counts_running: bool,
    times: Slots<Times>,
    ties: RoundRobin,
}

/// Up to where a response is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
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

impl LeastTime {
    /// Reads `header` or `last_byte`, which is also the default, and `inflight`.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let (until, rest) = match words {
            ["header", rest @ ..] => (Until::Head, rest),
            ["last_byte", rest @ ..] => (Until::LastByte, rest),
            _ => (Until::LastByte, words),
        };
        let counts_running = match rest {
            [] => false,
            ["inflight"] => true,
            ["inflight", ..] => return Err(Refusal { word: words.len() - rest.len() + 1 }),
            _ => return Err(Refusal { word: words.len() - rest.len() }),
        };
        Ok(Self { until, counts_running, times: Slots::default(), ties: RoundRobin::default() })
    }

    /// Notes that a request starts to run at `position`.
    fn start(&mut self, position: usize, candidate: &Candidate, now: Time) {
        let times = &mut self.times[position];
        times.look(candidate, now);
        if self.counts_running {
            times.running.grow(millis_at(now));
            times.running.count += 1;
        }
    }
}

impl Policy for LeastTime {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        _draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.ties.fit(candidates.len());
        let times = self.times.fit(candidates.len());
        for (times, candidate) in times.iter_mut().zip(candidates).filter(|(_, it)| it.eligible) {
            times.running.look(millis_at(request.now));
            times.eta = times.estimate(candidate, request.now);
        }
        let load = |it: usize, other: usize| {
            u128::from(times[it].eta) * u128::from(candidates[other].weight.get())
        };
        let cmp = |a: &usize, b: &usize| load(*a, *b).cmp(&load(*b, *a));
        let eligible = || crate::round_robin::eligible(candidates);
        let least = eligible().min_by(cmp)?;
        let tied = || eligible().filter(|it| cmp(it, &least).is_eq());
        let picked = match tied().nth(1) {
            None => least,
            Some(_) => self.ties.pick_among(candidates, tied())?,
        };
        self.start(picked, &candidates[picked], request.now);
        Some(picked)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.times.relist(from);
        self.ties.relist(from);
    }

    fn bind(&mut self, position: usize, request: &Request<'_>, candidates: &[Candidate]) {
        self.times.fit(candidates.len());
        if let Some(candidate) = candidates.get(position) {
            self.start(position, candidate, request.now);
        }
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.ties.learn(position, event, now);
        let Some(times) = self.times.get_mut(position) else { return };
        // With `inflight` the head counts when it comes, without it when the answer has ended well.
        let at_head = self.until == Until::Head && self.counts_running;
        let (measured, waited) = match event {
            Event::Head { elapsed } if at_head => (Some(elapsed), Some(elapsed)),
            Event::Head { .. } | Event::Idle | Event::Probe { .. } => (None, None),
            Event::Success { .. } if at_head => (None, None),
            Event::Success { head, total, .. } if self.until == Until::Head => {
                (Some(head), Some(total))
            }
            Event::Success { total, .. } => (Some(total), Some(total)),
            Event::Failure { head, total } | Event::Abandoned { head, total } => {
                (None, (!at_head || head.is_none()).then_some(total))
            }
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
        }
    }

    fn is_old(&self, candidate: &Candidate, now: Time) -> bool {
        let fail_timeout = candidate.fail_timeout.as_secs();
        self.checked.is_none_or(|it| fail_timeout < now.as_secs().saturating_sub(it))
    }

    /// Milliseconds until a request placed now would be done.
    fn estimate(&self, candidate: &Candidate, now: Time) -> u64 {
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
        time = if 5000 < time { 5000 } else { time + 20 - time % 20 };
        time * (1 + u64::from(candidate.in_flight))
    }
}

impl Running {
    /// Lets all grow older.
    fn grow(&mut self, now_ms: u64) {
        self.sum_ms += now_ms.saturating_sub(self.changed_ms) * self.count;
        self.changed_ms = now_ms;
    }

    /// Takes their present age into the average.
    fn look(&mut self, now_ms: u64) {
        if let Some(age) = self.sum_ms.checked_div(self.count) {
            let age = age + now_ms.saturating_sub(self.changed_ms);
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
    use crate::SplitMix64;
    use crate::testing::{letters, pool};

    const AT_ONCE: Time = Time::from_secs(1000);

    fn policy(words: &str) -> LeastTime {
        LeastTime::from_words(&words.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    fn answered(milliseconds: u64) -> Event {
        Event::success(Duration::from_millis(milliseconds))
    }

    #[track_caller]
    fn pick(policy: &mut LeastTime, backends: &str, now: Time) -> String {
        let request = Request::at(now);
        letters(&[policy.pick(&request, &pool(backends), &mut SplitMix64::new(1))])
    }

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
    fn the_faster_server_wins_until_it_has_more_to_do() {
        let mut policy = policy("last_byte");
        pick(&mut policy, "1 1", AT_ONCE);
        pick(&mut policy, "1 1", AT_ONCE);
        policy.learn(0, answered(200), AT_ONCE);
        policy.learn(1, answered(50), AT_ONCE);
        assert_eq!(pick(&mut policy, "1:0 1:0", AT_ONCE), "b");
        assert_eq!(pick(&mut policy, "1:0 1:2", AT_ONCE), "b");
        assert_eq!(pick(&mut policy, "1:0 1:3", AT_ONCE), "a");
        assert_eq!(pick(&mut policy, "4:0 1:0", AT_ONCE), "a");
    }

    #[test]
    fn times_below_a_step_are_the_same_time() {
        let mut policy = policy("header");
        let first = pick(&mut policy, "1 1", AT_ONCE) + &pick(&mut policy, "1 1", AT_ONCE);
        assert_eq!(first, "ab");
        policy.learn(0, answered(19), AT_ONCE);
        policy.learn(1, answered(5), AT_ONCE);
        let next = pick(&mut policy, "1 1", AT_ONCE) + &pick(&mut policy, "1 1", AT_ONCE);
        assert_eq!(next, "ab");
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
    fn only_good_answers_are_measured() {
        let mut policy = policy("last_byte");
        pick(&mut policy, "1 1", AT_ONCE);
        let total = Duration::from_millis(300);
        policy.learn(0, Event::Failure { head: None, total }, AT_ONCE);
        policy.learn(0, Event::Abandoned { head: None, total }, AT_ONCE);
        assert_eq!(policy.times[0].answer_ms, 0);
        policy.learn(0, Event::Success { head: total / 3, total, status: 500 }, AT_ONCE);
        assert_eq!(policy.times[0].answer_ms, 300);
    }

    #[test]
    fn the_head_counts_when_it_is_asked_for() {
        let mut policy = policy("header");
        pick(&mut policy, "1", AT_ONCE);
        let (head, total) = (Duration::from_millis(40), Duration::from_secs(9));
        policy.learn(0, Event::Success { head, total, status: 200 }, AT_ONCE);
        assert_eq!(policy.times[0].answer_ms, 40);
    }

    #[test]
    fn running_requests_make_a_stuck_server_slow() {
        let mut policy = policy("last_byte inflight");
        let later = |milliseconds| AT_ONCE + Duration::from_millis(milliseconds);
        assert_eq!(pick(&mut policy, "1:0 1:0", AT_ONCE), "a");
        assert_eq!(pick(&mut policy, "1:1 1:0", later(100)), "b");
        policy.learn(1, answered(10), later(110));
        assert_eq!(policy.times[0].running.average_ms, 100);
        // Alone on its server, but 500 ms old: 0.5 + 0.05 * 500 + 0.95 * 100.
        assert_eq!(pick(&mut policy, "9:1 1:2", later(500)), "a");
        assert_eq!(policy.times[0].running.average_ms, 120);
        assert_eq!(pick(&mut policy, "1:2 1:3", later(500)), "b");
    }

    #[test]
    fn with_inflight_a_head_ends_the_wait_and_its_end_does_not_count_twice() {
        let mut policy = policy("header inflight");
        pick(&mut policy, "1", AT_ONCE);
        pick(&mut policy, "1", AT_ONCE);
        let elapsed = Duration::from_millis(40);
        policy.learn(0, Event::Head { elapsed }, AT_ONCE + elapsed);
        assert_eq!((policy.times[0].answer_ms, policy.times[0].running.count), (40, 1));
        policy.learn(0, Event::success(elapsed * 9), AT_ONCE + elapsed * 9);
        assert_eq!((policy.times[0].answer_ms, policy.times[0].running.count), (40, 1));
        let lost = Event::Failure { head: None, total: elapsed };
        policy.learn(0, lost, AT_ONCE + elapsed * 9);
        assert_eq!(policy.times[0].running.count, 0);
    }

    #[test]
    fn other_words_are_refused_where_they_stand() {
        let refused = |words: &[&str]| LeastTime::from_words(words).unwrap_err().word;
        assert_eq!(refused(&["footer"]), 0);
        assert_eq!(refused(&["header", "outflight"]), 1);
        assert_eq!(refused(&["header", "inflight", "inflight"]), 2);
    }
}
