//! `proxy_pass` and its relatives: what is sent to which group, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use policy::Retry;

use crate::engine::ahead::Bounds;
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::{Name, hash};
use crate::http::escape;
use crate::http::variable::Template;
use crate::upstream::Upstream;

pub mod ahead;
mod compile;
pub mod cookie;
pub mod dynamic;
pub mod hints;
mod read;
pub mod redirect;
pub mod replace;
pub mod rows;
pub mod socket;

/// A `proxy_set_header` line.
#[derive(Debug)]
pub struct SetHeader {
    /// As written.
    pub name: Vec<u8>,
    /// Of the name, to find the client's lines that it replaces.
    pub hash: u32,
    /// Not sent where it comes out empty.
    pub value: Template,
}

impl SetHeader {
    /// A line with this name and value.
    pub fn new(name: &[u8], value: Template) -> Self {
        Self { name: name.to_vec(), hash: hash(name), value }
    }
}

/// One `proxy_pass`, with everything its requests need.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Proxy {
    /// Whom it leads to.
    pub goal: Goal,
    /// Which location of the configuration this is, for connections kept per location.
    pub location: u32,
    /// `$proxy_host`; empty where that is known when a request comes.
    pub host: Vec<u8>,
    /// The URI part: it replaces this many bytes of the path.
    pub uri: Option<(Vec<u8>, usize)>,
    /// The `Host` line.
    pub host_header: Template,
    /// Every other `proxy_set_header` line, in order.
    pub set_headers: Vec<SetHeader>,
    /// Whether the version sent is 1.0.
    pub http_1_0: bool,
    /// How connections are opened.
    pub sockets: socket::Sockets,
    /// Longest wait for a connection, for each attempt.
    pub connect_timeout: Duration,
    /// Longest wait for room to send.
    pub send_timeout: Duration,
    /// Longest wait for the next bytes of the answer.
    pub read_timeout: Duration,
    /// When another server may be tried.
    pub retry: Retry,
    /// Whether a body is read before a server is picked.
    pub request_buffering: bool,
    /// Whether an answer is read ahead of a client that is slow.
    pub buffering: bool,
    /// How much of it.
    pub ahead: Bounds,
    /// Bytes per second that are read of an answer while it is buffered, 0 for all there are.
    pub limit_rate: Option<Template>,
    /// Whether early hints are passed on: where one of these comes out true.
    pub early_hints: Vec<Template>,
    /// Largest head of an answer, in bytes.
    pub buffer_size: usize,
    /// Whether the request goes on when its client has gone.
    pub ignore_client_abort: bool,
    /// Names of `proxy_hide_header`, in lower case.
    pub hide_headers: Vec<Vec<u8>>,
    /// Names of `proxy_pass_header`, in lower case.
    pub pass_headers: Vec<Vec<u8>>,
    /// `proxy_redirect`
    pub redirects: Vec<(replace::Test, Template)>,
    /// `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`
    pub cookies: cookie::Rules,
    /// `proxy_ignore_headers`, as [`Name::bit`]s.
    pub ignores: u64,
    /// Whether an answer whose status has an `error_page` is replaced by that.
    pub intercept_errors: bool,
    /// `proxy_method`
    pub method: Option<Template>,
    /// `proxy_set_body`
    pub set_body: Option<Template>,
    /// Whether parts are cut out of answers for those who ask for parts.
    pub force_ranges: bool,
    /// Whether lines behind the body of an answer are passed on.
    pub pass_trailers: bool,
    /// Whether the client's header lines are passed on.
    pub pass_request_headers: bool,
    /// Whether the client's body is passed on.
    pub pass_request_body: bool,
}

/// Whom a `proxy_pass` leads to.
#[derive(Debug)]
pub enum Goal {
    /// A group, or the addresses of a plain host; its name, for logs.
    Fixed(Arc<Upstream>, Arc<str>),
    /// Whoever its variables name.
    Dynamic(Box<dynamic::Dynamic>),
}

/// Client header lines that are never passed on as they are.
fn is_own(name: Name) -> bool {
    matches!(
        name,
        Name::Host
            | Name::Connection
            | Name::ProxyConnection
            | Name::KeepAlive
            | Name::Te
            | Name::Expect
            | Name::Upgrade
            | Name::ContentLength
            | Name::TransferEncoding
    )
}

/// How the request's body is announced to the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Announced {
    /// Not at all.
    None,
    /// By its length.
    Length(u64),
    /// Chunk by chunk.
    Chunked,
}

