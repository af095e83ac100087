//! Which server does so much worse than the others that it should sit out for a while?

use std::time::Duration;

use crate::slots::Slots;
use crate::{Event, Time};

/// When and for how long a server is ejected.
///
/// Source: Envoy `outlier_detection.proto`; the defaults are those of the `outlier_ejection`
/// directive, which judges by runs of failures alone and may always eject one of two or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    /// Answers with a status from 500 on, in a row, that eject; 0 for never.
    pub consecutive_5xx: u32,
    /// Requests without an answer, in a row, that eject; 0 for never.
    pub consecutive_errors: u32,
    /// How often servers are compared, and how soon old ejections begin to be forgiven.
    pub interval: Duration,
    /// How long the first ejection lasts; the second lasts twice as long, and so on.
    pub base_time: Duration,
    /// How long an ejection lasts at most.
    pub max_time: Duration,
    /// Percent of servers that may be out at once.
    pub max_percent: u32,
    /// Whether one of two or more may be out whatever the percentage says.
    pub may_always_eject_one: bool,
    /// By which comparison of success rates servers are ejected, `None` for none.
    pub ranking: Option<Ranking>,
}

/// A comparison of servers by the part of requests that succeed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranking {
    /// Servers that must have seen enough requests.
    pub min_hosts: usize,
    /// Requests within an interval that are enough.
    pub min_requests: u32,
    /// A server is ejected that lies below the mean by so many standard deviations.
    pub deviations: f64,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_errors: 5,
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_mins(5),
            max_percent: 10,
            may_always_eject_one: true,
            ranking: None,
        }
    }
}

impl Default for Ranking {
    /// Envoy's: five servers with a hundred requests, 1.9 deviations.
    fn default() -> Self {
        Self { min_hosts: 5, min_requests: 100, deviations: 1.9 }
    }
}

/// Watches the servers of one group.
///
/// Source: Envoy `outlier_detection_impl.cc`. Envoy looks for servers whose time is over once an
/// interval, here it is over when it is over.
#[derive(Debug)]
pub struct Outlier {
    rules: Ejection,
    hosts: Slots<Host>,
    compared_at: Option<Time>,
}

#[derive(Clone, Debug, Default)]
struct Host {
    /// Answers with a status from 500 on, in a row.
    row_of_5xx: u32,
    /// Requests without an answer, in a row.
    row_of_errors: u32,
    /// Requests and successes since the last comparison.
    requests: u32,
    successes: u32,
    /// Ejections that are not forgiven yet.
    ejections: u32,
    out_until: Option<Time>,
}

impl Outlier {
    /// Watches `len` servers, none of which is ejected.
    #[must_use]
    pub fn new(rules: Ejection, len: usize) -> Self {
        let mut hosts = Slots::default();
        hosts.fit(len);
        Self { rules, hosts, compared_at: None }
    }

    /// Goes by other rules from now on; who sits out does so to the end.
    pub fn set_rules(&mut self, rules: Ejection) {
        self.rules = rules;
    }

    /// Takes over a new list, see [`crate::Policy::relist`].
    pub fn relist(&mut self, from: &[Option<usize>]) {
        self.hosts.relist(from);
    }

    /// Until when the server sits out, `None` if it does not.
    pub fn out_until(&self, position: usize, now: Time) -> Option<Time> {
        self.hosts.get(position)?.out_until.filter(|it| now < *it)
    }

    /// How many servers sit out.
    pub fn count_out(&self, now: Time) -> usize {
        self.hosts.iter().filter(|it| it.is_out(now)).count()
    }

    /// Learns the end of a request. Returns until when its server sits out, if that begins now.
    ///
    /// [`Self::compare`] should have been called before, whenever it is due.
    pub fn learn(&mut self, position: usize, event: Event, now: Time) -> Option<Time> {
        let rules = self.rules;
        let host = self.hosts.get_mut(position)?;
        if host.is_out(now) {
            return None;
        }
        host.come_back();
        match event {
            Event::Success { status, .. } => {
                host.requests = host.requests.saturating_add(1);
                host.row_of_errors = 0;
                if status < 500 {
                    host.successes = host.successes.saturating_add(1);
                    host.row_of_5xx = 0;
                } else {
                    host.row_of_5xx = host.row_of_5xx.saturating_add(1);
                }
            }
            Event::Failure { .. } => {
                host.requests = host.requests.saturating_add(1);
                host.row_of_errors = host.row_of_errors.saturating_add(1);
            }
            Event::Abandoned { .. }
            | Event::Head { .. }
            | Event::Idle
            | Event::Probe { .. }
            | Event::Report(_) => {
                return None;
            }
        }
        let reached = |row, limit| 0 < limit && limit <= row;
        let is_due = reached(host.row_of_5xx, rules.consecutive_5xx)
            || reached(host.row_of_errors, rules.consecutive_errors);
        if is_due { self.eject(position, now) } else { None }
    }

