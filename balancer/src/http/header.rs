//! `add_header` and `add_trailer`: lines of ours in an answer's head, and behind its body.

use crate::conf::{ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::h1::write;
use crate::http::variable::{Template, compile};
use crate::http::{WITH_IF, put};
use crate::variable::Names;

/// The lines of one block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    headers: Lines,
    trailers: Lines,
}

/// Lines of one kind, and what becomes of those of the enclosing block.
#[derive(Clone, Debug, Default)]
struct Lines {
    own: Vec<Line>,
    inherit: Option<Inherit>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Inherit {
    /// The enclosing block's lines do not count.
    Off,
    /// They count where the block has none.
    On,
    /// They follow the block's own.
    Merge,
}

#[derive(Clone, Debug)]
struct Line {
    name: Word,
    value: Word,
    always: bool,
}

const fn lines(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: WITH_IF, arguments: 2..=3, effect }
}

const fn inherit(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: WITH_IF, arguments: 1..=1, effect }
}

/// Directives of `http`, `server`, `location` and `if`.
pub const ROWS: &[Row<Settings>] = &[
    lines("add_header", Effect::Add(|it, directive| it.headers.add(directive))),
    lines("add_trailer", Effect::Add(|it, directive| it.trailers.add(directive))),
    inherit("add_header_inherit", Effect::Set(|it, directive| it.headers.inherit(directive))),
    inherit("add_trailer_inherit", Effect::Set(|it, directive| it.trailers.inherit(directive))),
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            headers: self.headers.within(&outer.headers),
            trailers: self.trailers.within(&outer.trailers),
        }
    }

    /// Looks the variables of the `add_header` values up.
    pub fn headers(&self, names: &Names<Exchange>) -> Result<Vec<AddHeader>, ConfError> {
        self.headers.compile(names)
    }

    /// As [`Self::headers`], for `add_trailer`.
    pub fn trailers(&self, names: &Names<Exchange>) -> Result<Vec<AddHeader>, ConfError> {
        self.trailers.compile(names)
    }
}

impl Lines {
    /// Source: nginx `ngx_http_headers_filter_module.c`, `ngx_http_headers_merge_conf`.
    fn within(mut self, outer: &Self) -> Self {
        self.inherit = self.inherit.or(outer.inherit);
        match self.inherit {
            Some(Inherit::Off) => {}
            Some(Inherit::Merge) => self.own.extend_from_slice(&outer.own),
            Some(Inherit::On) | None if self.own.is_empty() => self.own.clone_from(&outer.own),
            Some(Inherit::On) | None => {}
        }
        self
    }

    fn compile(&self, names: &Names<Exchange>) -> Result<Vec<AddHeader>, ConfError> {
        let line = |it: &Line| {
            let name = it.name.as_bytes().to_vec();
            let manner = Manner::of(&name);
            Ok(AddHeader { name, manner, value: compile(&it.value, names)?, always: it.always })
        };
        self.own.iter().map(line).collect()
    }

    fn add(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let always = match directive.arguments().get(2) {
            None => false,
            Some(word) if *word == "always" => true,
            Some(word) => return Err(word.invalid_parameter()),
        };
        let (name, value) = (directive.words[1].clone(), directive.words[2].clone());
        self.own.push(Line { name, value, always });
        Ok(())
    }

    fn inherit(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let choices = [("off", Inherit::Off), ("on", Inherit::On), ("merge", Inherit::Merge)];
        put(&mut self.inherit, directive.choice(&choices))
    }
}

/// What a line does to one of the same name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// Stands beside it.
    Add,
    /// Takes its place, or removes it where the value is empty: `ETag`.
    Replace,
    /// As [`Self::Replace`], and stands for the time of a file: `Last-Modified`.
    LastModified,
}

