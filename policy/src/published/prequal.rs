//! Who says that it is fast and has little to do?

use std::time::Duration;

use crate::options::{self, Options};
use crate::{Candidate, Draw, Event, Policy, Random, Refusal, Request, Time};

/// Asks servers for their load ahead of need, and picks by what the answers in its pool say.
///
/// An answer with more in flight than the `q_rif` quantile of late answers is hot. Of the cold
/// answers the one with the lowest latency wins, of hot ones only the one with least in flight. An
/// answer serves a few picks and counts them as in flight; each pick removes the oldest or the worst
/// in alternation. With fewer than two answers of eligible servers the pick is random by weight.
///
/// Source: B. Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI
/// 2024, sections 4.1 to 4.3. Weights matter only for the random pick, as the paper has none.
/// No allocation; cost depends on the pool, not on the candidates.
#[derive(Debug)]
pub struct Prequal {
    capacity: usize,
    age: Duration,
    /// Probes for each pick.
    rate: f64,
    q_rif: f64,
    pool: Vec<Answer>,
    late: Late,
    /// Probes owed for the picks so far.
    owed: f64,
    /// Whom the present pick has asked.
    asked: Vec<usize>,
    /// Whether the next removal takes the worst, not the oldest.
    takes_worst: bool,
    fallback: Random,
}

/// What one probe found.
#[derive(Clone, Copy, Debug)]
struct Answer {
    position: usize,
    in_flight: u32,
    latency: Duration,
    at: Time,
    /// Picks it may still serve, decided when it is first used.
    uses: Option<u32>,
}

impl Answer {
    /// Orders the cold before the hot, those by latency and these by requests in flight.
    fn rank(&self, limit: u32) -> (bool, u128) {
        let is_hot = limit < self.in_flight;
        (is_hot, if is_hot { u128::from(self.in_flight) } else { self.latency.as_nanos() })
    }
}

impl Prequal {
    /// Reads `pool=16`, `age=1s`, `rate=3` and `q_rif=0.84`, which are also the defaults. `uri=` is
    /// left to whoever sends the probes.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["pool", "age", "rate", "q_rif", "uri"])?;
        let capacity =
            options.value("pool", 16, |it| it.parse().ok().filter(|it| (2..=1024).contains(it)))?;
        Ok(Self {
            capacity,
            age: options.value("age", Duration::from_secs(1), options::time)?,
            rate: options.value("rate", 3.0, |it| options::within(it, 0.0..=100.0))?,
            q_rif: options.value("q_rif", 0.84, |it| options::within(it, 0.0..=1.0))?,
            pool: Vec::with_capacity(capacity),
            late: Late::new(),
            owed: 0.0,
            asked: Vec::new(),
            takes_worst: false,
            fallback: Random::default(),
        })
    }

    /// How many picks an answer serves, so that the pool neither dries up nor grows stale:
    /// `max(1, (1 + delta) / ((1 - m / n) * rate - removals))` with delta 1 and 1 removal.
    #[expect(clippy::cast_precision_loss, reason = "pools and lists stay far below 2^52")]
    fn reuse(&self, servers: usize) -> f64 {
        let fresh = (1.0 - self.capacity as f64 / servers as f64) * self.rate - 1.0;
        if fresh <= 0.0 { MOST_USES } else { (2.0 / fresh).clamp(1.0, MOST_USES) }
    }

    /// Where the best answer stands in the pool.
    fn best(&self) -> usize {
        let limit = self.late.quantile(self.q_rif);
        let answers = self.pool.iter().enumerate();
        answers.min_by_key(|(_, it)| it.rank(limit)).map_or(0, |(at, _)| at)
    }

    /// Where the worst stands: the hot one with most in flight, else the one with most latency.
    fn worst(&self) -> usize {
        let limit = self.late.quantile(self.q_rif);
        let answers = self.pool.iter().enumerate();
        answers.max_by_key(|(_, it)| it.rank(limit)).map_or(0, |(at, _)| at)
    }

    /// Counts a pick against an answer, and drops the answer after its last use.
    fn use_up(&mut self, at: usize, servers: usize, draw: &mut dyn Draw) {
        let reuse = self.reuse(servers);
        let answer = &mut self.pool[at];
        answer.in_flight = answer.in_flight.saturating_add(1);
        let left = answer.uses.unwrap_or_else(|| rounded_at_random(reuse, draw)) - 1;
        answer.uses = Some(left);
        if left == 0 {
            self.pool.remove(at);
        }
        if 1 < self.pool.len() {
            // Answers stand in the order in which they came.
            let removed = if self.takes_worst { self.worst() } else { 0 };
            self.pool.remove(removed);
            self.takes_worst = !self.takes_worst;
        }
    }
}

