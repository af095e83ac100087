//! `limit_conn`: how many requests, or sessions, of one key are served at once?
//!
//! Source: nginx `ngx_http_limit_conn_module.c` and `ngx_stream_limit_conn_module.c`.

use std::sync::Arc;

use crate::conf::value::number;
use crate::conf::{Block, ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::limit_req::{LEVELS, status};
use crate::http::limit_zone::{self, Table, Zone};
use crate::http::{EVERYWHERE, put};
use crate::logs::{self, Level};
use crate::stream;
use crate::variable::Subject;

/// What one block sets; `None` and an empty list ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Vec<(Word, u64)>,
    status: Option<u16>,
    level: Option<Level>,
    dry_run: Option<bool>,
}

const fn limit(within: &'static [Block]) -> Row<Settings> {
    Row { name: "limit_conn", within, arguments: 2..=2, effect: Effect::Add(Settings::add) }
}

const fn level(within: &'static [Block]) -> Row<Settings> {
    let effect =
        Effect::Set(|it: &mut Settings, directive| put(&mut it.level, directive.choice(&LEVELS)));
    Row { name: "limit_conn_log_level", within, arguments: 1..=1, effect }
}

const fn dry_run(within: &'static [Block]) -> Row<Settings> {
    let effect = Effect::Set(|it: &mut Settings, directive| put(&mut it.dry_run, directive.flag()));
    Row { name: "limit_conn_dry_run", within, arguments: 1..=1, effect }
}

/// Directives of `stream` and its servers.
pub const STREAM_ROWS: &[Row<Settings>] =
    &[limit(stream::EVERYWHERE), level(stream::EVERYWHERE), dry_run(stream::EVERYWHERE)];

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    limit(EVERYWHERE),
    level(EVERYWHERE),
    dry_run(EVERYWHERE),
    Row {
        name: "limit_conn_status",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.status, status(directive))),
    },
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

    /// What a request or session needs; `None` where nothing is limited.
    pub fn compile<S>(&self, zones: &[Arc<Zone<S>>]) -> Result<Option<LimitConn<S>>, ConfError> {
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

/// The limits of a location, or of a server of `stream`.
#[derive(Debug)]
pub struct LimitConn<S = Exchange> {
    limits: Vec<(Arc<Zone<S>>, u64)>,
    status: u16,
    level: Level,
    dry_run: bool,
}

/// What can be limited.
pub trait Limited: Subject {
    /// `$limit_conn_status`, and where it counts.
    fn counted(&mut self) -> (&mut Option<&'static str>, &mut Vec<Place>);

    /// Tells of it in its error log.
    fn tell(&self, level: Level, text: &str);
}

impl Limited for Exchange {
    fn counted(&mut self) -> (&mut Option<&'static str>, &mut Vec<Place>) {
        (&mut self.limit_conn, &mut self.places)
    }

    fn tell(&self, level: Level, text: &str) {
        logs::note(level, self, text, "");
    }
}

/// A request or session that counts for a key, until it is dropped.
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

impl<S: Limited> LimitConn<S> {
    /// Counts a request, once, wherever it is led from within; the status it gets if it is refused.
    pub fn judge(&self, subject: &mut S) -> Option<u16> {
        if subject.counted().0.is_some() {
            return None;
        }
        for (zone, most) in &self.limits {
            let key = zone.key.value(subject);
            if key.is_empty() {
                continue;
            }
            if key.len() > LONGEST_KEY {
                let shown = String::from_utf8_lossy(&key);
                let text = format!(
                    "the value of the \"{}\" key is more than 255 bytes: \"{shown}\"",
                    zone.name
                );
                subject.tell(Level::Error, &text);
                continue;
            }
            let (status, places) = subject.counted();
            *status = Some("PASSED");
            if zone.table.enter(&key, *most) {
                places.push(Place { table: Arc::clone(&zone.table), key });
                continue;
            }
            places.clear();
            *status = Some(if self.dry_run { "REJECTED_DRY_RUN" } else { "REJECTED" });
            let dry = if self.dry_run { ", dry run," } else { "" };
            let text = format!("limiting connections{dry} by zone \"{}\"", zone.name);
            subject.tell(self.level, &text);
            return (!self.dry_run).then_some(self.status);
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