impl Manner {
    /// Source: nginx `ngx_http_headers_filter_module.c`, `ngx_http_set_headers`.
    fn of(name: &[u8]) -> Self {
        if name.eq_ignore_ascii_case(b"etag") {
            Self::Replace
        } else if name.eq_ignore_ascii_case(b"last-modified") {
            Self::LastModified
        } else {
            Self::Add
        }
    }
}

/// One `add_header` or `add_trailer` line.
#[derive(Debug)]
pub struct AddHeader {
    /// As written.
    name: Vec<u8>,
    manner: Manner,
    /// Not sent where it comes out empty.
    value: Template,
    /// Whether it is sent with every status.
    always: bool,
}

/// Whether `expires`, and lines that do not say `always`, go with a status.
pub fn is_safe(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

impl AddHeader {
    /// Whether it is sent with this status.
    pub fn applies_to(&self, status: u16) -> bool {
        self.always || is_safe(status)
    }

    /// The value; no byte of it ends a line.
    fn value(&self, exchange: &Exchange) -> Vec<u8> {
        let mut value = self.value.value(exchange);
        for byte in value.iter_mut().filter(|it| matches!(it, 0 | b'\r' | b'\n')) {
            *byte = b' ';
        }
        value
    }

    /// Adds the line to the answer's head.
    ///
    /// Source: nginx `ngx_http_headers_filter_module.c`, `ngx_http_add_header` and
    /// `ngx_http_set_response_header`.
    pub fn add_to(&self, exchange: &mut Exchange) {
        let value = self.value(exchange);
        let head = &mut exchange.head;
        if self.manner == Manner::LastModified {
            head.last_modified = None;
        }
        match (self.manner, value.is_empty()) {
            (Manner::Add, false) => head.add(&self.name, &value),
            (Manner::Add, true) => {}
            (_, false) => head.replace(&self.name, &value),
            (_, true) => head.remove(&self.name),
        }
    }

    /// Appends the line to the answer's trailers; lines behind it may ask for it.
    pub fn trail(&self, exchange: &mut Exchange) {
        let value = self.value(exchange);
        if !value.is_empty() {
            write::field(&mut exchange.trailers, &self.name, &value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::default();
        for text in text.split_inclusive(';') {
            let directive = directive(text);
            let lines = &mut settings.headers;
            let name = directive.name().as_str();
            let add = if name == "add_header" { Lines::add } else { Lines::inherit };
            add(lines, &directive).unwrap();
        }
        settings
    }

    #[track_caller]
    fn check(inner: &str, outer: &str, expected: &[&str]) {
        let lines = settings(inner).within(&settings(outer)).headers(&Names::default()).unwrap();
        let names: Vec<_> = lines.iter().map(|it| str::from_utf8(&it.name).unwrap()).collect();
        assert_eq!(names, expected, "{inner} in {outer}");
    }

    #[test]
    fn one_line_drops_all_inherited_ones() {
        check("", "add_header A 1; add_header B 2;", &["A", "B"]);
        check("add_header C 3;", "add_header A 1; add_header B 2;", &["C"]);
    }

    #[test]
    fn what_is_inherited_can_be_chosen() {
        check("add_header_inherit off;", "add_header A 1;", &[]);
        check("add_header C 3;", "add_header_inherit merge; add_header A 1;", &["C", "A"]);
        check(
            "add_header C 3; add_header_inherit on;",
            "add_header_inherit merge; add_header A 1;",
            &["C"],
        );
    }

    #[test]
    fn only_always_may_follow_the_value() {
        let result = Lines::default().add(&directive("add_header A 1 ever;"));
        assert_eq!(result.unwrap_err().reason, "invalid parameter \"ever\"");
    }

    #[test]
    fn errors_get_a_line_only_always() {
        let lines =
            settings("add_header A 1; add_header B 2 always;").headers(&Names::default()).unwrap();
        let at = |status| [lines[0].applies_to(status), lines[1].applies_to(status)];
        assert_eq!(at(204), [true, true]);
        assert_eq!(at(404), [false, true]);
        assert_eq!(at(202), [false, true]);
    }
}
