//! Passes the answer on: its head rewritten, its body as fast as both sides allow.

use std::future::poll_fn;
use std::task::Poll;

use policy::Event;

use crate::engine::answer::{added, connection};
use crate::engine::clock;
use crate::engine::connection::{After, Connection};
use crate::engine::exchange::Exchange;
use crate::engine::failure::Abort;
use crate::engine::forward::Request;
use crate::engine::forward::upload::Upload;
use crate::engine::h1::body::Framing;
use crate::engine::h1::field::Name;
use crate::engine::h1::request::Version;
use crate::engine::h1::write;
use crate::engine::peer::Peer;
use crate::engine::relay::{Broken, Relay, Waiting};
use crate::logs::{self, Level};
use crate::upstream::backend::add;
use crate::upstream::{Lease, Reason};

/// How the answer came through.
#[derive(Debug)]
enum Passed {
    /// To its end.
    Whole,
    /// The upstream stopped in the middle of it, or sent what cannot be read.
    Cut,
    /// The upstream fell silent.
    Late,
    /// The client left.
    ClientGone,
    /// The client does not read.
    ClientLate,
}

impl Connection<'_> {
    /// Passes an answer on whose head has been read, and ends the lease. The connection comes back
    /// if it may carry another request.
    pub(super) async fn pass_on(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        mut peer: Peer,
        mut upload: Upload,
        lease: Lease<'_>,
    ) -> (After, Option<Peer>) {
        let status = exchange.response.status;
        exchange.status = status;
        add(&lease.backend.counters.requests[usize::from(status / 100).clamp(1, 5) - 1], 1);
        let head_at = clock::now();
        let head_time = head_at.since(lease.began);
        lease.head(head_time, head_at);
        if let Some(attempt) = exchange.attempts.last_mut() {
            attempt.status = status;
            attempt.header = Some(head_time);
        }
        let is_upgrade = status == 101;
        let framing = if is_upgrade {
            Framing::UntilClose
        } else {
            exchange.response.framing(exchange.is_head())
        };
        let is_bounded = matches!(framing, Framing::Empty | Framing::Length(_));
        let chunked = !is_bounded && !is_upgrade && exchange.request.version == Version::Http11;
        let stays = exchange.request.keep_alive
            && !is_upgrade
            && (is_bounded || chunked)
            && upload.has_read_all()
            && !self.shared.is_stopping();
        let mut head = Vec::new();
        if exchange.request.version != Version::Http09 {
            write_head(exchange, request, chunked, stays, &mut head);
        }
        exchange.sent_head = head.len() as u64;
        let ends_by_close = matches!(framing, Framing::UntilClose);
        let mut down = Relay::new(head, framing, chunked);
        let passed = if is_upgrade {
            self.tunnel(exchange, request, &mut peer, &mut down).await
        } else {
            self.download(exchange, request, &mut peer, &mut upload, &mut down).await
        };
        exchange.sent += down.sent;
        let now = clock::now();
        exchange.ended = now;
        let total = now.since(lease.began);
        add(&lease.backend.counters.sent, upload.bytes());
        add(&lease.backend.counters.received, exchange.response.end as u64 + exchange.sent_body());
        let length = exchange.sent_body();
        if let Some(attempt) = exchange.attempts.last_mut() {
            attempt.response = Some(total);
            attempt.length = length;
        }
        let reusable = upload.is_done()
            && exchange.response.keep_alive
            && !ends_by_close
            && !is_upgrade
            && exchange.reply.unread().is_empty();
        let has_read_all = upload.has_read_all();
        exchange.out = upload.into_head();
        match passed {
            Passed::Whole => {
                lease.backend.counters.response.observe(total);
                lease.finish(Event::Success { head: head_time, total, status }, now);
                exchange.completed = true;
                let after = match (stays, has_read_all) {
                    (true, _) => After::Keep,
                    (false, true) => After::Close,
                    (false, false) => After::Linger,
                };
                (after, reusable.then_some(peer))
            }
            Passed::Cut | Passed::Late => {
                let (reason, text) = match passed {
                    Passed::Late => {
                        (Reason::Timeout, "upstream timed out (110: Connection timed out)")
                    }
                    _ => (Reason::Reset, "upstream prematurely closed connection"),
                };
                logs::note(Level::Error, exchange, text, "reading upstream");
                add(&lease.backend.counters.failures[reason as usize], 1);
                // Part of the answer is with the client: nothing is left but to cut it short too.
                lease.finish(Event::Abandoned { head: Some(head_time), total }, now);
                (After::Close, None)
            }
            Passed::ClientGone | Passed::ClientLate => {
                lease.finish(Event::Abandoned { head: Some(head_time), total }, now);
                (After::Close, None)
            }
        }
    }

    /// Both bodies at once.
    async fn download(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        peer: &mut Peer,
        upload: &mut Upload,
        down: &mut Relay,
    ) -> Passed {
        let mut mark = None;
        poll_fn(|context| {
            match upload.poll(context, &mut self.stream, exchange, peer) {
                Ok(()) => {}
                Err(Abort::ClientGone) => return Poll::Ready(Passed::ClientGone),
                Err(_) => return Poll::Ready(Passed::Cut),
            }
            match down.poll(context, &mut peer.stream, &mut exchange.reply, &mut self.stream) {
                Poll::Ready(Ok(())) => return Poll::Ready(Passed::Whole),
                Poll::Ready(Err(Broken::Sink(_))) => return Poll::Ready(Passed::ClientGone),
                Poll::Ready(Err(_)) => return Poll::Ready(Passed::Cut),
                Poll::Pending => {}
            }
            if upload.is_done()
                && !request.proxy.ignore_client_abort
                && self.client_is_gone(context, exchange)
            {
                return Poll::Ready(Passed::ClientGone);
            }
            let now = Some((down.sent, upload.bytes(), down.waiting));
            if mark != now {
                mark = now;
                self.deadline.arm(match down.waiting {
                    Waiting::Source => request.proxy.read_timeout,
                    Waiting::Sink => request.location.core.send_timeout,
                });
            }
            self.deadline.poll(context).map(|()| match down.waiting {
                Waiting::Source => Passed::Late,
                Waiting::Sink => Passed::ClientLate,
            })
        })
        .await
    }

    /// Bytes both ways after a switch of protocols, until either side ends.
    async fn tunnel(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        peer: &mut Peer,
        down: &mut Relay,
    ) -> Passed {
        let mut up = Relay::new(Vec::new(), Framing::UntilClose, false);
        let mut mark = None;
        poll_fn(|context| {
            let from_client =
                up.poll(context, &mut self.stream, &mut exchange.input, &mut peer.stream);
            let from_upstream =
                down.poll(context, &mut peer.stream, &mut exchange.reply, &mut self.stream);
            if from_client.is_ready() || from_upstream.is_ready() {
                return Poll::Ready(Passed::Whole);
            }
            let now = Some((down.sent, up.sent));
            if mark != now {
                mark = now;
                self.deadline.arm(request.proxy.read_timeout);
            }
            self.deadline.poll(context).map(|()| Passed::Late)
        })
        .await
    }
}

