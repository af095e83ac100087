//! Who waits when no server may be picked, in which order, and for how long?
//!
//! Whoever is first looks for a server whenever a request ends, and nobody who comes later
//! overtakes: as long as somebody waits, whoever comes waits too. Looking and counting are the one
//! step they are everywhere, so no limit is overshot.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::backend::{Durations, add};

/// What `queue` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// How many may wait.
    pub limit: usize,
    /// For how long.
    pub timeout: Duration,
}

/// Those who wait for a server of one group. It outlives reloads.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    /// How many came when too many waited.
    pub overflows: AtomicU64,
    /// How long those waited who did not give up.
    pub waits: Durations,
}

#[derive(Debug, Default)]
struct Waiting {
    /// First come first.
    line: VecDeque<(u64, Option<Waker>)>,
    next: u64,
}

/// A place in the queue; left when dropped.
#[derive(Debug)]
pub struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().line.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.lock().line.is_empty()
    }

    /// Has the first look for a server again: something may have changed.
    pub fn wake(&self) {
        let waker = self.lock().line.front_mut().and_then(|(_, waker)| waker.take());
        // Woken outside the lock: a waker may run code that takes it.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Gives a place at the end, unless too many wait.
    pub fn join(self: &Arc<Self>, limit: usize) -> Option<Ticket> {
        let mut waiting = self.lock();
        if limit <= waiting.line.len() {
            add(&self.overflows, 1);
            return None;
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.line.push_back((number, None));
        Some(Ticket { queue: Arc::clone(self), number })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is whole before anything in it can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Leaves a waker, and says whether it is this one's turn to look for a server.
    ///
    /// To be called before each look: what ends after it wakes whoever looked in vain.
    pub fn is_first(&self, waker: &Waker) -> bool {
        let mut waiting = self.queue.lock();
        let place = waiting.line.iter().position(|(number, _)| *number == self.number);
        if let Some((_, kept)) = place.and_then(|it| waiting.line.get_mut(it)) {
            *kept = Some(waker.clone());
        }
        place == Some(0)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let was_first = {
            let mut waiting = self.queue.lock();
            let place = waiting.line.iter().position(|(number, _)| *number == self.number);
            place.map(|it| waiting.line.remove(it));
            place == Some(0)
        };
        // There may be room for another.
        if was_first {
            self.queue.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_comes_first_looks_first_and_the_next_when_that_one_has_left() {
        let queue = Arc::<Queue>::default();
        let counts = [(); 2].map(|()| Arc::<Count>::default());
        let [first_waker, second_waker] = counts.clone().map(Waker::from);
        let woken = || counts.each_ref().map(|it| it.0.load(Ordering::SeqCst));
        let (first, second) = (queue.join(2).unwrap(), queue.join(2).unwrap());
        assert!(queue.join(2).is_none());
        assert!(first.is_first(&first_waker) && !second.is_first(&second_waker));
        queue.wake();
        assert_eq!(woken(), [1, 0]);
        drop(first);
        assert_eq!(woken(), [1, 1]);
        assert!(second.is_first(&second_waker));
        drop(second);
        assert!(queue.is_empty() && queue.overflows.load(Ordering::SeqCst) == 1);
    }

    #[test]
    fn whoever_gives_up_in_the_middle_wakes_nobody() {
        let queue = Arc::<Queue>::default();
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let tickets = [(); 3].map(|()| queue.join(9).unwrap());
        tickets.iter().for_each(|it| _ = it.is_first(&waker));
        let [first, second, third] = tickets;
        drop(second);
        assert_eq!((queue.len(), count.0.load(Ordering::SeqCst)), (2, 0));
        drop(first);
        assert!(third.is_first(&waker));
    }
}
