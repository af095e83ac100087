//! How does a module declare its directives?
//!
//! As rows: a name, the blocks it may stand in, how many arguments it takes and what it does. A
//! [`Table`] ties the rows of a module to the part of a block's settings they write; a [`Group`]
//! ties the tables of several modules to a larger whole.

use std::fmt;
use std::ops::RangeInclusive;

use super::directive::Directive;
use super::error::ConfError;
use super::reading::{Reading, Seen};

/// The kinds of blocks, as far as rows tell them apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Block {
    /// Outside all braces.
    Main,
    /// `events`
    Events,
    /// `http`
    Http,
    /// `server` in `http`
    Server,
    /// `location`
    Location,
    /// `if` in a `server` of `http`
    IfInServer,
    /// `if` in a `location`
    IfInLocation,
    /// `limit_except`
    LimitExcept,
    /// `upstream` in `http`
    Upstream,
    /// `match` in `http`
    Match,
    /// `stream`
    Stream,
    /// `server` in `stream`
    StreamServer,
    /// `upstream` in `stream`
    StreamUpstream,
    /// `match` in `stream`
    StreamMatch,
}

/// As a message names it.
impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "the main block",
            Self::Events => "`events`",
            Self::Http => "`http`",
            Self::Server => "`server`",
            Self::Location => "`location`",
            Self::IfInServer => "`if` in `server`",
            Self::IfInLocation => "`if` in `location`",
            Self::LimitExcept => "`limit_except`",
            Self::Upstream => "`upstream`",
            Self::Match => "`match`",
            Self::Stream => "`stream`",
            Self::StreamServer => "`server` of `stream`",
            Self::StreamUpstream => "`upstream` of `stream`",
            Self::StreamMatch => "`match` of `stream`",
        })
    }
}

/// The upper end of `arguments` where nginx sets none.
pub const MANY: usize = usize::MAX;

/// One directive of a module.
pub struct Row<S: 'static> {
    /// Its name.
    pub name: &'static str,
    /// The blocks it may stand in.
    pub within: &'static [Block],
    /// How many words may follow the name.
    pub arguments: RangeInclusive<usize>,
    /// What it does.
    pub effect: Effect<S>,
}

/// Takes the value of a directive.
///
/// An error of level warn is told, and the directive stands: the setter has done its work.
pub type Setter<S> = fn(&mut S, &Directive) -> Result<(), ConfError>;

