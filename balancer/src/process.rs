//! The life of the program: start, serve, drain, end.

use std::io;
use std::net::TcpListener as StdListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Pid, getppid};
use pingora_runtime::{BlockingPoolOpts, NoStealRuntime, RuntimeOpts};
use socket2::Socket;
use tokio::task::JoinHandle;

use crate::args::Args;
use crate::conf::error::os_text;
use crate::engine::{Shared, places, pool, timer};
use crate::explain;
use crate::listen::workers::Workers;
use crate::listen::{CannotBind, Listeners};
pub(crate) use crate::process::console::{complain, emerg};
use crate::process::life::{FIRST_WORKER, Generation, Successor};
use crate::process::privilege::PidFile;
use crate::process::rows::Settings;
use crate::process::signal::Signals;
use crate::process::user::User;
use crate::snapshot::build::{self, Configuration, Paths};
use crate::{admin, logs, otel, upstream};

pub mod command;
mod console;
mod error_log;
pub mod life;
mod limits;
pub mod privilege;
pub mod reload;
pub mod rows;
pub mod signal;
mod upgrade;
pub mod user;
mod version;

/// How often nginx tries to bind an address in use, and how long it waits in between.
const BIND_TRIES: u32 = 5;
const BIND_PAUSE: Duration = Duration::from_millis(500);

/// How long the end waits for the last lines of the logs; a disk that has stalled is left behind.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How long the end waits for a collector to take the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How long the end waits for sessions that were cut to write their lines.
const LAST_SESSIONS: Duration = Duration::from_secs(2);

/// The running program.
pub(crate) struct Process<'a> {
    pub(crate) args: &'a Args,
    pub(crate) paths: Paths,
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Arc<Workers>,
    /// What logs call the first of them.
    pub(crate) first_worker: u64,
    pub(crate) listeners: Listeners,
    /// The listener of `--admin`, `None` without that option.
    pub(crate) admin: Option<AdminListener>,
    pub(crate) pid_file: PidFile,
    pub(crate) shutdown_timeout: Option<Duration>,
    /// What the program goes by that a reload does not change.
    pub(crate) started: Settings,
    /// What a program that takes over is given of our environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Whom it has become, `None` if it has not.
    pub(crate) user: Option<User>,
    /// Whether this program was started to take over from another.
    pub(crate) is_successor: bool,
    /// Whether it serves in the background.
    pub(crate) is_daemon: bool,
    /// Who started it.
    pub(crate) parent: Pid,
    /// Whether connections are accepted; not so after WINCH.
    pub(crate) is_accepting: bool,
    /// The program that takes over, while it lives.
    pub(crate) successor: Option<Successor>,
    /// Configurations that some connections are still served by.
    pub(crate) replaced: Vec<Generation>,
}

/// The listener of `--admin`, for a program that takes over, and who answers on it.
#[derive(Debug)]
pub(crate) struct AdminListener {
    pub(crate) socket: Socket,
    pub(crate) task: JoinHandle<()>,
}

/// Starts, serves and ends; the exit code is nginx's.
pub fn run(args: &Args, configuration: &Configuration, paths: Paths) -> ExitCode {
    let is_there = privilege::is_daemon_child() || upgrade::is_successor();
    if configuration.process.daemon && !is_there {
        return privilege::start_daemon();
    }
    let served = serve(args, configuration, paths);
    otel::finish(LAST_SPANS);
    logs::writer::finish(LAST_LINES);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused) => ExitCode::FAILURE,
    }
}

/// A start that was refused; everything has been said.
struct Refused;