    /// Compares the servers if an interval has passed, and ejects those that lie behind.
    pub fn compare(&mut self, now: Time) {
        if now.since(*self.compared_at.get_or_insert(now)) < self.rules.interval {
            return;
        }
        self.compared_at = Some(now);
        for host in self.hosts.iter_mut().filter(|it| !it.is_out(now)) {
            host.come_back();
            host.ejections = host.ejections.saturating_sub(1);
        }
        for position in self.rules.ranking.map(|it| self.behind(it)).unwrap_or_default() {
            self.eject(position, now);
        }
        for host in self.hosts.iter_mut() {
            (host.requests, host.successes) = (0, 0);
        }
    }

    /// Those whose success rate lies below the rest.
    fn behind(&self, ranking: Ranking) -> Vec<usize> {
        let enough = |it: &Host| ranking.min_requests <= it.requests && 0 < it.requests;
        let rates = self.hosts.iter().enumerate().filter(|(_, it)| enough(it));
        let rate = |it: &Host| 100.0 * f64::from(it.successes) / f64::from(it.requests);
        let rates = rates.map(|(position, it)| (position, rate(it))).collect::<Vec<_>>();
        if rates.len() < ranking.min_hosts {
            return Vec::new();
        }
        let threshold = threshold(rates.iter().map(|it| it.1), ranking.deviations);
        rates.into_iter().filter(|it| it.1 < threshold).map(|it| it.0).collect()
    }

    fn eject(&mut self, position: usize, now: Time) -> Option<Time> {
        let (hosts, out) = (self.hosts.len(), self.count_out(now));
        let percent = usize::try_from(self.rules.max_percent).unwrap_or(usize::MAX);
        let is_first = self.rules.may_always_eject_one && out == 0 && 1 < hosts;
        let host = self.hosts.get_mut(position)?;
        if host.is_out(now) || !(is_first || 100 * (out + 1) <= hosts.saturating_mul(percent)) {
            return None;
        }
        host.ejections = host.ejections.saturating_add(1);
        let lasting = self.rules.base_time.saturating_mul(host.ejections).min(self.rules.max_time);
        host.out_until = Some(now + lasting);
        host.out_until
    }
}

impl Host {
    fn is_out(&self, now: Time) -> bool {
        self.out_until.is_some_and(|it| now < it)
    }

    /// Begins anew after an ejection.
    fn come_back(&mut self) {
        if self.out_until.take().is_some() {
            (self.row_of_5xx, self.row_of_errors) = (0, 0);
        }
    }
}

