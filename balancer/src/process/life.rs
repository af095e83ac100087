//! What signals make of the running program: reload, end, hand over to another.

use std::ops::Range;
use std::process::Child;
use std::sync::{Arc, Weak};
use std::time::Instant;

use nix::poll::PollTimeout;
use nix::unistd::getppid;

use crate::conf::error::os_text;
use crate::engine::timer;
use crate::listen::SocketFiles;
use crate::logs;
use crate::process::signal::{Signal, Signals};
use crate::process::{LAST_SESSIONS, Process, upgrade, user};
use crate::snapshot::Snapshot;

/// How often is looked, in milliseconds, whether a configuration that was replaced still serves.
const LOOK: u8 = 20;

/// What nginx calls a worker process has a number here that no process of this system can have.
pub(crate) const FIRST_WORKER: u64 = 1 << 22;

/// A program that was started to take over.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Child,
}

/// A configuration that serves, or still serves those who were there before the next one.
#[derive(Debug)]
pub(crate) struct Generation {
    number: u64,
    /// What logs call those who serve by it.
    workers: Range<u64>,
    /// Gone with the last connection that is served by it.
    snapshot: Weak<Snapshot>,
    /// When it was replaced.
    replaced: Instant,
}

/// What the loop goes on with after a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Serve,
    Leave,
}