/// Writes the head of the answer as the client gets it, in nginx's order.
fn write_head(
    exchange: &Exchange,
    request: &Request<'_>,
    chunked: bool,
    stays: bool,
    out: &mut Vec<u8>,
) {
    let Request { location, proxy, .. } = request;
    let response = &exchange.response;
    let reply = &exchange.reply.bytes;
    out.reserve(response.end + 256);
    write::status_line(out, response.status, response.reason.of(reply));
    let passes = |name: &[u8]| {
        !proxy.pass_headers.is_empty()
            && proxy.passes(name)
            && response.fields.iter().any(|it| it.name.of(reply).eq_ignore_ascii_case(name))
    };
    if !passes(b"server") {
        write::field(out, b"Server", location.core.server.as_bytes());
    }
    if !passes(b"date") {
        clock::with_date(|date| write::field(out, b"Date", date));
    }
    let is_first = |name: Name| matches!(name, Name::ContentType | Name::ContentLength);
    let has_no_content = response.status == 204;
    for first in [Name::ContentType, Name::ContentLength] {
        let field = response.fields.iter().find(|it| it.known == first);
        if let Some(field) =
            field.filter(|it| !has_no_content && !proxy.hides(first, it.name.of(reply)))
        {
            write::field(out, field.name.of(reply), field.value.of(reply));
        }
    }
    if chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if response.status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else {
        connection(out, location, stays);
    }
    for field in &response.fields {
        let own =
            matches!(field.known, Name::Connection | Name::KeepAlive | Name::TransferEncoding);
        let name = field.name.of(reply);
        if !own && !is_first(field.known) && !proxy.hides(field.known, name) {
            write::field(out, name, field.value.of(reply));
        }
    }
    added(out, exchange, location, response.status);
    out.extend_from_slice(b"\r\n");
}
