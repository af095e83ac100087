//! Exact and prefix locations: which one a path belongs to, and what that one does.

use crate::conf::{ConfError, Directive, Span, Word};
use crate::http::core::Core;
use crate::http::header::AddHeader;
use crate::http::proxy_pass::Proxy;
use crate::http::rewrite::Return;
use crate::logs::AccessLog;

/// Who produces the answer.
#[derive(Debug)]
pub enum Content {
    /// `return`.
    Return(Return),
    /// `proxy_pass`.
    Proxy(Box<Proxy>),
    /// `stub_status`.
    StubStatus,
    /// Nobody: 404.
    Nothing,
}

/// One location, with everything its requests need.
#[derive(Debug)]
pub struct Location {
    /// The words it is written with; empty for what a server does where no location matches.
    pub name: String,
    /// Settings of the core module.
    pub core: Core,
    /// Who answers.
    pub content: Content,
    /// `add_header` lines.
    pub add_headers: Vec<AddHeader>,
    /// `access_log` lines.
    pub access_logs: Vec<AccessLog>,
}

/// How a location is written.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// How paths are compared with it.
    pub kind: Kind,
    /// The path, or the name after `@`.
    pub path: Vec<u8>,
    /// The words after `location`.
    pub span: Span,
}

/// How a path is compared with a location.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `= /path`
    Exact,
    /// `/path`
    Prefix,
    /// `^~ /path`
    Shield,
}

impl Pattern {
    /// Reads the words of a `location`.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_location`.
    pub fn read(directive: &Directive) -> Result<Self, ConfError> {
        let words = directive.arguments();
        let (first, second) = (&words[0], words.get(1));
        let (modifier, word) = match second {
            Some(second) => (first.as_str(), second.as_bytes()),
            None => split(first),
        };
        let kind = match modifier {
            "=" => Kind::Exact,
            "" if !word.starts_with(b"@") => Kind::Prefix,
            "^~" => Kind::Shield,
            "~" | "~*" | "" => {
                let name = String::from_utf8_lossy(word);
                let text = format!("using regex \"{name}\" requires PCRE library");
                let help = "this version reads exact locations and prefixes only";
                return Err(first.refuse(text).with_help(help));
            }
            _ => return Err(first.refuse(format!("invalid location modifier \"{first}\""))),
        };
        Ok(Self { kind, path: word.to_vec(), span: first.span.to(&words[words.len() - 1].span) })
    }

    /// Whether this location may stand in another.
    ///
    /// Source: as for [`Self::read`].
    pub fn check_inside(&self, outer: &Self) -> Result<(), ConfError> {
        let names = |it: &Self| String::from_utf8_lossy(&it.path).into_owned();
        let (own, around) = (names(self), names(outer));
        let text = if outer.kind == Kind::Exact {
            format!("location \"{own}\" cannot be inside the exact location \"{around}\"")
        } else if !self.path.starts_with(&outer.path) {
            format!("location \"{own}\" is outside location \"{around}\"")
        } else {
            return Ok(());
        };
        Err(ConfError::new(text, self.span.clone()))
    }
}

/// The modifier that touches the path, and the path.
fn split(word: &Word) -> (&'static str, &[u8]) {
    let bytes = word.as_bytes();
    let found = ["=", "^~", "~*", "~"].into_iter().find(|it| bytes.starts_with(it.as_bytes()));
    let modifier = found.unwrap_or("");
    (modifier, &bytes[modifier.len()..])
}

/// The locations of one level.
#[derive(Debug, Default)]
pub struct Locations {
    /// `location = /path`, by path.
    exact: Vec<(Vec<u8>, usize)>,
    /// `location /path`, sorted by path; each knows the longest other one that it extends.
    prefixes: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    path: Vec<u8>,
    location: usize,
    /// Position of the longest prefix of this path among the others.
    parent: Option<usize>,
    nested: Locations,
}

/// A prefix location as it enters its level.
#[derive(Debug)]
pub struct Entry {
    /// The path.
    pub path: Vec<u8>,
    /// Its number.
    pub location: usize,
    /// The locations within it.
    pub nested: Locations,
}

impl Locations {
    /// Sorts the locations of a level; the numbers are the caller's.
    pub fn new(mut exact: Vec<(Vec<u8>, usize)>, mut entries: Vec<Entry>) -> Self {
        exact.sort();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let parent =
            |at: usize| entries[..at].iter().rposition(|it| entries[at].path.starts_with(&it.path));
        let parents: Vec<_> = (0..entries.len()).map(parent).collect();
        let prefix = |(it, parent): (Entry, _)| {
            let Entry { path, location, nested } = it;
            Prefix { path, location, parent, nested }
        };
        let prefixes = entries.into_iter().zip(parents).map(prefix).collect();
        Self { exact, prefixes }
    }

