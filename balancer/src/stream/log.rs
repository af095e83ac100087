//! The lines of a session: one in the access log at its end, some in the error log on the way.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::logs::Level;
use crate::logs::escape;
use crate::logs::rows::Escape;
use crate::logs::writer::LogFile;
use crate::stream::session::Session;
use crate::stream::variable::Template;

/// An `access_log` line of `stream`.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// What is written.
    pub format: Arc<Template>,
    /// How values are made safe.
    pub escape: Escape,
    /// Where it goes.
    pub file: Arc<LogFile>,
    /// Nothing is written when this comes out empty or `0`.
    pub condition: Option<Template>,
}

/// Writes the access lines of a session that is over.
pub fn access(session: &Session, logs: &[AccessLog]) {
    for log in logs {
        if let Some(condition) = &log.condition {
            let mut value = Vec::new();
            condition.write(session, &mut value);
            if matches!(value.as_slice(), b"" | b"0") {
                continue;
            }
        }
        let (escape, dash): (escape::Escape, bool) = match log.escape {
            Escape::Default => (escape::default, true),
            Escape::Json => (escape::json, false),
            Escape::None => (escape::none, false),
        };
        log.file.collect(|out| {
            log.format.write_escaped(session, dash, escape, out);
            out.push(b'\n');
        });
    }
}

/// Writes a line about a session to the error logs of its server; `action` is what was being done, if that and the
/// two sides are to be told.
///
/// Source: nginx `ngx_stream_handler.c`, `ngx_stream_log_error`, and `ngx_stream_proxy_log_error`.
pub fn note(level: Level, session: &Session, text: &str, action: Option<&str>) {
    let severity = level.severity();
    if !session.error_logs.wants(severity) {
        return;
    }
    let mut line = text.to_owned();
    if let Some(action) = action {
        // Writing to a string does not fail.
        let _ = write!(line, " while {action}, client: {}, server: {}", session.name, session.bind);
        if let Some(attempt) = session.attempts.last() {
            let upstream = attempt.backend.as_ref().map_or(&*attempt.upstream, |it| &it.name);
            let _ = write!(line, ", upstream: \"{upstream}\", {}", session.bytes());
        }
    }
    session.error_logs.write(severity, session.serial, &line);
}
