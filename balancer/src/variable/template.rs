//! Texts with `$names` in them.

use std::fmt;

use super::{Names, Subject, Variable};
use crate::conf::{ConfError, Word};
use crate::logs::escape::Escape;

#[derive(Clone, Debug)]
enum Piece<S> {
    Text(Vec<u8>),
    Variable(Variable<S>),
}

/// What an unset variable is written as.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unset {
    /// As nothing.
    #[default]
    Empty,
    /// As `-`, as in logs.
    Dash,
}

/// A text with variables in it.
#[derive(Debug)]
pub struct Template<S = crate::engine::exchange::Exchange> {
    pieces: Vec<Piece<S>>,
}

impl<S> Clone for Template<S> {
    fn clone(&self) -> Self {
        let copy = |it: &Piece<S>| match it {
            Piece::Text(text) => Piece::Text(text.clone()),
            Piece::Variable(variable) => Piece::Variable(variable.clone()),
        };
        Self { pieces: self.pieces.iter().map(copy).collect() }
    }
}

impl<S> Default for Template<S> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

/// Why a text cannot be compiled, in nginx's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bad {
    /// A name that no variable has.
    Unknown(String),
    /// A name that does not end.
    Open(String),
    /// A dollar without a name.
    Nameless,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unknown \"{name}\" variable"),
            Self::Open(name) => {
                write!(f, "the closing bracket in \"{name}\" variable is missing")
            }
            Self::Nameless => f.write_str("invalid variable name"),
        }
    }
}

/// Looks the names in the value of a directive up.
pub fn compile<S: Subject>(word: &Word, names: &Names<S>) -> Result<Template<S>, ConfError> {
    Template::compile_bytes(word.as_bytes(), names).map_err(|bad| bad.told_of(word))
}

impl Bad {
    /// The refusal of the word it stands in; nginx misses a variable only when all is read.
    pub fn told_of(&self, word: &Word) -> ConfError {
        match self {
            Self::Unknown(_) => {
                let help = format!("it stands in {}", word.span);
                ConfError::unplaced(self.to_string()).with_help(help)
            }
            Self::Open(_) | Self::Nameless => word.refuse(self.to_string()),
        }
    }
}

/// Whether a word has variables in it.
#[must_use]
pub fn has_variables(text: &[u8]) -> bool {
    text.contains(&b'$')
}

impl<S: Subject> Template<S> {
    /// A text without variables, whatever is in it.
    #[must_use]
    pub fn text(text: &[u8]) -> Self {
        Self { pieces: vec![Piece::Text(text.to_vec())] }
    }

    /// Puts a template behind another.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    /// Looks the names in a text up.
    pub fn compile(text: &str, names: &Names<S>) -> Result<Self, Bad> {
        Self::compile_bytes(text.as_bytes(), names)
    }

    /// As [`Self::compile`].
    ///
    /// Source: nginx `ngx_http_script.c`, `ngx_http_script_compile`.
    pub fn compile_bytes(text: &[u8], names: &Names<S>) -> Result<Self, Bad> {
        let lossy = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(dollar) = memchr::memchr(b'$', rest) {
            plain.extend_from_slice(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            let braced = rest.strip_prefix(b"{");
            let from = braced.unwrap_or(rest);
            let is_name = |it: &u8| it.is_ascii_alphanumeric() || *it == b'_';
            let is_group =
                braced.is_none() && from.first().is_some_and(|it| matches!(it, b'1'..=b'9'));
            let length =
                if is_group { 1 } else { from.iter().take_while(|it| is_name(it)).count() };
            let name = &from[..length];
            if braced.is_some() && name.is_empty() {
                return Err(Bad::Nameless);
            }
            if braced.is_some() && from.get(length) != Some(&b'}') {
                return Err(Bad::Open(lossy(name)));
            }
            if name.is_empty() {
                return Err(Bad::Nameless);
            }
            rest = &from[length + usize::from(braced.is_some())..];
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            let name = lossy(name);
            // Groups have no braces.
            let group = is_group.then(|| Variable::Group(usize::from(from[0] - b'0')));
            let variable = group.or_else(|| Variable::named(&name, names));
            let variable = variable.ok_or_else(|| Bad::Unknown(name.to_ascii_lowercase()))?;
            pieces.push(Piece::Variable(variable));
        }
        plain.extend_from_slice(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }

    /// Whether it comes out empty for every request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The text, when there are no variables in it.
    #[must_use]
    pub fn as_text(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text; unset variables leave nothing.
    pub fn write(&self, subject: &S, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(variable) => {
                    variable.write(subject, out);
                }
            }
        }
    }

    /// The text by itself.
    #[must_use]
    pub fn value(&self, subject: &S) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(subject, &mut out);
        out
    }

    /// Whether it comes out neither empty nor `0`.
    #[must_use]
    pub fn is_true(&self, subject: &S) -> bool {
        !matches!(self.value(subject).as_slice(), b"" | b"0")
    }

    /// Appends the text with each variable's value made safe for where it goes.
    pub fn write_escaped(&self, subject: &S, unset: Unset, escape: Escape, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(variable) => {
                    let from = out.len();
                    if variable.write(subject, out) {
                        escape(out, from);
                    } else if unset == Unset::Dash {
                        out.push(b'-');
                    }
                }
            }
        }
    }

    /// Appends the text, the groups of the last match made safe by `escape`.
    pub fn write_groups(&self, subject: &S, escape: Option<Escape>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            let from = out.len();
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(variable) => {
                    variable.write(subject, out);
                    if let (Variable::Group(_), Some(escape)) = (variable, escape) {
                        escape(out, from);
                    }
                }
            }
        }
    }
}
