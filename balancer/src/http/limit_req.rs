//! `limit_req`: how many requests of one key are let pass in a second, and which wait?
//!
//! Source: nginx `ngx_http_limit_req_module.c`.

use std::sync::Arc;
use std::time::Duration;

use policy::Time;

use crate::conf::value::number;
use crate::conf::{ConfError, Directive, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::limit_zone::{self, Count, Kind, Zone};
use crate::http::{EVERYWHERE, put};
use crate::logs::{self, Level};

/// What one block sets; `None` and an empty list ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Vec<Line>,
    status: Option<u16>,
    level: Option<Level>,
    dry_run: Option<bool>,
}

#[derive(Clone, Debug)]
struct Line {
    zone: Word,
    burst: u64,
    /// `None` for `nodelay`.
    delay: Option<u64>,
}

/// Levels that `limit_req_log_level` and `limit_conn_log_level` know.
pub const LEVELS: [(&str, Level); 4] = [
    ("info", Level::Info),
    ("notice", Level::Notice),
    ("warn", Level::Warn),
    ("error", Level::Error),
];

/// A status between 400 and 599.
pub fn status(directive: &Directive) -> Result<u16, ConfError> {
    let status = directive.number()?;
    match u16::try_from(status) {
        Ok(status @ 400..=599) => Ok(status),
        _ => Err(directive.refuse("value must be between 400 and 599")),
    }
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "limit_req",
        within: EVERYWHERE,
        arguments: 1..=MANY,
        effect: Effect::Add(Settings::add),
    },
    one("limit_req_status", Effect::Set(|it, directive| put(&mut it.status, status(directive)))),
    one(
        "limit_req_log_level",
        Effect::Set(|it, directive| put(&mut it.level, directive.choice(&LEVELS))),
    ),
    one("limit_req_dry_run", Effect::Set(|it, directive| put(&mut it.dry_run, directive.flag()))),
];

impl Settings {
    fn add(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (mut zone, mut burst, mut delay) = (None, 0, Some(0));
        for word in directive.arguments() {
            let many = |text: &str, what: &str| {
                let refuse = || word.refuse(format!("invalid {what} value \"{word}\""));
                number(text).filter(|it| *it > 0).ok_or_else(refuse)
            };
            if let Some(name) = word.parameter("zone") {
                zone = Some(word.with_bytes(name.as_bytes()));
            } else if let Some(text) = word.parameter("burst") {
                burst = many(text, "burst")?;
            } else if let Some(text) = word.parameter("delay") {
                delay = Some(many(text, "delay")?);
            } else if *word == "nodelay" {
                delay = None;
            } else {
                return Err(word.invalid_parameter());
            }
        }
        let own = directive.name();
        let Some(zone) = zone else {
            return Err(own.refuse(format!("\"{own}\" must have \"zone\" parameter")));
        };
        if self.lines.iter().any(|it| *it.zone == *zone) {
            return Err(directive.refuse("is duplicate"));
        }
        self.lines.push(Line {
            zone,
            burst: burst.saturating_mul(1000),
            delay: delay.map(|it| it.saturating_mul(1000)),
        });
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
    pub fn compile(&self, zones: &[Arc<Zone>]) -> Result<Option<LimitReq>, ConfError> {
        let limit = |it: &Line| {
            let zone = limit_zone::find(zones, &it.zone, true)?;
            Ok(Limit { zone, burst: it.burst, delay: it.delay.unwrap_or(u64::MAX) })
        };
        let limits = self.lines.iter().map(limit).collect::<Result<Vec<_>, ConfError>>()?;
        Ok((!limits.is_empty()).then(|| LimitReq {
            limits,
            status: self.status.unwrap_or(503),
            level: self.level.unwrap_or(Level::Error),
            dry_run: self.dry_run.unwrap_or_default(),
        }))
    }
}

/// The limits of a location.
#[derive(Debug)]
pub struct LimitReq {
    limits: Vec<Limit>,
    status: u16,
    level: Level,
    dry_run: bool,
}

#[derive(Debug)]
struct Limit {
    zone: Arc<Zone>,
    /// Thousandths of a request.
    burst: u64,
    delay: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on after a while.
    Wait(Duration),
    /// It gets this status.
    Refuse(u16),
}

/// The longest key; longer ones are not limited.
const LONGEST_KEY: usize = 65_535;

impl Limit {
    fn rate(&self) -> u64 {
        match self.zone.kind {
            Kind::Requests(rate) => rate,
            Kind::Connections => u64::MAX,
        }
    }

