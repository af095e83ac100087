//! What does Redis do when there is none?
//!
//! A key space inside this process that takes the commands the store sends about rows and walks, so
//! that the steps of the lab run the same code and pay for the same commands, without a network.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis::{Arg, Cmd, ErrorKind, RedisError, Value};

use super::rows::WRITE_STOCK;
use crate::domain::id::OrderId;
use crate::metrics::Metrics;

/// Keys that one SCAN looks at unless it says otherwise.
const USUAL_COUNT: usize = 10;

/// The keys of this process. Nobody writes to them before somebody walks.
#[derive(Debug)]
pub struct Space {
    keys: Mutex<Keys>,
    in_use: AtomicBool,
    /// The last order that was read from the database.
    last: AtomicI64,
    /// Held by the one who fills it.
    pub(crate) filling: tokio::sync::Mutex<()>,
    metrics: Metrics,
}

/// Hashes by their names, and the names in an order that SCAN can follow.
#[derive(Debug, Default)]
struct Keys {
    places: HashMap<Arc<str>, usize>,
    hashes: Vec<(Arc<str>, Hash)>,
}

type Hash = BTreeMap<String, Vec<u8>>;

impl Space {
    /// Empty, and not in use.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            keys: Mutex::default(),
            in_use: AtomicBool::new(false),
            last: AtomicI64::new(0),
            filling: tokio::sync::Mutex::default(),
            metrics: metrics.clone(),
        }
    }

    /// From here on changes are written here, too.
    pub fn put_in_use(&self) -> bool {
        // Relaxed, here and below: each stands for itself; the keys have a lock of their own.
        !self.in_use.swap(true, Ordering::Relaxed)
    }

    /// Whether changes are written here.
    pub fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// The last order that was read from the database.
    pub fn last(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Notes up to which order the database was read.
    pub fn set_last(&self, last: OrderId) {
        self.last.store(last.number(), Ordering::Relaxed);
    }

    /// Orders that are here.
    pub fn orders(&self) -> usize {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.hashes.iter().filter(|(name, _)| name.starts_with("order:")).count()
    }

    /// Forgets all keys.
    pub fn clear(&self) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Keys::default();
        self.last.store(0, Ordering::Relaxed);
    }

    /// Does what a command says; it is counted under `name`.
    pub fn run(&self, name: &'static str, command: &Cmd) -> Result<Value, RedisError> {
        let labels = [("command", name), ("backend", "memory")];
        self.metrics.redis_commands.get_or_create(&labels).inc();
        let words: Vec<&[u8]> = command
            .args_iter()
            .map(|it| match it {
                Arg::Simple(word) => word,
                _ => b"0",
            })
            .collect();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.run(&words).ok_or_else(|| {
            let name = words.first().map(|it| String::from_utf8_lossy(it).into_owned());
            let what = "The key space of this process does not know the command";
            (ErrorKind::Client, what, name.unwrap_or_default()).into()
        })
    }
}

impl Keys {
    fn run(&mut self, words: &[&[u8]]) -> Option<Value> {
        let (name, rest) = words.split_first()?;
        let key = || rest.first().and_then(|it| std::str::from_utf8(it).ok());
        Some(match name.to_ascii_uppercase().as_slice() {
            b"PING" => Value::SimpleString("PONG".to_owned()),
            b"HSET" | b"HMSET" => {
                self.set(key()?, &rest[1..])?;
                Value::Okay
            }
            b"HGET" => {
                let field = std::str::from_utf8(rest.get(1)?).ok()?;
                self.find(key()?).and_then(|it| it.get(field)).map_or(Value::Nil, text)
            }
            b"HGETALL" => {
                let fields = self.find(key()?).into_iter().flatten();
                Value::Array(
                    fields.flat_map(|(name, it)| [text(name.as_bytes()), text(it)]).collect(),
                )
            }
            b"EXISTS" => Value::Int(i64::from(self.places.contains_key(key()?))),
            b"DEL" => Value::Int(i64::from(self.remove(key()?))),
            b"KEYS" => {
                let pattern = key()?;
                let names = self.hashes.iter().map(|(name, _)| name);
                let found = names.filter(|it| matches(it, pattern));
                Value::Array(found.map(|it| text(it.as_bytes())).collect())
            }
            b"SCAN" => self.scan(rest)?,
            b"EVAL" if rest.first() == Some(&WRITE_STOCK.as_bytes()) => {
                self.write_stock(rest.get(2..)?)?
            }
            _ => return None,
        })
    }

    fn find(&self, key: &str) -> Option<&Hash> {
        self.places.get(key).map(|place| &self.hashes[*place].1)
    }

    fn set(&mut self, key: &str, fields: &[&[u8]]) -> Option<()> {
        let place = self.places.get(key).copied().unwrap_or_else(|| {
            let (key, place) = (Arc::<str>::from(key), self.hashes.len());
            self.places.insert(Arc::clone(&key), place);
            self.hashes.push((key, Hash::new()));
            place
        });
        for pair in fields.chunks_exact(2) {
            let name = std::str::from_utf8(pair[0]).ok()?;
            self.hashes[place].1.insert(name.to_owned(), pair[1].to_vec());
        }
        Some(())
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some(place) = self.places.remove(key) else { return false };
        self.hashes.swap_remove(place);
        // The last key took the place of the one that went.
        if let Some((moved, _)) = self.hashes.get(place) {
            self.places.insert(Arc::clone(moved), place);
        }
        true
    }

