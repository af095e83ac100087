//! Exact and prefix locations: which one a path belongs to, and what that one does.

use crate::conf::{ConfError, Directive, Span, Word};
use crate::http::browser::Browsers;
use crate::http::client_body::BodyFiles;
use crate::http::closing::Closing;
use crate::http::core::Core;
use crate::http::error_page::ErrorPages;
use crate::http::filter::Filters;
use crate::http::guard::Guards;
use crate::http::mirror::Mirror;
use crate::http::otel::Tracing;
use crate::http::proxy_pass::Proxy;
use crate::http::redirect::Redirects;
use crate::http::referer::Referers;
use crate::http::rewrite::Op;
use crate::http::static_file::Files;
use crate::http::variable::Template;
use crate::logs::AccessLog;
use crate::logs::error::ErrorLogs;
use crate::regex::{Matcher, Regex};
use crate::variable::Scratch;

/// Who produces the answer.
#[derive(Debug)]
pub enum Content {
    /// A path without the slash at the end of another location's leads to that one.
    Slash(Template),
    /// `proxy_pass`.
    Proxy(Box<Proxy>),
    /// `stub_status`.
    StubStatus,
    /// Nobody: the files below its root.
    Files,
}

/// One location, with everything its requests need.
#[derive(Debug)]
pub struct Location {
    /// The words it is written with; empty for what a server does where no location matches.
    pub name: String,
    /// Its position among those of its server, `None` for what the server does itself.
    pub number: Option<usize>,
    /// Settings of the core module.
    pub core: Core,
    /// In which files bodies of its requests are held.
    pub body_files: BodyFiles,
    /// `internal`
    pub is_internal: bool,
    /// Methods of `limit_except`, and the location that serves all others.
    pub limit_except: Option<(Vec<Vec<u8>>, usize)>,
    /// `rewrite`, `set`, `if`, `return`, `break`
    pub rewrite: Vec<Op>,
    /// `rewrite_log`
    pub logs_rewrites: bool,
    /// `uninitialized_variable_warn`
    pub warns_of_unset: bool,
    /// `error_page`
    pub error_pages: ErrorPages,
    /// How it serves files.
    pub files: Files,
    /// Who is shown its requests.
    pub mirror: Option<Box<Mirror>>,
    /// What is told of its requests to a collector of traces.
    pub tracing: Option<Box<Tracing>>,
    /// Who may refuse its requests.
    pub guards: Option<Box<Guards>>,
    /// Who answers.
    pub content: Content,
    /// How connections of its clients end.
    pub closing: Closing,
    /// What it does for certain browsers.
    pub browsers: Browsers,
    /// How its redirects are written.
    pub redirects: Redirects,
    /// `valid_referers`
    pub referers: Option<Box<Referers>>,
    /// What changes its answers.
    pub filters: Filters,
    /// `access_log` lines.
    pub access_logs: Vec<AccessLog>,
    /// `error_log` lines.
    pub error_logs: ErrorLogs,
}

/// How a location is written.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// How paths are compared with it.
    pub kind: Kind,
    /// The path, or the expression.
    pub path: Vec<u8>,
    /// The expression, compiled.
    pub regex: Option<Regex>,
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
    /// `~ expression`, `~* expression`
    Regex,
    /// `@name`
    Named,
    /// Not found by any path: `if` and `limit_except`.
    Within,
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
        let (kind, regex) = match modifier {
            "=" => (Kind::Exact, None),
            "" if !word.starts_with(b"@") => (Kind::Prefix, None),
            "^~" => (Kind::Shield, None),
            "~" => (Kind::Regex, Some(expression(directive, false, word)?)),
            "~*" => (Kind::Regex, Some(expression(directive, true, word)?)),
            "" => (Kind::Named, None),
            _ => return Err(first.refuse(format!("invalid location modifier \"{first}\""))),
        };
        let span = first.span.to(&words[words.len() - 1].span);
        Ok(Self { kind, path: word.to_vec(), regex, span })
    }

    /// That of an `if` or `limit_except`, which no path leads to.
    pub fn within(directive: &Directive) -> Self {
        Self { kind: Kind::Within, path: Vec::new(), regex: None, span: directive.span.clone() }
    }

    /// Whether this location may stand in another.
    ///
    /// Source: as for [`Self::read`].
    pub fn check_inside(&self, outer: &Self) -> Result<(), ConfError> {
        let names = |it: &Self| String::from_utf8_lossy(&it.path).into_owned();
        let (own, around) = (names(self), names(outer));
        let text = if self.kind == Kind::Named {
            format!("named location \"{own}\" can be on the server level only")
        } else if outer.kind == Kind::Named {
            format!("location \"{own}\" cannot be inside the named location \"{around}\"")
        } else if outer.kind == Kind::Exact {
            format!("location \"{own}\" cannot be inside the exact location \"{around}\"")
        } else if self.kind != Kind::Regex && !self.path.starts_with(&outer.path) {
            // nginx compares with the text of an expression, too.
            format!("location \"{own}\" is outside location \"{around}\"")
        } else {
            return Ok(());
        };
        Err(ConfError::new(text, self.span.clone()))
    }
}