/// The mean less some standard deviations, of the whole population.
#[expect(clippy::cast_precision_loss, reason = "lists stay far below 2^52")]
fn threshold(rates: impl Iterator<Item = f64> + Clone, deviations: f64) -> f64 {
    let len = rates.clone().count() as f64;
    let mean = rates.clone().sum::<f64>() / len;
    let variance = rates.map(|it| (it - mean).powi(2)).sum::<f64>() / len;
    mean - deviations * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Event = Event::success(Duration::ZERO);
    const BAD: Event = Event::Success { head: Duration::ZERO, total: Duration::ZERO, status: 503 };
    const MINUTE: Time = Time::from_secs(60);

    fn group(len: usize) -> Outlier {
        Outlier::new(
            Ejection { consecutive_5xx: 3, consecutive_errors: 2, ..Ejection::default() },
            len,
        )
    }

    /// Learns events of the first server, one letter each: good, bad, failed, abandoned.
    fn told(outlier: &mut Outlier, events: &str, now: Time) -> Option<Time> {
        let mut last = None;
        for letter in events.chars() {
            let event = match letter {
                'g' => GOOD,
                'b' => BAD,
                'f' => Event::FAILURE,
                _ => Event::Abandoned { head: None, total: Duration::ZERO },
            };
            last = outlier.learn(0, event, now);
        }
        last
    }

    #[track_caller]
    fn check(events: &str, is_ejected: bool) {
        let until = told(&mut group(10), events, MINUTE);
        assert_eq!(until, is_ejected.then_some(Time::from_secs(90)), "{events}");
    }

    #[test]
    fn a_run_of_bad_answers_or_of_failures_ejects() {
        check("bbb", true);
        check("bb", false);
        check("bbgb", false);
        check("ff", true);
        check("fbf", false);
        check("faf", true);
        check("bfbfb", true);
    }

    #[test]
    fn each_ejection_lasts_longer_up_to_the_limit() {
        let mut outlier = group(10);
        let mut now = MINUTE;
        let mut lasting = |_| {
            let until = told(&mut outlier, "ff", now).unwrap();
            let lasted = until.since(now).as_secs();
            now = until;
            lasted
        };
        let lasted = (1..=12).map(&mut lasting).collect::<Vec<_>>();
        assert_eq!([lasted[0], lasted[2], lasted[9], lasted[11]], [30, 90, 300, 300]);
    }

    #[test]
    fn a_server_that_returns_begins_anew() {
        let mut outlier = group(10);
        told(&mut outlier, "bbb", MINUTE);
        let back = Time::from_secs(90);
        assert_eq!(outlier.out_until(0, Time::from_nanos(89_999_999_999)), Some(back));
        assert_eq!(outlier.out_until(0, back), None);
        assert_eq!(told(&mut outlier, "bb", back), None);
        assert!(told(&mut outlier, "b", back).is_some());
    }

    #[test]
    fn what_ends_while_a_server_sits_out_does_not_count() {
        let mut outlier = group(10);
        told(&mut outlier, "bbb", MINUTE);
        assert_eq!(told(&mut outlier, "bbbbb", Time::from_secs(61)), None);
        assert_eq!(told(&mut outlier, "bb", Time::from_secs(90)), None);
    }

    #[test]
    fn never_more_than_the_allowed_part_sits_out() {
        let out_of = |len, may_always_eject_one| {
            let rules = Ejection { may_always_eject_one, ..Ejection::default() };
            let mut outlier = Outlier::new(rules, len);
            for it in 0..len {
                outlier.eject(it, MINUTE);
            }
            outlier.count_out(MINUTE)
        };
        assert_eq!([1, 5, 9, 10, 19, 20].map(|it| out_of(it, false)), [0, 0, 0, 1, 1, 2]);
        assert_eq!([1, 2, 5, 10, 20].map(|it| out_of(it, true)), [0, 1, 1, 1, 2]);
    }

    /// The example in Envoy's source: mean 90, standard deviation 20.
    #[test]
    fn the_threshold_of_envoys_example_is_52() {
        let rates = [50.0, 100.0, 100.0, 100.0, 100.0];
        assert!((threshold(rates.into_iter(), 1.9) - 52.0).abs() < 1e-9);
    }

    #[test]
    fn a_server_far_below_the_mean_is_ejected_at_the_end_of_an_interval() {
        let rules = Ejection {
            consecutive_5xx: 0,
            ranking: Some(Ranking::default()),
            ..Ejection::default()
        };
        let out = |requests: u32, hosts: usize| {
            let mut outlier = Outlier::new(rules, hosts);
            outlier.compare(MINUTE);
            for request in 0..requests {
                for position in 0..hosts {
                    let is_bad = position == 0 && request % 2 == 0;
                    outlier.learn(position, if is_bad { BAD } else { GOOD }, MINUTE);
                }
            }
            outlier.compare(Time::from_secs(69));
            assert_eq!(outlier.count_out(Time::from_secs(69)), 0);
            outlier.compare(Time::from_secs(70));
            outlier.out_until(0, Time::from_secs(70)).is_some()
        };
        assert!(out(100, 5));
        assert!(!out(99, 5));
        assert!(!out(100, 4));
    }

    #[test]
    fn ejections_are_forgiven_one_by_one() {
        let mut outlier = group(10);
        outlier.compare(Time::ZERO);
        told(&mut outlier, "ff", MINUTE);
        assert_eq!(outlier.hosts[0].ejections, 1);
        outlier.compare(Time::from_secs(80));
        assert_eq!(outlier.hosts[0].ejections, 1);
        outlier.compare(Time::from_secs(90));
        assert_eq!(outlier.hosts[0].ejections, 0);
    }

    #[test]
    fn ejections_follow_a_new_list() {
        let mut outlier = group(3);
        told(&mut outlier, "ff", MINUTE);
        outlier.relist(&[None, Some(0)]);
        assert_eq!(outlier.out_until(0, MINUTE), None);
        assert!(outlier.out_until(1, MINUTE).is_some());
    }
}
