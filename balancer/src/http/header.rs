//! `add_header`: lines at the end of an answer's head.

use crate::conf::{ConfError, Directive, Effect, Row, Word};
use crate::http::EVERYWHERE;
use crate::http::variable::{Template, compile};

/// The lines of one block; without any, those of the enclosing block count.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    name: Word,
    value: Word,
    always: bool,
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "add_header",
    within: EVERYWHERE,
    arguments: 2..=3,
    effect: Effect::Add(Settings::add_header),
}];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        if self.lines.is_empty() { outer.clone() } else { self }
    }

    /// Looks the variables of the values up.
    pub fn compile(&self) -> Result<Vec<AddHeader>, ConfError> {
        let line = |it: &Line| {
            let value = compile(&it.value)?;
            Ok(AddHeader { name: it.name.as_bytes().to_vec(), value, always: it.always })
        };
        self.lines.iter().map(line).collect()
    }

    fn add_header(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let always = match directive.arguments().get(2) {
            None => false,
            Some(word) if *word == "always" => true,
            Some(word) => return Err(word.invalid_parameter()),
        };
        let (name, value) = (directive.words[1].clone(), directive.words[2].clone());
        self.lines.push(Line { name, value, always });
        Ok(())
    }
}

/// One `add_header` line.
#[derive(Debug)]
pub struct AddHeader {
    /// As written.
    pub name: Vec<u8>,
    /// Not sent where it comes out empty.
    pub value: Template,
    /// Whether it is sent with every status.
    pub always: bool,
}

impl AddHeader {
    /// Whether it is sent with this status.
    pub fn applies_to(&self, status: u16) -> bool {
        self.always || matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::default();
        for text in text.split_inclusive(';') {
            settings.add_header(&directive(text)).unwrap();
        }
        settings
    }

    #[track_caller]
    fn check(inner: &str, outer: &str, expected: &[&str]) {
        let lines = settings(inner).within(&settings(outer)).compile().unwrap();
        let names: Vec<_> = lines.iter().map(|it| str::from_utf8(&it.name).unwrap()).collect();
        assert_eq!(names, expected, "{inner} in {outer}");
    }

    #[test]
    fn one_line_drops_all_inherited_ones() {
        check("", "add_header A 1; add_header B 2;", &["A", "B"]);
        check("add_header C 3;", "add_header A 1; add_header B 2;", &["C"]);
    }

    #[test]
    fn only_always_may_follow_the_value() {
        let result = Settings::default().add_header(&directive("add_header A 1 ever;"));
        assert_eq!(result.unwrap_err().reason, "invalid parameter \"ever\"");
    }

    #[test]
    fn errors_get_a_line_only_always() {
        let lines = settings("add_header A 1; add_header B 2 always;").compile().unwrap();
        let at = |status| [lines[0].applies_to(status), lines[1].applies_to(status)];
        assert_eq!(at(204), [true, true]);
        assert_eq!(at(404), [false, true]);
        assert_eq!(at(202), [false, true]);
    }
}
