//! What the command line asks for instead of serving: version, help, test, signals.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::{Signal as Number, kill};
use nix::unistd::Pid;

use crate::args::{Args, Order, Version, is_called_nginx};
use crate::conf::error::{self, ConfError, Marks, os_text};
use crate::listen;
use crate::logs::error::Sink;
use crate::logs::rows::Severity;
use crate::process::{self, complain, console, emerg, privilege, version};
use crate::snapshot::build::{self, Configuration, Paths};

/// nginx's own, so that a start without `-p` finds what it would find.
pub(crate) const PREFIX: &str = "/usr/local/nginx/";

/// The pid file of a configuration that names none is below the prefix, too.
pub(crate) const CONF: &str = "conf/nginx.conf";

/// Does what the words ask for.
pub fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(text) => {
            complain(&format!("nginx: {text}"));
            return ExitCode::FAILURE;
        }
    };
    if args.help || args.version != Version::None {
        version::tell(args.version);
        if args.help {
            let program = std::env::args().next().unwrap_or_default();
            let commands = if is_called_nginx(&program) { "" } else { COMMANDS };
            complain(&format!("{USAGE}{commands}"));
        }
        if !args.test {
            return ExitCode::SUCCESS;
        }
    }
    let prefix = args.prefix.clone().unwrap_or_else(|| PREFIX.into());
    let conf = prefix.join(args.conf.as_deref().unwrap_or(Path::new(CONF)));
    let paths = Paths { prefix, conf };
    console::open(&args, &paths.prefix);
    let configuration = match build::read(&paths, args.globals.as_deref(), args.strict) {
        Ok(configuration) => configuration,
        Err(problems) => {
            tell(&problems);
            if args.test {
                complain(&format!(
                    "nginx: configuration file {} test failed",
                    paths.conf.display()
                ));
            }
            return ExitCode::FAILURE;
        }
    };
    // Who started us in the background has told them.
    if !privilege::is_daemon_child() {
        tell(&configuration.warnings);
    }
    if args.test {
        return test(&args, &configuration, &paths);
    }
    match args.order {
        Some(order) => signal(order, &configuration.process.pid),
        None => process::run(&args, &configuration, paths),
    }
}

/// Prints problems, with marks where a person reads them.
pub(crate) fn tell(problems: &[ConfError]) {
    if problems.is_empty() {
        return;
    }
    for problem in problems {
        let severity = match problem.level {
            error::Level::Emerg => Severity::Emerg,
            error::Level::Warn => Severity::Warn,
        };
        console::say(severity, &problem.to_string());
    }
    let marks = match (io::stderr().is_terminal(), std::env::var_os("NO_COLOR")) {
        (false, _) => return,
        (true, Some(_)) => Marks::Plain,
        (true, None) => Marks::Colored,
    };
    let lines = error::render(problems, Marks::Absent).len();
    complain(error::render(problems, marks)[lines..].trim_end());
}

const USAGE: &str = "Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]
             [--admin address [--admin-token-file filename]] [--strict]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: /usr/local/nginx/)
  -e filename   : set error log file (default: logs/error.log)
  -c filename   : set configuration file (default: conf/nginx.conf)
  -g directives : set global directives out of configuration file
  --admin addr  : serve metrics and status on this address
  --admin-token-file filename
                : let whoever tells the token in this file change servers there
  --strict      : accept nginx's own words only, and no name that does not resolve
";

const COMMANDS: &str = "
Commands, if it is not called nginx:
  test          : test configuration and explain it, see test -h
  directives    : show every directive and what becomes of it
  top           : show what the admin listener knows on a terminal
  healthcheck   : ask the admin listener whether requests are accepted
";

fn tell_syntax(paths: &Paths) {
    complain(&format!("nginx: the configuration file {} syntax is ok", paths.conf.display()));
}

/// Everything short of serving.
fn test(args: &Args, configuration: &Configuration, paths: &Paths) -> ExitCode {
    let file = paths.conf.display();
    if !args.quiet {
        tell_syntax(paths);
    }
    let problems = try_out(configuration);
    tell(&problems);
    if problems.iter().any(|it| it.level == error::Level::Emerg) {
        complain(&format!("nginx: configuration file {file} test failed"));
        return ExitCode::FAILURE;
    }
    if !args.quiet {
        complain(&format!("nginx: configuration file {file} test is successful"));
    }
    if args.dump {
        return dump(configuration);
    }
    ExitCode::SUCCESS
}

/// Opens, looks up and binds all that serving needs, and lets go: what stood in the way, and what
/// the operator is to be told.
pub(crate) fn try_out(configuration: &Configuration) -> Vec<ConfError> {
    let mut snapshot = match build::build(configuration, None) {
        Err(found) => return found,
        Ok(snapshot) => snapshot,
    };
    let pid = privilege::try_pid_file(&configuration.process.pid).err();
    let prefix = &configuration.paths.prefix;
    let logs = configuration.process.error_logs.iter();
    let logs = logs.filter_map(|it| Sink::open(it, prefix).err());
    let refused: Vec<_> = pid.into_iter().chain(logs).map(ConfError::of_the_world).collect();
    if !refused.is_empty() {
        return refused;
    }
    let mut problems = std::mem::take(&mut snapshot.warnings);
    for (bind, options) in snapshot.binds() {
        let opened = listen::open(bind, options, 1, listen::Others::Unknown);
        if let Err(listen::CannotBind { bind, error }) = opened
            && error.kind() != io::ErrorKind::AddrInUse
        {
            let text = format!("bind() to {bind} failed {}", os_text(&error));
            problems.push(ConfError::of_the_world(text));
        }
    }
    problems
}

/// Writes every file that was read, as `-T` does.
fn dump(configuration: &Configuration) -> ExitCode {
    let mut out = io::stdout().lock();
    let written = out.write_all(&configuration.sources.dump());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends a signal to the program whose number the pid file holds.
fn signal(order: Order, pid_file: &PathBuf) -> ExitCode {
    let failed = |severity, text: String| {
        console::say(severity, &text);
        ExitCode::FAILURE
    };
    console::say(Severity::Notice, "signal process started");
    let text = match std::fs::read_to_string(pid_file) {
        Ok(text) => text,
        Err(error) => {
            let path = pid_file.display();
            let text = format!("open() \"{path}\" failed {}", os_text(&error));
            return failed(Severity::Error, text);
        }
    };
    let word = text.trim_end();
    let Some(pid) = word.parse().ok().filter(|it| *it > 0) else {
        let text = format!("invalid PID number \"{word}\" in \"{}\"", pid_file.display());
        return failed(Severity::Error, text);
    };
    let number = match order {
        Order::Stop => Number::SIGTERM,
        Order::Quit => Number::SIGQUIT,
        Order::Reopen => Number::SIGUSR1,
        Order::Reload => Number::SIGHUP,
    };
    match kill(Pid::from_raw(pid), number) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            let text = format!("({}: {})", errno as i32, errno.desc());
            failed(Severity::Alert, format!("kill({pid}, {}) failed {text}", number as i32))
        }
    }
}

/// Tells of a start that was refused by several problems at once.
pub(crate) fn refuse(problems: &[ConfError]) {
    if problems.is_empty() {
        emerg("the configuration was refused");
    }
    tell(problems);
}
