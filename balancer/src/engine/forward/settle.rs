//! The end of an answer: what its server is charged with, and whether its connection is kept.

use policy::{Event, Time};

use crate::engine::ahead::End;
use crate::engine::clock;
use crate::engine::exchange::Exchange;
use crate::engine::forward::Request;
use crate::engine::forward::download::{Download, Passed};
use crate::engine::forward::upload::Upload;
use crate::engine::h1::field::Name;
use crate::logs::{self, Level};
use crate::upstream::backend::add;
use crate::upstream::report::{self, Load};
use crate::upstream::{Lease, Reason};

/// Ends the lease of an answer that has come, or has not. Says whether the connection may carry
/// another request.
pub(super) fn settle(
    exchange: &mut Exchange,
    request: &Request<'_>,
    down: &Download,
    upload: &Upload,
    lease: Lease<'_>,
    passed: Passed,
) -> (bool, Time) {
    // An answer that came whole with its head is over when that has come: its bytes were handed to
    // the system without a wait.
    let now = if down.has_waited { clock::now() } else { down.head_at };
    request.entrance.leave();
    let total = now.since(lease.began);
    let status = exchange.response.status;
    learn(exchange, request, &lease, now);
    let end = down.inflow.ahead.as_ref().and_then(|it| it.end);
    add(&lease.backend.counters.sent, upload.bytes());
    add(&lease.backend.counters.received, down.inflow.received);
    if let Some(attempt) = exchange.attempts.last_mut() {
        attempt.response = Some(total);
        let ahead = down.inflow.ahead.as_ref().filter(|_| passed == Passed::Ahead);
        attempt.length = ahead.map_or(down.relay.taken, |it| it.before + it.data);
        attempt.sent = upload.bytes();
        attempt.received = down.inflow.received;
    }
    let head = down.head_time;
    let (reason, text) = match (passed, end) {
        (Passed::Whole, _) | (Passed::Ahead, Some(End::Whole { .. })) => {
            let counters = &lease.backend.counters;
            counters.response.observe(total);
            add(&counters.head_nanos, u64::try_from(head.as_nanos()).unwrap_or(u64::MAX));
            lease.finish(Event::Success { head, total, status }, now);
            let has_more = match end {
                Some(End::Whole { has_more }) => has_more,
                _ => !exchange.reply.unread().is_empty(),
            };
            let has_body = !exchange.is_head() && !matches!(status, 204 | 304);
            if has_more && has_body && exchange.response.content_length.is_some() {
                let text = "upstream sent more data than specified in \"Content-Length\" header";
                logs::note(Level::Warn, exchange, text, "reading upstream");
            }
            let is_reusable = upload.is_done()
                && exchange.response.keep_alive
                && !down.ends_by_close
                && !down.is_upgrade
                && !has_more;
            return (is_reusable, now);
        }
        (Passed::ClientGone | Passed::ClientLate, _) => {
            lease.finish(Event::Abandoned { head: Some(head), total }, now);
            return (false, now);
        }
        (Passed::Late, _) => (Reason::Timeout, "upstream timed out (110: Connection timed out)"),
        (Passed::Garbled, _) => (Reason::Reset, "upstream sent invalid chunked response"),
        (Passed::Cut | Passed::Ahead, _) => {
            (Reason::Reset, "upstream prematurely closed connection")
        }
    };
    logs::note(Level::Error, exchange, text, "reading upstream");
    add(&lease.backend.counters.failures[reason as usize], 1);
    // Part of the answer is with the client: nothing is left but to cut it short too.
    lease.finish(Event::Abandoned { head: Some(head), total }, now);
    (false, now)
}

/// Remembers whom the session of an answer is bound to.
pub(super) fn learn(exchange: &Exchange, request: &Request<'_>, lease: &Lease<'_>, now: Time) {
    if let (Some(sticky), Some(server)) = (&request.upstream.sticky, &lease.server) {
        sticky.learn(exchange, &exchange.bound, server, now);
    }
}

/// What the server says of its load.
pub(super) fn load(exchange: &Exchange) -> Option<Load> {
    let bytes = &exchange.reply.bytes;
    let mut fields = exchange.response.fields.iter();
    let line = fields.find(|it| it.name.of(bytes).eq_ignore_ascii_case(report::NAME))?;
    Load::parse(line.value.of(bytes))
}

impl Request<'_> {
    /// Whether the answer is read ahead of a client that is slow.
    ///
    /// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_process_buffering`.
    pub(super) fn is_buffered(&self, exchange: &Exchange) -> bool {
        let ignored = self.proxy.ignores & Name::XAccelBuffering.bit() != 0;
        let mut fields = exchange.response.fields.iter().filter(|_| !ignored);
        let said = fields.find(|it| it.known == Name::XAccelBuffering);
        match said.map(|it| it.value.of(&exchange.reply.bytes)) {
            Some(word) if word.eq_ignore_ascii_case(b"yes") => true,
            Some(word) if word.eq_ignore_ascii_case(b"no") => false,
            _ => self.proxy.buffering,
        }
    }
}
