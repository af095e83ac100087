//! Who will be done first, as nginx estimates it?

use std::cmp::Ordering;

use self::following::Following;
use crate::least::Least;
use crate::levels::Quotient;
use crate::options::{self, Options};
use crate::pair::Pair;
use crate::response_time::{ResponseTimes, Until};
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

mod following;

/// Picks the smallest `time * (1 + in_flight) / weight`, ties as [`crate::LeastConn`] does.
///
/// The time is an average of good answers in whole milliseconds, in steps of 20 and up to 5000; it
/// halves for each `fail_timeout` without a pick, so that a slow server gets another chance. With
/// `inflight` the average age of running requests counts when it is higher. With `penalty=5s`, which
/// is ours, a failure and a status of 429 or from 500 on count as at least that long: without it a
/// server that fails fast looks fast.
///
/// Source: nginx `ngx_http_upstream_least_time_module.c`, `ngx_http_upstream_get_least_time_peer`
/// and `ngx_http_upstream_least_time_eta`. One pass over the candidates, no allocation; a search
/// where it [follows](Policy::follow) them, after a look at those with running requests for
/// `inflight`.
#[derive(Debug)]
pub struct LeastTime {
    times: ResponseTimes,
    least: Least,
    ties: RoundRobin,
    following: Option<Following>,
}

impl LeastTime {
    /// Reads `header` or `last_byte`, which is also the default, `inflight` and `penalty=TIME`.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let (until, rest) = match words {
            ["header", rest @ ..] => (Until::Head, rest),
            ["last_byte", rest @ ..] => (Until::LastByte, rest),
            _ => (Until::LastByte, words),
        };
        let counts_running = rest.first() == Some(&"inflight");
        let before = words.len() - rest.len() + usize::from(counts_running);
        let refused = |it: Refusal| Refusal { word: before + it.word };
        let options = Options::new(&words[before..], &["penalty"]).map_err(refused)?;
        let penalty =
            options.value("penalty", None, |it| options::time(it).map(Some)).map_err(refused)?;
        let times = ResponseTimes::new(until, counts_running, penalty);
        Ok(Self { times, least: Least::default(), ties: RoundRobin::default(), following: None })
    }

    /// Takes note of a request that begins to run.
    fn start(&mut self, position: usize, candidate: &Candidate, now: Time) {
        self.times.start(position, candidate, now);
        if let Some(following) = &mut self.following {
            following.started(&self.times, position);
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
        let Self { times, least, ties, following } = self;
        ties.fit(candidates.len());
        times.fit(candidates.len());
        if let Some(following) = following {
            let picked = following.pick(times, &mut ties.turns, candidates, request.now)?;
            self.start(picked, &candidates[picked], request.now);
            return Some(picked);
        }
        let eta = |position: usize, candidate: &Candidate| {
            let over = times.look(position, candidate, request.now);
            Quotient { over, under: candidate.weight.get() }
        };
        let picked = match least.among(candidates, eta) {
            [clear] => *clear,
            tied => ties.pick_among(candidates, tied.iter().copied())?,
        };
        self.start(picked, &candidates[picked], request.now);
        Some(picked)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        if let Some(following) = self.following.take() {
            following.dissolve(&mut self.ties.turns);
        }
        self.times.relist(from);
        self.ties.relist(from);
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        self.ties.fit(candidates.len());
        self.times.fit(candidates.len());
        self.following = Some(Following::of(&self.times, candidates.len()));
    }

    fn changed(&mut self, position: usize, _before: &Candidate, _after: &Candidate) {
        if let Some(following) = &mut self.following {
            following.changed(position);
        }
    }

    fn bind(&mut self, position: usize, request: &Request<'_>, candidates: &[Candidate]) {
        self.times.fit(candidates.len());
        if let Some(candidate) = candidates.get(position) {
            self.start(position, candidate, request.now);
        }
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.ties.learn(position, event, now);
        self.times.learn(position, event, now);
        if let Some(following) = &mut self.following {
            following.learn(&self.times, position, event);
        }
    }
}

