//! The real program between origins and clients whose every byte a test decides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "a failed test shows what the program said")]

use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::balancer::{Balancer, TOKEN};
pub(crate) use self::client::{Answer, Client};
pub(crate) use self::dns::{Dns, Says};
pub(crate) use self::load::ask;
pub(crate) use self::origin::{Next, Origin, text};

mod balancer;
pub(crate) mod browser;
mod client;
pub(crate) mod collector;
mod dns;
mod load;
mod origin;
pub(crate) mod prometheus;

/// Longest wait for anything; what takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `condition` holds; panics with `what` when it does not come to.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// The same with a patience of its own.
#[track_caller]
fn within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < until, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A port that nobody listens on and no other test is given while this process lives.
#[track_caller]
pub(crate) fn free_port() -> u16 {
    lab::ports::free_port().unwrap()
}

/// Holds whoever waits until it is opened.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub(crate) fn wait(&self) {
        let guard = self.is_open.lock().unwrap();
        let (guard, late) =
            self.opened.wait_timeout_while(guard, PATIENCE, |is_open| !*is_open).unwrap();
        drop(guard);
        assert!(!late.timed_out(), "nobody opened the gate");
    }
}
