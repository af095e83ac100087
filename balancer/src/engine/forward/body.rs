//! The request's body: held until it is whole, or passed on as it arrives.

use std::future::poll_fn;
use std::task::Poll;

use crate::engine::answer::body_framing;
use crate::engine::buffer;
use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::failure::Abort;
use crate::engine::h1::body::Framing;
use crate::engine::h1::chunked::Step;
use crate::engine::spool::Spool;
use crate::http::client_body::BodyFiles;
use crate::http::location::Location;
use crate::http::proxy_pass::{Announced, Proxy};
use crate::logs::{self, Level};

/// Said of chunks that are none.
pub(super) const BAD_BODY: &str = "client sent invalid chunked body";

/// A request's body, as far as it matters for sending it.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// There is none.
    None,
    /// All of it stands behind the head, this many bytes; it can be sent again.
    Held(u64),
    /// All of it is on disk; it can be sent again.
    Spooled(Spool),
    /// It is passed on as it arrives, once.
    Streamed(Framing),
    /// Not the client's: what `proxy_set_body` says, or nothing where only its length is told.
    Replaced(Option<u64>),
}

impl Body {
    /// How it is announced to the upstream.
    pub(super) fn announced(&self) -> Announced {
        match self {
            Self::None | Self::Replaced(None) => Announced::None,
            Self::Replaced(Some(length))
            | Self::Held(length)
            | Self::Streamed(Framing::Length(length)) => Announced::Length(*length),
            Self::Spooled(spool) => Announced::Length(spool.length),
            Self::Streamed(_) => Announced::Chunked,
        }
    }

    /// How it ends in the buffer it is sent from.
    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::None | Self::Replaced(_) => Framing::Empty,
            Self::Held(length) => Framing::Length(*length),
            Self::Spooled(spool) => Framing::Length(spool.length),
            Self::Streamed(framing) => *framing,
        }
    }
}

/// Whether there is no body, and nothing to be asked for one.
pub(super) fn is_none(exchange: &Exchange, proxy: &Proxy) -> bool {
    let request = &exchange.request;
    let comes = request.content_length.is_some() || request.chunked || request.expects_continue;
    let is_known = exchange.has_streamed || exchange.held.is_some() || exchange.spooled.is_some();
    let is_replaced = proxy.set_body.is_some() || !proxy.pass_request_body;
    !comes && !is_known && !is_replaced
}

