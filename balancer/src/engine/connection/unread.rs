//! A client that ends, fails or falls silent before its request is whole: what is told of it.
//!
//! Source: nginx `ngx_http_request.c`, `ngx_http_wait_request_handler`,
//! `ngx_http_keepalive_handler` and `ngx_http_read_request_header`.

use std::io;
use std::sync::Arc;

use crate::conf::error::os_text;
use crate::engine::clock;
use crate::engine::connection::{After, Connection};
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::Piece;
use crate::engine::h1::request::Refusal;
use crate::http::server::Servers;
use crate::logs::rows::Severity;
use crate::logs::{self, Level};

/// Why a head was not read to its end.
pub(super) enum Unread {
    /// The client closed or failed.
    Gone(Gone),
    /// `client_header_timeout` has passed.
    Timeout,
    /// It must not be served.
    Refused(Refusal),
}

/// How a client has left.
pub(super) enum Gone {
    /// It closed.
    Closed,
    /// Reading failed.
    Failed(io::Error),
}

impl Gone {
    /// What a read says that brought nothing; `None` when it brought something.
    pub(super) fn of(read: io::Result<usize>) -> Option<Self> {
        match read {
            Ok(0) => Some(Self::Closed),
            Ok(_) => None,
            Err(error) => Some(Self::Failed(error)),
        }
    }
}

pub(super) const TIMED_OUT: &str = "client timed out (110: Connection timed out)";

impl Connection<'_> {
    /// Tells that no request has come, of which a connection that served one is silent about time.
    pub(super) fn tell_waited(&self, gone: Option<&Gone>) {
        if self.served == 0 {
            let text = match gone {
                None => TIMED_OUT.to_owned(),
                Some(Gone::Closed) => "client closed connection".to_owned(),
                Some(Gone::Failed(error)) => format!("recv() failed {}", os_text(error)),
            };
            return self.tell(Severity::Info, &text, "waiting for request");
        }
        let error = match gone {
            None => return,
            Some(Gone::Closed) => String::new(),
            Some(Gone::Failed(error)) => format!(" {}", os_text(error)),
        };
        let name = &self.client.name;
        self.write(Severity::Info, || format!("client {name} closed keepalive connection{error}"));
    }

    /// Tells of a connection that has no request, in the log of the default server.
    pub(super) fn tell(&self, severity: Severity, text: &str, action: &str) {
        let (name, bind) = (&self.client.name, self.bind);
        self.write(severity, || format!("{text} while {action}, client: {name}, server: {bind}"));
    }

    fn write(&self, severity: Severity, text: impl FnOnce() -> String) {
        let Some(listener) = self.snapshot.listener(&self.address) else { return };
        let servers = &listener.servers;
        let logs = &servers.servers[servers.default].fallback.error_logs;
        if logs.wants(severity) {
            logs.write(severity, self.client.serial, &text());
        }
    }

    /// Ends an exchange whose head has not come; `gone` is `None` when it took too long.
    pub(super) fn give_up(
        &mut self,
        exchange: &mut Exchange,
        servers: &Servers,
        gone: Option<Gone>,
    ) -> After {
        let server = servers.find(b"", &exchange.scratch);
        exchange.server = Some(Arc::clone(server));
        let line = exchange.request.line;
        let action = if line.is_empty() {
            let begun = exchange.input.bytes.trim_ascii_end().len();
            exchange.request.line = Piece::new(0, begun);
            "reading client request line"
        } else {
            "reading client request headers"
        };
        let (status, text, after) = match gone {
            None => (408, TIMED_OUT.to_owned(), After::Late),
            Some(Gone::Closed) => {
                (400, "client prematurely closed connection".to_owned(), After::Close)
            }
            Some(Gone::Failed(error)) => {
                (400, format!("recv() failed {}", os_text(&error)), After::Close)
            }
        };
        logs::note(Level::Info, exchange, &text, action);
        exchange.status = status;
        exchange.ended = clock::now();
        logs::access(exchange, &server.fallback);
        self.closing = server.fallback.closing;
        after
    }
}

/// Tells of header lines that were dropped.
///
/// Source: nginx `ngx_http_request.c`, `ngx_http_process_request_headers`.
pub(super) fn tell_dropped(exchange: &Exchange) {
    for line in &exchange.request.dropped {
        let line = String::from_utf8_lossy(exchange.text(*line));
        let text = format!("client sent invalid header line: \"{line}\"");
        logs::note(Level::Info, exchange, &text, "reading client request headers");
    }
}
