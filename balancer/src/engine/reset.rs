//! Ends a connection by a reset, so that the system keeps nothing of it.

use std::io;
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;

use crate::engine::Stream;

/// Has a connection reset when it is closed; one on a Unix socket is closed as any other.
///
/// # Errors
///
/// Those of the system, which may keep a process from looking at its own descriptors.
pub(super) fn on_close(stream: &Stream) -> io::Result<()> {
    // The stream lends its descriptor as a number only; a copy of it is asked of the system.
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket = pidfd_getfd(own, stream.id(), PidfdGetfdFlags::empty())?;
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}
