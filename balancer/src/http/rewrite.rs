//! `if`, `set`, `rewrite`, `return`, `break`: run in the order of the file, before anything else.

use crate::conf::value::number;
use crate::conf::{Block, ConfError, Directive, Effect, Reading, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::Action;
use crate::http::escape::{self, unescape_redirect};
use crate::http::location::Location;
use crate::http::put;
use crate::http::server::Server;
use crate::http::variable::{Template, compile};
use crate::logs::{self, Level};
use crate::modules::LocationBlock;
use crate::regex::{Matcher, Regex};
use crate::variable::{Names, Subject, definable};

pub use self::condition::{Condition, Kind, Test};

mod condition;
mod run;
pub mod unset;

pub use self::run::{Flow, run};

/// What one block says; nothing of it is handed on to the blocks within.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In the order of the file.
    pub lines: Vec<Line>,
}

/// What is handed on to the blocks within.
#[derive(Clone, Debug, Default)]
pub struct LogSettings {
    log: Option<bool>,
    warns: Option<bool>,
}

impl LogSettings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self { log: self.log.or(outer.log), warns: self.warns.or(outer.warns) }
    }

    /// Whether a variable without a value is told when it is asked for.
    #[must_use]
    pub fn warns_of_unset(&self) -> bool {
        self.warns.unwrap_or(true)
    }

    /// Whether each change is told in the error log.
    #[must_use]
    pub fn logs(&self) -> bool {
        self.log.unwrap_or_default()
    }
}

/// One directive as it is written.
#[derive(Clone, Debug)]
pub enum Line {
    /// `set`: the variable's name and its value.
    Set(String, Word),
    /// `rewrite`
    Rewrite(Box<RewriteLine>),
    /// `if`, and what is done and set within it.
    If(Box<(Condition, LocationBlock)>),
    /// `return`
    Return(u16, Option<Word>),
    /// `break`
    Break,
}

/// A `rewrite` as it is written.
#[derive(Clone, Debug)]
pub struct RewriteLine {
    regex: Regex,
    replacement: Word,
    end: End,
}

/// What follows a `rewrite` that matched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The next line.
    Next,
    /// The search for a location.
    Last,
    /// The rest of the request, here.
    Break,
    /// An answer of this status that leads there.
    Redirect(u16),
}

/// Where the directives of the module may stand.
const BLOCKS: &[Block] = &[Block::Server, Block::Location, Block::IfInServer, Block::IfInLocation];

/// Directives of `server`, `location` and `if`; `if` itself is among those of the blocks.
pub const ROWS: &[Row<Settings>] = &[
    Row { name: "return", within: BLOCKS, arguments: 1..=2, effect: Effect::Add(Settings::answer) },
    Row { name: "set", within: BLOCKS, arguments: 2..=2, effect: Effect::Read(Settings::set) },
    Row {
        name: "rewrite",
        within: BLOCKS,
        arguments: 2..=3,
        effect: Effect::Read(Settings::rewrite),
    },
    Row {
        name: "break",
        within: BLOCKS,
        arguments: 0..=0,
        effect: Effect::Add(|it, _| {
            it.lines.push(Line::Break);
            Ok(())
        }),
    },
];

/// Directives that are handed on.
pub const LOG_ROWS: &[Row<LogSettings>] = &[
    Row {
        name: "rewrite_log",
        within: &[
            Block::Http,
            Block::Server,
            Block::Location,
            Block::IfInServer,
            Block::IfInLocation,
        ],
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.log, directive.flag())),
    },
    Row {
        name: "uninitialized_variable_warn",
        within: &[
            Block::Http,
            Block::Server,
            Block::Location,
            Block::IfInServer,
            Block::IfInLocation,
        ],
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.warns, directive.flag())),
    },
];

/// Sent where a text stands alone.
const FOUND: u16 = 302;

fn is_url(word: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|it| word.starts_with(it))
}

impl Settings {
    /// Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite_return`.
    fn answer(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let text = directive.arguments().get(1);
        let refuse = || word.refuse(format!("invalid return code \"{word}\""));
        let line = match number(word) {
            Some(status) => {
                let status = u16::try_from(status).ok().filter(|it| *it <= 999);
                Line::Return(status.ok_or_else(refuse)?, text.cloned())
            }
            None if text.is_none() && is_url(word) => Line::Return(FOUND, Some(word.clone())),
            None => return Err(refuse()),
        };
        self.lines.push(line);
        Ok(())
    }

    /// Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite_set`.
    fn set(&mut self, directive: &Directive, reading: &mut Reading<'_>) -> Result<(), ConfError> {
        let name = definable::<Exchange>(directive.text())?;
        match (Exchange::setter(&name), Exchange::builtin(&name)) {
            (Some(_), _) => {}
            (None, Some(_)) => reading.define(&name),
            (None, None) => reading.assign(&name),
        }
        self.lines.push(Line::Set(name, directive.words[2].clone()));
        Ok(())
    }

