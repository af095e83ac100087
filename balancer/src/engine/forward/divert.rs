//! Answers of an upstream that say, or leave it to us, what is to be sent instead.

use policy::{Event, Time};

use crate::engine::clock;
use crate::engine::exchange::Exchange;
use crate::engine::forward::settle::learn;
use crate::engine::forward::{Request, part};
use crate::engine::h1::body::Framing;
use crate::engine::h1::field::Name;
use crate::engine::h1::write;
use crate::http::Action;
use crate::http::escape;
use crate::http::range::Wanted;
use crate::logs::{self, Level};
use crate::upstream::Lease;
use crate::upstream::backend::add;

/// What is done instead of passing an answer on whose head has been read.
///
/// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_process_headers` and
/// `ngx_http_upstream_intercept_errors`.
pub(super) fn divert<'s>(
    exchange: &mut Exchange,
    request: &Request<'_>,
    began: Time,
) -> Option<Action<'s>> {
    let status = exchange.response.status;
    if exchange.is_subrequest {
        return Some(done(exchange, began, Action::Status(status)));
    }
    let fields = &exchange.response.fields;
    let is_redirect = request.proxy.ignores & Name::XAccelRedirect.bit() == 0;
    let redirect = fields.iter().find(|it| is_redirect && it.known == Name::XAccelRedirect);
    let action = if let Some(field) = redirect {
        let to = field.value.of(&exchange.reply.bytes).to_vec();
        keep(exchange, request);
        lead(exchange, &to)
    } else if request.proxy.intercept_errors
        && status >= 300
        && request.location.error_pages.has(status)
    {
        Action::Status(status)
    } else if let Some((Wanted::Nothing, length)) = part::wanted(exchange, request) {
        write::field(
            &mut exchange.kept_fields,
            b"Content-Range",
            format!("bytes */{length}").as_bytes(),
        );
        Action::Status(416)
    } else {
        return None;
    };
    Some(done(exchange, began, action))
}

/// Takes note of an attempt whose answer is not passed on.
fn done<'s>(exchange: &mut Exchange, began: Time, action: Action<'s>) -> Action<'s> {
    let status = exchange.response.status;
    exchange.doing = "reading response header from upstream";
    let took = clock::now().since(began);
    if let Some(attempt) = exchange.attempts.last_mut() {
        attempt.status = status;
        attempt.header = Some(took);
        attempt.response = Some(took);
    }
    if exchange.has_streamed {
        exchange.request.keep_alive = false;
    }
    action
}

/// Whether the answer to a request of ours has come to its end with its head, so that the connection
/// may carry another one.
pub(super) fn is_whole(exchange: &Exchange) -> bool {
    let length = match exchange.response.framing(exchange.is_head()) {
        Framing::Empty => 0,
        Framing::Length(length) => length,
        _ => return false,
    };
    let arrived = exchange.reply.unread().len() as u64;
    exchange.is_subrequest && exchange.response.keep_alive && arrived == length
}

/// Ends the lease of a diverted answer; its server did well.
pub(super) fn finish(exchange: &Exchange, request: &Request<'_>, lease: Lease<'_>) {
    let status = exchange.response.status;
    add(&lease.backend.counters.requests[usize::from(status / 100).clamp(1, 5) - 1], 1);
    let now = clock::now();
    let total = now.since(lease.began);
    learn(exchange, request, &lease, now);
    lease.head(total, now);
    lease.finish(Event::Success { head: total, total, status }, now);
}

/// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_unsafe_uri`.
fn lead<'s>(exchange: &mut Exchange, to: &[u8]) -> Action<'s> {
    if to.first() == Some(&b'@') {
        exchange.redirect = Some(to.to_vec());
        return Action::Lead;
    }
    let (path, query) = to.split_at(memchr::memchr(b'?', to).unwrap_or(to.len()));
    let mut target = escape::resolved(path);
    let climbs = |path: &[u8]| path.split(|it| *it == b'/').any(|it| it == b"..");
    let is_unsafe = climbs(path) || climbs(&target) || target.contains(&0);
    if is_unsafe || path.first() != Some(&b'/') {
        let shown = if climbs(path) { to } else { &target };
        let text = format!("unsafe URI \"{}\" was detected", String::from_utf8_lossy(shown));
        logs::note(Level::Error, exchange, &text, "reading response header from upstream");
        return Action::Status(404);
    }
    target.extend_from_slice(query);
    exchange.redirect = Some(target);
    if exchange.method() != b"HEAD" {
        exchange.own_method = Some(b"GET");
    }
    Action::Lead
}

/// Keeps the lines that outlive the answer.
fn keep(exchange: &mut Exchange, request: &Request<'_>) {
    const KEPT: &[&[u8]] =
        &[b"set-cookie", b"content-disposition", b"cache-control", b"expires", b"accept-ranges"];
    let mut kept = std::mem::take(&mut exchange.kept_fields);
    let reply = &exchange.reply.bytes;
    for field in &exchange.response.fields {
        let (name, value) = (field.name.of(reply), field.value.of(reply));
        let is_kept = KEPT.iter().any(|it| name.eq_ignore_ascii_case(it));
        if is_kept && !request.proxy.hides(field.known, name) {
            let new = match field.known {
                Name::SetCookie => request.proxy.cookies.apply(exchange, value),
                _ => None,
            };
            write::field(&mut kept, name, new.as_deref().unwrap_or(value));
        }
    }
    let kind = exchange.response.fields.iter().find(|it| it.known == Name::ContentType);
    if let Some(kind) = kind {
        exchange.kept_type = String::from_utf8_lossy(kind.value.of(reply)).into_owned();
    }
    exchange.kept_fields = kept;
}
