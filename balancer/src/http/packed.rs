//! Answers that are compressed already: files beside files, and what an upstream compressed.

use crate::conf::{Effect, Row};
use crate::http::gzip::Rules;
use crate::http::{EVERYWHERE, put};

/// Whether `NAME.gz` is sent instead of `NAME`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Static {
    Off,
    On,
    Always,
}

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    gunzip: Option<bool>,
    gzip_static: Option<Static>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one("gunzip", Effect::Set(|it, directive| put(&mut it.gunzip, directive.flag()))),
    Row {
        name: "gunzip_buffers",
        within: EVERYWHERE,
        arguments: 2..=2,
        effect: Effect::Checked(
            |it| it.buffers().map(drop),
            "memory of a decompressor is taken as needed",
        ),
    },
    one(
        "gzip_static",
        Effect::Set(|it, directive| {
            let choices = [("off", Static::Off), ("on", Static::On), ("always", Static::Always)];
            put(&mut it.gzip_static, directive.choice(&choices))
        }),
    ),
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            gunzip: self.gunzip.or(outer.gunzip),
            gzip_static: self.gzip_static.or(outer.gzip_static),
        }
    }

    /// For whom compressed answers are unpacked: those whom the rules do not allow them.
    #[must_use]
    pub fn gunzip(&self, rules: Rules) -> Option<Rules> {
        self.gunzip.filter(|it| *it).map(|_| rules)
    }

    /// Which files are sent compressed.
    #[must_use]
    pub fn files(&self, rules: Rules) -> Option<Packed> {
        match self.gzip_static {
            None | Some(Static::Off) => None,
            Some(how) => Some(Packed { is_always: how == Static::Always, rules }),
        }
    }
}

/// `gzip_static` of a location.
#[derive(Debug)]
pub struct Packed {
    /// Whether they are sent to those who do not take them, too.
    pub is_always: bool,
    /// To whom.
    pub rules: Rules,
}
