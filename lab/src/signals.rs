//! Has somebody asked this program to end?

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// INT and TERM, which no longer end the program but are told here.
///
/// Handlers, not a blocked mask: children would inherit the mask and hear no TERM either.
#[derive(Debug)]
pub struct Signals {
    received: Arc<AtomicBool>,
}

impl Signals {
    /// Takes INT and TERM over.
    pub fn take() -> Result<Self> {
        let received = Arc::default();
        flag::register(SIGINT, Arc::clone(&received))?;
        flag::register(SIGTERM, Arc::clone(&received))?;
        Ok(Self { received })
    }

    /// Whether a signal has come so far.
    pub fn received(&self) -> bool {
        // Relaxed: the flag publishes no other memory.
        self.received.load(Ordering::Relaxed)
    }

    /// Fails once a signal has come.
    pub fn go_on(&self) -> Result<()> {
        if self.received() {
            bail!("interrupted");
        }
        Ok(())
    }
}
