//! Variables that `set` gives a value, asked for before it has: empty, and told.
//!
//! Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite_var`.

use std::collections::BTreeSet;

use crate::engine::exchange::Exchange;
use crate::logs::{self, Level};
use crate::variable::{Compute, Definitions, Names};

/// Such a variable, by its name.
#[derive(Debug)]
struct Unset(String);

impl Compute<Exchange> for Unset {
    fn compute(&self, exchange: &Exchange, _: &mut Vec<u8>) -> bool {
        if exchange.location().is_some_and(|it| it.warns_of_unset) {
            let text = format!("using uninitialized \"{}\" variable", self.0);
            logs::note(Level::Warn, exchange, &text, "");
        }
        true
    }
}

/// Says so of each name that no `map` or other block defines.
pub fn define(
    assigned: &BTreeSet<String>,
    names: &Names<Exchange>,
    definitions: &mut Definitions<Exchange>,
) {
    for name in assigned {
        if let Some(slot) = names.slot(name).filter(|it| !definitions.has(*it)) {
            definitions.define(slot, Box::new(Unset(name.clone())));
        }
    }
}
