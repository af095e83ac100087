//! `limit_req_zone`, `limit_conn_zone`: named tables of keys that requests are counted by.
//!
//! Source: nginx `ngx_http_limit_req_module.c` and `ngx_http_limit_conn_module.c`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LinkedHashMap;
use policy::Time;

use crate::conf::value::{number, size};
use crate::conf::{Block, ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::variable::{Names, Subject};

/// What a zone counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Requests: as many thousandths of one as are let pass in a second.
    Requests(u64),
    /// Requests that are being served.
    Connections,
}

/// A zone as it is written.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    kind: Kind,
    key: Word,
    size: u64,
}

/// The zones of `http` or `stream`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Vec<Line>,
}

/// Directives of `http`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "limit_req_zone",
        within: &[Block::Http],
        arguments: 3..=3,
        effect: Effect::Add(|it, directive| it.add(directive, true)),
    },
    Row {
        name: "limit_conn_zone",
        within: &[Block::Http],
        arguments: 2..=2,
        effect: Effect::Add(|it, directive| it.add(directive, false)),
    },
];

/// Directives of `stream`.
pub const STREAM_ROWS: &[Row<Settings>] = &[Row {
    name: "limit_conn_zone",
    within: &[Block::Stream],
    arguments: 2..=2,
    effect: Effect::Add(|it, directive| it.add(directive, false)),
}];

/// nginx wants room for eight pages.
const SMALLEST: u64 = 8 * 4096;

impl Settings {
    fn add(&mut self, directive: &Directive, counts_requests: bool) -> Result<(), ConfError> {
        let words = directive.arguments();
        let (mut zone, mut rate, mut scale) = (None, 1, 1);
        for word in &words[1..] {
            if let Some(text) = word.parameter("zone") {
                let refuse = || word.refuse(format!("invalid zone size \"{word}\""));
                let (name, bytes) = text.split_once(':').ok_or_else(refuse)?;
                let bytes = size(bytes).ok_or_else(refuse)?;
                if bytes < SMALLEST {
                    return Err(word.refuse(format!("zone \"{word}\" is too small")));
                }
                zone = Some((name.to_owned(), bytes));
            } else if let Some(text) = word.parameter("rate").filter(|_| counts_requests) {
                let text = match (text.strip_suffix("r/s"), text.strip_suffix("r/m")) {
                    (_, Some(text)) => {
                        scale = 60;
                        text
                    }
                    (Some(text), None) => text,
                    (None, None) => text,
                };
                let refuse = || word.refuse(format!("invalid rate \"{word}\""));
                rate = number(text).filter(|it| *it > 0).ok_or_else(refuse)?;
            } else {
                return Err(word.invalid_parameter());
            }
        }
        let Some((name, size)) = zone.filter(|(name, _)| !name.is_empty()) else {
            let own = directive.name();
            return Err(own.refuse(format!("\"{own}\" must have \"zone\" parameter")));
        };
        let kind = match counts_requests {
            true => Kind::Requests(rate.saturating_mul(1000) / scale),
            false => Kind::Connections,
        };
        if let Some(other) = self.lines.iter().find(|it| it.name == name) {
            let own = directive.name();
            let is_same = matches!(other.kind, Kind::Connections) != counts_requests;
            return Err(own.refuse(match is_same {
                true => format!("{own} \"{name}\" is already bound to key \"{}\"", other.key),
                false => format!(
                    "the shared memory zone \"{name}\" is already declared for a different use"
                ),
            }));
        }
        self.lines.push(Line { name, kind, key: words[0].clone(), size });
        Ok(())
    }

    /// The zones; one that was there before and counts the same keys goes on with its table.
    pub fn compile<S: Subject>(
        &self,
        previous: &[Arc<Zone<S>>],
        names: &Names<S>,
    ) -> Result<Vec<Arc<Zone<S>>>, ConfError> {
        let zone = |line: &Line| {
            let is_same = |it: &&Arc<Zone<S>>| {
                it.name == line.name
                    && it.key_text == line.key.as_bytes()
                    && it.table.room == line.size
                    && matches!(it.kind, Kind::Connections)
                        == matches!(line.kind, Kind::Connections)
            };
            let table = previous.iter().find(is_same).map(|it| Arc::clone(&it.table));
            Ok(Arc::new(Zone {
                name: line.name.clone(),
                kind: line.kind,
                key: compile(&line.key, names)?,
                key_text: line.key.as_bytes().to_vec(),
                table: table.unwrap_or_else(|| Arc::new(Table::new(line.size))),
            }))
        };
        self.lines.iter().map(zone).collect()
    }
}

/// The zone of a name, for `directive`.
pub fn find<S>(
    zones: &[Arc<Zone<S>>],
    name: &Word,
    counts_requests: bool,
) -> Result<Arc<Zone<S>>, ConfError> {
    match zones.iter().find(|it| *name == *it.name) {
        None => Err(ConfError::of_the_world(format!("zero size shared memory zone \"{name}\""))),
        Some(it) if matches!(it.kind, Kind::Connections) == counts_requests => Err(name.refuse(
            format!("the shared memory zone \"{name}\" is already declared for a different use"),
        )),
        Some(it) => Ok(Arc::clone(it)),
    }
}

