//! Regular expressions as nginx has them: PCRE2, over bytes.

use std::fmt;
use std::sync::Arc;

use pcre2::bytes;

use crate::variable::{Names, Scratch, Subject};

/// A compiled expression.
#[derive(Clone)]
pub struct Regex {
    inner: Arc<bytes::Regex>,
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.inner.as_str()).finish()
    }
}

impl Regex {
    /// Compiles an expression; the error is nginx's text.
    ///
    /// Source: nginx `ngx_regex.c`, `ngx_regex_compile`.
    pub fn new(text: &[u8], is_caseless: bool) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text);
        let compiled =
            bytes::RegexBuilder::new().caseless(is_caseless).jit_if_available(true).build(&text);
        compiled.map(|it| Self { inner: Arc::new(it) }).map_err(|error| {
            let told = error.to_string();
            let reason = told.rsplit_once(": ").map_or(told.as_str(), |(_, it)| it);
            let rest = error.offset().and_then(|it| text.get(it..)).unwrap_or_default();
            if rest.is_empty() {
                format!("pcre2_compile() failed: {reason} in \"{text}\"")
            } else {
                format!("pcre2_compile() failed: {reason} in \"{text}\" at \"{rest}\"")
            }
        })
    }

    /// The expression as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.inner.as_str()
    }

    /// Whether it matches anywhere. One that takes too many steps matches nothing.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.inner.is_match(text).unwrap_or(false)
    }

    /// Number of groups, the whole match included.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.inner.captures_len()
    }

    /// The groups that have names, each with its number.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        let names = self.inner.capture_names().iter().enumerate();
        names.filter_map(|(at, name)| name.as_deref().map(|name| (at, name)))
    }

    /// The first match and its groups; false when there is none, and then `into` stays as it was.
    pub fn captures(&self, text: &[u8], into: &mut Captures) -> bool {
        let mut places = self.inner.capture_locations();
        let Ok(Some(_)) = self.inner.captures_read(&mut places, text) else { return false };
        into.subject.clear();
        into.subject.extend_from_slice(text);
        into.groups.clear();
        into.groups.extend((0..places.len()).map(|it| places.get(it)));
        true
    }
}

/// The text of the last match and where its groups stand in it.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    subject: Vec<u8>,
    groups: Vec<Option<(usize, usize)>>,
}

impl Captures {
    /// The text of a group; `None` where it took no part in the match.
    #[must_use]
    pub fn group(&self, number: usize) -> Option<&[u8]> {
        let (start, end) = self.groups.get(number).copied().flatten()?;
        Some(&self.subject[start..end])
    }

    /// Forgets the match.
    pub fn clear(&mut self) {
        self.groups.clear();
    }
}

/// An expression whose named groups are variables.
#[derive(Clone, Debug)]
pub struct Matcher {
    regex: Regex,
    /// Groups and the variables that hold them.
    named: Vec<(usize, usize)>,
}

impl Matcher {
    /// Looks the variables of the named groups up.
    #[must_use]
    pub fn new<S: Subject>(regex: &Regex, names: &Names<S>) -> Self {
        let named = regex.names().filter_map(|(at, name)| Some((at, names.slot(name)?)));
        Self { named: named.collect(), regex: regex.clone() }
    }

    /// The expression.
    #[must_use]
    pub const fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Whether the expression matches; if so, `$1` and named groups are those of this match.
    #[must_use]
    pub fn exec(&self, scratch: &Scratch, text: &[u8]) -> bool {
        if self.regex.groups() == 1 {
            return self.regex.is_match(text) && scratch.forget_captures();
        }
        if !self.regex.captures(text, &mut scratch.captures_mut()) {
            return false;
        }
        for (group, slot) in &self.named {
            let captures = scratch.captures_mut();
            scratch.set(*slot, captures.group(*group).unwrap_or_default());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_expression_is_told_as_nginx_tells_it() {
        let told = |text: &str| Regex::new(text.as_bytes(), false).unwrap_err();
        assert_eq!(told("("), "pcre2_compile() failed: missing closing parenthesis in \"(\"");
        let quantifier = "quantifier does not follow a repeatable item";
        assert_eq!(
            told("a**b("),
            "pcre2_compile() failed: missing closing parenthesis in \"a**b(\"".replace(
                "missing closing parenthesis in \"a**b(\"",
                &format!("{quantifier} in \"a**b(\" at \"*b(\"")
            )
        );
    }

    #[test]
    fn groups_are_bytes_and_may_be_absent() {
        let regex = Regex::new(b"^/(a)?(?<rest>.*)$", false).unwrap();
        let mut captures = Captures::default();
        assert!(regex.captures(b"/\xff", &mut captures));
        assert_eq!((captures.group(1), captures.group(2)), (None, Some(&b"\xff"[..])));
        assert!(regex.names().eq([(2, "rest")]));
        assert!(!regex.captures(b"x", &mut captures));
        assert_eq!(captures.group(2), Some(&b"\xff"[..]));
    }
}
