//! The error log: what the program tells, in the shape of nginx's lines.
//!
//! The life of the process is told by `tracing` events, and goes to the log of the main block.
//! `info` events are what nginx calls `notice`; a field `severity` names a level that `tracing` does
//! not have, a field `connection` the connection it is about. Pingora's own records come along from
//! `warn` on. What is told of a request or a session goes to the log of its block, [`ErrorLogs`].

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::rows::{ErrorLine, Severity, Target};
use super::time;
use super::writer::LogFile;
use crate::conf::error::os_text;
use crate::engine::exchange::Exchange;

/// nginx's `NGX_MAX_ERROR_STR`: bytes of a line, its end included.
const LONGEST: usize = 2048;

/// Where lines of the main block go now; nowhere before [`direct`].
static MAIN: ArcSwapOption<Vec<Sink>> = ArcSwapOption::const_empty();

/// One `error_log` line.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The least grave events it takes.
    pub severity: Severity,
    /// Where they are written.
    pub file: Arc<LogFile>,
}

impl Sink {
    /// Opens what a line names; relative names begin at `prefix`. An error is nginx's text.
    pub fn open(line: &ErrorLine, prefix: &Path) -> Result<Self, String> {
        let file = match &line.target {
            Target::Stderr => LogFile::stderr().map_err(|it| failed(Path::new("stderr"), &it))?,
            Target::File(path) => {
                let path = prefix.join(path.as_str());
                LogFile::open(&path).map_err(|it| failed(&path, &it))?
            }
            Target::Syslog(peer) => LogFile::syslog(peer)?,
        };
        Ok(Self { severity: line.level, file })
    }
}

/// What nginx says of a log that cannot be opened.
#[must_use]
pub fn failed(path: &Path, error: &io::Error) -> String {
    format!("open() \"{}\" failed {}", path.display(), os_text(error))
}

/// The logs of a block of the configuration.
#[derive(Clone, Debug, Default)]
pub struct ErrorLogs {
    /// `None` when neither the block nor one around it names any: then those of the main block.
    own: Option<Arc<[Sink]>>,
}

impl ErrorLogs {
    /// The logs that `error_log` lines name; without any, those of the main block.
    #[must_use]
    pub fn new(sinks: Vec<Sink>) -> Self {
        Self { own: Some(sinks).filter(|it| !it.is_empty()).map(Arc::from) }
    }

    /// Whether any of them takes events this grave.
    #[must_use]
    pub fn wants(&self, severity: Severity) -> bool {
        let wants = |sinks: &[Sink]| sinks.iter().any(|it| it.severity <= severity);
        match &self.own {
            Some(own) => wants(own),
            None => main().as_ref().is_some_and(|it| wants(it)),
        }
    }

    /// Writes a line about a connection.
    pub fn write(&self, severity: Severity, connection: u64, text: &str) {
        let write = |sinks: &[Sink]| write(sinks, severity, Some(connection), text);
        match &self.own {
            Some(own) => write(own),
            None => {
                if let Some(sinks) = &*main() {
                    write(sinks);
                }
            }
        }
    }
}

/// Makes this the place where all events of the process go. An error when there is one already.
pub fn init() -> Result<(), TryInitError> {
    tracing_subscriber::registry().with(ErrorLog).try_init()
}

/// Replaces where lines of the main block go, at the start and with each configuration.
pub fn direct(sinks: Vec<Sink>) {
    MAIN.store(Some(Arc::new(sinks)));
}

/// Who has taken a line of the main log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// A file, or nobody: it may be shown on standard error.
    ByFile,
    /// Standard error has it.
    ByStderr,
}

/// Writes a line to the logs of the main block; `None` before [`direct`].
pub fn tell(severity: Severity, text: &str) -> Option<Taken> {
    let sinks = main();
    let sinks = sinks.as_ref()?;
    write(sinks, severity, None, text);
    let shown = sinks.iter().any(|it| it.severity <= severity && it.file.is_stderr());
    Some(if shown { Taken::ByStderr } else { Taken::ByFile })
}

fn main() -> Guard<Option<Arc<Vec<Sink>>>> {
    MAIN.load()
}

fn write(sinks: &[Sink], severity: Severity, connection: Option<u64>, text: &str) {
    if sinks.iter().any(|it| it.severity <= severity) {
        let line = line(severity, connection, text);
        sinks
            .iter()
            .filter(|it| it.severity <= severity)
            .for_each(|it| it.file.tell(severity, &line));
    }
}

