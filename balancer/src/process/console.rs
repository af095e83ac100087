//! What is told before the configured error log is open, and where.
//!
//! As in nginx: a dated line goes to the log of the command line, `-e`, and what is a warning or
//! worse to standard error as well, without a date. Once the configured log is open it takes the
//! place of the first.
//!
//! Source: nginx `ngx_log.c`, `ngx_log_init` and `ngx_log_error_core`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::args::Args;
use crate::logs::error::{self, Taken, failed};
use crate::logs::rows::{Severity, Target};
use crate::process::rows::Settings;

/// Where errors go when neither `-e` nor a directive says so.
pub(crate) const IMPLICIT: &str = "logs/error.log";

/// The log of the command line.
#[derive(Debug)]
enum Early {
    /// A sub-command has none, and the configured log has taken its place where the program serves.
    Absent,
    Stderr,
    File(File),
}

static EARLY: Mutex<Early> = Mutex::new(Early::Absent);

fn early() -> MutexGuard<'static, Early> {
    EARLY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the log of the command line; without it, standard error is the log.
pub(crate) fn open(args: &Args, prefix: &Path) {
    *early() = match args.error_log.as_deref().unwrap_or(IMPLICIT) {
        "" | "stderr" => Early::Stderr,
        name => {
            let path = prefix.join(name);
            let opened = OpenOptions::new().append(true).create(true).mode(0o644).open(&path);
            let told = |error: io::Error| {
                let text = failed(&path, &error);
                complain(&format!("nginx: [alert] could not open error log file: {text}"));
            };
            opened.map_err(told).map_or(Early::Stderr, Early::File)
        }
    };
}

/// Whether the program serves, and standard error is not a place to tell anything any more.
static SERVES: AtomicBool = AtomicBool::new(false);

/// From now on only the configured log is told; what others write to standard error goes there, too.
///
/// To be called again when that log is another file, or its file was renamed: whoever holds the old
/// one open keeps it on the disk.
///
/// Source: nginx `ngx_log.c`, `ngx_log_redirect_stderr`.
pub(crate) fn close(args: &Args, prefix: &Path, settings: &Settings) {
    SERVES.store(true, Ordering::Relaxed);
    *early() = Early::Absent;
    let lines = &settings.error_logs;
    let is_told = lines.iter().any(|it| matches!(it.target, Target::Stderr));
    let named = lines.iter().find_map(|it| match &it.target {
        Target::File(path) => Some(path.as_str()),
        Target::Stderr | Target::Syslog(_) => None,
    });
    let implicit = || Some(args.error_log.as_deref().unwrap_or(IMPLICIT));
    let name = if lines.is_empty() { implicit() } else { named };
    let Some(name) = name.filter(|it| !is_told && !matches!(*it, "" | "stderr")) else { return };
    if let Ok(file) = OpenOptions::new().append(true).open(prefix.join(name)) {
        // What a panic writes is told nowhere else; without it, it goes where it went before.
        let _ = nix::unistd::dup2_stderr(&file);
    }
}

/// Tells what happens while the program starts, is tested or sends a signal.
pub(crate) fn say(severity: Severity, text: &str) {
    let taken = error::tell(severity, text).unwrap_or_else(|| match &mut *early() {
        Early::File(log) => {
            // There is nowhere to report that this failed.
            let _ = log.write_all(&error::line(severity, None, text));
            Taken::ByFile
        }
        Early::Stderr if Severity::Notice <= severity => {
            let _ = io::stderr().lock().write_all(&error::line(severity, None, text));
            Taken::ByStderr
        }
        Early::Stderr | Early::Absent => Taken::ByFile,
    });
    let shows = taken == Taken::ByFile && !SERVES.load(Ordering::Relaxed);
    if shows && Severity::Warn <= severity {
        complain(&format!("nginx: [{}] {text}", severity.word()));
    }
}

/// Tells of a start that fails.
pub(crate) fn emerg(text: &str) {
    say(Severity::Emerg, text);
}

/// Writes a line to standard error.
pub(crate) fn complain(text: &str) {
    // There is nowhere to report that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
