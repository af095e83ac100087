//! Which checks does a directive pass before its module sees it, and what became of it?
//!
//! Each directive of a block is looked up in the rows, checked as nginx checks it, in nginx's
//! order and with nginx's texts, and given exactly one verdict: nothing is ignored in silence.
//!
//! Source: nginx `ngx_conf_file.c`, `ngx_conf_handler`.

use std::collections::{BTreeSet, HashSet};

use super::catalog::Catalog;
use super::directive::{Directive, Word};
use super::error::{ConfError, Level};
use super::row::{Block, Effect, Origin, Row, Rows};
use super::source::Span;
use super::suggest;

/// One walk over a configuration: what is wrong with it, and what became of each directive.
pub struct Reading<'a> {
    catalog: &'a Catalog,
    dialect: Dialect,
    /// The block whose directives are being applied.
    block: Block,
    /// Names of variables that the configuration defines, of HTTP and of streams.
    pub names: [BTreeSet<String>; 2],
    /// Those of HTTP that `set` gives a value.
    pub assigned: BTreeSet<String>,
    /// Formats of logs defined so far, of HTTP and of streams.
    formats: [BTreeSet<String>; 2],
    /// What was found, in the order of finding: see [`super::error::sort`].
    pub problems: Vec<ConfError>,
    /// What became of each directive, in the order of reading.
    pub judgements: Vec<Judgement>,
}

/// Which words are understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// nginx's and our own.
    Extended,
    /// nginx's alone.
    Strict,
}

/// What became of one directive, or of one parameter of a directive.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The directive's name; for a parameter, name and parameter.
    pub subject: String,
    /// Where it stands.
    pub span: Span,
    /// The block it stands in.
    pub block: Block,
    /// What became of it.
    pub verdict: Verdict,
}

/// What becomes of a directive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It behaves as in nginx.
    Honoured,
    /// It is a word of our own, and does what its documentation says.
    Extension,
    /// It is checked and does nothing, for this reason.
    WithoutEffect(&'static str),
    /// It stops the start.
    Refused {
        /// nginx's text.
        reason: String,
        /// The way out.
        help: Option<String>,
    },
}

/// The directives that a block has already set once.
#[derive(Debug, Default)]
pub struct Seen {
    names: HashSet<&'static str>,
}

impl<'a> Reading<'a> {
    /// Begins; `catalog` holds every row of the program.
    #[must_use]
    pub const fn new(catalog: &'a Catalog, dialect: Dialect) -> Self {
        let names = [BTreeSet::new(), BTreeSet::new()];
        let problems = Vec::new();
        let judgements = Vec::new();
        let formats = [BTreeSet::new(), BTreeSet::new()];
        let assigned = BTreeSet::new();
        let block = Block::Main;
        Self { catalog, dialect, block, names, assigned, formats, problems, judgements }
    }

    /// Applies the directives of one block to its settings.
    pub fn apply<S>(
        &mut self,
        block: Block,
        directives: &[Directive],
        tables: &[&dyn Rows<S>],
        settings: &mut S,
    ) {
        let mut seen = Seen::default();
        let around = std::mem::replace(&mut self.block, block);
        for directive in directives {
            let known =
                tables.iter().any(|it| it.apply(directive, block, settings, &mut seen, self));
            if !known {
                let error = self.misplaced(directive, block);
                self.judge(directive, block, Err(error), Verdict::Honoured);
            }
        }
        self.block = around;
    }

    /// The block whose directives are being applied.
    #[must_use]
    pub const fn block(&self) -> Block {
        self.block
    }

    /// Makes a name a variable of HTTP, or of streams within `stream`.
    pub fn define(&mut self, name: &str) {
        let side = self.side();
        self.names[side].insert(name.to_ascii_lowercase());
    }

    /// Makes a name a format of logs, for the lines that follow.
    pub fn define_format(&mut self, name: &str) {
        let side = self.side();
        self.formats[side].insert(name.to_owned());
    }

    /// Whether a name is a format of logs by now.
    #[must_use]
    pub fn has_format(&self, name: &str) -> bool {
        let side = self.side();
        (side == 0 && name == "combined") || self.formats[side].contains(name)
    }

    /// 0 for HTTP, 1 within `stream`.
    fn side(&self) -> usize {
        let streams = [Block::Stream, Block::StreamServer, Block::StreamUpstream];
        usize::from(streams.contains(&self.block))
    }

    /// As [`Self::define`], for one of HTTP that has no value before a line gives it one.
    pub fn assign(&mut self, name: &str) {
        self.define(name);
        self.assigned.insert(name.to_ascii_lowercase());
    }

    /// Tells a problem that is found beside a setter, for instance at the end of a block.
    pub fn tell(&mut self, problem: ConfError) {
        self.problems.push(problem);
    }

    /// Records that one parameter of a directive does nothing, and why.
    pub fn without_effect(
        &mut self,
        directive: &Directive,
        block: Block,
        parameter: &Word,
        reason: &'static str,
    ) {
        self.judge_parameter(directive, block, parameter, Verdict::WithoutEffect(reason));
    }

    /// Records that one parameter of nginx's directive is a word of our own.
    ///
    /// # Errors
    ///
    /// Where only nginx's words are understood.
    pub fn extension(
        &mut self,
        directive: &Directive,
        block: Block,
        parameter: &Word,
    ) -> Result<(), ConfError> {
        if self.dialect == Dialect::Strict {
            return Err(parameter.invalid_parameter().with_help(OURS));
        }
        self.judge_parameter(directive, block, parameter, Verdict::Extension);
        Ok(())
    }

