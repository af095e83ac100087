//! What the thread of a log file does: waits for lines, writes them, tells when that fails.

use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::out::Out;
use super::{Channel, DROPPED, HAND_OVER, Lines, Place, SPARES, State, complain, lock};
use crate::conf::error::os_text;
use crate::upstream::backend::add;

/// nginx writes about a full disk as rarely.
const COMPLAIN_AGAIN: Duration = Duration::from_mins(1);

impl Channel {
    /// What the file's thread does, until the file is closed and all is written.
    pub(super) fn write(&self, mut out: Out) {
        let mut complained: Option<Instant> = None;
        let mut written = Vec::new();
        loop {
            let mut state = lock(&self.state);
            state.is_writing = false;
            for Lines { mut bytes, .. } in written.drain(..) {
                if state.spares.len() < SPARES && bytes.capacity() <= 2 * HAND_OVER {
                    bytes.clear();
                    state.spares.push(bytes);
                }
            }
            self.changed.notify_all();
            let is_idle = |it: &State| {
                it.waiting.is_empty() && it.reopened.is_none() && !it.is_closed && !it.wants_all
            };
            while is_idle(&state) {
                state = match out.patience() {
                    None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(Duration::ZERO) => break,
                    Some(left) => {
                        let waited = self.changed.wait_timeout(state, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
            let is_over = state.waiting.is_empty() && state.reopened.is_none() && state.is_closed;
            let wants_all = std::mem::take(&mut state.wants_all) || is_over;
            let reopened = state.reopened.take();
            std::mem::swap(&mut written, &mut state.waiting);
            state.is_writing = true;
            drop(state);
            if let Some(reopened) = reopened {
                self.check(out.flush(), &mut complained);
                out.replace(reopened);
            }
            for lines in &written {
                let done = out.write(lines);
                if done.is_err() {
                    add(&DROPPED, lines.count);
                }
                match (&done, &lines.place) {
                    // Each file is another matter.
                    (Err(error), Some(place)) => {
                        let (path, text) = (place.0.display(), os_text(error));
                        tracing::error!(severity = "crit", "open() \"{path}\" failed {text}");
                    }
                    _ => self.check(done, &mut complained),
                }
                // Counted as waiting until now: a stalled write must not let the queue grow.
                lock(&self.state).waiting_bytes -= lines.bytes.len();
            }
            if wants_all || out.patience() == Some(Duration::ZERO) {
                self.check(out.flush(), &mut complained);
            }
            if is_over {
                return;
            }
        }
    }

    /// A full disk is one complaint a minute, not one for each write.
    fn check(&self, written: io::Result<()>, complained: &mut Option<Instant>) {
        let Err(error) = written else { return };
        if complained.is_none_or(|it| COMPLAIN_AGAIN <= it.elapsed()) {
            *complained = Some(Instant::now());
            let is_sent = matches!(self.place, Place::Syslog(_));
            complain(if is_sent { "send() to" } else { "write() to" }, self.place.name(), &error);
        }
    }
}