impl Proxy {
    /// Appends the head that is sent to the upstream.
    pub fn write_head(&self, exchange: &Exchange, body: Announced, out: &mut Vec<u8>) {
        use crate::engine::h1::write;
        match &self.method {
            Some(method) => method.write(exchange, out),
            None => out.extend_from_slice(exchange.method()),
        }
        out.push(b' ');
        self.write_target(exchange, out);
        out.extend_from_slice(if self.http_1_0 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
        let line = out.len();
        out.extend_from_slice(b"Host: ");
        let before = out.len();
        self.host_header.write(exchange, out);
        if out.len() > before {
            out.extend_from_slice(b"\r\n");
        } else if self.http_1_0 {
            out.truncate(line);
        } else {
            out.extend_from_slice(&exchange.proxy_host);
            out.extend_from_slice(b"\r\n");
        }
        for set in &self.set_headers {
            let line = out.len();
            out.extend_from_slice(&set.name);
            out.extend_from_slice(b": ");
            let value = out.len();
            set.value.write(exchange, out);
            if out.len() == value {
                out.truncate(line);
            } else {
                out.extend_from_slice(b"\r\n");
            }
        }
        match body {
            Announced::Length(length) if !self.sets(b"content-length") => {
                out.extend_from_slice(b"Content-Length: ");
                write::decimal(out, length);
                out.extend_from_slice(b"\r\n");
            }
            Announced::None | Announced::Length(_) => {}
            Announced::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        let passed = if self.pass_request_headers { &*exchange.request.fields } else { &[] };
        let trace = exchange.trace.get();
        for field in passed {
            let name = exchange.text(field.name);
            let replaced =
                |it: &SetHeader| it.hash == field.hash && it.name.eq_ignore_ascii_case(name);
            if !is_own(field.known)
                && !self.set_headers.iter().any(replaced)
                && !exchange.request.is_for_this_hop(&exchange.input.bytes, name)
                && trace.is_none_or(|it| it.injected(name).is_none())
            {
                field.write(&exchange.input.bytes, out);
            }
        }
        for (name, value) in trace.iter().flat_map(|it| it.lines()) {
            if self.pass_request_headers && !self.sets(name) {
                write::field(out, name, value);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn sets(&self, name: &[u8]) -> bool {
        self.set_headers.iter().any(|it| it.name.eq_ignore_ascii_case(name))
    }

    fn write_target(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        if let Some(uri) = &exchange.proxy_uri {
            out.extend_from_slice(uri);
            return;
        }
        if exchange.is_settled || (self.uri.is_none() && exchange.has_own_target) {
            escape::path(&exchange.path, out);
            if !exchange.args.is_empty() {
                out.push(b'?');
                out.extend_from_slice(&exchange.args);
            }
            return;
        }
        let Some((uri, replaced)) = &self.uri else {
            let target = exchange.text(exchange.request.path_and_query);
            // An absolute target may end with its authority, or go on with its query.
            if target.first() != Some(&b'/') {
                out.push(b'/');
            }
            out.extend_from_slice(target);
            return;
        };
        out.extend_from_slice(uri);
        let rest = &exchange.path[(*replaced).min(exchange.path.len())..];
        // As in nginx, what was not escaped when it came is passed on as it is.
        let target = exchange.text(exchange.request.path_and_query);
        let path = &target[..memchr::memchr(b'?', target).unwrap_or(target.len())];
        if exchange.is_internal || exchange.has_own_target || path.contains(&b'%') {
            escape::path(rest, out);
        } else {
            out.extend_from_slice(rest);
        }
        if !exchange.args.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&exchange.args);
        }
    }

    /// Whether a header line of the upstream's answer is kept from the client.
    pub fn hides(&self, known: Name, name: &[u8]) -> bool {
        let hidden_anyway = matches!(
            known,
            Name::Date
                | Name::Server
                | Name::XPad
                | Name::XAccelExpires
                | Name::XAccelRedirect
                | Name::XAccelLimitRate
                | Name::XAccelBuffering
                | Name::XAccelCharset
        );
        let named = |names: &[Vec<u8>]| names.iter().any(|it| name.eq_ignore_ascii_case(it));
        (hidden_anyway && !named(&self.pass_headers)) || named(&self.hide_headers)
    }

    /// Whether a line of the upstream's takes the place of our own `Server` or `Date`.
    pub fn passes(&self, name: &[u8]) -> bool {
        self.pass_headers.iter().any(|it| name.eq_ignore_ascii_case(it))
    }
}