    /// Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite`.
    fn rewrite(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        let (pattern, replacement) = (&directive.words[1], directive.words[2].clone());
        let regex = Regex::new(pattern.as_bytes(), false).map_err(|it| pattern.refuse(it))?;
        regex.names().for_each(|(_, it)| reading.define(it));
        if replacement.is_empty() {
            return Err(replacement.refuse("empty replacement"));
        }
        let mut end = if is_url(&replacement) { End::Redirect(FOUND) } else { End::Next };
        if let Some(flag) = directive.words.get(3) {
            end = match flag.as_str() {
                "redirect" => End::Redirect(302),
                "permanent" => End::Redirect(301),
                "last" if end == End::Next => End::Last,
                "break" if end == End::Next => End::Break,
                "last" | "break" => end,
                _ => return Err(flag.invalid_parameter()),
            };
        }
        self.lines.push(Line::Rewrite(Box::new(RewriteLine { regex, replacement, end })));
        Ok(())
    }

    /// Adds an `if`, whose block has been read.
    pub fn add_if(&mut self, condition: Condition, block: LocationBlock) {
        self.lines.push(Line::If(Box::new((condition, block))));
    }
}

/// Reads the words between `if` and its block.
pub fn condition(directive: &Directive, reading: &mut Reading<'_>) -> Result<Condition, ConfError> {
    Condition::read(directive, reading)
}

/// One directive, ready to run.
#[derive(Debug)]
pub enum Op {
    /// Sets a variable the configuration defines.
    Set(usize, Template),
    /// Sets a variable of the request itself.
    Change(fn(&mut Exchange, &[u8]), Template),
    /// `rewrite`
    Rewrite(Box<Rewrite>),
    /// `if`: its lines, and the location whose settings hold from then on, where there is one.
    If(Test, Vec<Op>, Option<usize>),
    /// `return`
    Return(Return),
    /// `break`
    Break,
}

/// A `rewrite`, ready to run.
#[derive(Debug)]
pub struct Rewrite {
    matcher: Matcher,
    path: Template,
    /// What the replacement says of the query.
    args: Option<Template>,
    /// Whether the request's own query is kept.
    keeps_args: bool,
    /// Whether the replacement of a redirect has a query.
    has_args: bool,
    end: End,
}

/// A `return` directive.
#[derive(Debug)]
pub struct Return {
    /// What is sent, 444 for nothing at all.
    pub status: u16,
    /// The body, or where to go for a redirect; `None` sends nginx's page for the status.
    pub text: Option<Template>,
}

impl Return {
    /// Whether the text is where to go.
    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}

/// Compiles the block of an `if`: what is done there, and the number of its settings.
pub type Nested<'a> = dyn FnMut(&LocationBlock) -> (Vec<Op>, Option<usize>) + 'a;

impl Line {
    /// Looks names up; `nested` compiles the block of an `if` and says where its settings are.
    pub fn compile(
        &self,
        names: &Names<Exchange>,
        nested: &mut Nested<'_>,
    ) -> Result<Op, ConfError> {
        Ok(match self {
            Self::Set(name, value) => {
                let value = compile(value, names)?;
                match (Exchange::setter(name), names.slot(name)) {
                    (Some(setter), _) => Op::Change(setter, value),
                    (None, slot) => Op::Set(slot.expect("it was defined when read"), value),
                }
            }
            Self::Rewrite(line) => Op::Rewrite(Box::new(line.compile(names)?)),
            Self::If(line) => {
                let (condition, block) = &**line;
                let test = condition.compile(names)?;
                let (ops, location) = nested(block);
                Op::If(test, ops, location)
            }
            Self::Return(status, text) => {
                let text = text.as_ref().map(|it| compile(it, names)).transpose()?;
                Op::Return(Return { status: *status, text })
            }
            Self::Break => Op::Break,
        })
    }
}

impl RewriteLine {
    fn compile(&self, names: &Names<Exchange>) -> Result<Rewrite, ConfError> {
        let Self { regex, replacement, end } = self;
        let text = replacement.as_bytes();
        let (text, keeps_args) = match text.strip_suffix(b"?") {
            Some(text) => (text, false),
            None => (text, true),
        };
        let whole = |text: &[u8]| {
            Template::compile_bytes(text, names).map_err(|bad| bad.told_of(replacement))
        };
        let question = memchr::memchr(b'?', text);
        let (path, args) = match (question, end) {
            (Some(at), End::Next | End::Last | End::Break) => {
                (whole(&text[..at])?, Some(whole(&text[at + 1..])?))
            }
            _ => (whole(text)?, None),
        };
        let has_args = question.is_some();
        let matcher = Matcher::new(regex, names);
        Ok(Rewrite { matcher, path, args, keeps_args, has_args, end: *end })
    }
}

#[cfg(test)]
mod tests;