impl Policy for Prequal {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.owed += self.rate;
        self.asked.clear();
        let age = self.age;
        self.pool.retain(|it| {
            request.now.since(it.at) <= age
                && candidates.get(it.position).is_some_and(|it| it.eligible)
        });
        let fallback = self.fallback.pick(request, candidates, draw)?;
        if self.pool.len() < 2 {
            return Some(fallback);
        }
        let best = self.best();
        let picked = self.pool[best].position;
        self.use_up(best, candidates.len(), draw);
        Some(picked)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        let kept = |mut it: Answer| {
            it.position = from.iter().position(|old| *old == Some(it.position))?;
            Some(it)
        };
        self.pool = self.pool.drain(..).filter_map(kept).collect();
        self.pool.reserve(self.capacity - self.pool.len());
        self.asked.clear();
        self.fallback.relist(from);
    }

    fn probe(&mut self, candidates: &[Candidate], draw: &mut dyn Draw) -> Option<usize> {
        if self.owed < 1.0 || candidates.is_empty() {
            return None;
        }
        self.owed -= 1.0;
        for _ in 0..REDRAWS {
            let drawn = draw.below(candidates.len() as u64);
            let drawn = usize::try_from(drawn).expect("a position is below the length");
            if candidates[drawn].eligible && !self.asked.contains(&drawn) {
                self.asked.push(drawn);
                return Some(drawn);
            }
        }
        self.owed = 0.0;
        None
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
        if let Event::Probe { in_flight, latency } = event {
            self.late.learn(in_flight);
            if self.pool.len() == self.capacity {
                self.pool.remove(0);
            }
            self.pool.push(Answer { position, in_flight, latency, at: now, uses: None });
        }
    }
}

/// Picks one answer serves at most, when the formula asks for endless reuse.
const MOST_USES: f64 = 100.0;

/// How often an eligible server is sought that was not asked for this pick.
const REDRAWS: u32 = 20;

/// The whole part, or one more as often as the fraction says.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and MOST_USES"
)]
fn rounded_at_random(number: f64, draw: &mut dyn Draw) -> u32 {
    let extra = u32::from(draw.unit() < number.fract());
    number as u32 + extra
}

/// Requests in flight as the latest probes found them, in order of time and in order of size.
#[derive(Debug)]
struct Late {
    by_time: [u32; Self::LEN],
    by_size: Vec<u32>,
    next: usize,
}

impl Late {
    const LEN: usize = 128;

    fn new() -> Self {
        Self { by_time: [0; Self::LEN], by_size: Vec::with_capacity(Self::LEN), next: 0 }
    }

    fn learn(&mut self, in_flight: u32) {
        let oldest = std::mem::replace(&mut self.by_time[self.next], in_flight);
        self.next = (self.next + 1) % Self::LEN;
        if self.by_size.len() == Self::LEN
            && let Ok(at) = self.by_size.binary_search(&oldest)
        {
            self.by_size.remove(at);
        }
        let at = self.by_size.partition_point(|it| *it < in_flight);
        self.by_size.insert(at, in_flight);
    }

