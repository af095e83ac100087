//! What is known of the upstream of a request.

use super::{display, duration, joined, set};
use crate::engine::exchange::{Attempt, Exchange};
use crate::engine::h1::field::{self, Name};
use crate::variable::{Part, Write};

/// `$upstream_http_NAME`
pub(super) fn header(exchange: &Exchange, part: &Part, out: &mut Vec<u8>) -> bool {
    let reply = &exchange.reply.bytes;
    let same = |it: &&field::Field| {
        it.hash == part.hash && it.name.of(reply).eq_ignore_ascii_case(&part.name)
    };
    let fields = exchange.response.fields.iter().filter(same);
    joined(fields.map(|it| it.value.of(reply)), b", ", out)
}

/// `$upstream_cookie_NAME`: of the `Set-Cookie` lines.
pub(super) fn cookie(exchange: &Exchange, part: &Part, out: &mut Vec<u8>) -> bool {
    let reply = &exchange.reply.bytes;
    let lines = exchange.response.fields.iter().filter(|it| it.known == Name::SetCookie);
    let found = lines.map(|it| it.value.of(reply)).find_map(|it| {
        let pair = it.split(|it| *it == b';').next()?;
        let (key, rest) = pair.trim_ascii_start().split_at_checked(part.name.len())?;
        let value = rest.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(&part.name).then_some(value)
    });
    set(found, out)
}

/// One word for each attempt, joined as nginx joins the servers of one pass.
fn attempts(
    exchange: &Exchange,
    out: &mut Vec<u8>,
    word: fn(&Attempt, &mut Vec<u8>) -> bool,
) -> bool {
    for (at, attempt) in exchange.attempts.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(if attempt.begins_pass { b" : " } else { b", " });
        }
        if !word(attempt, out) {
            out.push(b'-');
        }
    }
    !exchange.attempts.is_empty()
}

/// The variables.
pub(super) const TABLE: &[(&str, Write<Exchange>)] = &[
    ("proxy_host", |it, out| set(host_and_port(it).map(|it| it.0), out)),
    ("proxy_port", |it, out| set(host_and_port(it).map(|it| it.1), out)),
    ("upstream_addr", |it, out| {
        attempts(it, out, |it, out| match &it.backend {
            Some(backend) => set(Some(backend.name.as_bytes()), out),
            None => set(Some(it.upstream.as_bytes()), out),
        })
    }),
    ("upstream_bytes_received", |it, out| attempts(it, out, |it, out| display(it.received, out))),
    ("upstream_bytes_sent", |it, out| attempts(it, out, |it, out| display(it.sent, out))),
    ("upstream_connect_time", |it, out| attempts(it, out, |it, out| duration(it.connect, out))),
    ("upstream_header_time", |it, out| attempts(it, out, |it, out| duration(it.header, out))),
    ("upstream_queue_time", |it, out| attempts(it, out, |it, out| duration(it.queued, out))),
    ("upstream_response_length", |it, out| attempts(it, out, |it, out| display(it.length, out))),
    ("upstream_response_time", |it, out| attempts(it, out, |it, out| duration(it.response, out))),
    ("upstream_status", |it, out| {
        attempts(it, out, |it, out| it.status != 0 && display(it.status, out))
    }),
    ("upstream_inflight", |it, out| {
        attempts(it, out, |it, out| it.backend.is_some() && display(it.in_flight, out))
    }),
    ("upstream_policy", |it, out| {
        attempts(it, out, |it, out| it.backend.is_some() && display(it.policy, out))
    }),
    // Nothing is kept, so there is nothing to say.
    ("upstream_cache_etag", |_, _| false),
    ("upstream_cache_last_modified", |_, _| false),
    ("upstream_cache_status", |_, _| false),
];

/// What `proxy_pass` names, as it is written, and the port.
///
/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_set_vars`.
fn host_and_port(exchange: &Exchange) -> Option<(&[u8], &[u8])> {
    let host = exchange.proxy_host.as_slice();
    if host.is_empty() {
        return None;
    }
    if host.starts_with(b"unix:") {
        return Some((b"localhost", b""));
    }
    let colon = memchr::memrchr(b':', host).filter(|at| !host[*at..].contains(&b']'));
    Some((host, colon.map_or(b"80", |at| &host[at + 1..])))
}