/// An expression of a location; it may match anywhere in a path.
fn expression(directive: &Directive, is_caseless: bool, word: &[u8]) -> Result<Regex, ConfError> {
    Regex::new(word, is_caseless).map_err(|it| ConfError::new(it, directive.span.clone()))
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
    /// `location ~ expression`, in the order of the file.
    regexes: Vec<RegexEntry>,
}

#[derive(Debug)]
struct Prefix {
    path: Vec<u8>,
    location: usize,
    /// Position of the longest prefix of this path among the others.
    parent: Option<usize>,
    /// Whether the expressions of its level are not tried.
    shields: bool,
    nested: Locations,
}

/// A prefix location as it enters its level.
#[derive(Debug)]
pub struct Entry {
    /// The path.
    pub path: Vec<u8>,
    /// Its number.
    pub location: usize,
    /// Whether the expressions of its level are not tried.
    pub shields: bool,
    /// The locations within it.
    pub nested: Locations,
}

/// A location with an expression.
#[derive(Debug)]
pub struct RegexEntry {
    /// Matches the paths it is for.
    pub regex: Matcher,
    /// Its number.
    pub location: usize,
    /// The locations within it.
    pub nested: Locations,
}

/// What the search on one level came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// An exact location or an expression: the search is over.
    Final(usize),
    /// A prefix: an expression of the level around may come before it.
    Prefix(usize),
}

impl Found {
    fn location(self) -> usize {
        match self {
            Self::Final(location) | Self::Prefix(location) => location,
        }
    }
}

impl Locations {
    /// Sorts the locations of a level; the numbers are the caller's.
    pub fn new(
        mut exact: Vec<(Vec<u8>, usize)>,
        mut entries: Vec<Entry>,
        regexes: Vec<RegexEntry>,
    ) -> Self {
        exact.sort();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let parent =
            |at: usize| entries[..at].iter().rposition(|it| entries[at].path.starts_with(&it.path));
        let parents: Vec<_> = (0..entries.len()).map(parent).collect();
        let prefix = |(it, parent): (Entry, _)| {
            let Entry { path, location, shields, nested } = it;
            Prefix { path, location, parent, shields, nested }
        };
        let prefixes = entries.into_iter().zip(parents).map(prefix).collect();
        Self { exact, prefixes, regexes }
    }

    /// The number of the location a path belongs to.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_find_location`.
    pub fn find(&self, path: &[u8], scratch: &Scratch) -> Option<usize> {
        self.search(path, scratch).map(Found::location)
    }

    fn search(&self, path: &[u8], scratch: &Scratch) -> Option<Found> {
        if let Ok(at) = self.exact.binary_search_by(|(it, _)| it.as_slice().cmp(path)) {
            return Some(Found::Final(self.exact[at].1));
        }
        let longest = self.longest(path);
        let inner = longest.and_then(|it| it.nested.search(path, scratch));
        if let Some(Found::Final(_)) = inner {
            return inner;
        }
        if !longest.is_some_and(|it| it.shields)
            && let Some(found) = self.matching(path, scratch)
        {
            return Some(found);
        }
        inner.or_else(|| longest.map(|it| Found::Prefix(it.location)))
    }

    /// The longest prefix location of this level.
    fn longest(&self, path: &[u8]) -> Option<&Prefix> {
        // The last path not after this one shares the longest beginning with it, or its parents do.
        let after = self.prefixes.partition_point(|it| it.path.as_slice() <= path);
        let mut at = after.checked_sub(1);
        while let Some(prefix) = at.map(|it| &self.prefixes[it]) {
            if path.starts_with(&prefix.path) {
                return Some(prefix);
            }
            at = prefix.parent;
        }
        None
    }

