//! What is to be done with a request: the phases, in nginx's order, that lead to an [`Action`].
//!
//! Nothing here reads, sends or waits: settings and a request go in, an action comes out.

use crate::conf::{Block, ConfError};
use crate::engine::exchange::Exchange;
use crate::http::location::{Content, Location};
use crate::http::proxy_pass::Proxy;
use crate::http::rewrite::{Flow, Return};
use crate::http::server::Server;
use crate::logs::{self, Level};

pub mod access;
pub mod auth_basic;
pub mod auth_request;
pub mod autoindex;
pub mod browser;
pub mod charset;
pub mod client_body;
pub mod closing;
pub mod core;
pub mod error_page;
pub mod escape;
pub mod expires;
pub mod filter;
pub mod guard;
pub mod gzip;
pub mod header;
pub mod index;
pub mod limit_conn;
pub mod limit_rate;
pub mod limit_req;
pub mod limit_zone;
pub mod listen;
pub mod location;
pub mod mime;
pub mod mirror;
pub mod name_table;
pub mod not_modified;
pub mod only;
pub mod otel;
pub mod packed;
pub mod page;
pub mod plain;
pub mod proxy_pass;
pub mod range;
pub mod real_ip;
pub mod redirect;
pub mod referer;
pub mod rewrite;
pub mod root;
pub mod server;
pub mod static_file;
pub mod sub;
pub mod try_files;
pub mod variable;

/// The blocks in which most settings may stand, each handed on to the blocks within.
pub(crate) const EVERYWHERE: &[Block] = &[Block::Http, Block::Server, Block::Location];

/// As [`EVERYWHERE`], and in an `if` within a `location`.
pub(crate) const WITH_IF: &[Block] =
    &[Block::Http, Block::Server, Block::Location, Block::IfInLocation];

/// Keeps a value that could be read.
pub(crate) fn put<T>(slot: &mut Option<T>, value: Result<T, ConfError>) -> Result<(), ConfError> {
    *slot = Some(value?);
    Ok(())
}

/// What the engine has to do.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Pass the request on.
    Forward(&'a Proxy),
    /// Send a status and a text, or a redirect.
    Return(&'a Return),
    /// Send the client where the exchange's `redirect` says.
    Redirect(u16),
    /// Serve what the exchange's `redirect` says instead.
    Lead,
    /// Send nginx's page for a status.
    Status(u16),
    /// Send the file that the path stands for.
    File,
    /// Send the list that the exchange's `listing` holds.
    Listing,
    /// Send the counters of `stub_status`.
    StubStatus,
    /// Close without a byte; nginx's status 444.
    Close,
}

/// Where the search for an answer begins, or begins again.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// With the lines of the server itself.
    Server,
    /// In a named location.
    Named(&'a Location),
}

/// Runs the phases before access is checked: the server's rewrite lines, the search for a
/// location, the location's lines, and again as long as they change the path.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_find_config_phase` and
/// `ngx_http_core_post_rewrite_phase`.
pub fn route<'a>(
    exchange: &mut Exchange,
    server: &'a Server,
    entry: Entry<'a>,
) -> (&'a Location, Option<Action<'a>>) {
    let mut location = &server.fallback;
    let mut is_found = false;
    match entry {
        Entry::Server => {
            let flow = rewrite::run(&server.rewrite, exchange, server, &mut location);
            if let Flow::Answer(action) = flow {
                return (location, Some(action));
            }
        }
        Entry::Named(named) => {
            location = named;
            exchange.location = named.number;
            is_found = true;
        }
    }
    loop {
        exchange.is_rewritten = false;
        if !std::mem::take(&mut is_found) {
            location = server.location(exchange);
            exchange.location = location.number;
        }
        if location.is_internal && !exchange.is_internal {
            return (location, Some(Action::Status(404)));
        }
        if let Some((methods, within)) = &location.limit_except
            && !methods.iter().any(|it| it == exchange.method())
        {
            location = &server.locations[*within];
            exchange.location = Some(*within);
        }
        if refuses_body(exchange, location) {
            return (location, Some(Action::Status(413)));
        }
        if let Content::Slash(target) = &location.content {
            exchange.redirect = Some(target.value(exchange));
            return (location, Some(Action::Redirect(301)));
        }
        if let Some(tracing) = location.tracing.as_ref().filter(|_| !exchange.is_internal) {
            tracing.start(exchange);
        }
        let lines = location;
        if let Flow::Answer(action) = rewrite::run(&lines.rewrite, exchange, server, &mut location)
        {
            return (location, Some(action));
        }
        if !exchange.is_rewritten {
            return (location, None);
        }
        exchange.changes_left -= 1;
        if exchange.changes_left == 0 {
            let path = String::from_utf8_lossy(&exchange.path);
            let text = format!("rewrite or internal redirection cycle while processing \"{path}\"");
            logs::note(Level::Error, exchange, &text, "");
            return (location, Some(Action::Status(500)));
        }
    }
}

/// Whether a body is too long for a location, which is told, and the request has none from then on.
/// The length of one that comes in chunks is known when it has been read.
pub fn refuses_body(exchange: &mut Exchange, location: &Location) -> bool {
    let read = exchange.spooled.as_ref().map(|it| it.length).or(exchange.held);
    let length = exchange.request.content_length.or(read.filter(|_| exchange.request.chunked));
    let Some(length) = length.filter(|it| location.core.refuses_body(*it)) else { return false };
    let text = format!("client intended to send too large body: {length} bytes");
    logs::note(Level::Error, exchange, &text, "");
    exchange.drop_body();
    true
}

/// What the location of an admitted request does with it.
pub fn content<'a>(exchange: &Exchange, location: &'a Location) -> Action<'a> {
    match &location.content {
        Content::Proxy(proxy) => Action::Forward(proxy),
        Content::StubStatus if matches!(exchange.method(), b"GET" | b"HEAD") => Action::StubStatus,
        Content::StubStatus => Action::Status(405),
        Content::Files => Action::File,
        Content::Slash(_) => Action::Status(404),
    }
}