/// Takes a directive that has blocks, warnings or parameter verdicts of its own.
pub type ReadingSetter<S> = fn(&mut S, &Directive, &mut Reading<'_>) -> Result<(), ConfError>;

/// Checks the value of a directive that nobody uses.
pub type Check = fn(&Directive) -> Result<(), ConfError>;

/// What a directive does.
pub enum Effect<S: 'static> {
    /// Sets a value; a second one in the same block is a duplicate.
    Set(Setter<S>),
    /// Adds to a list: may stand in a block many times.
    Add(Setter<S>),
    /// As `Add`, and may tell warnings and verdicts of single parameters.
    Read(ReadingSetter<S>),
    /// Opens a block, which the function reads with [`Reading::apply`].
    Open(ReadingSetter<S>),
    /// Accepted without effect, for this reason; the value may be anything.
    Nothing(&'static str),
    /// Accepted without effect, for this reason; the value is checked as nginx checks it.
    Checked(Check, &'static str),
    /// As `Checked`, and the value is kept, because nginx compares others with it.
    Compared(Setter<S>, &'static str),
    /// As `Checked`, but may stand in a block many times.
    CheckedEach(Check, &'static str),
    /// Known, but not part of this program; the text is the way out.
    Refused(&'static str),
}

/// The rows of several modules that together read one kind of settings.
pub trait Rows<S>: Sync {
    /// Shows each row to the visitor.
    fn visit(&self, visitor: &mut dyn FnMut(Declared));

    /// Applies a directive when a row of this name may stand in `block`; false when none may.
    fn apply(
        &self,
        directive: &Directive,
        block: Block,
        settings: &mut S,
        seen: &mut Seen,
        reading: &mut Reading<'_>,
    ) -> bool;
}

/// What can be known of a row without its settings.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// The blocks it may stand in.
    pub within: &'static [Block],
    /// How many words may follow the name.
    pub arguments: RangeInclusive<usize>,
    /// Why it is refused, with the way out; `None` when it is not.
    pub refused: Option<&'static str>,
    /// Why it does nothing; `None` when it does something.
    pub without_effect: Option<&'static str>,
    /// Whether it opens a block.
    pub opens: bool,
    /// Whose word it is.
    pub origin: Origin,
}

/// Whose words a table holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// nginx knows them.
    Nginx,
    /// Ours; refused as unknown where the configuration is to be strictly nginx's.
    Extension,
}

/// The rows of one module, and the part of the settings they write.
pub struct Table<S: 'static, P: 'static> {
    rows: &'static [Row<P>],
    part: fn(&mut S) -> &mut P,
    origin: Origin,
}

impl<S, P> Table<S, P> {
    /// The directives nginx has.
    #[must_use]
    pub const fn new(rows: &'static [Row<P>], part: fn(&mut S) -> &mut P) -> Self {
        Self { rows, part, origin: Origin::Nginx }
    }

    /// Directives of our own.
    #[must_use]
    pub const fn extension(rows: &'static [Row<P>], part: fn(&mut S) -> &mut P) -> Self {
        Self { rows, part, origin: Origin::Extension }
    }
}

impl<S, P> Rows<S> for Table<S, P> {
    fn visit(&self, visitor: &mut dyn FnMut(Declared)) {
        for row in self.rows {
            visitor(row.declared(self.origin));
        }
    }

    fn apply(
        &self,
        directive: &Directive,
        block: Block,
        settings: &mut S,
        seen: &mut Seen,
        reading: &mut Reading<'_>,
    ) -> bool {
        let named = |it: &&Row<P>| *directive.name() == *it.name && it.within.contains(&block);
        let Some(row) = self.rows.iter().find(named) else { return false };
        reading.apply_row(directive, block, row, self.origin, (self.part)(settings), seen);
        true
    }
}

impl<S> Row<S> {
    fn declared(&self, origin: Origin) -> Declared {
        let refused = match self.effect {
            Effect::Refused(help) => Some(help),
            _ => None,
        };
        let without_effect = match self.effect {
            Effect::Nothing(reason)
            | Effect::Checked(_, reason)
            | Effect::Compared(_, reason)
            | Effect::CheckedEach(_, reason) => Some(reason),
            _ => None,
        };
        Declared {
            name: self.name,
            within: self.within,
            arguments: self.arguments.clone(),
            refused,
            without_effect,
            opens: matches!(self.effect, Effect::Open(_)),
            origin,
        }
    }
}

/// The tables of several modules, and the part of the settings they write together.
pub struct Group<S: 'static, P: 'static> {
    tables: &'static [&'static dyn Rows<P>],
    part: fn(&mut S) -> &mut P,
}

impl<S, P> Group<S, P> {
    /// Ties `tables` to a part of the settings.
    #[must_use]
    pub const fn new(tables: &'static [&'static dyn Rows<P>], part: fn(&mut S) -> &mut P) -> Self {
        Self { tables, part }
    }
}

impl<S, P> Rows<S> for Group<S, P> {
    fn visit(&self, visitor: &mut dyn FnMut(Declared)) {
        for table in self.tables {
            table.visit(visitor);
        }
    }

    fn apply(
        &self,
        directive: &Directive,
        block: Block,
        settings: &mut S,
        seen: &mut Seen,
        reading: &mut Reading<'_>,
    ) -> bool {
        let part = (self.part)(settings);
        self.tables.iter().any(|it| it.apply(directive, block, part, seen, reading))
    }
}
