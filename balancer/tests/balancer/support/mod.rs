//! The real program between origins and clients whose every byte a test decides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "a failed test shows what the program said")]

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};
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
///
/// It lies below those that the kernel hands out, so that neither a listener on port 0 nor the
/// near end of a connection takes it in the meantime. An abstract socket marks it as given.
#[track_caller]
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: Range<u16> = 12_000..32_000;

    let count = u32::from(PORTS.end - PORTS.start);
    let start = std::process::id().wrapping_mul(7919) % count;
    for _ in 0..count {
        let n = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from((start + n) % count).unwrap();
        let name = SocketAddr::from_abstract_name(format!("balancer-test-{port}")).unwrap();
        let Ok(mark) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            GIVEN.lock().unwrap().push(mark);
            return port;
        }
    }
    panic!("every port is taken")
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