/// `random two least_time`: of two drawn by weight the one that will be done first, for its weight.
///
/// A tie goes to the second, as in [`crate::RandomTwo`].
///
/// Source: nginx's documentation of `random`; the estimate is that of [`LeastTime`]. A binary search
/// for each draw, no allocation.
#[derive(Debug)]
pub struct RandomTwoLeastTime {
    times: ResponseTimes,
    pair: Pair,
}

impl RandomTwoLeastTime {
    /// Reads `least_time=header` or `least_time=last_byte`, which is also the default.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let until = match words {
            ["least_time=header"] => Until::Head,
            [] | ["least_time=last_byte"] => Until::LastByte,
            ["least_time=header" | "least_time=last_byte", ..] => return Err(Refusal { word: 1 }),
            _ => return Err(Refusal { word: 0 }),
        };
        Ok(Self { times: ResponseTimes::new(until, false, None), pair: Pair::default() })
    }
}

impl Policy for RandomTwoLeastTime {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let Self { times, pair } = self;
        times.fit(candidates.len());
        let second_wins = |first: usize, second: usize| {
            times.look(first, &candidates[first], request.now);
            times.look(second, &candidates[second], request.now);
            cmp_eta(times, candidates, second, first).is_le()
        };
        let picked = pair.pick(request, candidates, draw, second_wins)?;
        times.start(picked, &candidates[picked], request.now);
        Some(picked)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.times.relist(from);
        self.pair.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.pair.learn(position, event, now);
        self.times.learn(position, event, now);
    }
}

