//! Which policies are there, what are they called, and what do they need?

use std::fmt;

use crate::{
    BoundedHash, Hash, HashConsistent, IpHash, LeastConn, LeastTime, PeakEwma, Policy, Random,
    RandomTwo, RoundRobin,
};

/// Every policy. The directives, the simulator, the benches and the reports read this list.
pub const CATALOG: &[Entry] = &[
    Entry {
        id: "nginx-rr",
        name: "round_robin",
        directive: Some(&[]),
        needs: Needs::FAILURES,
        refuses: &[],
        build: |words| plain::<RoundRobin>(words),
    },
    Entry {
        id: "nginx-least-conn",
        name: "least_conn",
        directive: Some(&["least_conn"]),
        needs: Needs::FAILURES,
        refuses: &[],
        build: |words| plain::<LeastConn>(words),
    },
    Entry {
        id: "nginx-random",
        name: "random",
        directive: Some(&["random"]),
        needs: Needs::FAILURES,
        refuses: &["backup", "slow_start"],
        build: |words| plain::<Random>(words),
    },
    Entry {
        id: "nginx-random-two",
        name: "random_two",
        directive: Some(&["random", "two"]),
        needs: Needs::FAILURES,
        refuses: &["backup", "slow_start"],
        build: |words| match words {
            ["least_conn", rest @ ..] => plain::<RandomTwo>(rest).map_err(|it| it.after(1)),
            _ => plain::<RandomTwo>(words),
        },
    },
    Entry {
        id: "nginx-ip-hash",
        name: "ip_hash",
        directive: Some(&["ip_hash"]),
        needs: Needs { client: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| plain::<IpHash>(words),
    },
    Entry {
        id: "nginx-hash",
        name: "hash",
        directive: Some(&["hash", "KEY"]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| plain::<Hash>(words),
    },
    Entry {
        id: "nginx-ketama",
        name: "hash_consistent",
        directive: Some(&["hash", "KEY", "consistent"]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| plain::<HashConsistent>(words),
    },
    Entry {
        id: "bounded-hash",
        name: "hash_consistent_bounded",
        directive: Some(&["hash", "KEY", "consistent", "bounded="]),
        needs: Needs { key: true, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| Ok(Box::new(BoundedHash::from_words(words)?)),
    },
    Entry {
        id: "nginx-least-time",
        name: "least_time",
        directive: Some(&["least_time"]),
        needs: Needs { hears: Hears::Heads, ..Needs::FAILURES },
        refuses: &[],
        build: |words| Ok(Box::new(LeastTime::from_words(words)?)),
    },
    Entry {
        id: "peak-ewma",
        name: "peak_ewma",
        directive: Some(&["peak_ewma"]),
        needs: Needs { hears: Hears::Ends, ..Needs::FAILURES },
        refuses: &["backup", "slow_start"],
        build: |words| Ok(Box::new(PeakEwma::from_words(words)?)),
    },
];

/// One policy: its names, what it needs, and how it is built.
#[derive(Debug)]
pub struct Entry {
    /// Names it on command lines, in metrics and in reports.
    pub id: &'static str,
    /// Names it in file names (`configs/nginx/NAME.conf`).
    pub name: &'static str,
    /// The words by which an `upstream` block asks for it, `KEY` standing for what to hash and
    /// `NAME=` for an option; no words for the default, `None` if no block can ask for it.
    pub directive: Option<&'static [&'static str]>,
    /// What the caller has to provide.
    pub needs: Needs,
    /// Parameters of `server` which nginx does not accept with it. A policy that refuses
    /// `slow_start` sees a changed weight only after [`Policy::relist`].
    pub refuses: &'static [&'static str],
    /// Builds it from the words that follow the directive, such as `name=value`.
    pub build: fn(&[&str]) -> Built,
}

/// A policy, unless its words make no sense.
pub type Built = Result<Box<dyn Policy>, Refusal>;

/// What a policy needs besides the candidates. Who needs less can be asked with less work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Needs {
    /// Whether it hashes [`crate::Request::key`].
    pub key: bool,
    /// Whether it hashes [`crate::Request::client`].
    pub client: bool,
    /// Which ends of requests [`Policy::learn`] has to tell it.
    pub hears: Hears,
}

impl Needs {
    const FAILURES: Self = Self { key: false, client: false, hears: Hears::Failures };
}

/// Which events a policy listens to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Hears {
    /// None of them.
    Nothing,
    /// [`crate::Event::Failure`]; the others make no difference.
    Failures,
    /// The end of every request.
    Ends,
    /// The end of every request, and [`crate::Event::Head`] before it.
    Heads,
}

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

/// Builds a policy without options.
fn plain<P: Default + Policy + 'static>(words: &[&str]) -> Built {
    if words.is_empty() { Ok(Box::<P>::default()) } else { Err(Refusal { word: 0 }) }
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
        check("hash $request_uri", Ok("nginx-hash"));
        check("hash consistent", Ok("nginx-hash"));
        check("hash $request_uri consistent", Ok("nginx-ketama"));
        check("hash $request_uri consistent bounded=1.5", Ok("bounded-hash"));
        check("least_time header inflight", Ok("nginx-least-time"));
    }

    #[test]
    fn the_first_word_not_understood_is_named() {
        check("leastconn", Err(0));
        check("least_conn two", Err(1));
        check("random three", Err(1));
        check("hash", Err(1));
        check("hash $request_uri inconsistent", Err(2));
        check("hash $request_uri consistent limited", Err(3));
        check("hash $request_uri consistent bounded=0", Err(3));
        check("least_time header outflight", Err(2));
        check("random two most_conn", Err(2));
        check("random two least_conn least_conn", Err(3));
    }

    #[test]
    fn ids_names_and_directives_are_given_once() {
        for (position, entry) in CATALOG.iter().enumerate() {
            for other in &CATALOG[..position] {
                assert_ne!(entry.id, other.id);
                assert_ne!(entry.name, other.name);
                assert!(entry.directive.is_none() || entry.directive != other.directive);
            }
        }
    }
}
