//! The directives of the main block and of `events`: workers, files, limits of the program.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use nix::unistd::geteuid;

use crate::conf::value::number;
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};
use crate::logs::rows::ErrorLog;

/// How many threads serve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Workers {
    /// One for each core.
    Auto,
    /// As many as are named.
    Count(NonZeroUsize),
}

impl Workers {
    /// The number of them on this machine.
    pub fn count(self) -> usize {
        match self {
            Self::Auto => available_parallelism().map_or(1, NonZeroUsize::get),
            Self::Count(count) => count.get(),
        }
    }
}

/// Who the program becomes once it has bound its addresses.
#[derive(Clone, Debug)]
pub struct User {
    /// Name of the user.
    pub name: Word,
    /// Name of the group, `None` for one named like the user.
    pub group: Option<Word>,
}

/// What the main block and `events` say, with nginx's defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that serve.
    pub workers: Workers,
    /// The file that holds the number of the process.
    pub pid: PathBuf,
    /// Whether the program goes to the background.
    pub daemon: bool,
    /// `error_log` lines of the main block; none for the log of the command line.
    pub error_logs: Vec<ErrorLog>,
    /// Open connections, clients and upstreams together, for each worker.
    pub worker_connections: u32,
    /// How long requests may go on once the program was told to end, `None` for as long as it takes.
    pub worker_shutdown_timeout: Option<Duration>,
    /// Whom to become; `None` stays who it is.
    pub user: Option<User>,
    /// Most open files, `None` for the system's limit.
    pub rlimit_nofile: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: Workers::Count(NonZeroUsize::MIN),
            pid: "logs/nginx.pid".into(),
            daemon: true,
            error_logs: Vec::new(),
            worker_connections: 512,
            worker_shutdown_timeout: None,
            user: None,
            rlimit_nofile: None,
        }
    }
}

impl Settings {
    /// Makes relative paths begin at the prefix.
    #[must_use]
    pub fn below(self, prefix: &Path) -> Self {
        Self { pid: prefix.join(&self.pid), ..self }
    }

    fn worker_processes(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        self.workers = if *word == "auto" {
            Workers::Auto
        } else {
            let count = number(word).and_then(|it| usize::try_from(it).ok());
            let refuse = || directive.refuse("invalid value");
            Workers::Count(count.and_then(NonZeroUsize::new).ok_or_else(refuse)?)
        };
        Ok(())
    }

    fn worker_connections(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let refuse = || word.refuse(format!("invalid number \"{word}\" in directive"));
        let count = number(word).and_then(|it| u32::try_from(it).ok());
        self.worker_connections = count.filter(|it| *it > 0).ok_or_else(refuse)?;
        Ok(())
    }

    fn user(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let name = directive.text().clone();
        self.user = Some(User { name, group: directive.arguments().get(1).cloned() });
        if geteuid().is_root() {
            return Ok(());
        }
        let text = "the \"user\" directive makes sense only if the master process runs with \
                    super-user privileges, ignored";
        Err(ConfError::new(text, directive.span.clone()).warning())
    }
}

const MAIN: &[Block] = &[Block::Main];
const EVENTS: &[Block] = &[Block::Events];

const fn main(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: MAIN, arguments: 1..=1, effect }
}

const fn event(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVENTS, arguments: 1..=1, effect }
}

const ONE_PROCESS: &str = "one process with many threads serves";
const SYSTEM: &str = "the system schedules the threads";
const CONNECTIONS: &str = "the runtime accepts connections as they come";

