//! Coarse deadlines: one entry per connection and side, looked at by one tick per worker.
//!
//! A deadline costs two stores to set and nothing to meet. It is found late by up to [`TICK`], and
//! never early.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use policy::Time;

use crate::engine::clock;

/// How often a worker looks for deadlines that have passed.
pub const TICK: Duration = Duration::from_millis(20);

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

#[derive(Debug, Default)]
struct Table {
    /// When each entry is due; `Time::MAX` when it is not armed.
    due: Vec<Time>,
    wakers: Vec<Option<Waker>>,
    /// Whether what waits may be ended early, when its place is needed.
    idle: Vec<bool>,
    free: Vec<usize>,
    now: Time,
}

/// A point in time at which whoever waits is woken. Belongs to the worker it was made on.
#[derive(Debug)]
pub struct Deadline {
    entry: usize,
}

impl Deadline {
    /// A deadline that is not armed.
    pub fn new() -> Self {
        TABLE.with_borrow_mut(|table| {
            let entry = table.free.pop().unwrap_or(table.due.len());
            if entry == table.due.len() {
                table.due.push(Time::MAX);
                table.wakers.push(None);
                table.idle.push(false);
            }
            Self { entry }
        })
    }

    /// Starts to count: due `after` from now. [`Duration::MAX`] is never.
    pub fn arm(&self, after: Duration) {
        TABLE.with_borrow_mut(|table| {
            // The table's clock stands still between two ticks, so one tick is added.
            table.due[self.entry] =
                if after == Duration::MAX { Time::MAX } else { table.now + after + TICK };
            table.idle[self.entry] = false;
        });
    }

    /// As [`Deadline::arm`], for a wait that [`expire_idle`] may end.
    pub fn arm_idle(&self, after: Duration) {
        self.arm(after);
        TABLE.with_borrow_mut(|table| table.idle[self.entry] = true);
    }

    /// Stops counting.
    pub fn disarm(&self) {
        TABLE.with_borrow_mut(|table| table.due[self.entry] = Time::MAX);
    }

    /// Ready when the deadline has passed; else the task is woken at the first tick after it, and
    /// at every [`wake_all`].
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        TABLE.with_borrow_mut(|table| {
            if table.due[self.entry] <= table.now {
                return Poll::Ready(());
            }
            match &mut table.wakers[self.entry] {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        })
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // Not reachable while the thread ends and its table is gone already.
        let _ = TABLE.try_with(|table| {
            let mut table = table.borrow_mut();
            table.due[self.entry] = Time::MAX;
            table.wakers[self.entry] = None;
            table.idle[self.entry] = false;
            table.free.push(self.entry);
        });
    }
}

/// This worker's time at its last tick: early by up to [`TICK`], and free.
pub fn coarse_now() -> Time {
    TABLE.with_borrow(|table| table.now)
}

/// Moves this worker's clock on and wakes whoever's deadline has passed.
pub fn tick() {
    clock::tick();
    let due = TABLE.with_borrow_mut(|table| {
        table.now = clock::now();
        let now = table.now;
        let passed = table.due.iter().enumerate().filter(|(_, due)| **due <= now);
        let passed: Vec<usize> = passed.map(|(entry, _)| entry).collect();
        passed.into_iter().filter_map(|entry| table.wakers[entry].take()).collect::<Vec<_>>()
    });
    // Woken outside the borrow: a waker may run code that sets deadlines.
    due.into_iter().for_each(Waker::wake);
}

/// Ends idle waits of this worker, those first that would end first; how many.
pub fn expire_idle(at_most: usize) -> usize {
    let woken = TABLE.with_borrow_mut(|table| {
        let now = table.now;
        let mut idle: Vec<usize> =
            (0..table.due.len()).filter(|it| table.idle[*it] && now < table.due[*it]).collect();
        // nginx ends an eighth of them at once.
        let count = at_most.min((idle.len() / 8).max(1)).min(idle.len());
        idle.sort_by_key(|it| table.due[*it]);
        idle.truncate(count);
        for entry in &idle {
            table.due[*entry] = now;
        }
        idle.iter().map(|it| table.wakers[*it].take()).collect::<Vec<_>>()
    });
    let count = woken.len();
    woken.into_iter().flatten().for_each(Waker::wake);
    count
}

/// Wakes everybody who waits on this worker, due or not; a stop makes them look up.
pub fn wake_all() {
    let all = TABLE.with_borrow_mut(|table| {
        table.wakers.iter_mut().filter_map(Option::take).collect::<Vec<_>>()
    });
    all.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_due(deadline: &Deadline) -> bool {
        deadline.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_deadline_is_never_early_and_found_at_the_next_tick() {
        let (short, long, never) = (Deadline::new(), Deadline::new(), Deadline::new());
        tick();
        short.arm(Duration::ZERO);
        long.arm(Duration::from_hours(1));
        never.arm(Duration::MAX);
        assert!(!is_due(&short));
        let start = clock::now();
        while clock::now().since(start) <= TICK {
            std::hint::spin_loop();
        }
        tick();
        assert!(is_due(&short) && !is_due(&long) && !is_due(&never));
        short.disarm();
        assert!(!is_due(&short));
    }

    #[test]
    fn an_entry_is_used_again_when_its_deadline_is_gone() {
        let first = Deadline::new();
        let entry = first.entry;
        drop(first);
        assert_eq!(Deadline::new().entry, entry);
    }
}