    /// The number of the exact location of this path, else of the longest prefix, in which the
    /// search goes on.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        if let Ok(at) = self.exact.binary_search_by(|(it, _)| it.as_slice().cmp(path)) {
            return Some(self.exact[at].1);
        }
        // The last path not after this one shares the longest beginning with it, or its parents do.
        let after = self.prefixes.partition_point(|it| it.path.as_slice() <= path);
        let mut at = after.checked_sub(1);
        while let Some(prefix) = at.map(|it| &self.prefixes[it]) {
            if path.starts_with(&prefix.path) {
                return prefix.nested.find(path).or(Some(prefix.location));
            }
            at = prefix.parent;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words `=/path` and `/path`; the answer is the word that was found.
    #[track_caller]
    fn check(locations: &str, path: &str, expected: Option<&str>) {
        let words: Vec<_> = locations.split_whitespace().collect();
        let numbered = words.iter().enumerate();
        let (exact, prefixes): (Vec<_>, Vec<_>) = numbered.partition(|(_, it)| it.starts_with('='));
        let exact = exact.into_iter().map(|(n, it)| (it.as_bytes()[1..].to_vec(), n)).collect();
        let entry = |(location, it): (usize, &&str)| {
            let path = it.as_bytes().to_vec();
            Entry { path, location, nested: Locations::default() }
        };
        let prefixes = prefixes.into_iter().map(entry).collect();
        let found = Locations::new(exact, prefixes).find(path.as_bytes());
        assert_eq!(found.map(|it| words[it]), expected, "{path} in {locations}");
    }

    #[test]
    fn the_longest_prefix_wins() {
        check("/ /a /a/b /ab", "/", Some("/"));
        check("/ /a /a/b /ab", "/a/c", Some("/a"));
        check("/ /a /a/b /ab", "/a/b/c", Some("/a/b"));
        check("/ /a /a/b /ab", "/abc", Some("/ab"));
        check("/ /a /a/b /a/bb", "/a/ba", Some("/a/b"));
        check("/a/b /a/c", "/a", None);
        check("/ /a /a/b /a/b/c /a/b/c/d", "/a/b/cx", Some("/a/b/c"));
        check("/ /a /m /z", "/k", Some("/"));
    }

    #[test]
    fn an_exact_location_wins_over_every_prefix() {
        check("/ =/ /a =/a", "/", Some("=/"));
        check("/ =/ /a =/a", "/a", Some("=/a"));
        check("/ =/ /a =/a", "/a/", Some("/a"));
    }

    #[test]
    fn a_nested_location_is_found_only_within_the_longest_prefix_of_its_level() {
        let entry = |path: &str, location, nested| Entry {
            path: path.as_bytes().to_vec(),
            location,
            nested,
        };
        let inner = Locations::new(Vec::new(), vec![entry("/a/b/c", 2, Locations::default())]);
        let level = vec![entry("/a", 0, inner), entry("/a/b", 1, Locations::default())];
        let locations = Locations::new(Vec::new(), level);
        assert_eq!(locations.find(b"/a/b/c"), Some(1));
        assert_eq!(locations.find(b"/a/x"), Some(0));
        let inner = Locations::new(Vec::new(), vec![entry("/a/b/c", 2, Locations::default())]);
        let locations = Locations::new(Vec::new(), vec![entry("/a", 0, inner)]);
        assert_eq!(locations.find(b"/a/b/c"), Some(2));
    }

    #[track_caller]
    fn check_pattern(text: &str, expected: Result<(Kind, &str), &str>) {
        let actual = Pattern::read(&crate::conf::testing::directive(text));
        let actual = actual.map_err(|it| it.reason);
        let actual = actual.map(|it| (it.kind, String::from_utf8(it.path).unwrap()));
        let expected = expected.map(|(kind, path)| (kind, path.to_owned()));
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_modifier_may_touch_the_path() {
        check_pattern("location / { }", Ok((Kind::Prefix, "/")));
        check_pattern("location = /a { }", Ok((Kind::Exact, "/a")));
        check_pattern("location =/a { }", Ok((Kind::Exact, "/a")));
        check_pattern("location ^~ /a { }", Ok((Kind::Shield, "/a")));
        check_pattern("location ^~/a { }", Ok((Kind::Shield, "/a")));
        check_pattern("location ! /a { }", Err("invalid location modifier \"!\""));
    }

    #[test]
    fn a_nested_location_extends_the_one_around_it() {
        let pattern = |text| Pattern::read(&crate::conf::testing::directive(text)).unwrap();
        let reason =
            |inner, outer| pattern(inner).check_inside(&pattern(outer)).err().map(|it| it.reason);
        assert_eq!(reason("location /a/b { }", "location /a { }"), None);
        assert_eq!(
            reason("location /b { }", "location /a { }").as_deref(),
            Some("location \"/b\" is outside location \"/a\"")
        );
        assert_eq!(
            reason("location /a/b { }", "location = /a { }").as_deref(),
            Some("location \"/a/b\" cannot be inside the exact location \"/a\"")
        );
    }
}
