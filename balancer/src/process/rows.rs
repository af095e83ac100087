//! The directives of the main block and of `events`: workers, files, limits of the program.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use crate::conf::value::number;
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row};
use crate::logs::rows::ErrorLine;
use crate::process::user::{User, is_master};

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

/// On which processors workers run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Affinity {
    /// Whether each worker has one processor, in turn.
    pub is_auto: bool,
    /// Processors by mask, the numbers counted from 0; of several masks one for each worker.
    pub masks: Vec<Vec<usize>>,
}

impl Affinity {
    /// The processors of a worker; `None` for all.
    ///
    /// Source: nginx `nginx.c`, `ngx_get_cpu_affinity`.
    #[must_use]
    pub fn of(&self, worker: usize) -> Option<Vec<usize>> {
        if self.is_auto {
            let all: Vec<usize>;
            let mask = if let Some(mask) = self.masks.first() {
                mask
            } else {
                all = (0..Workers::Auto.count()).collect();
                &all
            };
            return Some(vec![*mask.get(worker % mask.len().max(1))?]);
        }
        self.masks.get(worker).or(self.masks.last()).cloned()
    }
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
    pub error_logs: Vec<ErrorLine>,
    /// Open connections, clients and upstreams together, for each worker.
    pub worker_connections: u32,
    /// How long requests may go on once the program was told to end, `None` for as long as it takes.
    pub worker_shutdown_timeout: Option<Duration>,
    /// Whom to become; `None` stays who it is.
    pub user: Option<User>,
    /// Most open files of a worker, `None` for the system's limit.
    pub rlimit_nofile: Option<u64>,
    /// Longest core file, `None` for the system's limit.
    pub rlimit_core: Option<u64>,
    /// How willingly workers give way to others, from -20 to 20.
    pub priority: i32,
    /// `worker_cpu_affinity`
    pub affinity: Affinity,
    /// Whether nginx would have a master process; without one it stays who it is.
    pub has_master: bool,
    /// `env`: names of variables, or names with values.
    pub env: Vec<String>,
    /// `working_directory`: that of the workers, `None` for that of the program.
    pub working_directory: Option<PathBuf>,
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
            rlimit_core: None,
            priority: 0,
            affinity: Affinity::default(),
            has_master: true,
            env: Vec::new(),
            working_directory: None,
        }
    }
}

impl Settings {
    /// Makes relative paths begin at the prefix.
    #[must_use]
    pub fn below(self, prefix: &Path) -> Self {
        Self { pid: prefix.join(&self.pid), ..self }
    }

    /// Whom the program becomes; `None` to stay who it is. An error is nginx's text.
    ///
    /// nginx without a master process keeps its privileges.
    pub fn serves_as(&self) -> Result<Option<User>, String> {
        if !is_master() || !self.has_master {
            return Ok(None);
        }
        let user = self.user.clone().map_or_else(User::nobody, Ok)?;
        Ok(Some(user).filter(|it| !it.uid.is_root()))
    }

