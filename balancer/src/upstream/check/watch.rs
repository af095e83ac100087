//! How many results of a check in a row make a server healthy, or not?

use std::num::NonZeroU32;
use std::sync::Arc;

use policy::Time;

use crate::upstream::standing::Watched;

/// Results in a row that change the opinion of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// That do not pass.
    pub fails: NonZeroU32,
    /// That pass.
    pub passes: NonZeroU32,
}

/// What one check has found out about one server.
///
/// The first result decides at once, whatever the limits.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Which check.
    pub name: Arc<str>,
    /// When it is made next.
    pub due: Time,
    verdict: Option<bool>,
    /// Results in a row against the verdict.
    against: u32,
    is_mandatory: bool,
}

impl Watch {
    /// A check that is due at once; `known` is the verdict until its first result.
    pub fn new(check: &Watched, known: Option<bool>, now: Time) -> Self {
        let (name, is_mandatory) = (Arc::clone(&check.name), check.is_mandatory);
        Self { name, due: now, verdict: known, against: 0, is_mandatory }
    }

    /// The same check, asked for anew.
    #[must_use]
    pub fn as_asked(self, is_mandatory: bool) -> Self {
        Self { is_mandatory, ..self }
    }

    /// Whether the server passes, `None` before the first result.
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// Whether the server gets no request before the first result.
    pub fn is_awaited(&self) -> bool {
        self.is_mandatory && self.verdict.is_none()
    }

    /// Learns a result.
    pub fn observe(&mut self, has_passed: bool, limits: Limits) {
        let needed = if has_passed { limits.passes } else { limits.fails };
        match self.verdict {
            Some(verdict) if verdict == has_passed => self.against = 0,
            Some(_) if self.against + 1 < needed.get() => self.against += 1,
            _ => {
                self.verdict = Some(has_passed);
                self.against = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays results, `p` for one that passed and `f` for one that failed; the verdict after each.
    #[track_caller]
    fn check(fails: u32, passes: u32, results: &str, expected: &str) {
        let asked = Watched { name: "a".into(), is_mandatory: true, is_persistent: false };
        let mut watch = Watch::new(&asked, None, Time::ZERO);
        let [fails, passes] = [fails, passes].map(|it| NonZeroU32::new(it).unwrap());
        let verdict = |letter| {
            watch.observe(letter == 'p', Limits { fails, passes });
            if watch.verdict() == Some(true) { 'p' } else { 'f' }
        };
        assert_eq!(results.chars().map(verdict).collect::<String>(), expected, "{results}");
    }

    #[test]
    fn the_first_result_decides_and_then_only_so_many_in_a_row() {
        check(3, 2, "f", "f");
        check(3, 2, "p", "p");
        check(3, 2, "pffpfff", "ppppppf");
        check(3, 2, "fpfpp", "ffffp");
        check(1, 1, "pfpf", "pfpf");
    }
}
