//! Passes the answer on: its head rewritten, its body as fast as both sides allow.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use policy::Time;

use crate::conf::value::size;
use crate::engine::ahead::{Ahead, Inflow, PATIENCE, Source, Throttle};
use crate::engine::connection::{After, Connection};
use crate::engine::exchange::Exchange;
use crate::engine::failure::Abort;
use crate::engine::forward::settle::{load, settle};
use crate::engine::forward::upload::Upload;
use crate::engine::forward::{Request, part, place, trailers};
use crate::engine::h1::body::{Framing, decimal};
use crate::engine::h1::field::Name;
use crate::engine::h1::request::Version;
use crate::engine::peer::Peer;
use crate::engine::relay::{Broken, Relay, Waiting};
use crate::engine::timer::Deadline;
use crate::engine::{clock, pool};
use crate::http::filter::Outlet;
use crate::http::page;
use crate::http::proxy_pass::redirect;
use crate::http::range::Wanted;
use crate::upstream::Lease;
use crate::upstream::backend::add;

/// How the answer came through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Passed {
    /// To its end.
    Whole,
    /// To us, and the client has only part of it yet.
    Ahead,
    /// The upstream stopped in the middle of it.
    Cut,
    /// The upstream sent what cannot be read.
    Garbled,
    /// The upstream fell silent.
    Late,
    /// The client left.
    ClientGone,
    /// The client does not read.
    ClientLate,
}

/// An answer on its way.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Download {
    pub(super) relay: Relay,
    pub(super) inflow: Inflow,
    /// When its head had come.
    pub(super) head_at: Time,
    /// The same, since the pick.
    pub(super) head_time: Duration,
    /// Whether anything was waited for since.
    pub(super) has_waited: bool,
    /// Whether the connection with the client goes on behind it.
    pub(super) stays: bool,
    /// Whether lines of ours stand behind its body.
    pub(super) has_trailers: bool,
    pub(super) is_upgrade: bool,
    pub(super) ends_by_close: bool,
    /// Whether it is read ahead of a client that is slow.
    pub(super) is_buffered: bool,
}

