//! `limit_conn`: how many requests of one key are served at once?
//!
//! Source: nginx `ngx_http_limit_conn_module.c`.

use std::sync::Arc;

use crate::conf::value::number;
use crate::conf::{ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::limit_req::{LEVELS, status};
use crate::http::limit_zone::{self, Table, Zone};
use crate::http::{EVERYWHERE, put};
use crate::logs::{self, Level};

/// What one block sets; `None` and an empty list ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Vec<(Word, u64)>,
    status: Option<u16>,
    level: Option<Level>,
    dry_run: Option<bool>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "limit_conn",
        within: EVERYWHERE,
        arguments: 2..=2,
        effect: Effect::Add(Settings::add),
    },
    one("limit_conn_status", Effect::Set(|it, directive| put(&mut it.status, status(directive)))),
    one(
        "limit_conn_log_level",
        Effect::Set(|it, directive| put(&mut it.level, directive.choice(&LEVELS))),
    ),
    one("limit_conn_dry_run", Effect::Set(|it, directive| put(&mut it.dry_run, directive.flag()))),
];

impl Settings {
    fn add(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let [zone, most] = directive.arguments() else { return Ok(()) };
        if self.lines.iter().any(|(it, _)| **it == **zone) {
            return Err(directive.refuse("is duplicate"));
        }
        let refuse = || most.refuse(format!("invalid number of connections \"{most}\""));
        let most = match number(most).filter(|it| *it > 0).ok_or_else(refuse)? {
            many if many > 65_535 => {
                return Err(most.refuse("connection limit must be less 65536"));
            }
            many => many,
        };
        self.lines.push((zone.clone(), most));
        Ok(())
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            lines: if self.lines.is_empty() { outer.lines.clone() } else { self.lines },
            status: self.status.or(outer.status),
            level: self.level.or(outer.level),
            dry_run: self.dry_run.or(outer.dry_run),
        }
    }

    /// What a request needs; `None` where nothing is limited.
    pub fn compile(&self, zones: &[Arc<Zone>]) -> Result<Option<LimitConn>, ConfError> {
        let limit = |(zone, most): &(Word, u64)| Ok((limit_zone::find(zones, zone, false)?, *most));
        let limits = self.lines.iter().map(limit).collect::<Result<Vec<_>, ConfError>>()?;
        Ok((!limits.is_empty()).then(|| LimitConn {
            limits,
            status: self.status.unwrap_or(503),
            level: self.level.unwrap_or(Level::Error),
            dry_run: self.dry_run.unwrap_or_default(),
        }))
    }
}

/// The limits of a location.
#[derive(Debug)]
pub struct LimitConn {
    limits: Vec<(Arc<Zone>, u64)>,
    status: u16,
    level: Level,
    dry_run: bool,
}

/// A request that counts for a key, until it is dropped.
#[derive(Debug)]
pub struct Place {
    table: Arc<Table>,
    key: Vec<u8>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.leave(&self.key);
    }
}

/// The longest key; longer ones are not limited.
const LONGEST_KEY: usize = 255;

impl LimitConn {
    /// Counts a request, once, wherever it is led from within; the status it gets if it is refused.
    pub fn judge(&self, exchange: &mut Exchange) -> Option<u16> {
        if exchange.limit_conn.is_some() {
            return None;
        }
        for (zone, most) in &self.limits {
            let key = zone.key.value(exchange);
            if key.is_empty() {
                continue;
            }
            if key.len() > LONGEST_KEY {
                let shown = String::from_utf8_lossy(&key);
                let text = format!(
                    "the value of the \"{}\" key is more than 255 bytes: \"{shown}\"",
                    zone.name
                );
                logs::note(Level::Error, exchange, &text, "");
                continue;
            }
            exchange.limit_conn = Some("PASSED");
            if zone.table.enter(&key, *most) {
                exchange.places.push(Place { table: Arc::clone(&zone.table), key });
                continue;
            }
            exchange.places.clear();
            let dry = if self.dry_run { ", dry run," } else { "" };
            let text = format!("limiting connections{dry} by zone \"{}\"", zone.name);
            logs::note(self.level, exchange, &text, "");
            if self.dry_run {
                exchange.limit_conn = Some("REJECTED_DRY_RUN");
                return None;
            }
            exchange.limit_conn = Some("REJECTED");
            return Some(self.status);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn limits_are_checked_as_nginx_checks_them() {
        let reason = |text| Settings::default().add(&directive(text)).unwrap_err().reason;
        assert_eq!(reason("limit_conn a 0;"), "invalid number of connections \"0\"");
        assert_eq!(reason("limit_conn a 65536;"), "connection limit must be less 65536");
    }
}