/// What a line says of a request: text, action, and whatever is known of who asked for what.
///
/// Source: nginx `ngx_http_request.c`, `ngx_http_log_error` and `ngx_http_log_error_handler`.
pub fn request_line(exchange: &Exchange, text: &str, action: &str) -> String {
    let mut line = if action.is_empty() {
        format!("{text}, client: {}", exchange.client_name())
    } else {
        format!("{text} while {action}, client: {}", exchange.client_name())
    };
    let quoted = |line: &mut String, label: &str, value: &[u8]| {
        if !value.is_empty() {
            let value = String::from_utf8_lossy(value);
            // Writing to a string does not fail.
            let _ = write!(line, ", {label}: \"{value}\"");
        }
    };
    if let Some(server) = &exchange.server {
        let _ = write!(line, ", server: {}", server.name);
    } else if let Some(local) = exchange.client.as_ref().and_then(|it| it.local) {
        let _ = write!(line, ", server: {local}");
    }
    let request = &exchange.request;
    quoted(&mut line, "request", exchange.text(request.line));
    if exchange.is_subrequest {
        quoted(&mut line, "subrequest", &exchange.path);
    }
    if let Some(attempt) = exchange.attempts.last() {
        let name = attempt.backend.as_ref().map_or(&*attempt.upstream, |it| &it.name);
        let separator = if name.starts_with("unix:") { ":" } else { "" };
        let target = String::from_utf8_lossy(exchange.text(request.path_and_query));
        let upstream = format!("http://{name}{separator}{target}");
        quoted(&mut line, "upstream", upstream.as_bytes());
    }
    if let Some(host) = request.host {
        let host = String::from_utf8_lossy(exchange.text(host));
        let _ = write!(line, ", host: \"{host}\"");
    }
    let referrer = crate::engine::h1::field::hash(b"referer");
    if let Some(field) = exchange.field(referrer, b"referer") {
        quoted(&mut line, "referrer", exchange.text(field.value));
    }
    line
}

/// Writes events as lines.
#[derive(Debug)]
struct ErrorLog;

impl<S: Subscriber> Layer<S> for ErrorLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Records of the `log` crate are judged by their own target first, then arrive as `log`.
        let is_ours = metadata.target().starts_with(env!("CARGO_PKG_NAME"));
        let least = if is_ours { tracing::Level::INFO } else { tracing::Level::WARN };
        *metadata.level() <= least
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(sinks) = &*main() else { return };
        let mut said = Said::default();
        event.record(&mut said);
        let severity = said.severity.unwrap_or(match *event.metadata().level() {
            tracing::Level::ERROR => Severity::Error,
            tracing::Level::WARN => Severity::Warn,
            tracing::Level::INFO => Severity::Notice,
            tracing::Level::DEBUG | tracing::Level::TRACE => Severity::Debug,
        });
        write(sinks, severity, said.connection, &said.text);
    }
}

/// The fields of an event that a line shows.
#[derive(Default)]
struct Said {
    severity: Option<Severity>,
    connection: Option<u64>,
    text: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "severity" => self.severity = Severity::of(value),
            "message" => value.clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "connection" {
            self.connection = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        }
    }
}

/// `2026/11/22 11:03:55 [error] PID#TID: *CONN TEXT` and a line feed, cut where nginx cuts.
///
/// Line feeds within the text become blanks, so that a line is an event.
#[must_use]
pub fn line(severity: Severity, connection: Option<u64>, text: &str) -> Vec<u8> {
    let mut line = time::with_error(|now| format!("{now} [{}] ", severity.word()));
    // Writing to a string does not fail.
    let _ = write!(line, "{}#{}: ", std::process::id(), nix::unistd::gettid());
    if let Some(connection) = connection {
        let _ = write!(line, "*{connection} ");
    }
    line.push_str(text);
    let mut line = line.into_bytes();
    line.iter_mut().filter(|it| **it == b'\n').for_each(|it| *it = b' ');
    line.truncate(LONGEST - 1);
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_2048_bytes_and_is_one_line() {
        let written = line(Severity::Alert, Some(7), &"a\n".repeat(2000));
        let written = String::from_utf8(written).unwrap();
        assert_eq!((written.len(), written.lines().count()), (2048, 1));
        let (time, rest) = written.split_at("2026/11/22 11:03:55".len());
        assert!(time.as_bytes()[4] == b'/' && time.as_bytes()[10] == b' ', "{time}");
        let start = format!(" [alert] {}#{}: *7 a a ", std::process::id(), nix::unistd::gettid());
        assert!(rest.starts_with(&start), "{rest}");
    }
}
