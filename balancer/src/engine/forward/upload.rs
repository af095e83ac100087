//! Sends the request and reads the head of its answer, both at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use policy::{Class, Sent};
use tokio::io::AsyncWrite;

use crate::engine::buffer::Input;
use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::failure::{Abort, Failure};
use crate::engine::forward::body::{BAD_BODY, Body, tell_too_large};
use crate::engine::forward::{Request, Stop};
use crate::engine::h1::field::{Field, Name};
use crate::engine::h1::request::{Progress, Version};
use crate::engine::h1::response::BadResponse;
use crate::engine::h1::write;
use crate::engine::peer::Peer;
use crate::engine::relay::{Broken, Relay, Waiting};
use crate::engine::spool::Reader;
use crate::engine::{Stream, buffer};
use crate::http::proxy_pass::Announced;
use crate::logs::{self, Level};
use crate::upstream::Reason;

/// A request on its way to a server.
pub(super) struct Upload {
    relay: Relay,
    state: State,
    /// The body, where it is on disk, and what was read of it.
    disk: Option<Box<(Reader, Input)>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Sending,
    Done,
    /// The server takes no more of it; it may have answered all the same.
    Cut,
}

const READING_HEAD: &str = "reading response header from upstream";

impl Upload {
    /// Writes the head and gets ready to send it with the body.
    pub(super) fn start(exchange: &mut Exchange, request: &Request<'_>) -> Self {
        let mut head = std::mem::take(&mut exchange.out);
        head.clear();
        if let Body::Replaced(_) = request.body {
            // The client's own is not sent; what follows it belongs to the next request.
            let length = usize::try_from(exchange.held.unwrap_or_default()).unwrap_or_default();
            exchange.input.at = exchange.input.head + length;
        }
        let own = request.proxy.set_body.as_ref().map(|it| it.value(exchange));
        let announced = match &own {
            Some(own) => Announced::Length(own.len() as u64),
            None => request.body.announced(),
        };
        request.proxy.write_head(exchange, announced, &mut head);
        head.extend_from_slice(own.as_deref().unwrap_or_default());
        let limit = request.location.core.largest_body();
        let largest = limit.filter(|_| matches!(request.body, Body::Streamed(_)));
        let chunked = announced == Announced::Chunked;
        let relay = Relay::new(head, request.body.framing(), chunked).at_most(largest);
        let disk = match &request.body {
            Body::Spooled(spool) => Some(Box::new((spool.reader(0), Input::default()))),
            _ => None,
        };
        Self { relay, state: State::Sending, disk }
    }

    /// Whether everything was sent.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether nothing more is expected of the client: what comes of it now is its end.
    pub(super) fn leaves_client_alone(&self) -> bool {
        self.state != State::Sending || self.disk.is_some()
    }

    /// Whether the whole body has been taken from the client.
    pub(super) fn has_read_all(&self) -> bool {
        self.relay.has_read_all()
    }

    /// Bytes sent so far.
    pub(super) fn bytes(&self) -> u64 {
        self.relay.sent
    }