/// Directives of the main block.
pub const ROWS: &[Row<Settings>] = &[
    main("worker_processes", Effect::Set(Settings::worker_processes)),
    main(
        "pid",
        Effect::Set(|it, directive| {
            it.pid = directive.text().to_path();
            Ok(())
        }),
    ),
    main(
        "daemon",
        Effect::Set(|it, directive| {
            it.daemon = directive.flag()?;
            Ok(())
        }),
    ),
    Row {
        name: "error_log",
        within: MAIN,
        arguments: 1..=2,
        effect: Effect::Add(|it, directive| {
            it.error_logs.push(ErrorLog::read(directive)?);
            Ok(())
        }),
    },
    main(
        "worker_shutdown_timeout",
        Effect::Set(|it, directive| {
            it.worker_shutdown_timeout = Some(directive.milliseconds()?).filter(|it| !it.is_zero());
            Ok(())
        }),
    ),
    main(
        "worker_rlimit_nofile",
        Effect::Set(|it, directive| {
            it.rlimit_nofile = Some(directive.number()?);
            Ok(())
        }),
    ),
    Row { name: "user", within: MAIN, arguments: 1..=2, effect: Effect::Set(Settings::user) },
    Row {
        name: "env",
        within: MAIN,
        arguments: 1..=1,
        effect: Effect::CheckedEach(|_| Ok(()), "nothing that serves reads the environment"),
    },
    main("working_directory", Effect::Nothing("every path is made absolute")),
    main("master_process", Effect::Checked(flag, ONE_PROCESS)),
    main("worker_priority", Effect::Nothing(SYSTEM)),
    Row {
        name: "worker_cpu_affinity",
        within: MAIN,
        arguments: 1..=MANY,
        effect: Effect::Nothing(SYSTEM),
    },
    main("worker_rlimit_core", Effect::Checked(offset, "the system's limit holds")),
    main("timer_resolution", Effect::Checked(milliseconds, "the runtime keeps the time")),
    main("lock_file", Effect::Nothing(ONE_PROCESS)),
    main("debug_points", Effect::Nothing("there are no debug points")),
    Row {
        name: "thread_pool",
        within: MAIN,
        arguments: 1..=3,
        effect: Effect::CheckedEach(|_| Ok(()), "the runtime owns its threads"),
    },
    main("pcre_jit", Effect::Checked(flag, "expressions are compiled once")),
    main(
        "load_module",
        Effect::Refused("modules are built in: remove the line, the directives tell what is there"),
    ),
];

/// Directives of `events`.
pub const EVENT_ROWS: &[Row<Settings>] = &[
    event("worker_connections", Effect::Set(Settings::worker_connections)),
    event("use", Effect::Checked(event_method, "the runtime uses epoll")),
    event("multi_accept", Effect::Checked(flag, CONNECTIONS)),
    event("accept_mutex", Effect::Checked(flag, CONNECTIONS)),
    event("accept_mutex_delay", Effect::Checked(milliseconds, CONNECTIONS)),
    event(
        "debug_connection",
        Effect::CheckedEach(|_| Ok(()), "the level of the error log holds for every connection"),
    ),
];

fn flag(directive: &Directive) -> Result<(), ConfError> {
    directive.flag().map(drop)
}

fn offset(directive: &Directive) -> Result<(), ConfError> {
    directive.offset().map(drop)
}

fn milliseconds(directive: &Directive) -> Result<(), ConfError> {
    directive.milliseconds().map(drop)
}

/// Those which nginx has on Linux.
fn event_method(directive: &Directive) -> Result<(), ConfError> {
    let word = directive.text();
    match word.as_str() {
        "epoll" | "select" | "poll" => Ok(()),
        _ => Err(word.refuse(format!("invalid event type \"{word}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(
        set: fn(&mut Settings, &Directive) -> Result<(), ConfError>,
        text: &str,
        value: fn(&Settings) -> T,
        expected: Result<T, &str>,
    ) {
        let mut settings = Settings::default();
        let actual = set(&mut settings, &directive(text)).map_err(|it| it.reason);
        assert_eq!(actual.map(|()| value(&settings)), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn workers_are_counted_or_one_for_each_core() {
        let set = Settings::worker_processes;
        check(set, "worker_processes auto;", |it| it.workers, Ok(Workers::Auto));
        check(set, "worker_processes 4;", |it| it.workers.count(), Ok(4));
        let refused = Err("\"worker_processes\" directive invalid value");
        check(set, "worker_processes 0;", |it| it.workers.count(), refused);
        assert_eq!(Settings::default().workers.count(), 1);
    }

    #[test]
    fn connections_are_a_number() {
        let set = Settings::worker_connections;
        check(set, "worker_connections 1024;", |it| it.worker_connections, Ok(1024));
        let refused = Err("invalid number \"1k\" in directive");
        check(set, "worker_connections 1k;", |it| it.worker_connections, refused);
    }

    #[test]
    fn only_the_methods_of_linux_are_known() {
        assert!(event_method(&directive("use epoll;")).is_ok());
        let reason = event_method(&directive("use kqueue;")).unwrap_err().reason;
        assert_eq!(reason, "invalid event type \"kqueue\"");
    }

    #[test]
    fn the_pid_file_lies_below_the_prefix_unless_it_is_absolute() {
        let pid = |pid: &str| {
            Settings { pid: pid.into(), ..Settings::default() }.below(Path::new("/srv/")).pid
        };
        assert_eq!(pid("logs/nginx.pid"), Path::new("/srv/logs/nginx.pid"));
        assert_eq!(pid("/run/nginx.pid"), Path::new("/run/nginx.pid"));
    }
}
