//! A `server` line of an `upstream` block.

use std::num::NonZeroU32;

use policy::Terms;

use super::LONGEST_ROUTE;
use crate::conf::address::{Address, Host};
use crate::conf::value::{Unit, number, time};
use crate::conf::{ConfError, Word};
use crate::upstream::Binding;

/// One `server` line.
#[derive(Clone, Debug)]
pub struct Line {
    /// As it is written; a name is looked up later.
    pub address: Address,
    /// The address word.
    pub word: Word,
    /// All words of the line after `server`.
    pub words: Vec<String>,
    /// Its parameters; the identity is set when the address is known.
    pub terms: Terms,
    /// Whether its name is followed.
    pub resolve: bool,
    /// Whose servers are looked for under its name.
    pub service: Option<Word>,
    /// What binds requests to it.
    pub binding: Binding,
}

impl Line {
    pub(super) fn parameter(&mut self, word: &Word) -> Result<(), ConfError> {
        let (name, value) = word.split_once('=').map_or((&**word, None), |(a, b)| (a, Some(b)));
        let refuse = || word.invalid_parameter();
        let count = |value| number(value).and_then(|it| u32::try_from(it).ok());
        let terms = &mut self.terms;
        match (name, value) {
            ("weight", Some(value)) => {
                terms.weight = count(value).and_then(NonZeroU32::new).ok_or_else(refuse)?;
            }
            ("max_fails", Some(value)) => {
                terms.max_fails = NonZeroU32::new(count(value).ok_or_else(refuse)?);
            }
            ("fail_timeout", Some(value)) => {
                terms.fail_timeout = time(value, Unit::Seconds).ok_or_else(refuse)?;
            }
            ("max_conns", Some(value)) => {
                terms.max_conns = NonZeroU32::new(count(value).ok_or_else(refuse)?);
            }
            ("backup", None) => terms.backup = true,
            ("down", None) => terms.down = true,
            ("resolve", None) => self.resolve = true,
            ("service", Some("")) => return Err(word.refuse("service is empty")),
            ("service", Some(value)) => {
                self.service = Some(word.with_bytes(value.as_bytes()));
            }
            ("drain", None) => self.binding.drain = true,
            ("route", Some(value)) if (1..=LONGEST_ROUTE).contains(&value.len()) => {
                self.binding.route = Some(value.into());
            }
            ("slow_start", Some(value)) => {
                let window = time(value, Unit::Seconds).ok_or_else(refuse)?;
                terms.slow_start = Some(window).filter(|it| !it.is_zero());
            }
            _ => return Err(refuse()),
        }
        Ok(())
    }

    /// What a service and its name have to be.
    ///
    /// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_server`.
    pub(super) fn check(&self) -> Result<(), ConfError> {
        let word = &self.word;
        if self.service.is_none() {
            return Ok(());
        }
        let refuse = |what: &str| Err(word.refuse(format!("service upstream \"{word}\" {what}")));
        match &self.address {
            it if it.ports.is_some() => refuse("may not have port"),
            it if !matches!(it.host, Host::Name(_)) => refuse("requires domain name"),
            _ if !self.resolve => refuse("requires \"resolve\" parameter"),
            _ => Ok(()),
        }
    }

    /// The name that is followed, and the whole name of its service.
    ///
    /// Source: nginx `ngx_resolver.c`, `ngx_resolve_name`.
    #[must_use]
    pub fn followed(&self) -> Option<(&str, Option<String>)> {
        let Host::Name(name) = &self.address.host else { return None };
        let service = self.service.as_ref().map(|it| {
            if it.contains('.') { format!("{it}.{name}") } else { format!("_{it}._tcp.{name}") }
        });
        self.resolve.then_some((name, service))
    }
}
