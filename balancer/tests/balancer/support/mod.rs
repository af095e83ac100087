//! The real program between origins and clients whose every byte a test decides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "a failed test shows what the program said")]

use std::net::TcpListener;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::balancer::Balancer;
pub(crate) use self::client::{Answer, Client};
pub(crate) use self::dns::{Dns, Says};
pub(crate) use self::load::ask;
pub(crate) use self::origin::{Next, Origin, text};

mod balancer;
mod client;
mod dns;
mod load;
mod origin;

/// Longest wait for anything; what takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `condition` holds; panics with `what` when it does not come to.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