    /// What a program that takes over is given of the environment; `TZ` is always kept.
    ///
    /// Source: nginx `nginx.c`, `ngx_set_environment`.
    pub fn environment(&self) -> Vec<(String, String)> {
        let named = self.env.iter().any(|it| it == "TZ" || it.starts_with("TZ="));
        let words = self.env.iter().map(String::as_str).chain((!named).then_some("TZ"));
        let variable = |word: &str| match word.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => std::env::var(word).ok().map(|value| (word.to_owned(), value)),
        };
        words.filter_map(variable).collect()
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
        let refuse = || word.refuse(format!("invalid number \"{word}\""));
        let count = number(word).and_then(|it| u32::try_from(it).ok());
        self.worker_connections = count.filter(|it| *it > 0).ok_or_else(refuse)?;
        Ok(())
    }

    fn worker_priority(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let digits = word.strip_prefix('-').unwrap_or(word);
        let value = number(digits).and_then(|it| i32::try_from(it).ok());
        let value = value.ok_or_else(|| directive.refuse("invalid number"))?;
        self.priority = if digits.len() < word.len() { -value } else { value };
        Ok(())
    }

    /// Source: nginx `nginx.c`, `ngx_set_cpu_affinity`.
    fn worker_cpu_affinity(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let words = directive.arguments();
        self.affinity.is_auto = words[0] == "auto";
        for word in &words[usize::from(self.affinity.is_auto)..] {
            let mut mask = Vec::new();
            // Masks are read from their ends.
            for (processor, digit) in word.chars().rev().filter(|it| *it != ' ').enumerate() {
                match digit {
                    '0' => {}
                    '1' => mask.push(processor),
                    strange => {
                        let text =
                            format!("invalid character \"{strange}\" in \"worker_cpu_affinity\"");
                        return Err(word.refuse(text));
                    }
                }
            }
            self.affinity.masks.push(mask);
        }
        Ok(())
    }

    fn user(&mut self, directive: &Directive) -> Result<(), ConfError> {
        if is_master() {
            let name = directive.text();
            let group = directive.arguments().get(1).unwrap_or(name);
            let found = User::find(name, group);
            self.user = Some(found.map_err(|it| ConfError::new(it, directive.span.clone()))?);
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
        arguments: 1..=MANY,
        effect: Effect::Add(|it, directive| {
            it.error_logs.push(ErrorLine::read(directive)?);
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
        effect: Effect::Add(|it, directive| {
            it.env.push(directive.text().to_string());
            Ok(())
        }),
    },
    main(
        "working_directory",
        Effect::Set(|it, directive| {
            it.working_directory = Some(directive.text().to_path());
            Ok(())
        }),
    ),
    main(
        "master_process",
        Effect::Set(|it, directive| {
            it.has_master = directive.flag()?;
            Ok(())
        }),
    ),
    main("worker_priority", Effect::Set(Settings::worker_priority)),
    Row {
        name: "worker_cpu_affinity",
        within: MAIN,
        arguments: 1..=MANY,
        effect: Effect::Set(Settings::worker_cpu_affinity),
    },
    main(
        "worker_rlimit_core",
        Effect::Set(|it, directive| {
            it.rlimit_core = Some(directive.offset()?);
            Ok(())
        }),
    ),
    main("timer_resolution", Effect::Checked(milliseconds, "the runtime keeps the time")),
    main("lock_file", Effect::Nothing(ONE_PROCESS)),
    main("debug_points", Effect::Checked(debug_points, "there are no debug points")),
    Row {
        name: "thread_pool",
        within: MAIN,
        arguments: 2..=3,
        effect: Effect::CheckedEach(thread_pool, "the runtime owns its threads"),
    },
    main("pcre_jit", Effect::Checked(flag, "expressions are compiled once")),
    main("load_module", Effect::CheckedEach(load_module, "its function is built in")),
];

/// Directives of `events`.
pub const EVENT_ROWS: &[Row<Settings>] = &[
    event("worker_connections", Effect::Set(Settings::worker_connections)),
    event("use", Effect::Checked(event_method, "the runtime uses epoll")),
    event("multi_accept", Effect::Checked(flag, CONNECTIONS)),
    event("accept_mutex", Effect::Checked(flag, CONNECTIONS)),
    event("accept_mutex_delay", Effect::Checked(milliseconds, CONNECTIONS)),
    event(
        "worker_aio_requests",
        Effect::Checked(|it| it.number().map(drop), "the runtime owns how files are read"),
    ),
    event(
        "debug_connection",
        Effect::CheckedEach(|_| Ok(()), "the level of the error log holds for every connection"),
    ),
];

fn flag(directive: &Directive) -> Result<(), ConfError> {
    directive.flag().map(drop)
}

fn milliseconds(directive: &Directive) -> Result<(), ConfError> {
    directive.milliseconds().map(drop)
}

fn debug_points(directive: &Directive) -> Result<(), ConfError> {
    directive.choice(&[("stop", ()), ("abort", ())])
}

fn thread_pool(directive: &Directive) -> Result<(), ConfError> {
    for word in &directive.arguments()[1..] {
        let refuse = |name: &str| word.refuse(format!("invalid {name} value \"{word}\""));
        if let Some(value) = word.parameter("threads") {
            number(value).filter(|it| 0 < *it).ok_or_else(|| refuse("threads"))?;
        } else if let Some(value) = word.parameter("max_queue") {
            number(value).ok_or_else(|| refuse("max_queue"))?;
        } else {
            return Err(word.invalid_parameter());
        }
    }
    Ok(())
}

/// Modules of nginx's packages, and the directive each is wanted for.
const MODULES: &[(&str, &str)] = &[("ngx_stream_module", "stream")];

fn load_module(directive: &Directive) -> Result<(), ConfError> {
    let word = directive.text();
    let file = word.rsplit('/').next().unwrap_or_default();
    let module = file.strip_suffix(".so").unwrap_or(file);
    let catalog = crate::modules::catalog();
    let wanted = MODULES.iter().find(|(name, _)| *name == module);
    if wanted.is_some_and(|(_, wanted)| catalog.contains(wanted)) {
        return Ok(());
    }
    let text = format!("module \"{word}\" is not part of balancer");
    let function = module.strip_prefix("ngx_").unwrap_or(module);
    let function = function.strip_suffix("_module").unwrap_or(function);
    Err(word.refuse(text).with_help(format!(
        "what is missing is \"{function}\"; without its \
         directives, remove the line"
    )))
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
        let refused = Err("invalid number \"1k\"");
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
