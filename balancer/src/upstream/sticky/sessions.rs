//! Sessions that were learned, each with the server it is bound to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use md5::{Digest, Md5};
use policy::Time;

/// What is kept of a session's name.
type Key = [u8; 16];

/// Bytes of a zone that one session takes: 32 KiB hold about 200 of them, as in nginx.
const EACH: u64 = 160;

/// The sessions of one zone.
#[derive(Debug)]
pub struct Sessions {
    /// The zone's name.
    pub name: String,
    most: usize,
    timeout: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    servers: HashMap<Key, (Arc<str>, Time)>,
    /// When each was used last; the second number tells those of one moment apart.
    used: BTreeSet<(Time, Key)>,
}

impl Sessions {
    /// An empty zone of a size in bytes.
    pub fn new(name: &str, size: u64, timeout: Duration) -> Self {
        let most = usize::try_from((size / EACH).max(1)).unwrap_or(usize::MAX);
        Self { name: name.to_owned(), most, timeout, table: Mutex::default() }
    }

    /// Takes over what another zone knows.
    pub fn take_over(&self, other: &Self) {
        let known = std::mem::take(&mut *other.lock());
        *self.lock() = known;
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server a session is bound to.
    pub fn find(&self, session: &[u8], now: Time) -> Option<Arc<str>> {
        let mut table = self.lock();
        table.expire(now, self.timeout);
        table.servers.get(&key(session)).map(|(server, _)| Arc::clone(server))
    }

    /// Binds a session; one that is not known only where `is_new` allows it.
    pub fn bind(&self, session: &[u8], server: &Arc<str>, is_new: bool, now: Time) {
        let key = key(session);
        let mut table = self.lock();
        table.expire(now, self.timeout);
        match table.servers.get(&key).map(|(_, last)| *last) {
            Some(last) => {
                table.used.remove(&(last, key));
            }
            None if !is_new => return,
            None => {
                while self.most <= table.servers.len() {
                    table.drop_oldest();
                }
            }
        }
        table.used.insert((now, key));
        table.servers.insert(key, (Arc::clone(server), now));
    }
}

impl Table {
    fn expire(&mut self, now: Time, timeout: Duration) {
        while self.used.first().is_some_and(|(last, _)| timeout <= now.since(*last)) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.used.pop_first() {
            self.servers.remove(&key);
        }
    }
}

fn key(session: &[u8]) -> Key {
    Md5::digest(session).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(second: u64) -> Time {
        Time::from_secs(second)
    }

    #[test]
    fn sessions_are_created_renewed_and_forgotten() {
        let (one, two) = (Arc::from("one"), Arc::from("two"));
        let sessions = Sessions::new("z", 1024 * 1024, MINUTE);
        sessions.bind(b"a", &one, false, at(0));
        assert_eq!(sessions.find(b"a", at(0)), None);
        sessions.bind(b"a", &one, true, at(0));
        assert_eq!(sessions.find(b"a", at(59)).as_deref(), Some("one"));
        sessions.bind(b"a", &two, false, at(59));
        assert_eq!(sessions.find(b"a", at(118)).as_deref(), Some("two"));
        assert_eq!(sessions.find(b"a", at(119)), None);
    }

    #[test]
    fn a_full_zone_forgets_who_was_there_longest_ago() {
        let server = Arc::from("s");
        let sessions = Sessions::new("z", 2 * EACH, MINUTE);
        for (second, name) in [(0, b"a"), (1, b"b"), (2, b"a"), (3, b"c")] {
            sessions.bind(name, &server, true, at(second));
        }
        let found = [b"a", b"b", b"c"].map(|it| sessions.find(it, at(4)).is_some());
        assert_eq!(found, [true, false, true]);
    }

    #[test]
    fn a_reload_keeps_what_is_known() {
        let old = Sessions::new("z", 32 * 1024, MINUTE);
        old.bind(b"a", &Arc::from("s"), true, at(0));
        let new = Sessions::new("z", 64 * 1024, MINUTE);
        new.take_over(&old);
        assert_eq!(new.find(b"a", at(1)).as_deref(), Some("s"));
    }
}