impl Connection<'_> {
    /// Passes an answer on whose head has been read, and ends the lease. The connection to the
    /// server is kept if it may carry another request.
    pub(super) async fn pass_on(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        mut peer: Peer,
        mut upload: Upload,
        lease: Lease<'_>,
    ) -> After {
        let mut down = self.start(exchange, request, &upload, &lease);
        let passed = if down.is_upgrade {
            request.entrance.leave();
            down.has_waited = true;
            // A socket that refuses it is broken, as its use will tell.
            let _ = peer.stream.send_at_once(request.location.core.sends_at_once);
            self.tunnel(exchange, request, &mut peer, &mut down).await
        } else {
            let both = Some((&mut peer, &mut upload));
            self.download(exchange, request, both, &mut down).await
        };
        let (stays, has_read_all) = (down.stays, upload.has_read_all());
        let (is_reusable, now) = settle(exchange, request, &down, &upload, lease, passed);
        exchange.out = upload.into_head();
        if is_reusable {
            pool::put(peer, request.upstream, place(request), now);
        } else {
            drop(peer);
        }
        let mut ended = if passed == Passed::Ahead { None } else { Some(now) };
        let mut passed = match passed {
            Passed::Ahead => self.download(exchange, request, None, &mut down).await,
            other => other,
        };
        exchange.sent += down.relay.sent;
        exchange.compressed = down.relay.ratio();
        trailers::take(exchange, request.proxy, down.relay.trailers());
        if passed == Passed::Whole && down.has_trailers {
            let mut trailers = Vec::new();
            request.location.filters.trail(exchange, &mut trailers);
            ended = None;
            match self.send(&trailers, request.location.core.send_timeout).await {
                Ok(sent) => exchange.sent += sent,
                Err(_) => passed = Passed::ClientGone,
            }
        }
        exchange.ended = ended.unwrap_or_else(clock::now);
        exchange.hints = down.relay.into_head();
        exchange.hints.clear();
        exchange.completed = passed == Passed::Whole;
        match (passed, stays, has_read_all) {
            (Passed::Whole, true, _) => After::Keep,
            (Passed::Whole, false, false) => After::Linger,
            (Passed::ClientLate, ..) => After::Late,
            _ => After::Close,
        }
    }

    /// Writes the head for the client, and gets ready to send it with the body.
    fn start(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        upload: &Upload,
        lease: &Lease<'_>,
    ) -> Download {
        let status = exchange.response.status;
        exchange.status = exchange.error_status.filter(|_| status != 101).unwrap_or(status);
        add(&lease.backend.counters.requests[usize::from(status / 100).clamp(1, 5) - 1], 1);
        let head_at = clock::now();
        let head_time = head_at.since(lease.began);
        lease.head(head_time, head_at);
        lease.report(|| load(exchange), head_at);
        if let Some(attempt) = exchange.attempts.last_mut() {
            attempt.status = status;
            attempt.header = Some(head_time);
        }
        if let (Some(sticky), Some(server)) = (&request.upstream.sticky, &lease.server) {
            sticky.learn_head(exchange, &exchange.bound, server, head_at);
        }
        let is_head = exchange.is_head();
        if exchange.response.is_bare {
            exchange.request.version = Version::Http09;
            exchange.status = 9;
        }
        let is_upgrade = status == 101;
        let framing =
            if is_upgrade { Framing::UntilClose } else { exchange.response.framing(is_head) };
        begin(exchange, request, !is_upgrade && upload.has_read_all() && !self.is_leaving());
        let has_body = !is_upgrade && !is_head && !matches!(status, 100..=199 | 204 | 304);
        exchange.expects_trailers = request.proxy.pass_trailers;
        let outlet = request.location.filters.apply(exchange, has_body);
        let window = cut(exchange, request, &outlet);
        let mut head = std::mem::take(&mut exchange.hints);
        if exchange.request.version != Version::Http09 {
            exchange.head.write(request.location.core.server, &mut head);
        }
        exchange.sent_head = head.len() as u64;
        let pace = request.location.filters.limit_rate.pace(exchange);
        self.holds_last = !exchange.head.stays && !is_upgrade && !outlet.has_trailers;
        let relay = Relay::new(head, framing, outlet.chunked).coded(outlet.coding).cut(window);
        let is_buffered = request.is_buffered(exchange);
        let rate = request.proxy.limit_rate.as_ref().filter(|_| is_buffered);
        let rate = rate.and_then(|it| size(&String::from_utf8_lossy(&it.value(exchange))));
        let received = exchange.reply.bytes.len() as u64;
        let rate = rate.filter(|it| 0 < *it).map(Throttle::new);
        Download {
            relay: relay
                .paced(pace, exchange.started)
                .ending(self.holds_last)
                .keeping_trailers(exchange.expects_trailers),
            inflow: Inflow { received, ahead: None, rate },
            head_at,
            head_time,
            has_waited: false,
            stays: exchange.head.stays,
            has_trailers: outlet.has_trailers,
            is_upgrade,
            ends_by_close: matches!(framing, Framing::UntilClose),
            is_buffered,
        }
    }

    /// Both bodies at once; without a server, what was read ahead of it.
    async fn download(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        mut both: Option<(&mut Peer, &mut Upload)>,
        down: &mut Download,
    ) -> Passed {
        let Download { relay, inflow, is_buffered, has_waited, .. } = down;
        let mut mark = None;
        let mut held_up: Option<Deadline> = None;
        poll_fn(|context| {
            if let Some((peer, upload)) = &mut both {
                match upload.poll(context, &mut self.stream, exchange, peer) {
                    Ok(()) => {}
                    Err(Abort::ClientGone) => return Poll::Ready(Passed::ClientGone),
                    Err(_) => return Poll::Ready(Passed::Cut),
                }
            }
            let stream = both.as_mut().map(|(peer, _)| &mut peer.stream);
            let mut source = Source { inflow, stream };
            match relay.poll(context, &mut source, &mut exchange.reply, &mut self.stream) {
                Poll::Ready(Ok(())) => return Poll::Ready(Passed::Whole),
                Poll::Ready(Err(Broken::Sink(_))) => return Poll::Ready(Passed::ClientGone),
                Poll::Ready(Err(Broken::Source(_))) => return Poll::Ready(Passed::Cut),
                Poll::Ready(Err(Broken::Framing | Broken::TooLarge(..))) => {
                    return Poll::Ready(Passed::Garbled);
                }
                Poll::Pending => *has_waited = true,
            }
            if relay.waiting != Waiting::Source
                && *is_buffered
                && let Some((peer, upload)) = &mut both
                && upload.is_done()
            {
                let due = held_up.get_or_insert_with(|| {
                    let deadline = Deadline::new();
                    deadline.arm(PATIENCE);
                    deadline
                });
                if inflow.ahead.is_none() && due.poll(context).is_ready() {
                    let bounds = request.proxy.ahead.clone();
                    let unread = exchange.reply.unread();
                    inflow.ahead =
                        Some(Box::new(Ahead::new(bounds, relay.framing(), relay.taken, unread)));
                }
                if inflow.poll_ahead(context, &mut peer.stream).is_ready()
                    && inflow.ahead.as_ref().is_some_and(|it| it.end.is_some())
                {
                    return Poll::Ready(Passed::Ahead);
                }
            }
            let leaves_client_alone =
                both.as_ref().is_none_or(|(_, upload)| upload.leaves_client_alone());
            if leaves_client_alone
                && !request.proxy.ignore_client_abort
                && self.client_is_gone(context, exchange)
            {
                return Poll::Ready(Passed::ClientGone);
            }
            let sent_up = both.as_ref().map_or(0, |(_, upload)| upload.bytes());
            let now = Some((relay.sent, sent_up, relay.waiting));
            if mark != now {
                mark = now;
                self.deadline.arm(match relay.waiting {
                    Waiting::Source => request.proxy.read_timeout,
                    Waiting::Sink => request.location.core.send_timeout,
                    Waiting::Pace(wait) => wait,
                });
            }
            let is_late = self.deadline.poll(context);
            match relay.waiting {
                Waiting::Source => is_late.map(|()| Passed::Late),
                Waiting::Sink => is_late.map(|()| Passed::ClientLate),
                Waiting::Pace(_) => {
                    // What is waited for has come: looked at again, at the next turn.
                    if is_late.is_ready() {
                        mark = None;
                        context.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// Tells in the head which part of the body is sent, and says where it begins and ends.
fn cut(exchange: &mut Exchange, request: &Request<'_>, outlet: &Outlet) -> Option<(u64, u64)> {
    let (wanted, length) = part::wanted(exchange, request).filter(|_| !outlet.is_recoded)?;
    let head = &mut exchange.head;
    let Wanted::Parts(parts) = wanted else {
        head.add(b"Accept-Ranges", b"bytes");
        return None;
    };
    let (start, end) = *parts.first()?;
    head.status = 206;
    head.reason.clear();
    head.reason.extend_from_slice(page::reason(206).as_bytes());
    head.add(b"Content-Range", format!("bytes {start}-{}/{length}", end - 1).as_bytes());
    head.content_length = head.content_length.map(|_| end - start);
    exchange.status = 206;
    Some((start, end))
}

/// Begins the head of the answer as the client gets it.
///
/// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_process_headers`.
fn begin(exchange: &mut Exchange, request: &Request<'_>, may_stay: bool) {
    let Request { location, proxy, .. } = request;
    let mut head = std::mem::take(&mut exchange.head);
    head.clear();
    let response = &exchange.response;
    let reply = &exchange.reply.bytes;
    head.is_upgrade = response.status == 101;
    // An `error_page` decides on the status of whatever answers in the end.
    match exchange.error_status.filter(|_| !head.is_upgrade) {
        Some(status) => {
            head.status = page::sent_status(status);
            head.reason.extend_from_slice(page::reason(status).as_bytes());
        }
        None => {
            head.status = response.status;
            head.reason.extend_from_slice(response.reason.of(reply));
            head.omits_blank = response.omits_blank;
        }
    }
    head.stays = exchange.request.keep_alive && may_stay;
    head.keep_alive = location.core.keepalive_header;
    head.content_length = response.content_length;
    head.fields.reserve(response.end);
    if !exchange.binding_cookie.is_empty() {
        head.add(b"Set-Cookie", &exchange.binding_cookie);
    }
    // Where the upstream's are passed on, there is none of ours, even where it sends none.
    head.has_server = proxy.passes(b"server");
    head.has_date = proxy.passes(b"date");
    let mut moved = None;
    for field in &response.fields {
        let (name, value) = (field.name.of(reply), field.value.of(reply));
        let is_ignored = proxy.ignores & field.known.bit() != 0;
        match field.known {
            Name::XAccelLimitRate if !is_ignored => {
                exchange.limit_rate = decimal(value).or(exchange.limit_rate);
            }
            Name::XAccelCharset if !is_ignored => head.charset = value.to_vec(),
            _ => {}
        }
        if proxy.hides(field.known, name) || response.is_for_this_hop(field.known, name, reply) {
            continue;
        }
        let new = match field.known {
            Name::ContentType => {
                head.content_type.extend_from_slice(value);
                continue;
            }
            Name::AcceptRanges if proxy.force_ranges => continue,
            Name::Location => match redirect::location(&proxy.redirects, exchange, value) {
                Some(target) if target.first() == Some(&b'/') => {
                    moved = Some(target);
                    continue;
                }
                other => other,
            },
            Name::Refresh => redirect::refresh(&proxy.redirects, exchange, value),
            Name::SetCookie => proxy.cookies.apply(exchange, value),
            _ => None,
        };
        head.pass(field, reply, new.as_deref());
    }
    head.fields.extend_from_slice(&exchange.kept_fields);
    exchange.head = head;
    if let Some(target) = moved {
        location.redirects.tell(exchange, &target);
    }
}
