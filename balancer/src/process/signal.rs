//! The signals an operator sends, in nginx's meaning.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A signal that means something to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signal {
    /// Asks for nothing, and is told as nginx tells it.
    Alrm,
    Chld,
    Hup,
    Int,
    /// As `Alrm`.
    Io,
    Quit,
    Term,
    Usr1,
    Usr2,
    Winch,
}

/// A signal, its number, its name, and what nginx logs that it does.
type Line = (Signal, Number, &'static str, Option<&'static str>);

const ALL: [Line; 10] = [
    (Signal::Alrm, Number::SIGALRM, "SIGALRM", None),
    (Signal::Chld, Number::SIGCHLD, "SIGCHLD", None),
    (Signal::Hup, Number::SIGHUP, "SIGHUP", Some("reconfiguring")),
    (Signal::Int, Number::SIGINT, "SIGINT", Some("exiting")),
    (Signal::Io, Number::SIGIO, "SIGIO", None),
    (Signal::Quit, Number::SIGQUIT, "SIGQUIT", Some("shutting down")),
    (Signal::Term, Number::SIGTERM, "SIGTERM", Some("exiting")),
    (Signal::Usr1, Number::SIGUSR1, "SIGUSR1", Some("reopening logs")),
    (Signal::Usr2, Number::SIGUSR2, "SIGUSR2", Some("changing binary")),
    (Signal::Winch, Number::SIGWINCH, "SIGWINCH", Some("stop accepting connections")),
];

impl Signal {
    fn row(self) -> &'static Line {
        ALL.iter().find(|it| it.0 == self).expect("every signal has a row")
    }

    pub(crate) fn number(self) -> i32 {
        self.row().1 as i32
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().2
    }

    /// What nginx logs that it does.
    pub(crate) fn meaning(self) -> Option<&'static str> {
        self.row().3
    }
}

/// Receives signals instead of their default meaning.
pub(crate) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Holds the signals back from this thread and from those it starts later.
    pub(crate) fn hold() -> io::Result<Self> {
        // SIGSYS is held back and never asked for: that is to ignore it.
        let set: SigSet = ALL.iter().map(|it| it.1).chain([Number::SIGSYS]).collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { descriptor: SignalFd::with_flags(&set, flags)? })
    }

    /// Waits for a signal, at most as long as said; the number is the process that sent it.
    pub(crate) fn wait(&self, at_most: PollTimeout) -> Option<(Signal, u32)> {
        let mut descriptors = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait ends early, and the caller waits again.
        let _ = poll(&mut descriptors, at_most);
        let info = self.descriptor.read_signal().ok().flatten()?;
        let is_it = |it: &&Line| u32::try_from(it.1 as i32) == Ok(info.ssi_signo);
        ALL.iter().find(is_it).map(|it| (it.0, info.ssi_pid))
    }
}
