//! `limit_rate`: how fast may an answer go out?

use crate::conf::value::size;
use crate::conf::{ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::pace::Pace;
use crate::http::WITH_IF;
use crate::http::variable::{Template, compile};
use crate::variable::{Names, has_variables};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    rate: Option<Word>,
    after: Option<Word>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: WITH_IF, arguments: 1..=1, effect }
}

/// Directives of `http`, `server`, `location` and `if`.
pub const ROWS: &[Row<Settings>] = &[
    one("limit_rate", Effect::Set(|it, directive| read(&mut it.rate, directive))),
    one("limit_rate_after", Effect::Set(|it, directive| read(&mut it.after, directive))),
];

/// Source: nginx `ngx_http_script.c`, `ngx_http_set_complex_value_size_slot`.
fn read(slot: &mut Option<Word>, directive: &Directive) -> Result<(), ConfError> {
    let word = directive.text();
    if !has_variables(word.as_bytes()) && size(word).is_none() {
        return Err(directive.refuse("invalid value"));
    }
    *slot = Some(word.clone());
    Ok(())
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            rate: self.rate.or_else(|| outer.rate.clone()),
            after: self.after.or_else(|| outer.after.clone()),
        }
    }

    /// What a request needs.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<LimitRate, ConfError> {
        let read = |word: &Option<Word>| match word {
            None => Ok(Bytes::Fixed(0)),
            Some(word) if has_variables(word.as_bytes()) => {
                Ok(Bytes::Template(compile(word, names)?))
            }
            Some(word) => Ok(Bytes::Fixed(size(word).unwrap_or_default())),
        };
        Ok(LimitRate { rate: read(&self.rate)?, after: read(&self.after)? })
    }
}

/// How fast the answers of a location are sent.
#[derive(Debug, Default)]
pub struct LimitRate {
    rate: Bytes,
    after: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Fixed(u64),
    Template(Template),
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

impl Bytes {
    /// Nothing, where a value is not a size.
    fn of(&self, exchange: &Exchange) -> u64 {
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::Template(template) => {
                let text = template.value(exchange);
                str::from_utf8(&text).ok().and_then(size).unwrap_or_default()
            }
        }
    }
}

impl LimitRate {
    /// The pace of an answer, `None` for as fast as can be.
    pub fn pace(&self, exchange: &Exchange) -> Option<Pace> {
        let rate = exchange.limit_rate.unwrap_or_else(|| self.rate.of(exchange));
        (0 < rate).then(|| Pace { rate, after: self.after.of(exchange) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn a_rate_is_a_size_or_has_variables() {
        for (text, expected) in
            [("8k", true), ("$x", true), ("0", true), ("1g", false), ("x", false)]
        {
            let result = read(&mut None, &directive(&format!("limit_rate {text};")));
            assert_eq!(result.is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_rate_that_was_set_goes_before_that_of_the_location() {
        let mut settings = Settings::default();
        read(&mut settings.rate, &directive("limit_rate 1k;")).unwrap();
        let limit = settings.compile(&Names::default()).unwrap();
        let mut exchange = Exchange::default();
        assert_eq!(limit.pace(&exchange), Some(Pace { rate: 1024, after: 0 }));
        exchange.limit_rate = Some(0);
        assert_eq!(limit.pace(&exchange), None);
    }
}