    /// Looks at the next keys below the cursor. It goes down, because a removed key is replaced by
    /// the last one, which was seen by then: nothing that stays is missed.
    fn scan(&self, words: &[&[u8]]) -> Option<Value> {
        let number = |it: &&[u8]| std::str::from_utf8(it).ok()?.parse::<usize>().ok();
        let cursor = number(words.first()?)?;
        let option = |name: &[u8]| {
            let at = words.iter().position(|it| it.eq_ignore_ascii_case(name))?;
            words.get(at + 1)
        };
        let count = option(b"COUNT").and_then(number).unwrap_or(USUAL_COUNT).max(1);
        let pattern = option(b"MATCH").map_or(Some("*"), |it| std::str::from_utf8(it).ok())?;
        let from = if cursor == 0 { self.hashes.len() } else { cursor.min(self.hashes.len()) };
        let to = from.saturating_sub(count);
        let found = self.hashes[to..from].iter().filter(|(name, _)| matches(name, pattern));
        let names = found.map(|(name, _)| text(name.as_bytes())).collect();
        Some(Value::Array(vec![text(to.to_string().as_bytes()), Value::Array(names)]))
    }

    /// What the script does: key, version, name, SKU, price, quantity.
    fn write_stock(&mut self, words: &[&[u8]]) -> Option<Value> {
        const FIELDS: [&str; 5] =
            ["version", "product_name", "product_sku", "product_unit_price", "quantity"];
        let [key, values @ ..] = words else { return None };
        let key = std::str::from_utf8(key).ok()?;
        let version = |it: &[u8]| std::str::from_utf8(it).ok()?.parse::<i64>().ok();
        let have = self.find(key).and_then(|it| it.get("version")).and_then(|it| version(it));
        if have.is_some_and(|it| Some(it) >= values.first().and_then(|it| version(it))) {
            return Some(Value::Int(0));
        }
        let fields = FIELDS.iter().zip(values).flat_map(|(name, it)| [name.as_bytes(), it]);
        self.set(key, &fields.collect::<Vec<_>>())?;
        Some(Value::Int(1))
    }
}

/// The patterns the store uses: a name, or the start of one before a star.
fn matches(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn text(bytes: impl AsRef<[u8]>) -> Value {
    Value::BulkString(bytes.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use redis::from_redis_value;

    use super::*;

    fn ask<T: redis::FromRedisValue>(space: &Space, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        from_redis_value(space.run("test", &command).unwrap()).unwrap()
    }

    fn empty() -> Space {
        let (config, _) = crate::config::Config::read(&|_| None, "test").unwrap();
        Space::new(&crate::metrics::Registered::new(&config).metrics)
    }

    fn filled(keys: usize) -> Space {
        let space = empty();
        for key in 0..keys {
            let () = ask(&space, &["HSET", &format!("order:{key}"), "user_id", "1"]);
        }
        space
    }

    fn scan(space: &Space, mut between: impl FnMut(&Space, u64)) -> Vec<String> {
        let (mut cursor, mut found, mut calls) = (0, Vec::new(), 0);
        loop {
            let at = format!("{cursor}");
            let (next, keys): (u64, Vec<String>) =
                ask(space, &["SCAN", &at, "MATCH", "order:*", "COUNT", "10"]);
            found.extend(keys);
            calls += 1;
            between(space, calls);
            cursor = next;
            if cursor == 0 {
                return found;
            }
        }
    }

    #[test]
    fn a_scan_costs_a_command_for_ten_keys_and_finds_each() {
        let space = filled(95);
        let mut calls = 0;
        let mut found = scan(&space, |_, it| calls = it);
        assert_eq!(calls, 10);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 95);
    }

    #[test]
    fn a_scan_misses_no_key_that_stays() {
        let space = filled(100);
        let found = scan(&space, |space, call| {
            let _: i64 = ask(space, &["DEL", &format!("order:{}", call * 7 % 100)]);
            let () = ask(space, &["HSET", &format!("stock:{call}"), "quantity", "1"]);
        });
        let kept: Vec<String> = ask(&space, &["KEYS", "order:*"]);
        assert!(kept.len() < 100);
        assert!(kept.iter().all(|it| found.contains(it)), "{found:?}");
    }

    #[test]
    fn a_level_is_written_only_over_a_lower_version() {
        let space = empty();
        let write = |version: &str, quantity: &str| -> i64 {
            ask(&space, &["EVAL", WRITE_STOCK, "1", "stock:1", version, "n", "s", "1.5", quantity])
        };
        assert_eq!((write("2", "5"), write("2", "6"), write("1", "7")), (1, 0, 0));
        assert_eq!(ask::<String>(&space, &["HGET", "stock:1", "quantity"]), "5");
        assert_eq!(write("3", "8"), 1);
        let all: HashMap<String, String> = ask(&space, &["HGETALL", "stock:1"]);
        assert_eq!((all["quantity"].as_str(), all["product_unit_price"].as_str()), ("8", "1.5"));
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        let mut command = redis::cmd("FLUSHALL");
        assert!(empty().run("test", command.arg("x")).is_err());
    }
}
