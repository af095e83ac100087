//! `set` of `stream`: gives variables a value before a session is judged.
//!
//! Source: nginx `ngx_stream_set_module.c`.

use crate::conf::{Block, ConfError, Directive, Effect, Reading, Row, Word};
use crate::stream::session::Session;
use crate::variable::{Compute, Definitions, Names, Template, compile, definable};

/// The lines of one server, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The variable's name and its value.
    lines: Vec<(String, Word)>,
}

/// Directives of a server.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "set",
    within: &[Block::StreamServer],
    arguments: 2..=2,
    effect: Effect::Read(Settings::set),
}];

/// One line, ready to be run.
#[derive(Debug)]
pub struct Assignment {
    slot: usize,
    value: Template<Session>,
}

impl Settings {
    fn set(&mut self, directive: &Directive, reading: &mut Reading<'_>) -> Result<(), ConfError> {
        let name = definable::<Session>(directive.text())?;
        reading.define(&name);
        self.lines.push((name, directive.words[2].clone()));
        Ok(())
    }

    /// Looks the variables up.
    pub fn compile(&self, names: &Names<Session>) -> Result<Vec<Assignment>, ConfError> {
        let line = |(name, value): &(String, Word)| {
            let value = compile(value, names)?;
            Ok(names.slot(name).map(|slot| Assignment { slot, value }))
        };
        self.lines.iter().filter_map(|it| line(it).transpose()).collect()
    }

    /// Makes variables that have no other definition empty before a line gives them a value.
    pub fn define(&self, names: &Names<Session>, definitions: &mut Definitions<Session>) {
        let slots = self.lines.iter().filter_map(|(name, _)| names.slot(name));
        for slot in slots {
            if !definitions.has(slot) {
                definitions.define(slot, Box::new(Nothing));
            }
        }
    }
}

impl Assignment {
    /// Gives the variable its value.
    pub fn run(&self, session: &Session) {
        session.scratch.set(self.slot, &self.value.value(session));
    }
}

/// A text of no bytes.
#[derive(Debug)]
struct Nothing;

impl Compute<Session> for Nothing {
    fn compute(&self, _: &Session, _: &mut Vec<u8>) -> bool {
        true
    }
}
