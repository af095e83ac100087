//! Which policy do the words of a directive ask for?

use std::fmt;

use crate::{CATALOG, Entry, Policy};

/// A policy that was asked for, ready to pick.
#[derive(Debug)]
pub struct Choice<'a> {
    /// What it is.
    pub entry: &'static Entry,
    /// What the requests' keys are made from, if the directive names it.
    pub key: Option<&'a str>,
    /// The policy itself.
    pub policy: Box<dyn Policy>,
}

impl<'a> Choice<'a> {
    /// Builds what a directive asks for, such as `random two least_conn`; without words the default.
    ///
    /// Of the directives that fit, the one with most words counts.
    pub fn of_directive(words: &[&'a str]) -> Result<Self, Refusal> {
        let whole =
            |own: &[&str]| own.len() == fit(own, words) && own.is_empty() == words.is_empty();
        let fits = |it: &&Entry| it.directive.is_some_and(whole);
        let Some(entry) = CATALOG.iter().filter(fits).max_by_key(|it| it.directive.map(<[_]>::len))
        else {
            let understood = CATALOG.iter().map(|it| fit(it.directive.unwrap_or(&[]), words)).max();
            return Err(Refusal { word: understood.unwrap_or(0) });
        };
        let own = entry.directive.unwrap_or_default();
        let options = own.iter().position(|it| it.ends_with('=')).unwrap_or(own.len());
        let policy = (entry.build)(&words[options..]).map_err(|it| it.after(options))?;
        let key = own.iter().position(|it| *it == "KEY").map(|it| words[it]);
        Ok(Self { entry, key, policy })
    }
}

/// Words which a directive or a policy does not understand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Position of the first such word; the number of words if one is missing.
    pub word: usize,
}

impl Refusal {
    /// The same refusal, seen by someone who has read `words` more in front.
    pub(crate) const fn after(self, words: usize) -> Self {
        Self { word: self.word + words }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid parameter at position {}", self.word)
    }
}

impl std::error::Error for Refusal {}

/// How many of the words of a directive, from the first on, are there.
fn fit(own: &[&str], words: &[&str]) -> usize {
    let same = |(own, word): &(&&str, &&str)| match **own {
        "KEY" => true,
        option if option.ends_with('=') => word.starts_with(option),
        literal => literal == **word,
    };
    own.iter().zip(words).take_while(same).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(directive: &str, expected: Result<&str, usize>) {
        let words = directive.split_whitespace().collect::<Vec<_>>();
        let chosen = Choice::of_directive(&words).map(|it| it.entry.id);
        assert_eq!(chosen, expected.map_err(|word| Refusal { word }), "{directive}");
    }

    #[test]
    fn directives_choose_by_their_longest_form() {
        check("", Ok("nginx-rr"));
        check("least_conn", Ok("nginx-least-conn"));
        check("random", Ok("nginx-random"));
        check("random two", Ok("nginx-random-two"));
        check("random two least_conn", Ok("nginx-random-two"));
        check("random two least_time=header", Ok("nginx-random-two-least-time"));
        check("hash $request_uri", Ok("nginx-hash"));
        check("hash consistent", Ok("nginx-hash"));
        check("hash $request_uri consistent", Ok("nginx-ketama"));
        check("hash $request_uri consistent bounded=1.5", Ok("bounded-hash"));
        check("least_time header inflight", Ok("nginx-least-time"));
        check("maglev $request_uri table=7", Ok("maglev"));
        check("prequal pool=8 uri=/load", Ok("prequal"));
    }

    #[test]
    fn the_first_word_not_understood_is_named() {
        check("leastconn", Err(0));
        check("least_conn two", Err(1));
        check("random three", Err(1));
        check("random two least_time=footer", Err(2));
        check("hash", Err(1));
        check("hash $request_uri inconsistent", Err(2));
        check("hash $request_uri consistent limited", Err(3));
        check("hash $request_uri consistent bounded=0", Err(3));
        check("least_time header outflight", Err(2));
        check("random two most_conn", Err(2));
        check("random two least_conn least_conn", Err(3));
    }
}
