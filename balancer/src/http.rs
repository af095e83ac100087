//! What is to be done with a request: the phases, in nginx's order, that lead to an [`Action`].
//!
//! Nothing here reads, sends or waits: settings and a request go in, an action comes out.

use crate::conf::{Block, ConfError};
use crate::engine::exchange::Exchange;
use crate::http::location::{Content, Location};
use crate::http::proxy_pass::Proxy;
use crate::http::rewrite::Return;

pub mod core;
pub mod header;
pub mod listen;
pub mod location;
pub mod mime;
pub mod only;
pub mod page;
pub mod proxy_pass;
pub mod rewrite;
pub mod server;
pub mod variable;

/// The blocks in which most settings may stand, each handed on to the blocks within.
pub(crate) const EVERYWHERE: &[Block] = &[Block::Http, Block::Server, Block::Location];

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
    /// Send nginx's page for a status.
    Status(u16),
    /// Send the counters of `stub_status`.
    StubStatus,
    /// Close without a byte; nginx's status 444.
    Close,
}

/// Decides on a request whose location has been found.
pub fn decide<'a>(exchange: &Exchange, location: &'a Location) -> Action<'a> {
    if exchange.request.content_length.is_some_and(|it| location.core.refuses_body(it)) {
        return Action::Status(413);
    }
    match &location.content {
        Content::Return(answer) if answer.status == 444 => Action::Close,
        Content::Return(answer) => Action::Return(answer),
        Content::Proxy(proxy) => Action::Forward(proxy),
        Content::StubStatus
            if matches!(exchange.text(exchange.request.method), b"GET" | b"HEAD") =>
        {
            Action::StubStatus
        }
        Content::StubStatus => Action::Status(405),
        Content::Nothing => Action::Status(404),
    }
}
