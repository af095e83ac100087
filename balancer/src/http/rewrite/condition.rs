//! What stands between the parentheses of an `if`.

use std::os::unix::fs::PermissionsExt as _;

use crate::conf::{ConfError, Directive, Reading, Word};
use crate::engine::exchange::Exchange;
use crate::engine::look;
use crate::http::rewrite::run::grouped;
use crate::http::variable::{Template, compile};
use crate::regex::{Matcher, Regex};
use crate::variable::{Names, Subject as _};

/// A condition as it is written.
#[derive(Clone, Debug)]
pub enum Condition {
    /// `$variable`
    True(Word),
    /// `$variable = value`; true where they differ: `!=`.
    Equal(Word, Word, bool),
    /// `$variable ~ expression`; true where it does not match: `!~`.
    Match(Word, Regex, bool),
    /// `-f path`; true where it is not so: `!-f`.
    File(Kind, Word, bool),
}

/// What is asked of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It is a file.
    File,
    /// It is a folder.
    Directory,
    /// It is there.
    Exists,
    /// Its owner may execute it.
    Executable,
}

impl Condition {
    /// Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite_if_condition`.
    pub(super) fn read(
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<Self, ConfError> {
        let invalid = |word: &Word| word.refuse(format!("invalid condition \"{word}\""));
        let mut words = directive.arguments().to_vec();
        let first = &words[0];
        let Some(rest) = first.strip_prefix('(') else { return Err(invalid(first)) };
        if rest.is_empty() {
            words.remove(0);
        } else {
            words[0] = first.with_bytes(&first.as_bytes()[1..]);
        }
        let Some(last) = words.last() else { return Err(invalid(directive.text())) };
        let Some(rest) = last.as_bytes().strip_suffix(b")") else { return Err(invalid(last)) };
        if rest.is_empty() {
            words.pop();
        } else {
            let changed = last.with_bytes(rest);
            words.pop();
            words.push(changed);
        }
        let Some(first) = words.first() else { return Err(invalid(directive.text())) };
        if first.len() > 1 && first.starts_with('$') {
            return match words.as_slice() {
                [variable] => Ok(Self::True(variable.clone())),
                [variable, operator, value] => Self::compared(variable, operator, value, reading),
                _ => Err(invalid(first)),
            };
        }
        let (is_not, letter) = match first.as_bytes() {
            [b'-', letter] => (false, letter),
            [b'!', b'-', letter] => (true, letter),
            _ => return Err(invalid(first)),
        };
        let [_, path] = words.as_slice() else { return Err(invalid(first)) };
        let kind = match letter {
            b'f' => Kind::File,
            b'd' => Kind::Directory,
            b'e' => Kind::Exists,
            b'x' => Kind::Executable,
            _ => return Err(invalid(first)),
        };
        Ok(Self::File(kind, path.clone(), is_not))
    }

    fn compared(
        variable: &Word,
        operator: &Word,
        value: &Word,
        reading: &mut Reading<'_>,
    ) -> Result<Self, ConfError> {
        let (variable, value) = (variable.clone(), value.clone());
        let (is_caseless, is_not) = match operator.as_str() {
            "=" => return Ok(Self::Equal(variable, value, false)),
            "!=" => return Ok(Self::Equal(variable, value, true)),
            "~" => (false, false),
            "~*" => (true, false),
            "!~" => (false, true),
            "!~*" => (true, true),
            _ => {
                return Err(operator.refuse(format!("unexpected \"{operator}\" in condition")));
            }
        };
        let regex = Regex::new(value.as_bytes(), is_caseless).map_err(|it| value.refuse(it))?;
        regex.names().for_each(|(_, it)| reading.define(it));
        Ok(Self::Match(variable, regex, is_not))
    }

    /// Looks the variables up.
    pub(super) fn compile(&self, names: &Names<Exchange>) -> Result<Test, ConfError> {
        Ok(match self {
            Self::True(variable) => Test::True(compile(variable, names)?),
            Self::Equal(variable, value, is_not) => {
                Test::Equal(compile(variable, names)?, compile(value, names)?, *is_not)
            }
            Self::Match(variable, regex, is_not) => {
                Test::Match(compile(variable, names)?, Matcher::new(regex, names), *is_not)
            }
            Self::File(kind, path, is_not) => Test::File(*kind, compile(path, names)?, *is_not),
        })
    }
}

/// A condition, ready to be tested.
#[derive(Debug)]
pub enum Test {
    /// The value is neither empty nor `0`.
    True(Template),
    /// Both are the same, or are not.
    Equal(Template, Template, bool),
    /// The expression matches, or does not.
    Match(Template, Matcher, bool),
    /// The file is so, or is not.
    File(Kind, Template, bool),
}

impl Test {
    /// Whether it holds; a match leaves its groups behind.
    pub(super) fn holds(&self, exchange: &Exchange) -> bool {
        match self {
            Self::True(value) => value.is_true(exchange),
            Self::Equal(one, other, is_not) => {
                (one.value(exchange) == grouped(other, exchange)) != *is_not
            }
            Self::Match(value, matcher, is_not) => {
                matcher.exec(exchange.scratch(), &value.value(exchange)) != *is_not
            }
            Self::File(kind, path, is_not) => {
                let path = path.value(exchange);
                let is_so = look::metadata(&path).is_some_and(|it| match kind {
                    Kind::File => it.is_file(),
                    Kind::Directory => it.is_dir(),
                    Kind::Exists => true,
                    Kind::Executable => it.permissions().mode() & 0o100 != 0,
                });
                is_so != *is_not
            }
        }
    }
}