impl Process<'_> {
    /// Does what signals say until one of them ends the program.
    pub(crate) fn obey(&mut self, signals: &Signals) {
        loop {
            let wait = if self.replaced.is_empty() { PollTimeout::NONE } else { LOOK.into() };
            let received = signals.wait(wait);
            self.retire();
            let Some((signal, from)) = received else { continue };
            if self.follow(signal, from, signals) == Then::Leave {
                return;
            }
        }
    }

    fn follow(&mut self, signal: Signal, from: u32, signals: &Signals) -> Then {
        let is_ignored = signal == Signal::Usr2 && !self.may_start_successor();
        let meaning = match signal {
            Signal::Usr2 if is_ignored => ", ignoring".to_owned(),
            Signal::Winch if !self.is_daemon => String::new(),
            _ => signal.meaning().map(|it| format!(", {it}")).unwrap_or_default(),
        };
        let (number, name) = (signal.number(), signal.name());
        tracing::info!("signal {number} ({name}) received from {from}{meaning}");
        match signal {
            Signal::Hup if !self.is_accepting && self.successor.is_some() => self.resume(),
            Signal::Hup => {
                tracing::info!("reconfiguring");
                self.reload();
                if !self.is_accepting {
                    self.resume();
                }
            }
            Signal::Usr1 => {
                tracing::info!("reopening logs");
                logs::reopen(self.log_owner());
                self.close_console();
            }
            Signal::Usr2 if is_ignored => tracing::error!(
                severity = "crit",
                "the changing binary signal is ignored: you should shutdown or terminate before \
                 either old or new binary's process"
            ),
            Signal::Usr2 => self.start_successor(),
            Signal::Winch if self.is_daemon => self.pause(),
            Signal::Chld => self.reap(),
            Signal::Term | Signal::Int => {
                self.listeners.close_all(self.socket_files());
                tracing::info!("exit");
                return Then::Leave;
            }
            Signal::Quit => {
                self.drain(signals);
                return Then::Leave;
            }
            Signal::Winch | Signal::Alrm | Signal::Io => {}
        }
        Then::Serve
    }

    /// Tells that a configuration serves from now on.
    pub(crate) fn tell_start(&self) {
        tracing::info!("start worker processes");
        self.worker_numbers().for_each(|it| tracing::info!("start worker process {it}"));
    }

    /// What logs call those who serve by the configuration in force.
    pub(crate) fn worker_numbers(&self) -> Range<u64> {
        self.first_worker..self.first_worker + self.workers.handles.len() as u64
    }

    /// Has a configuration end when the last one that is served by it has left.
    pub(crate) fn replace(&mut self, old: &Arc<Snapshot>, workers: Range<u64>) {
        tracing::info!("gracefully shutting down");
        self.replaced.push(Generation {
            number: old.generation,
            workers,
            snapshot: Arc::downgrade(old),
            replaced: Instant::now(),
        });
    }

    /// Tells of the configurations that have ended, and ends those that have had their time.
    fn retire(&mut self) {
        let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.replaced)
            .into_iter()
            .partition(|it| it.snapshot.strong_count() == 0);
        self.replaced = left;
        for generation in gone {
            tell_end(generation.workers);
        }
        let is_late = |it: &&Generation| {
            self.shutdown_timeout.is_some_and(|most| most <= it.replaced.elapsed())
        };
        if let Some(late) = self.replaced.iter().rfind(is_late) {
            self.shared.cut(late.number);
        }
    }

    /// Whether USR2 is obeyed: once, and not while the program before this one is there.
    ///
    /// Source: nginx `ngx_process.c`, `ngx_signal_handler`.
    fn may_start_successor(&self) -> bool {
        self.successor.is_none() && getppid() != self.parent
    }

    fn start_successor(&mut self) {
        tracing::info!("changing binary");
        if let Err(text) = self.pid_file.rename_to_old() {
            return tracing::error!(severity = "alert", "{text}");
        }
        let started = user::as_root(self.user.as_ref(), || {
            let admin = self.admin.as_ref().map(|it| &it.socket);
            upgrade::start_successor(
                self.listeners.sockets().chain(admin),
                self.environment.clone(),
            )
        });
        match started.unwrap_or_else(|it| Err(user::cannot(&it))) {
            Ok(child) => {
                tracing::info!("start new binary process {}", child.id());
                self.successor = Some(Successor { child });
            }
            Err(text) => {
                tracing::error!(severity = "alert", "{text}");
                self.restore_pid_file();
            }
        }
    }

    /// Learns that a child has ended.
    fn reap(&mut self) {
        let Some(successor) = &mut self.successor else { return };
        let status = match successor.child.try_wait() {
            Ok(Some(status)) => status,
            Ok(None) => return,
            Err(error) => {
                return tracing::error!(severity = "alert", "waitpid() failed {}", os_text(&error));
            }
        };
        let number = successor.child.id();
        match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
            (_, Some(signal)) => tracing::error!(
                severity = "alert",
                "new binary process {number} exited on signal {signal}"
            ),
            (code, None) => {
                let code = code.unwrap_or_default();
                tracing::info!("new binary process {number} exited with code {code}");
            }
        }
        self.successor = None;
        self.restore_pid_file();
        if !self.is_accepting {
            self.resume();
        }
    }

    fn restore_pid_file(&mut self) {
        if let Err(text) = self.pid_file.rename_back() {
            tracing::error!(
                severity = "alert",
                "{text} after the new binary process \"{}\" exited",
                std::env::args().next().unwrap_or_default()
            );
        }
    }

    /// Leaves the sockets to another program, or to a time after the next HUP.
    fn pause(&mut self) {
        if self.is_accepting {
            tracing::info!("gracefully shutting down");
            self.is_accepting = false;
            self.listeners.pause();
            self.shared.stop();
        }
    }

    fn resume(&mut self) {
        self.is_accepting = true;
        self.shared.resume();
        self.listeners.resume(&self.shared, &self.workers);
        self.tell_start();
    }

    /// Whom files are given that are opened again.
    fn log_owner(&self) -> Option<u32> {
        self.user.as_ref().map(|it| it.uid.as_raw())
    }

    /// Who else listens on our sockets would miss their files.
    fn socket_files(&self) -> SocketFiles {
        let is_alone = self.successor.is_none() && (!self.is_successor || getppid() != self.parent);
        if is_alone { SocketFiles::Remove } else { SocketFiles::Leave }
    }

    /// Stops to accept, and leaves when nothing is under way any more.
    fn drain(&mut self, signals: &Signals) {
        tracing::info!("gracefully shutting down");
        self.listeners.close_all(self.socket_files());
        self.shared.stop();
        if let Some(admin) = self.admin.as_ref().filter(|_| self.successor.is_some()) {
            // Who asks for figures from now on means those of the program that serves.
            admin.task.abort();
        }
        let started = Instant::now();
        let is_late = || self.shutdown_timeout.is_some_and(|it| it <= started.elapsed());
        // A connection that waits in a backlog is accepted in the first moment after the stop.
        let mut quiet = 0;
        while quiet < 5 && !is_late() {
            match signals.wait(PollTimeout::from(10_u8)) {
                Some((signal @ (Signal::Term | Signal::Int), from)) => {
                    let (number, name) = (signal.number(), signal.name());
                    tracing::info!("signal {number} ({name}) received from {from}, exiting");
                    break;
                }
                Some((Signal::Usr1, _)) => logs::reopen(self.log_owner()),
                _ => {}
            }
            quiet = if self.shared.stats.totals().active == 0 { quiet + 1 } else { 0 };
        }
        if is_late() {
            self.shared.cut(u64::MAX);
            let until = Instant::now() + LAST_SESSIONS;
            while self.shared.stats.totals().active > 0 && Instant::now() < until {
                std::thread::sleep(timer::TICK);
            }
        }
        tracing::info!("exiting");
        tell_end(self.worker_numbers());
        tracing::info!("exit");
    }
}

/// Tells that those with these numbers serve no more.
fn tell_end(workers: Range<u64>) {
    workers.for_each(|it| tracing::info!("worker process {it} exited with code 0"));
}
