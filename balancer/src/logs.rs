//! Access lines and error lines: formats compiled once, written in batches.
//!
//! A request appends to its worker's memory; [`writer`] has the threads that write files.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;

use crate::conf::error::os_text;
use crate::engine::exchange::Exchange;
use crate::http::location::Location;
use crate::http::variable::{Template, Unset};
use crate::variable::Subject;

use self::error::ErrorLogs;
use self::rows::{Escape, Severity};
use self::writer::{Keeping, LogFile};

pub mod error;
pub mod escape;
mod keeping;
pub mod rows;
pub mod syslog;
pub mod time;
pub mod writer;

pub use self::writer::{flush, reopen};

/// The format that needs no `log_format`.
///
/// Source: nginx `ngx_http_log_module.c`, `ngx_http_combined_fmt`.
pub const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                            $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// An `access_log` line.
///
/// Without `gzip` neither `buffer` nor `flush` has a place here: lines are held back for a tick at
/// most, whatever the configuration allows.
#[derive(Debug)]
pub struct AccessLog<S = Exchange> {
    /// What is written.
    pub format: Arc<Template<S>>,
    /// How values are made safe.
    pub escape: Escape,
    /// Where it goes.
    pub to: Destination<S>,
    /// Nothing is written when this comes out empty or `0`.
    pub condition: Option<Template<S>>,
}

/// Where access lines go.
#[derive(Debug)]
pub enum Destination<S> {
    /// To a file that is open, or a server of syslog.
    File(Arc<LogFile>),
    /// To files whose names have variables.
    Named {
        /// Who writes them.
        log: Arc<LogFile>,
        /// The name.
        path: Template<S>,
        /// Which of them stay open.
        keeping: Option<Keeping>,
    },
}

thread_local! {
    static CONDITION: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<S: Subject> AccessLog<S> {
    /// Whether its condition holds.
    pub fn wants(&self, subject: &S) -> bool {
        let Some(condition) = &self.condition else { return true };
        CONDITION.with_borrow_mut(|value| {
            value.clear();
            condition.write(subject, value);
            !matches!(value.as_slice(), b"" | b"0")
        })
    }

    /// Writes the line of a request or session.
    pub fn record(&self, subject: &S) {
        match &self.to {
            Destination::File(file) => file.collect(|out| self.write(subject, out)),
            Destination::Named { log, path, keeping } => {
                let path = PathBuf::from(OsString::from_vec(path.value(subject)));
                log.collect_at(path, *keeping, |out| self.write(subject, out));
            }
        }
    }

    /// Appends the line of a request or session, its end included.
    pub fn write(&self, subject: &S, out: &mut Vec<u8>) {
        let (escape, unset): (escape::Escape, _) = match self.escape {
            Escape::Default => (escape::default, Unset::Dash),
            Escape::Json => (escape::json, Unset::Empty),
            Escape::None => (escape::none, Unset::Empty),
        };
        self.format.write_escaped(subject, unset, escape, out);
        out.push(b'\n');
    }
}

/// How grave an event is, in nginx's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// The client's fault.
    Info,
    /// Asked for by the configuration.
    Notice,
    /// We serve with less.
    Warn,
    /// A request failed.
    Error,
}

impl Level {
    /// The one below; what delays is less grave than what refuses.
    #[must_use]
    pub fn lower(self) -> Self {
        match self {
            Self::Error => Self::Warn,
            Self::Warn => Self::Notice,
            Self::Notice | Self::Info => Self::Info,
        }
    }

    /// The same, among all that an `error_log` may name.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Notice => Severity::Notice,
            Self::Warn => Severity::Warn,
            Self::Error => Severity::Error,
        }
    }
}

/// Writes the access lines of a request that is over.
pub fn access(exchange: &Exchange, location: &Location) {
    let mut has_root = None;
    for log in location.access_logs.iter().filter(|it| it.wants(exchange)) {
        let is_named = matches!(log.to, Destination::Named { .. });
        if !is_named || *has_root.get_or_insert_with(|| self::has_root(exchange, location)) {
            log.record(exchange);
        }
    }
}

/// Whether the folder of a request is there: names that clients choose shall not make files for
/// hosts that are not served.
///
/// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_script_write`.
fn has_root(exchange: &Exchange, location: &Location) -> bool {
    let folder = location.files.root.folder(exchange);
    let found = std::fs::metadata(OsStr::from_bytes(&folder));
    let error = match found {
        Ok(found) if found.is_dir() => return true,
        Ok(_) => Errno::ENOTDIR.into(),
        Err(error) => error,
    };
    let text = format!("testing \"{}\" existence failed", String::from_utf8_lossy(&folder));
    note(Level::Error, exchange, &format!("{text} {}", os_text(&error)), "logging request");
    false
}

/// Writes a line about a request to the error logs of its location, or of its server before that.
pub fn note(level: Level, exchange: &Exchange, text: &str, action: &str) {
    let severity = level.severity();
    // Before a server is known the connection is not about anybody's requests.
    let unknown = ErrorLogs::default();
    let logs = exchange.location().map_or(&unknown, |it| &it.error_logs);
    if logs.wants(severity) {
        let text = error::request_line(exchange, text, action);
        logs.write(severity, exchange.client_serial(), &text);
    }
}
