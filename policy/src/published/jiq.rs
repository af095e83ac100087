//! What if servers say when they have nothing to do?

use std::collections::VecDeque;

use crate::options::Options;
use crate::{Candidate, Choices, Draw, Event, Policy, Refusal, Request, Time};

/// Join the idle queue: serves whoever has reported idle first, else at random.
///
/// One dispatcher; to which of several a server reports is for the caller to decide. With
/// `withdraw=false` a server that was picked at random keeps its place in the queue, which may then
/// be stale, or double.
///
/// Source: Y. Lu et al., "Join-Idle-Queue", Performance Evaluation 68(11), 2011, section 2.
/// Constant cost but for those who are not eligible; no allocation once the queue has grown.
#[derive(Debug)]
pub struct Jiq {
    withdraws: bool,
    idle: VecDeque<usize>,
    fallback: Choices,
}

impl Jiq {
    /// Reads `withdraw=true`, which is also the default.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["withdraw"])?;
        let withdraws = options.value("withdraw", true, |it| it.parse().ok())?;
        Ok(Self { withdraws, idle: VecDeque::new(), fallback: Choices::uniform() })
    }
}

impl Policy for Jiq {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let mut waiting = self.idle.iter();
        let is_eligible = |it: &usize| candidates.get(*it).is_some_and(|it| it.eligible);
        if let Some(place) = waiting.position(is_eligible) {
            return self.idle.remove(place);
        }
        let picked = self.fallback.pick(request, candidates, draw)?;
        if self.withdraws {
            self.idle.retain(|it| *it != picked);
        }
        Some(picked)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        let moved = |it: usize| from.iter().position(|old| *old == Some(it));
        self.idle = self.idle.iter().copied().filter_map(moved).collect();
        self.fallback.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
        let is_known = self.withdraws && self.idle.contains(&position);
        if event == Event::Idle && !is_known && self.idle.len() < MOST_REPORTS {
            self.idle.push_back(position);
        }
    }
}

/// Reports that are kept at most, whatever servers send.
const MOST_REPORTS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, letters, pool};

    /// Reports the servers of `idle`, then picks with draws that fall on `drawn`.
    #[track_caller]
    fn check(words: &[&str], idle: &str, backends: &str, drawn: &str, expected: &str) {
        let mut policy = Jiq::from_words(words).unwrap();
        let candidates = pool(backends);
        for letter in idle.bytes() {
            policy.learn(usize::from(letter - b'a'), Event::Idle, Time::ZERO);
        }
        let mut draw = Script::onto(&vec![1; candidates.len()], drawn);
        let mut pick = |_| policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw);
        let picks = expected.chars().map(&mut pick).collect::<Vec<_>>();
        assert_eq!(letters(&picks), expected, "{words:?}, {idle}, {backends}, {drawn}");
    }

    #[test]
    fn idle_servers_are_served_in_the_order_of_their_reports() {
        check(&[], "cab", "1 1 1", "", "cab");
        check(&[], "cab", "1 1 !1", "", "ab");
    }

    #[test]
    fn without_a_report_chance_decides() {
        check(&[], "c", "1 1 1", "ba", "cba");
    }

    #[test]
    fn a_report_may_be_taken_back_or_stand_twice() {
        check(&[], "bb", "1 1 1", "a", "ba");
        check(&["withdraw=false"], "bb", "1 1 1", "a", "bba");
    }

    #[test]
    fn reports_follow_a_new_list() {
        let mut policy = Jiq::from_words(&[]).unwrap();
        for position in [2, 0] {
            policy.learn(position, Event::Idle, Time::ZERO);
        }
        policy.relist(&[Some(2), Some(1)]);
        assert_eq!(policy.idle, [0]);
    }
}
