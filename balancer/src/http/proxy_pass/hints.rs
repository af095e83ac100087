//! `early_hints`: when an upstream's 103 is passed on.

use crate::conf::{ConfError, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::EVERYWHERE;
use crate::http::variable::{Template, compile};
use crate::variable::Names;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    conditions: Option<Vec<Word>>,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self { conditions: self.conditions.or_else(|| outer.conditions.clone()) }
    }

    /// Looks the variables up.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Vec<Template>, ConfError> {
        self.conditions.iter().flatten().map(|it| compile(it, names)).collect()
    }
}

/// The row.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "early_hints",
    within: EVERYWHERE,
    arguments: 1..=MANY,
    effect: Effect::Set(|it, directive| {
        it.conditions = Some(directive.arguments().to_vec());
        Ok(())
    }),
}];