    /// Thousandths of a request above the rate, with this one.
    fn excess(&self, count: &Count, now: Time) -> u64 {
        if count.last == Time::default() {
            return 0;
        }
        let passed = now.since(count.last).as_millis();
        let drained = u128::from(self.rate()) * passed / 1000;
        let drained = u64::try_from(drained).unwrap_or(u64::MAX);
        (count.value + 1000).saturating_sub(drained)
    }

    fn charge(&self, key: &[u8], now: Time) -> u64 {
        self.zone.table.with(key, |count| {
            let excess = self.excess(count, now);
            *count = Count { value: excess, last: now };
            excess
        })
    }

    fn wait(&self, excess: u64) -> u64 {
        excess.saturating_sub(self.delay).saturating_mul(1000) / self.rate().max(1)
    }
}

impl LimitReq {
    /// Judges a request and charges it, once, wherever it is led from within.
    pub fn judge(&self, exchange: &mut Exchange, now: Time) -> Verdict {
        if exchange.limit_req.is_some() {
            return Verdict::Pass;
        }
        let mut keys = Vec::new();
        for limit in &self.limits {
            let key = limit.zone.key.value(exchange);
            if key.len() > LONGEST_KEY {
                let shown = String::from_utf8_lossy(&key);
                let text = format!(
                    "the value of the \"{}\" key is more than 65535 bytes: \"{shown}\"",
                    limit.zone.name
                );
                logs::note(Level::Error, exchange, &text, "");
            } else if !key.is_empty() {
                keys.push((limit, key));
            }
        }
        // Time passes by whole milliseconds, so that no part of one is lost between two requests.
        let now = Time::from_nanos(now.as_nanos() / 1_000_000 * 1_000_000);
        if keys.is_empty() {
            return Verdict::Pass;
        }
        for (limit, key) in &keys {
            let excess = limit.zone.table.with(key, |it| limit.excess(it, now));
            if excess > limit.burst {
                let dry = if self.dry_run { ", dry run" } else { "" };
                let text = format!(
                    "limiting requests{dry}, excess: {} by zone \"{}\"",
                    thousandths(excess),
                    limit.zone.name
                );
                logs::note(self.level, exchange, &text, "");
                if self.dry_run {
                    exchange.limit_req = Some("REJECTED_DRY_RUN");
                    return Verdict::Pass;
                }
                exchange.limit_req = Some("REJECTED");
                return Verdict::Refuse(self.status);
            }
        }
        let charged = keys.iter().map(|(limit, key)| (*limit, limit.charge(key, now)));
        let waits = charged.map(|(limit, excess)| (limit.wait(excess), excess, limit));
        // Of several that are as long nginx names the last.
        let Some((wait, excess, limit)) =
            waits.max_by_key(|(wait, ..)| *wait).filter(|it| it.0 > 0)
        else {
            exchange.limit_req = Some("PASSED");
            return Verdict::Pass;
        };
        let dry = if self.dry_run { ", dry run" } else { "" };
        let text = format!(
            "delaying request{dry}, excess: {}, by zone \"{}\"",
            thousandths(excess),
            limit.zone.name
        );
        logs::note(self.level.lower(), exchange, &text, "");
        if self.dry_run {
            exchange.limit_req = Some("DELAYED_DRY_RUN");
            return Verdict::Pass;
        }
        exchange.limit_req = Some("DELAYED");
        Verdict::Wait(Duration::from_millis(wait))
    }
}

fn thousandths(value: u64) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn limits_are_checked_as_nginx_checks_them() {
        let reason = |text| Settings::default().add(&directive(text)).unwrap_err().reason;
        assert_eq!(reason("limit_req burst=5;"), "\"limit_req\" must have \"zone\" parameter");
        assert_eq!(reason("limit_req zone=a burst=0;"), "invalid burst value \"burst=0\"");
        assert_eq!(reason("limit_req zone=a delay=x;"), "invalid delay value \"delay=x\"");
        assert_eq!(reason("limit_req zone=a later;"), "invalid parameter \"later\"");
        let mut twice = Settings::default();
        twice.add(&directive("limit_req zone=a;")).unwrap();
        let refused = twice.add(&directive("limit_req zone=a;")).unwrap_err();
        assert_eq!(refused.reason, "\"limit_req\" directive is duplicate");
    }
}