    fn judge_parameter(
        &mut self,
        directive: &Directive,
        block: Block,
        parameter: &Word,
        verdict: Verdict,
    ) {
        let subject = format!("{} {parameter}", directive.name());
        self.judgements.push(Judgement { subject, span: parameter.span.clone(), block, verdict });
    }

    /// Whether anything found so far refuses the configuration.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.problems.iter().any(|it| it.level == Level::Emerg)
    }

    pub(super) fn apply_row<S>(
        &mut self,
        directive: &Directive,
        block: Block,
        row: &Row<S>,
        origin: Origin,
        settings: &mut S,
        seen: &mut Seen,
    ) {
        let verdict = match (&row.effect, origin) {
            (
                Effect::Nothing(reason)
                | Effect::Checked(_, reason)
                | Effect::Compared(_, reason)
                | Effect::CheckedEach(_, reason),
                _,
            ) => Verdict::WithoutEffect(reason),
            (_, Origin::Nginx) => Verdict::Honoured,
            (_, Origin::Extension) => Verdict::Extension,
        };
        let result = self.check(directive, row, origin, seen).and_then(|()| match row.effect {
            Effect::Set(set) | Effect::Add(set) | Effect::Compared(set, _) => {
                set(settings, directive)
            }
            Effect::Read(read) | Effect::Open(read) => read(settings, directive, self),
            Effect::Checked(check, _) | Effect::CheckedEach(check, _) => check(directive),
            Effect::Nothing(_) | Effect::Refused(_) => Ok(()),
        });
        self.judge(directive, block, result, verdict);
    }

    /// The checks that need no settings, in nginx's order.
    fn check<S>(
        &self,
        directive: &Directive,
        row: &Row<S>,
        origin: Origin,
        seen: &mut Seen,
    ) -> Result<(), ConfError> {
        let name = directive.name();
        if let Effect::Refused(help) = row.effect {
            return Err(unknown(name).with_help(help));
        }
        if origin == Origin::Extension && self.dialect == Dialect::Strict {
            return Err(unknown(name).with_help(OURS));
        }
        let opens = matches!(row.effect, Effect::Open(_));
        if directive.block.is_some() && !opens {
            let reason = format!("directive \"{name}\" is not terminated by \";\"");
            return Err(guess_semicolon(directive, reason));
        }
        if directive.block.is_none() && opens {
            let reason = format!("directive \"{name}\" has no opening \"{{\"");
            return Err(ConfError::new(reason, directive.mark.clone()));
        }
        if !row.arguments.contains(&directive.arguments().len()) {
            let reason = format!("invalid number of arguments in \"{name}\" directive");
            return Err(guess_semicolon(directive, reason));
        }
        let once = matches!(
            row.effect,
            Effect::Set(_) | Effect::Nothing(_) | Effect::Checked(..) | Effect::Compared(..)
        );
        if once && !seen.names.insert(row.name) {
            return Err(name.refuse(format!("\"{name}\" directive is duplicate")));
        }
        Ok(())
    }

    /// The refusal of a directive that no row of this block knows.
    fn misplaced(&self, directive: &Directive, block: Block) -> ConfError {
        let name = directive.name();
        if let Some(help) = self.catalog.refused(name) {
            return unknown(name).with_help(help);
        }
        let within = self.catalog.blocks_of(name, self.dialect);
        if *name == "include" {
            return include_refused(directive);
        }
        let (error, help) = if within.is_empty() {
            (unknown(name), suggest::unknown(name, block, self.catalog, self.dialect))
        } else {
            let reason = format!("\"{name}\" directive is not allowed here");
            (name.refuse(reason), Some(suggest::belongs(name, &within)))
        };
        match help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }

    /// Records the verdict, and the problem if there is one.
    fn judge(
        &mut self,
        directive: &Directive,
        block: Block,
        result: Result<(), ConfError>,
        verdict: Verdict,
    ) {
        let (mut subject, mut span) = (directive.name().to_string(), directive.span.clone());
        let verdict = match result {
            Ok(()) => verdict,
            Err(problem) if problem.level == Level::Emerg => {
                let points_at =
                    |it: &&Word| problem.span.as_ref().is_some_and(|at| at.is_same_place(&it.span));
                if let Some(word) = directive.arguments().iter().find(points_at) {
                    (subject, span) = (format!("{subject} {word}"), word.span.clone());
                }
                let (reason, help) = (problem.reason.clone(), problem.help.clone());
                self.problems.push(problem);
                Verdict::Refused { reason, help }
            }
            Err(warning) => {
                self.problems.push(warning);
                verdict
            }
        };
        self.judgements.push(Judgement { subject, span, block, verdict });
    }
}

/// The help where only nginx's words are understood.
const OURS: &str = "this is a word of balancer, not of nginx";

fn unknown(name: &Word) -> ConfError {
    name.refuse(format!("unknown directive \"{name}\""))
}

/// The parser follows every `include` that has one argument and no block; the others end here.
fn include_refused(directive: &Directive) -> ConfError {
    let reason = match directive.block {
        Some(_) => "directive \"include\" is not terminated by \";\"",
        None => "invalid number of arguments in \"include\" directive",
    };
    ConfError::new(reason, directive.span.clone())
}

/// A refusal of the whole directive. When a later word begins a line of its own, the `;` of the
/// line before seems lost, and the help says so.
fn guess_semicolon(directive: &Directive, reason: String) -> ConfError {
    let error = ConfError::new(reason, directive.span.clone());
    let (first, _) = directive.name().span.position();
    match directive.arguments().iter().find(|it| it.span.position().0 != first) {
        Some(word) => error.with_help(format!("is a `;` missing before `{word}`?")),
        None => error,
    }
}

#[cfg(test)]
mod tests;