    /// Gives the memory of the head back.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.relay.into_head()
    }

    /// How much of the request is gone.
    pub(super) fn sent(&self, body: &Body) -> Sent {
        match body {
            _ if self.relay.sent == 0 => Sent::Nothing,
            Body::Streamed(_) => Sent::Lost,
            Body::None | Body::Held(_) | Body::Spooled(_) | Body::Replaced(_) => Sent::Buffered,
        }
    }

    /// Sends what can be sent now. An error is the client's: its body cannot be read on.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Stream,
        exchange: &mut Exchange,
        peer: &mut Peer,
    ) -> Result<(), Abort> {
        if self.state != State::Sending {
            return Ok(());
        }
        let polled = match self.disk.as_deref_mut() {
            Some((file, input)) => self.relay.poll(context, file, input, &mut peer.stream),
            None => self.relay.poll(context, client, &mut exchange.input, &mut peer.stream),
        };
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.state = State::Done,
            Poll::Ready(Err(Broken::Sink(_))) => self.state = State::Cut,
            Poll::Ready(Err(Broken::Source(_))) if self.disk.is_some() => return Err(Abort::Own),
            Poll::Ready(Err(Broken::Source(_))) => return Err(Abort::ClientGone),
            Poll::Ready(Err(Broken::TooLarge(before, piece))) => {
                tell_too_large(exchange, before, piece);
                return Err(Abort::TooLarge);
            }
            Poll::Ready(Err(Broken::Framing)) => {
                logs::note(Level::Error, exchange, BAD_BODY, "sending request to upstream");
                return Err(Abort::BadBody);
            }
        }
        Ok(())
    }

    /// Longest silence to bear in the present state, and what it means when it is over.
    fn patience(&self, request: &Request<'_>) -> (Duration, Late) {
        match (self.state, self.relay.waiting) {
            (State::Sending, Waiting::Source) => {
                (request.location.core.client_body_timeout, Late::Client)
            }
            (State::Sending, Waiting::Sink | Waiting::Pace(_)) => {
                (request.proxy.send_timeout, Late::Sending)
            }
            (State::Done | State::Cut, _) => (request.proxy.read_timeout, Late::Answer),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Late {
    Client,
    Sending,
    Answer,
}

impl Connection<'_> {
    /// Sends the request and reads on until the head of the final answer is there.
    pub(super) async fn await_head(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        peer: &mut Peer,
        upload: &mut Upload,
    ) -> Result<(), Stop> {
        if request.proxy.limit_rate.is_some() {
            // What comes with the head comes at once: no more of it than nginx would take.
            exchange.reply.bytes = Vec::with_capacity(request.proxy.buffer_size);
        } else if exchange.reply.bytes.capacity() < buffer::ROOM {
            exchange.reply.bytes = buffer::take();
        }
        let mut mark = None;
        poll_fn(|context| {
            if let Err(abort) = upload.poll(context, &mut self.stream, exchange, peer) {
                return Poll::Ready(Err(Stop::Aborted(abort)));
            }
            // Who has an answer need not be asked whether they still wait for it.
            match poll_reply(context, exchange, request, peer, upload) {
                Poll::Ready(done) => return Poll::Ready(done.map_err(Stop::Failed)),
                Poll::Pending => {}
            }
            if upload.leaves_client_alone()
                && !request.proxy.ignore_client_abort
                && self.client_is_gone(context, exchange)
            {
                return Poll::Ready(Err(Stop::Aborted(Abort::ClientGone)));
            }
            // What does not fit now goes before the answer.
            if !exchange.hints.is_empty()
                && let Poll::Ready(Ok(sent)) =
                    Pin::new(&mut self.stream).poll_write(context, &exchange.hints)
            {
                exchange.hints.drain(..sent);
                exchange.sent += sent as u64;
            }
            let (timeout, late) = upload.patience(request);
            let now = Some((upload.relay.sent, exchange.reply.bytes.len(), late));
            if mark != now {
                mark = now;
                self.deadline.arm(timeout);
            }
            self.deadline.poll(context).map(|()| {
                Err(match late {
                    Late::Client => Stop::Aborted(Abort::ClientTimeout),
                    Late::Sending => {
                        let action = "sending request to upstream";
                        Stop::Failed(Failure::timeout(upload.sent(&request.body), action))
                    }
                    Late::Answer => {
                        Stop::Failed(Failure::timeout(upload.sent(&request.body), READING_HEAD))
                    }
                })
            })
        })
        .await
    }
}

/// Reads what has arrived of the answer's head; interim answers are passed over.
fn poll_reply(
    context: &mut Context<'_>,
    exchange: &mut Exchange,
    request: &Request<'_>,
    peer: &mut Peer,
    upload: &Upload,
) -> Poll<Result<(), Failure>> {
    let failure = |class, reason, text| Failure {
        class,
        reason,
        sent: upload.sent(&request.body),
        charged: true,
        text,
        action: READING_HEAD,
    };
    let invalid = |text| Poll::Ready(Err(failure(Class::InvalidHeader, Reason::Invalid, text)));
    loop {
        let too_big = request.proxy.buffer_size < exchange.reply.bytes.len();
        match exchange.response.parse(&exchange.reply.bytes) {
            // nginx takes it for an answer of HTTP/0.9.
            Err(BadResponse::NO_HEAD) => {
                logs::note(Level::Error, exchange, BadResponse::NO_HEAD.0, READING_HEAD);
                exchange.response.take_bare();
                break;
            }
            Err(bad) => {
                exchange.detail = exchange.response.shown(&exchange.reply.bytes);
                return invalid(bad.0);
            }
            Ok(Progress::Complete) if exchange.response.end > request.proxy.buffer_size => {
                return invalid("upstream sent too big header");
            }
            Ok(Progress::Complete) if exchange.response.status == 101 => {
                if !exchange.request.upgrade {
                    return invalid("upstream sent a switch of protocols that nobody asked for");
                }
                break;
            }
            Ok(Progress::Complete) if exchange.response.status < 200 => {
                hint(exchange, request);
                exchange.reply.bytes.drain(..exchange.response.end);
                exchange.response.clear();
                continue;
            }
            Ok(Progress::Complete) => break,
            Ok(Progress::Partial) if too_big => return invalid("upstream sent too big header"),
            Ok(Progress::Partial) => {}
        }
        if !exchange.reply.has_room() {
            exchange.reply.bytes.reserve(buffer::ROOM);
        }
        match exchange.reply.poll_fill(context, &mut peer.stream) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) => {
                let text = "upstream prematurely closed connection";
                return Poll::Ready(Err(failure(Class::Error, Reason::Reset, text)));
            }
            Poll::Ready(Err(_)) => {
                let text = "recv() failed (104: Connection reset by peer)";
                return Poll::Ready(Err(failure(Class::Error, Reason::Reset, text)));
            }
        }
    }
    tell_ignored(exchange);
    exchange.reply.keep_head(exchange.response.end);
    Poll::Ready(Ok(()))
}