/// Compares the estimates over weight exactly, by multiplying crosswise.
fn cmp_eta(times: &ResponseTimes, candidates: &[Candidate], a: usize, b: usize) -> Ordering {
    let load = |it: usize, other: usize| {
        u128::from(times.eta(it)) * u128::from(candidates[other].weight.get())
    };
    load(a, b).cmp(&load(b, a))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SplitMix64;
    use crate::testing::{Script, letters, pool};

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
    fn only_good_answers_are_measured() {
        let mut policy = policy("last_byte");
        pick(&mut policy, "1 1", AT_ONCE);
        let total = Duration::from_millis(300);
        policy.learn(0, Event::Failure { head: None, total }, AT_ONCE);
        policy.learn(0, Event::Abandoned { head: None, total }, AT_ONCE);
        assert_eq!(policy.times.at(0).0, 0);
        policy.learn(0, Event::Success { head: total / 3, total, status: 500 }, AT_ONCE);
        assert_eq!(policy.times.at(0).0, 300);
    }

    #[test]
    fn an_error_counts_as_the_penalty_where_there_is_one() {
        for words in ["last_byte penalty=5s", "header penalty=5s", "header inflight penalty=5s"] {
            let mut policy = policy(words);
            pick(&mut policy, "1 1", AT_ONCE);
            let total = Duration::from_millis(2);
            policy.learn(0, Event::Failure { head: None, total }, AT_ONCE);
            policy.learn(1, Event::Success { head: total, total, status: 500 }, AT_ONCE);
            assert_eq!([0, 1].map(|it| policy.times.at(it).0), [5000, 5000], "{words}");
            policy.learn(1, Event::Abandoned { head: None, total }, AT_ONCE);
            policy.learn(1, Event::Success { head: total, total, status: 404 }, AT_ONCE);
            let after = if words.contains("inflight") { 5000 } else { 4750 };
            assert_eq!(policy.times.at(1).0, after, "{words}");
        }
    }

    #[test]
    fn words_are_refused_where_they_stand() {
        let word = |words: &str| {
            let words = words.split_whitespace().collect::<Vec<_>>();
            LeastTime::from_words(&words).err().map(|it| it.word)
        };
        assert_eq!(word("last_byte inflight penalty=300ms"), None);
        assert_eq!(word("last_byte penalty=never"), Some(1));
        assert_eq!(word("last_byte inflight inflight"), Some(2));
        assert_eq!(word("header penalty=1s inflight"), Some(2));
        assert_eq!(word("middle"), Some(0));
    }

    #[test]
    fn the_head_counts_when_it_is_asked_for() {
        let mut policy = policy("header");
        pick(&mut policy, "1", AT_ONCE);
        let (head, total) = (Duration::from_millis(40), Duration::from_secs(9));
        policy.learn(0, Event::Success { head, total, status: 200 }, AT_ONCE);
        assert_eq!(policy.times.at(0).0, 40);
    }

    #[test]
    fn running_requests_make_a_stuck_server_slow() {
        let mut policy = policy("last_byte inflight");
        let later = |milliseconds| AT_ONCE + Duration::from_millis(milliseconds);
        assert_eq!(pick(&mut policy, "1:0 1:0", AT_ONCE), "a");
        assert_eq!(pick(&mut policy, "1:1 1:0", later(100)), "b");
        policy.learn(1, answered(10), later(110));
        assert_eq!(policy.times.at(0).2, 100);
        // Alone on its server, but 500 ms old: 0.5 + 0.05 * 500 + 0.95 * 100.
        assert_eq!(pick(&mut policy, "9:1 1:2", later(500)), "a");
        assert_eq!(policy.times.at(0).2, 120);
        assert_eq!(pick(&mut policy, "1:2 1:3", later(500)), "b");
    }

    #[test]
    fn a_request_that_ended_takes_its_age_along() {
        let mut policy = policy("last_byte inflight");
        let later = |milliseconds| AT_ONCE + Duration::from_millis(milliseconds);
        pick(&mut policy, "1", AT_ONCE);
        pick(&mut policy, "1:1", later(400));
        assert_eq!(policy.times.at(0).2, 400);
        policy.learn(0, answered(400), later(400));
        // What is left has just begun, so the average moves towards 0: 0.5 + 0.95 * 400.
        pick(&mut policy, "1:1", later(400));
        assert_eq!(policy.times.at(0).2, 380);
    }

    #[test]
    fn a_bound_request_runs_like_any_other() {
        let mut policy = policy("last_byte inflight");
        policy.bind(1, &Request::at(AT_ONCE), &pool("1 1"));
        assert_eq!(policy.times.at(1).1, 1);
        pick(&mut policy, "1:0 1:1", AT_ONCE + Duration::from_millis(90));
        assert_eq!(policy.times.at(1).2, 90);
    }

    #[test]
    fn with_inflight_a_head_ends_the_wait_and_its_end_does_not_count_twice() {
        let mut policy = policy("header inflight");
        pick(&mut policy, "1", AT_ONCE);
        pick(&mut policy, "1", AT_ONCE);
        let elapsed = Duration::from_millis(40);
        policy.learn(0, Event::Head { elapsed }, AT_ONCE + elapsed);
        assert_eq!((policy.times.at(0).0, policy.times.at(0).1), (40, 1));
        policy.learn(0, Event::success(elapsed * 9), AT_ONCE + elapsed * 9);
        assert_eq!((policy.times.at(0).0, policy.times.at(0).1), (40, 1));
        let lost = Event::Failure { head: None, total: elapsed };
        policy.learn(0, lost, AT_ONCE + elapsed * 9);
        assert_eq!(policy.times.at(0).1, 0);
    }

    #[test]
    fn other_words_are_refused_where_they_stand() {
        let refused = |words: &[&str]| LeastTime::from_words(words).unwrap_err().word;
        assert_eq!(refused(&["footer"]), 0);
        assert_eq!(refused(&["header", "outflight"]), 1);
        assert_eq!(refused(&["header", "inflight", "inflight"]), 2);
    }

    #[test]
    fn of_two_drawn_the_one_done_first_wins_and_a_tie_goes_to_the_second() {
        let mut policy = RandomTwoLeastTime::from_words(&["least_time=header"]).unwrap();
        let pick = |policy: &mut RandomTwoLeastTime, backends: &str| {
            let mut draw = Script::onto(&[1, 1], "ab");
            letters(&[policy.pick(&Request::at(AT_ONCE), &pool(backends), &mut draw)])
        };
        assert_eq!(pick(&mut policy, "1 1"), "b");
        policy.learn(1, answered(100), AT_ONCE);
        assert_eq!(pick(&mut policy, "1 1"), "a");
        assert_eq!(pick(&mut policy, "1:5 1:0"), "b");
        assert_eq!(RandomTwoLeastTime::from_words(&["least_time=footer"]).unwrap_err().word, 0);
    }
}
