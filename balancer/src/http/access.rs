//! `allow`, `deny` and `satisfy`: which clients are served?
//!
//! Source: nginx `ngx_http_access_module.c` and `ngx_http_core_module.c`.

use crate::client::{Rule, Rules};
use crate::conf::{Block, Effect, Row};
use crate::http::{EVERYWHERE, put};

/// What one block sets; `None` and an empty list ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    rules: Rules,
    satisfy_any: Option<bool>,
}

const WITH_LIMIT_EXCEPT: &[Block] =
    &[Block::Http, Block::Server, Block::Location, Block::LimitExcept];

const fn row(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: WITH_LIMIT_EXCEPT, arguments: 1..=1, effect }
}

/// Directives of `http`, `server`, `location` and `limit_except`.
pub const ROWS: &[Row<Settings>] = &[
    row("allow", Effect::Add(|it, directive| it.rules.add(directive, true))),
    row("deny", Effect::Add(|it, directive| it.rules.add(directive, false))),
    Row {
        name: "satisfy",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| {
            put(&mut it.satisfy_any, directive.choice(&[("all", false), ("any", true)]))
        }),
    },
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            rules: self.rules.within(&outer.rules),
            satisfy_any: self.satisfy_any.or(outer.satisfy_any),
        }
    }

    /// The rules, in the order in which they are asked.
    pub fn rules(&self) -> Vec<Rule> {
        self.rules.0.clone()
    }

    /// Whether one consent is enough.
    pub fn is_any_enough(&self) -> bool {
        self.satisfy_any.unwrap_or_default()
    }
}