    /// The number which a share of `q` does not exceed; the highest for 1.
    ///
    /// It is 0 for a `q` of 0: then all but the idle are hot and only requests in flight matter.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a place among at most 128"
    )]
    fn quantile(&self, q: f64) -> u32 {
        let place = (q * self.by_size.len() as f64).ceil() as usize;
        place.checked_sub(1).and_then(|it| self.by_size.get(it)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{letters, pool};

    const BACKENDS: &str = "1 1 1 1";

    fn policy(words: &[&str]) -> Prequal {
        Prequal::from_words(words).unwrap()
    }

    /// One word per answer: server, requests in flight, milliseconds, such as `a:3:20`.
    fn probed(policy: &mut Prequal, answers: &str, now: Time) {
        for answer in answers.split_whitespace() {
            let words = answer.split(':').collect::<Vec<_>>();
            let latency = Duration::from_millis(words[2].parse().unwrap());
            let in_flight = words[1].parse().unwrap();
            let position = usize::from(words[0].as_bytes()[0] - b'a');
            policy.learn(position, Event::Probe { in_flight, latency }, now);
        }
    }

    fn picked(policy: &mut Prequal, backends: &str, now: Time) -> String {
        let request = Request::at(now);
        letters(&[policy.pick(&request, &pool(backends), &mut SplitMix64::new(3))])
    }

    #[track_caller]
    fn check(words: &[&str], answers: &str, expected: &str) {
        let mut policy = policy(words);
        probed(&mut policy, answers, Time::ZERO);
        assert_eq!(picked(&mut policy, BACKENDS, Time::ZERO), expected, "{words:?}, {answers}");
    }

    #[test]
    fn the_fastest_of_the_cold_wins() {
        check(&["q_rif=0.75"], "a:1:30 b:2:10 c:3:20 d:9:1", "b");
        check(&["q_rif=1"], "a:1:30 b:2:10 c:3:20 d:9:1", "d");
    }

    #[test]
    fn where_only_load_counts_the_least_loaded_wins() {
        check(&["q_rif=0"], "a:5:10 b:2:30 c:3:1", "b");
    }

    #[test]
    fn an_answer_expires() {
        let mut policy = policy(&["q_rif=1", "age=1s"]);
        probed(&mut policy, "a:1:10 b:1:20", Time::ZERO);
        picked(&mut policy, BACKENDS, Time::from_nanos(1_000_000_001));
        assert!(policy.pool.is_empty());
    }

    #[test]
    fn an_answer_of_a_server_that_failed_does_not_count() {
        let mut policy = policy(&["q_rif=1"]);
        probed(&mut policy, "a:1:10 b:1:20 c:1:30", Time::ZERO);
        assert_eq!(picked(&mut policy, "!1 1 1 1", Time::ZERO), "b");
    }

    #[test]
    fn a_used_answer_counts_the_request_it_sent() {
        let mut policy = policy(&["q_rif=0", "rate=1"]);
        probed(&mut policy, "d:9:1 a:1:10 b:2:10 c:7:10", Time::ZERO);
        assert_eq!(picked(&mut policy, BACKENDS, Time::ZERO), "a");
        assert_eq!(policy.pool.iter().find(|it| it.position == 0).unwrap().in_flight, 2);
    }

    #[test]
    fn each_pick_removes_the_oldest_and_the_worst_in_turn() {
        let mut policy = policy(&["q_rif=1", "rate=1"]);
        probed(&mut policy, "a:9:1 b:1:10 c:1:90 d:1:20", Time::ZERO);
        let mut left = |_| {
            picked(&mut policy, BACKENDS, Time::ZERO);
            let positions = policy.pool.iter().map(|it| Some(it.position)).collect::<Vec<_>>();
            letters(&positions)
        };
        assert_eq!([0, 1].map(&mut left), ["bcd", "bd"]);
    }

    #[test]
    fn reuse_keeps_the_pool_in_balance() {
        assert!((policy(&[]).reuse(100) - 1.3158).abs() < 5e-5);
        assert!((policy(&[]).reuse(16) - MOST_USES).abs() < 1e-9);
        assert!((policy(&["rate=100"]).reuse(1000) - 1.0).abs() < 1e-9);
        let mut draw = SplitMix64::new(1);
        let uses = (0..10_000).map(|_| rounded_at_random(1.3158, &mut draw)).collect::<Vec<_>>();
        let more = uses.iter().filter(|it| **it == 2).count();
        assert!(
            uses.iter().all(|it| (1..=2).contains(it)) && (2900..3400).contains(&more),
            "{more}"
        );
    }

    #[test]
    fn each_pick_asks_different_servers_as_often_as_the_rate_says() {
        let mut policy = policy(&["rate=2.5"]);
        let (candidates, mut draw) = (pool("1 1 1 !1"), SplitMix64::new(1));
        let mut asked = |_| {
            policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw);
            let mut asked = Vec::new();
            while let Some(position) = policy.probe(&candidates, &mut draw) {
                asked.push(position);
            }
            asked.sort_unstable();
            asked
        };
        let (first, second) = (asked(0), asked(1));
        assert_eq!(first.len(), 2);
        assert_ne!(first[0], first[1]);
        assert_eq!(second, [0, 1, 2]);
    }

    #[test]
    fn late_answers_are_the_last_hundred_and_twenty_eight() {
        let mut late = Late::new();
        for in_flight in 0..=200 {
            late.learn(in_flight);
        }
        assert_eq!((late.quantile(0.5), late.quantile(1.0)), (136, 200));
        assert_eq!(Late::new().quantile(0.84), 0);
    }

    #[test]
    fn a_pool_holds_its_latest_answers_and_follows_a_new_list() {
        let mut policy = policy(&["pool=3"]);
        probed(&mut policy, "a:1:1 b:1:1 c:1:1 d:1:1", Time::ZERO);
        policy.relist(&[None, Some(3), Some(1)]);
        assert_eq!(policy.pool.iter().map(|it| it.position).collect::<Vec<_>>(), [2, 1]);
    }
}