    /// The first expression of this level that matches, or what is found within its location.
    fn matching(&self, path: &[u8], scratch: &Scratch) -> Option<Found> {
        if self.regexes.is_empty() {
            return None;
        }
        let entry = self.regexes.iter().find(|it| it.regex.exec(scratch, path))?;
        let inner = entry.nested.search(path, scratch).map(Found::location);
        Some(Found::Final(inner.unwrap_or(entry.location)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::exchange::Exchange;
    use crate::variable::Names;

    /// Words such as `=/path`, `/path`, `^~/path` and `~expression`, those in `(…)` being within
    /// the location before them; numbered in the order of the text.
    fn level<'a>(words: &mut impl Iterator<Item = (usize, &'a str)>) -> Locations {
        let (mut exact, mut prefixes, mut regexes) =
            (Vec::new(), Vec::new(), Vec::<RegexEntry>::new());
        let mut was_regex = false;
        while let Some((location, word)) = words.next() {
            let nested = Locations::default();
            let path = |it: &str| it.as_bytes().to_vec();
            match word.split_at(1) {
                ("(", "") if was_regex => regexes.last_mut().unwrap().nested = level(words),
                ("(", "") => {
                    let last: &mut Entry = prefixes.last_mut().unwrap();
                    last.nested = level(words);
                }
                (")", "") => break,
                ("=", rest) => exact.push((path(rest), location)),
                ("~", rest) => {
                    was_regex = true;
                    let regex = Regex::new(rest.as_bytes(), false).unwrap();
                    let regex = Matcher::new(&regex, &Names::<Exchange>::default());
                    regexes.push(RegexEntry { regex, location, nested });
                }
                _ => {
                    was_regex = false;
                    let bare = word.trim_start_matches("^~");
                    let shields = bare != word;
                    prefixes.push(Entry { path: path(bare), location, shields, nested });
                }
            }
        }
        Locations::new(exact, prefixes, regexes)
    }

    #[track_caller]
    fn check(locations: &str, path: &str, expected: Option<&str>) {
        let words: Vec<_> = locations.split_whitespace().collect();
        let found = level(&mut words.iter().copied().enumerate())
            .find(path.as_bytes(), &Scratch::default());
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
        check("/a ( /a/b/c ) /a/b", "/a/b/c", Some("/a/b"));
        check("/a ( /a/b/c ) /a/b", "/a/x", Some("/a"));
        check("/a ( /a/b/c )", "/a/b/c", Some("/a/b/c"));
        check("/a ( =/a/b )", "/a/b", Some("=/a/b"));
    }

    #[test]
    fn the_first_expression_that_matches_wins_over_a_prefix() {
        check("/ ~\\.php$ ~^/a", "/a/x.php", Some("~\\.php$"));
        check("/ ~\\.php$ ~^/a", "/a/x", Some("~^/a"));
        check("/ ~\\.php$ ~^/a", "/b", Some("/"));
        check("=/x.php ~\\.php$", "/x.php", Some("=/x.php"));
        check("~\\.php$", "/b", None);
    }

    #[test]
    fn a_shield_keeps_the_expressions_of_its_own_level_away() {
        check("^~/a ~x", "/a/x", Some("^~/a"));
        check("^~/a /a/b ~x", "/a/b/x", Some("~x"));
        check("^~/a ( ~x ) ~y", "/a/x", Some("~x"));
        check("/a ( ^~/a/b ) ~x", "/a/b/x", Some("~x"));
    }

    #[test]
    fn inner_expressions_come_before_outer_ones() {
        check("/a ( ~x ) ~^/a", "/a/x", Some("~x"));
        check("/a ( ~x ) ~^/a", "/a/y", Some("~^/a"));
        check("~^/a ( ~x )", "/a/x", Some("~x"));
        check("~^/a ( ~x )", "/a/y", Some("~^/a"));
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
        check_pattern("location ~ \\.php$ { }", Ok((Kind::Regex, "\\.php$")));
        check_pattern("location ~*\\.php$ { }", Ok((Kind::Regex, "\\.php$")));
        check_pattern("location ! /a { }", Err("invalid location modifier \"!\""));
    }

    #[test]
    fn a_star_makes_an_expression_blind_to_case() {
        let matches = |text: &str, path: &str| {
            let pattern = Pattern::read(&crate::conf::testing::directive(text)).unwrap();
            pattern.regex.unwrap().is_match(path.as_bytes())
        };
        assert!(matches("location ~* \\.png$ { }", "/A.PNG"));
        assert!(!matches("location ~ \\.png$ { }", "/A.PNG"));
        assert!(matches("location ~ \\.png$ { }", "/a.png"));
        let broken = crate::conf::testing::directive("location ~ '(' { }");
        let reason = Pattern::read(&broken).unwrap_err().reason;
        assert!(reason.starts_with("pcre2_compile() failed: "), "{reason}");
    }

    #[test]
    fn a_nested_location_extends_the_one_around_it() {
        let pattern = |text| Pattern::read(&crate::conf::testing::directive(text)).unwrap();
        let reason =
            |inner, outer| pattern(inner).check_inside(&pattern(outer)).err().map(|it| it.reason);
        assert_eq!(reason("location /a/b { }", "location /a { }"), None);
        assert_eq!(reason("location ~ b { }", "location /a { }"), None);
        assert_eq!(
            reason("location /a { }", "location ~ ^/a { }").as_deref(),
            Some("location \"/a\" is outside location \"^/a\"")
        );
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
