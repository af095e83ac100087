//! The lines of a session: one in the access log at its end, some in the error log on the way.

use std::fmt::Write as _;

use crate::logs::rows::Severity;
use crate::logs::{AccessLog, Level};
use crate::stream::session::Session;

/// Writes the access lines of a session that is over.
pub fn access(session: &Session, logs: &[AccessLog<Session>]) {
    for log in logs.iter().filter(|it| it.wants(session)) {
        log.record(session);
    }
}

/// Writes a line about a session to the error logs of its server, with what was being done and the
/// two sides.
///
/// Source: nginx `ngx_stream_handler.c`, `ngx_stream_log_error`, and `ngx_stream_proxy_log_error`.
pub fn note(level: Level, session: &Session, text: &str) {
    note_as(level.severity(), session, text);
}

/// As [`note`], for what may be graver.
pub fn note_as(severity: Severity, session: &Session, text: &str) {
    if !session.error_logs.wants(severity) {
        return;
    }
    let mut line = text.to_owned();
    if let Some(action) = session.action {
        // Writing to a string does not fail.
        let _ = write!(line, " while {action}");
    }
    let _ = write!(line, ", client: {}, server: {}", session.name, session.bind);
    if session.is_proxied {
        if let Some(attempt) = session.attempts.last() {
            let upstream = attempt.backend.as_ref().map_or(&*attempt.upstream, |it| &it.name);
            let _ = write!(line, ", upstream: \"{upstream}\"");
        }
        let _ = write!(line, ", {}", session.bytes());
    }
    session.error_logs.write(severity, session.serial, &line);
}

/// As [`note`], the text alone.
pub fn tell(level: Level, session: &Session, text: &str) {
    let severity = level.severity();
    if session.error_logs.wants(severity) {
        session.error_logs.write(severity, session.serial, text);
    }
}
