//! The error log: what the program tells, in the shape of nginx's lines.
//!
//! Everything is a `tracing` event. `info` events are the life of the process, which nginx calls
//! `notice`; a field `severity` names a level that `tracing` does not have, a field `connection`
//! the connection it is about. Pingora's own records come along from `warn` on.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::rows::Severity;
use super::time;
use super::writer::LogFile;
use crate::engine::exchange::Exchange;

/// nginx's `NGX_MAX_ERROR_STR`: bytes of a line, its end included.
const LONGEST: usize = 2048;

/// Where lines go now; nowhere before [`direct`].
static SINKS: ArcSwapOption<Vec<Sink>> = ArcSwapOption::const_empty();

/// One `error_log` line.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The least grave events it takes.
    pub severity: Severity,
    /// Where they are written.
    pub file: Arc<LogFile>,
}

/// Makes this the place where all events of the process go. An error when there is one already.
pub fn init() -> Result<(), TryInitError> {
    tracing_subscriber::registry().with(ErrorLog).try_init()
}

/// Replaces where lines go, at the start and with each configuration.
pub fn direct(sinks: Vec<Sink>) {
    SINKS.store(Some(Arc::new(sinks)));
}

/// Whether any log takes events this grave.
pub fn wants(severity: Severity) -> bool {
    SINKS.load().as_ref().is_some_and(|it| it.iter().any(|it| it.severity <= severity))
}

/// What a line says of a request: text, action, and whatever is known of who asked for what.
///
/// Source: nginx `ngx_http_request.c`, `ngx_http_log_error` and `ngx_http_log_error_handler`.
pub fn request_line(exchange: &Exchange, text: &str, action: &str) -> String {
    let mut line = format!("{text} while {action}, client: {}", exchange.client_name());
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
    if let Some(attempt) = exchange.attempts.last() {
        let name = attempt.backend.as_ref().map_or(&*attempt.upstream, |it| &it.name);
        let separator = if name.starts_with("unix:") { ":" } else { "" };
        let target = String::from_utf8_lossy(exchange.text(request.path_and_query));
        let upstream = format!("http://{name}{separator}{target}");
        quoted(&mut line, "upstream", upstream.as_bytes());
    }
    if let Some(host) = request.host {
        quoted(&mut line, "host", exchange.text(host));
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
        let Some(sinks) = &*SINKS.load() else { return };
        let mut said = Said::default();
        event.record(&mut said);
        let severity = said.severity.unwrap_or(match *event.metadata().level() {
            tracing::Level::ERROR => Severity::Error,
            tracing::Level::WARN => Severity::Warn,
            tracing::Level::INFO => Severity::Notice,
            tracing::Level::DEBUG | tracing::Level::TRACE => Severity::Debug,
        });
        if sinks.iter().any(|it| it.severity <= severity) {
            let line = line(severity, said.connection, &said.text);
            sinks.iter().filter(|it| it.severity <= severity).for_each(|it| it.file.write(&line));
        }
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
fn line(severity: Severity, connection: Option<u64>, text: &str) -> Vec<u8> {
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
