//! Is a server ours to hurt?

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    ports::free_port,
    process::{GRACE, Process},
};

/// A server that ends with this guard, or one that somebody else runs.
#[derive(Debug)]
pub(super) enum Place<E> {
    Private(Private),
    /// Where it is.
    Elsewhere(E),
}

/// A server of our own in a temporary folder.
#[derive(Debug)]
pub(super) struct Private {
    // It stands first, so that it ends before its folder is removed.
    server: Process,
    port: u16,
    folder: TempDir,
    serve: Serve,
}

/// Starts a server on the data of a folder, and waits until it answers.
pub(super) type Serve = fn(&TempDir, u16) -> Result<Process>;

impl Private {
    pub(super) fn start(folder: TempDir, serve: Serve) -> Result<Self> {
        let port = free_port()?;
        Ok(Self { server: serve(&folder, port)?, port, folder, serve })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl<E> Place<E> {
    pub(super) fn pause(&mut self) -> Result<()> {
        self.private()?.server.signal(Signal::SIGSTOP);
        Ok(())
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        self.private()?.server.signal(Signal::SIGCONT);
        Ok(())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.private()?.server.kill();
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<()> {
        let private = self.private()?;
        private.server.stop(GRACE);
        private.server = (private.serve)(&private.folder, private.port)?;
        Ok(())
    }

    fn private(&mut self) -> Result<&mut Private> {
        let private = match self {
            Self::Private(private) => Some(private),
            Self::Elsewhere(_) => None,
        };
        private.context("only a private server can be paused, killed or restarted")
    }
}
