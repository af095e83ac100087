//! Which servers of a large group have changed since a chooser last looked?

use std::sync::atomic::{AtomicU64, Ordering};

/// How many changes are kept. Whoever looks less often than that looks at all servers.
const KEPT: usize = 1024;

/// The latest changes of a group's servers, by their numbers, for the choosers of all
/// configurations that have them. Takes no lock.
#[derive(Debug)]
pub(super) struct News {
    /// Changes so far, and one.
    next: AtomicU64,
    /// Each with the low half of its own number above that of its server.
    kept: Box<[AtomicU64]>,
}

impl News {
    pub(super) fn new() -> Self {
        // Number 0 is none, so that an empty place holds no change.
        Self { next: AtomicU64::new(1), kept: (0..KEPT).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Tells that a server has changed.
    pub(super) fn tell(&self, server: u32) {
        // Relaxed: the number only says where the change is written.
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        // Release: whoever reads this has to see what was changed.
        self.place(at).store(stamp(at) << 32 | u64::from(server), Ordering::Release);
    }

    /// The number of the next change.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Names the servers that have changed since `seen`, which moves on; false when there was more
    /// than is kept.
    pub(super) fn since(&self, seen: &mut u64, mut each: impl FnMut(u32)) -> bool {
        let next = self.next();
        if KEPT as u64 <= next - *seen {
            *seen = next;
            return false;
        }
        while *seen < next {
            // Acquire: see `tell`.
            let found = self.place(*seen).load(Ordering::Acquire);
            if found >> 32 != stamp(*seen) {
                let is_newer = stamp((found >> 32).wrapping_sub(*seen)) < 1 << 31;
                if is_newer {
                    *seen = next;
                }
                // An older one is about to be replaced, and seen the next time.
                return !is_newer;
            }
            let [_, _, _, _, server @ ..] = found.to_be_bytes();
            each(u32::from_be_bytes(server));
            *seen += 1;
        }
        true
    }

    fn place(&self, at: u64) -> &AtomicU64 {
        &self.kept[usize::try_from(at % KEPT as u64).unwrap_or_default()]
    }
}

/// What tells a change from the one that stood at its place before it.
fn stamp(at: u64) -> u64 {
    at & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(news: &News, seen: &mut u64) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        news.since(seen, |it| found.push(it)).then_some(found)
    }

    #[test]
    fn every_reader_hears_each_change_once() {
        let news = News::new();
        let (mut one, mut other) = (news.next(), news.next());
        news.tell(7);
        assert_eq!(read(&news, &mut one), Some(vec![7]));
        news.tell(0);
        assert_eq!(read(&news, &mut one), Some(vec![0]));
        assert_eq!(read(&news, &mut other), Some(vec![7, 0]));
        assert_eq!(read(&news, &mut other), Some(vec![]));
    }

    #[test]
    fn who_has_missed_some_is_told_so_and_goes_on_from_there() {
        let news = News::new();
        let mut seen = news.next();
        for number in 0..3000 {
            news.tell(number);
        }
        assert_eq!(read(&news, &mut seen), None);
        news.tell(9);
        assert_eq!(read(&news, &mut seen), Some(vec![9]));
    }
}