fn serve(args: &Args, configuration: &Configuration, paths: Paths) -> Result<(), Refused> {
    let parent = getppid();
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
    for line in explain::without_effect(&configuration.judgements) {
        tracing::info!("{line}");
    }
    let count = configuration.process.workers.count();
    let mut listeners = Listeners::default();
    let inherited = upgrade::inherited();
    let is_successor = inherited.is_some();
    let mut inherited = inherited.unwrap_or_default();
    let left = admin_socket(args, &mut inherited);
    listeners.inherit(inherited);
    let opened = open_all(&listeners, &snapshot, count)?;
    listeners.drop_inherited();
    version::tell_log();
    let admin = open_admin(args, left)?;
    let token = read_token(args)?;
    let user = configuration.process.serves_as().map_err(|text| {
        emerg(&text);
        Refused
    })?;
    places::limit(configuration.process.worker_connections, count);
    let shared = Arc::new(Shared::new(snapshot, count));
    limits::set(&configuration.process);
    let workers = start_workers(&configuration.process, &shared);
    let background =
        NoStealRuntime::new(1, "background", BlockingPoolOpts::default(), RuntimeOpts::default());
    let background = background.get_runtime_at(0).clone();
    if let Some(user) = &user {
        user::change(user).map_err(|text| {
            emerg(&text);
            Refused
        })?;
    }
    if let Some(folder) = &configuration.process.working_directory {
        limits::enter(Some(folder), &workers.handles).map_err(|text| {
            emerg(&text);
            Refused
        })?;
    }
    listeners.accept(opened, &shared, &workers);
    // Root's, so that nobody who serves can have root signal another process.
    let written = user::as_root(user.as_ref(), || PidFile::write(&configuration.process.pid));
    let pid_file = written.unwrap_or_else(|it| Err(user::cannot(&it))).map_err(|text| {
        emerg(&text);
        Refused
    })?;
    background.spawn(upstream::resolve::follow(Arc::clone(&shared)));
    background.spawn(upstream::state::follow(Arc::clone(&shared)));
    background.spawn(upstream::check::follow(Arc::clone(&shared)));
    let admin = admin.map(|(listener, socket)| {
        let task = background.spawn(admin::serve(listener, Arc::clone(&shared), token));
        AdminListener { socket, task }
    });
    let shutdown_timeout = configuration.process.worker_shutdown_timeout;
    let mut process = Process {
        args,
        paths,
        shared,
        workers,
        first_worker: FIRST_WORKER,
        listeners,
        admin,
        pid_file,
        shutdown_timeout,
        environment: configuration.process.environment(),
        started: configuration.process.clone(),
        user,
        is_successor,
        is_daemon: is_successor || privilege::is_daemon_child(),
        parent,
        is_accepting: true,
        successor: None,
        replaced: Vec::new(),
    };
    process.tell_start();
    process.close_console();
    privilege::report_ready();
    process.obey(&signals);
    Ok(())
}

impl Process<'_> {
    /// Has the error log of the configuration in force take what others write to standard error.
    fn close_console(&self) {
        console::close(self.args, &self.paths.prefix, &self.started);
    }
}

/// Starts the threads that serve, with their priority and on their processors.
fn start_workers(settings: &Settings, shared: &Arc<Shared>) -> Arc<Workers> {
    let workers = Workers::start(settings.workers.count());
    for worker in &workers.handles {
        worker.spawn(keep_time(Arc::clone(shared)));
    }
    limits::set_workers(settings, &workers.handles);
    Arc::new(workers)
}

/// Opens what a snapshot names and is not open yet; everything has been said of a refusal.
///
/// Source: nginx `ngx_connection.c`, `ngx_open_listening_sockets`.
fn open_all(
    listeners: &Listeners,
    snapshot: &crate::snapshot::Snapshot,
    workers: usize,
) -> Result<Vec<crate::listen::Opened>, Refused> {
    for _ in 0..BIND_TRIES {
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
        tracing::info!("try again to bind() after {}ms", BIND_PAUSE.as_millis());
        std::thread::sleep(BIND_PAUSE);
    }
    emerg("still could not bind()");
    Err(Refused)
}

/// Takes the socket of the admin address out of those that another program left us.
fn admin_socket(args: &Args, inherited: &mut Vec<Socket>) -> Option<Socket> {
    let address = args.admin?;
    let is_it = |it: &Socket| it.local_addr().is_ok_and(|it| it.as_socket() == Some(address));
    inherited.iter().position(is_it).map(|it| inherited.swap_remove(it))
}

/// The admin listener, and a copy of its socket for a program that takes over.
fn open_admin(args: &Args, left: Option<Socket>) -> Result<Option<(StdListener, Socket)>, Refused> {
    let Some(address) = args.admin else { return Ok(None) };
    let bound = || StdListener::bind(address).map(Socket::from);
    let listener = left.map_or_else(bound, Ok).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok((socket.try_clone()?.into(), socket))
    });
    listener.map(Some).map_err(|error| {
        emerg(&format!("bind() to {address} of \"--admin\" failed {}", os_text(&error)));
        Refused
    })
}

fn read_token(args: &Args) -> Result<Option<admin::Token>, Refused> {
    let Some(path) = &args.admin_token_file else { return Ok(None) };
    admin::Token::read(path).map(Some).map_err(|error| {
        let path = path.display();
        emerg(&format!("\"{path}\" of \"--admin-token-file\" is no token {}", os_text(&error)));
        Refused
    })
}

/// Ticks from one look at idle connections to servers to the next.
const TICKS_TO_TIDY: u64 = 4;

/// Moves a worker's coarse clock on, and does what is due.
async fn keep_time(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(timer::TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = (false, 0, 0);
    for tick in 0_u64.. {
        ticks.tick().await;
        timer::tick();
        logs::flush();
        if tick % TICKS_TO_TIDY == 0 {
            pool::tidy();
        }
        let now = shared.snapshot.load().generation;
        let is_now = (shared.is_stopping(), shared.cut_generation(), now);
        if is_now != seen {
            if is_now.0 && !seen.0 {
                pool::close_all();
            }
            seen = is_now;
            timer::wake_all();
        }
    }
}
