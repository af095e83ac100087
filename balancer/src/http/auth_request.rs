//! `auth_request`: another location is asked whether a request is served.
//!
//! Source: nginx `ngx_http_auth_request_module.c`.

use crate::conf::{ConfError, Directive, Effect, Reading, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::http::{EVERYWHERE, put};
use crate::variable::{Names, Subject, definable};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    target: Option<Word>,
    sets: Vec<(String, Word)>,
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "auth_request",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.target, Ok(directive.text().clone()))),
    },
    Row {
        name: "auth_request_set",
        within: EVERYWHERE,
        arguments: 2..=2,
        effect: Effect::Read(Settings::set),
    },
];

impl Settings {
    fn set(&mut self, directive: &Directive, reading: &mut Reading<'_>) -> Result<(), ConfError> {
        let name = definable::<Exchange>(directive.text())?;
        if Exchange::setter(&name).is_none() {
            reading.define(&name);
        }
        self.sets.push((name, directive.words[2].clone()));
        Ok(())
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            target: self.target.or_else(|| outer.target.clone()),
            sets: if self.sets.is_empty() { outer.sets.clone() } else { self.sets },
        }
    }

    /// What a request needs; `None` where nobody is asked.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Option<AuthRequest>, ConfError> {
        let Some(target) = self.target.as_ref().filter(|it| **it != "off") else { return Ok(None) };
        let compile_one = |(name, value): &(String, Word)| {
            let place = match (Exchange::setter(name), names.slot(name)) {
                (Some(set), _) => Place::Own(set),
                (None, slot) => Place::Slot(slot.unwrap_or_default()),
            };
            Ok((place, compile(value, names)?))
        };
        let sets = self.sets.iter().map(compile_one).collect::<Result<_, ConfError>>()?;
        Ok(Some(AuthRequest { target: target.as_bytes().to_vec(), sets }))
    }
}

/// Where the value of an `auth_request_set` goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// To a variable of the request itself.
    Own(fn(&mut Exchange, &[u8])),
    /// To one the configuration defines.
    Slot(usize),
}

/// Who is asked, and what is kept of the answer.
#[derive(Debug)]
pub struct AuthRequest {
    /// The path that is asked.
    pub target: Vec<u8>,
    sets: Vec<(Place, Template)>,
}

impl AuthRequest {
    /// Sets the variables of a request by the answer another one got.
    pub fn set(&self, exchange: &mut Exchange, answered: &Exchange) {
        for (place, value) in &self.sets {
            let value = value.value(answered);
            match place {
                Place::Own(set) => set(exchange, &value),
                Place::Slot(slot) => exchange.scratch.set(*slot, &value),
            }
        }
    }
}