/// A zone in use.
#[derive(Debug)]
pub struct Zone<S = Exchange> {
    /// As log lines name it.
    pub name: String,
    /// What is counted.
    pub kind: Kind,
    /// By what.
    pub key: Template<S>,
    key_text: Vec<u8>,
    /// The counts.
    pub table: Arc<Table>,
}

/// Counts by key, bounded in memory: the key that was used longest ago makes room.
#[derive(Debug)]
pub struct Table {
    room: u64,
    counts: Mutex<Counts>,
}

/// What is known of one key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Thousandths of a request above the rate; requests being served.
    pub value: u64,
    /// When it was last charged.
    pub last: Time,
}

#[derive(Debug, Default)]
struct Counts {
    by_key: LinkedHashMap<Vec<u8>, Count>,
    used: u64,
}

/// Memory that nginx takes for a key: a power of two, sixty-four bytes at least.
fn cost(key: &[u8]) -> u64 {
    const NODE: usize = 48;
    (NODE + key.len()).next_power_of_two().max(64) as u64
}

impl Table {
    fn new(room: u64) -> Self {
        Self { room, counts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // What a panic leaves behind are counts, each whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the count of a key, zero for one that is new, and keeps what `use_it` makes of it.
    pub fn with<T>(&self, key: &[u8], use_it: impl FnOnce(&mut Count) -> T) -> T {
        let mut counts = self.lock();
        if let Some(count) = counts.by_key.to_back(key) {
            return use_it(count);
        }
        while counts.used + cost(key) > self.room {
            let Some((oldest, _)) = counts.by_key.pop_front() else { break };
            counts.used -= cost(&oldest);
        }
        counts.used += cost(key);
        use_it(counts.by_key.entry(key.to_vec()).or_insert_with(Count::default))
    }

    /// Counts one up for a key, unless `most` are reached, or only keys in use are there.
    pub fn enter(&self, key: &[u8], most: u64) -> bool {
        let mut counts = self.lock();
        if let Some(count) = counts.by_key.get_mut(key) {
            if count.value >= most {
                return false;
            }
            count.value += 1;
            return true;
        }
        if counts.used + cost(key) > self.room {
            return false;
        }
        counts.used += cost(key);
        counts.by_key.insert(key.to_vec(), Count { value: 1, last: Time::default() });
        true
    }

    /// Counts one down for a key; one that comes to nothing is forgotten.
    pub fn leave(&self, key: &[u8]) {
        let mut counts = self.lock();
        let Some(count) = counts.by_key.get_mut(key) else { return };
        count.value = count.value.saturating_sub(1);
        if count.value == 0 {
            counts.by_key.remove(key);
            counts.used -= cost(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_used_longest_ago_makes_room() {
        let table = Table::new(3 * 64);
        for key in [b"a", b"b", b"c", b"a", b"d"] {
            table.with(key, |it| it.value += 1);
        }
        let value = |key: &[u8]| table.with(key, |it| it.value);
        assert_eq!((value(b"a"), value(b"c"), value(b"d")), (2, 1, 1));
        assert_eq!(value(b"b"), 0, "it had to go");
    }

    #[test]
    fn keys_in_use_are_never_forgotten() {
        let table = Table::new(2 * 64);
        assert!(table.enter(b"a", 2) && table.enter(b"a", 2) && !table.enter(b"a", 2));
        assert!(table.enter(b"b", 1) && !table.enter(b"c", 1));
        table.leave(b"b");
        assert!(table.enter(b"c", 1));
        table.leave(b"a");
        assert!(table.enter(b"a", 2) && !table.enter(b"a", 2));
    }

    #[test]
    fn zones_are_checked_as_nginx_checks_them() {
        let reason = |text, requests| {
            let line = crate::conf::testing::directive(text);
            Settings::default().add(&line, requests).unwrap_err().reason
        };
        let of_requests = |text| reason(text, true);
        assert_eq!(
            of_requests("limit_req_zone k zone=a rate=1r/s;"),
            "invalid zone size \"zone=a\""
        );
        assert_eq!(
            of_requests("limit_req_zone k zone=a:1k rate=1r/s;"),
            "zone \"zone=a:1k\" is too small"
        );
        assert_eq!(
            of_requests("limit_req_zone k zone=a:1m rate=0r/s;"),
            "invalid rate \"rate=0r/s\""
        );
        assert_eq!(of_requests("limit_req_zone k zone=a:1m x;"), "invalid parameter \"x\"");
        assert_eq!(
            reason("limit_conn_zone k zone=:1m;", false),
            "\"limit_conn_zone\" must have \"zone\" parameter"
        );
    }
}