impl Connection<'_> {
    /// Reads a body that is to be held, and says how it will be sent.
    ///
    /// What is longer than `client_body_buffer_size` is held on disk.
    pub(super) async fn take_body(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        proxy: &Proxy,
    ) -> Result<Body, Abort> {
        let is_replaced = proxy.set_body.is_some() || !proxy.pass_request_body;
        let length = exchange.request.content_length;
        // A body that was passed on as it arrived is gone, whatever part of it was sent.
        if exchange.has_streamed {
            exchange.request.keep_alive = false;
            return Ok(if is_replaced { Body::Replaced(Some(0)) } else { Body::Held(0) });
        }
        if exchange.held.is_none() {
            self.invite(exchange, location).await;
        }
        if let Some(spool) = exchange.spooled.as_ref().filter(|_| !is_replaced) {
            return Ok(Body::Spooled(spool.clone()));
        }
        if exchange.held == Some(0) {
            return Ok(match length {
                _ if is_replaced => Body::Replaced(length),
                None if !exchange.request.chunked => Body::None,
                _ => Body::Held(0),
            });
        }
        let framing = body_framing(exchange);
        if let Framing::Empty = framing {
            return Ok(if is_replaced { Body::Replaced(length) } else { Body::None });
        }
        // Chunks that do not stay chunks have to be counted first.
        let streams = !proxy.request_buffering && (length.is_some() || !proxy.http_1_0);
        if !is_replaced
            && exchange.held.is_none()
            && streams
            && !has_come(framing, exchange.input.unread())
        {
            let arrived = arrived(framing, exchange.input.unread());
            if location.core.refuses_body(arrived) {
                tell_too_large(exchange, 0, arrived);
                return Err(Abort::TooLarge);
            }
            exchange.has_streamed = true;
            return Ok(Body::Streamed(framing));
        }
        self.hold(exchange, location, framing).await?;
        Ok(match (&exchange.spooled, exchange.held) {
            _ if is_replaced => Body::Replaced(length),
            (Some(spool), _) => Body::Spooled(spool.clone()),
            (None, held) => Body::Held(held.unwrap_or_default()),
        })
    }

    /// Reads a body whole: into memory, and into a file from `client_body_buffer_size` on.
    pub(in crate::engine) async fn hold(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        mut framing: Framing,
    ) -> Result<(), Abort> {
        let (core, files) = (&location.core, &location.body_files);
        let room = core.client_body_buffer_size.max(1);
        let start = exchange.input.head;
        let (mut end, mut taken) = (start, 0);
        let mut spool = None;
        self.deadline.arm(location.core.client_body_timeout);
        loop {
            let step = framing.step(exchange.input.unread()).map_err(|_| {
                logs::note(Level::Error, exchange, BAD_BODY, "");
                Abort::BadBody
            })?;
            match step {
                Step::Data { skip, data } => {
                    let from = exchange.input.at + skip;
                    exchange.input.bytes.copy_within(from..from + data, end);
                    end += data;
                    exchange.input.at = from + data;
                    taken += data as u64;
                    let rest = framing.left_of_chunk();
                    if location.core.refuses_body(taken + rest) {
                        let before = taken - data as u64;
                        let chunk = data as u64 + rest;
                        tell_too_large(exchange, before, chunk);
                        return Err(Abort::TooLarge);
                    }
                    if room < end - start {
                        end = start + to_disk(exchange, &mut spool, start..end, files).await?;
                        self.deadline.arm(location.core.client_body_timeout);
                    }
                }
                Step::End { skip } => {
                    exchange.input.at += skip;
                    break;
                }
                Step::More { skip } => {
                    exchange.input.at += skip;
                    exchange.input.close_gap(end);
                    self.read_body(exchange).await?;
                }
            }
        }
        if spool.is_some() || files.are_for_all() && 0 < taken {
            end = start + to_disk(exchange, &mut spool, start..end, files).await?;
        }
        // What follows the body belongs to the next request.
        exchange.input.close_gap(end);
        exchange.input.at = start;
        if exchange.held.is_none() {
            exchange.received += taken;
        }
        exchange.held = Some((end - start) as u64);
        exchange.spooled = spool;
        Ok(())
    }

    async fn read_body(&mut self, exchange: &mut Exchange) -> Result<(), Abort> {
        let input = &mut exchange.input;
        if !input.has_room() {
            input.bytes.reserve(buffer::ROOM);
        }
        poll_fn(|context| match input.poll_fill(context, &mut self.stream) {
            Poll::Pending => self.deadline.poll(context).map(|()| Err(Abort::ClientTimeout)),
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Abort::BadBody)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        })
        .await
    }
}

/// Whether all of a body stands in the buffer, or what is no body.
fn has_come(mut framing: Framing, mut input: &[u8]) -> bool {
    loop {
        match framing.step(input) {
            Ok(Step::Data { skip, data }) => input = &input[skip + data..],
            Ok(Step::More { .. }) => return false,
            Ok(Step::End { .. }) | Err(_) => return true,
        }
    }
}

/// Tells of a body that has grown beyond its limit by a chunk.
pub(super) fn tell_too_large(exchange: &Exchange, before: u64, chunk: u64) {
    let text = format!("client intended to send too large chunked body: {before}+{chunk} bytes");
    logs::note(Level::Error, exchange, &text, "");
}

/// How many bytes of a body stand behind its head, that of the chunk that has begun included.
fn arrived(mut framing: Framing, mut bytes: &[u8]) -> u64 {
    let mut all = 0;
    while let Ok(Step::Data { skip, data }) = framing.step(bytes) {
        all += data as u64;
        bytes = &bytes[skip + data..];
    }
    all + framing.left_of_chunk()
}

/// Moves a stretch of the input to the disk; what is left of it has no length.
async fn to_disk(
    exchange: &mut Exchange,
    spool: &mut Option<Spool>,
    stretch: std::ops::Range<usize>,
    files: &BodyFiles,
) -> Result<usize, Abort> {
    let bytes = exchange.input.bytes[stretch].to_vec();
    let cannot = |exchange: &Exchange, error: &std::io::Error| {
        let text = format!("a client request body cannot be buffered: {error}");
        logs::note(Level::Error, exchange, &text, "");
        Abort::Own
    };
    let spool = if let Some(spool) = spool {
        spool
    } else {
        let created = Spool::create(files.place()).await;
        let created = created.map_err(|it| cannot(exchange, &it))?;
        let (level, name) = match created.name() {
            Some(path) => (Level::Notice, format!(" {}", path.display())),
            None => (Level::Warn, String::new()),
        };
        let text = format!("a client request body is buffered to a temporary file{name}");
        logs::note(level, exchange, &text, "");
        spool.insert(created)
    };
    let written = spool.append(bytes).await;
    let written = written.map_err(std::io::Error::other).flatten();
    written.map(|_| 0).map_err(|it| cannot(exchange, &it))
}
