//! The life of the program: start, serve, drain, end.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use pingora_runtime::{BlockingPoolOpts, NoStealRuntime, RuntimeOpts};
use tokio::runtime::Handle;

use crate::args::Args;
use crate::conf::error::os_text;
use crate::engine::{Shared, pool, timer};
use crate::listen::{CannotBind, Listeners};
use crate::process::privilege::PidFile;
use crate::process::signal::{Signal, Signals};
use crate::snapshot::build::{self, Configuration, Paths};
use crate::{admin, logs, upstream};

pub mod command;
mod error_log;
pub mod privilege;
pub mod reload;
pub mod rows;
pub mod signal;
mod version;

/// How often nginx tries to bind an address in use, and how long it waits in between.
const BIND_TRIES: u32 = 5;
const BIND_PAUSE: Duration = Duration::from_millis(500);

/// How long the end waits for the last lines of the logs; a disk that has stalled is left behind.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The running program.
pub(crate) struct Process<'a> {
    pub(crate) args: &'a Args,
    pub(crate) paths: Paths,
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<Handle>,
    pub(crate) listeners: Listeners,
    pub(crate) pid_file: PidFile,
    pub(crate) shutdown_timeout: Option<Duration>,
}

/// Starts, serves and ends; the exit code is nginx's.
pub fn run(args: &Args, configuration: &Configuration, paths: Paths) -> ExitCode {
    if configuration.process.daemon && !privilege::is_daemon_child() {
        return privilege::start_daemon();
    }
    let served = serve(args, configuration, paths);
    logs::writer::finish(LAST_LINES);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused) => ExitCode::FAILURE,
    }
}

/// A start that was refused; everything has been said.
struct Refused;

fn serve(args: &Args, configuration: &Configuration, paths: Paths) -> Result<(), Refused> {
    let signals = Signals::hold().map_err(|error| {
        emerg(&format!("signals cannot be received {}", os_text(&error)));
        Refused
    })?;
    let sinks = error_log::open(args, configuration).map_err(|text| {
        emerg(&text);
        Refused
    })?;
    logs::error::direct(sinks);
    logs::error::init().map_err(|error| {
        emerg(&format!("events cannot be logged: {error}"));
        Refused
    })?;
    let snapshot = build::build(configuration, None).map_err(|problems| {
        command::refuse(&problems);
        Refused
    })?;
    command::tell(&snapshot.warnings);
    let count = configuration.process.workers.count();
    let mut listeners = Listeners::default();
    let opened = open_all(&listeners, &snapshot, count)?;
    let admin = open_admin(args)?;
    let pid_file = PidFile::write(&configuration.process.pid).map_err(|error| {
        emerg(&error);
        Refused
    })?;
    let shared = Arc::new(Shared::new(snapshot, count));
    let runtime =
        NoStealRuntime::new(count, "worker", BlockingPoolOpts::default(), RuntimeOpts::default());
    let workers: Vec<Handle> = (0..count).map(|it| runtime.get_runtime_at(it).clone()).collect();
    for worker in &workers {
        worker.spawn(keep_time(Arc::clone(&shared)));
        worker.spawn(pool::keep());
    }
    listeners.accept(opened, &shared, &workers);
    let background =
        NoStealRuntime::new(1, "background", BlockingPoolOpts::default(), RuntimeOpts::default());
    let background = background.get_runtime_at(0);
    background.spawn(upstream::resolve::follow(Arc::clone(&shared)));
    if let Some(listener) = admin {
        background.spawn(admin::serve(listener, Arc::clone(&shared)));
    }
    let shutdown_timeout = configuration.process.worker_shutdown_timeout;
    let mut process =
        Process { args, paths, shared, workers, listeners, pid_file, shutdown_timeout };
    tracing::info!("{} ({} {})", crate::NGINX, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    privilege::report_ready();
    process.obey(&signals);
    Ok(())
}

fn open_all(
    listeners: &Listeners,
    snapshot: &crate::snapshot::Snapshot,
    workers: usize,
) -> Result<Vec<crate::listen::Opened>, Refused> {
    for attempt in 1..=BIND_TRIES {
        match listeners.open_missing(snapshot, workers) {
            Ok(opened) => return Ok(opened),
            Err(failed) => {
                let mut is_in_use = true;
                for CannotBind { bind, error } in &failed {
                    is_in_use &= error.kind() == io::ErrorKind::AddrInUse;
                    emerg(&format!("bind() to {bind} failed {}", os_text(error)));
                }
                if !is_in_use {
                    return Err(Refused);
                }
            }
        }
        if attempt < BIND_TRIES {
            std::thread::sleep(BIND_PAUSE);
        }
    }
    emerg("still could not bind()");
    Err(Refused)
}

fn open_admin(args: &Args) -> Result<Option<std::net::TcpListener>, Refused> {
    let Some(address) = args.admin else { return Ok(None) };
    let listener = std::net::TcpListener::bind(address).and_then(|it| {
        it.set_nonblocking(true)?;
        Ok(it)
    });
    listener.map(Some).map_err(|error| {
        emerg(&format!("bind() to {address} of \"--admin\" failed {}", os_text(&error)));
        Refused
    })
}

/// Moves a worker's coarse clock on, and does what is due.
async fn keep_time(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(timer::TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_stopping = false;
    let mut generation = 0;
    for tick in 0_u64.. {
        ticks.tick().await;
        timer::tick();
        logs::flush();
        // Idle times are counted in seconds.
        if tick % 16 == 0 {
            pool::expire();
        }
        let now = shared.snapshot.load().generation;
        if shared.is_stopping() && !was_stopping {
            was_stopping = true;
            pool::close_all();
            timer::wake_all();
        } else if generation != now {
            generation = now;
            timer::wake_all();
        }
    }
}

impl Process<'_> {
    /// Does what signals say until one of them ends the program.
    fn obey(&mut self, signals: &Signals) {
        loop {
            let Some((signal, from)) = signals.wait(PollTimeout::NONE) else { continue };
            tracing::info!(
                "signal {} ({}) received from {from}, {}",
                signal.number(),
                signal.name(),
                signal.meaning()
            );
            match signal {
                Signal::Hup => self.reload(),
                Signal::Usr1 => logs::reopen(),
                Signal::Usr2 | Signal::Winch => {
                    tracing::warn!("{} is not served yet, ignored", signal.name());
                }
                Signal::Term | Signal::Int => return self.listeners.close_all(),
                Signal::Quit => return self.drain(signals),
            }
        }
    }

    /// Stops to accept, and leaves when nothing is under way any more.
    fn drain(&mut self, signals: &Signals) {
        tracing::info!("gracefully shutting down");
        self.listeners.close_all();
        self.shared.stop();
        let started = Instant::now();
        let is_late = || self.shutdown_timeout.is_some_and(|it| started.elapsed() >= it);
        // A connection that waits in a backlog is accepted in the first moment after the stop.
        let mut quiet = 0;
        while quiet < 5 && !is_late() {
            if let Some((Signal::Term | Signal::Int, _)) = signals.wait(PollTimeout::from(10_u8)) {
                break;
            }
            quiet = if self.shared.stats.totals().active == 0 { quiet + 1 } else { 0 };
        }
        tracing::info!("exit");
    }
}

/// Tells of a start that fails, as nginx does on the console.
pub(crate) fn emerg(text: &str) {
    complain(&format!("nginx: [emerg] {text}"));
}

/// Writes a line to standard error.
pub(crate) fn complain(text: &str) {
    // There is nowhere to report that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
