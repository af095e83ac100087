//! Has somebody asked this program to end?

use std::{cell::Cell, os::fd::AsFd, time::Duration};

use anyhow::{Result, bail};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// INT and TERM, which no longer end the program but are told here.
#[derive(Debug)]
pub struct Signals {
    file: SignalFd,
    received: Cell<bool>,
}

impl Signals {
    /// Takes INT and TERM over. Call it before any thread is started: threads inherit the mask.
    pub fn take() -> Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { file: SignalFd::with_flags(&set, flags)?, received: Cell::new(false) })
    }

    /// Whether a signal has come so far.
    pub fn received(&self) -> bool {
        if !self.received.get() {
            self.received.set(matches!(self.file.read_signal(), Ok(Some(_))));
        }
        self.received.get()
    }

    /// Waits for a signal, `patience` long at most, and says whether one has come so far.
    pub fn wait(&self, patience: Duration) -> Result<bool> {
        let mut files = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        if !self.received() {
            poll(&mut files, PollTimeout::try_from(patience)?)?;
        }
        Ok(self.received())
    }

    /// Fails once a signal has come.
    pub fn go_on(&self) -> Result<()> {
        if self.received() {
            bail!("interrupted");
        }
        Ok(())
    }
}