/// Tells of lines that repeat one that may stand once.
///
/// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_process_header_line`.
fn tell_ignored(exchange: &Exchange) {
    let reply = &exchange.reply.bytes;
    let line = |it: &Field| {
        let (name, value) = (it.name.of(reply), it.value.of(reply));
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    for field in &exchange.response.ignored {
        let mut fields = exchange.response.fields.iter();
        let before = fields.find(|it| it.known == field.known).map(line).unwrap_or_default();
        let text = format!(
            "upstream sent duplicate header line: \"{}\", previous value: \"{before}\", ignored",
            line(field)
        );
        logs::note(Level::Warn, exchange, &text, READING_HEAD);
    }
}

/// Keeps early hints for the client, where the configuration lets them through.
///
/// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_process_early_hints`.
fn hint(exchange: &mut Exchange, request: &Request<'_>) {
    let is_wanted = exchange.response.status == 103
        && exchange.request.version == Version::Http11
        && request.proxy.early_hints.iter().any(|it| it.is_true(exchange));
    if !is_wanted {
        return;
    }
    let mut hints = std::mem::take(&mut exchange.hints);
    hints.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
    let reply = &exchange.reply.bytes;
    for field in &exchange.response.fields {
        let name = field.name.of(reply);
        let is_own = matches!(
            field.known,
            Name::Connection | Name::KeepAlive | Name::TransferEncoding | Name::ContentLength
        );
        if !is_own && !request.proxy.hides(field.known, name) {
            write::field(&mut hints, name, field.value.of(reply));
        }
    }
    hints.extend_from_slice(b"\r\n");
    exchange.hints = hints;
}
