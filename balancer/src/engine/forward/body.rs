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
use crate::http::location::Location;
use crate::http::proxy_pass::{Announced, Proxy};

/// A request's body, as far as it matters for sending it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// There is none.
    None,
    /// All of it stands behind the head, this many bytes; it can be sent again.
    Held(u64),
    /// It is passed on as it arrives, once.
    Streamed(Framing),
}

impl Body {
    /// How it is announced to the upstream.
    pub(super) fn announced(&self) -> Announced {
        match self {
            Self::None => Announced::None,
            Self::Held(length) | Self::Streamed(Framing::Length(length)) => {
                Announced::Length(*length)
            }
            Self::Streamed(_) => Announced::Chunked,
        }
    }

    /// How it ends in the buffer it is sent from.
    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::None => Framing::Empty,
            Self::Held(length) => Framing::Length(*length),
            Self::Streamed(framing) => *framing,
        }
    }
}

impl Connection<'_> {
    /// Reads a body that is to be held, and says how it will be sent.
    ///
    /// What is longer than `client_body_buffer_size` is passed on as it arrives.
    pub(super) async fn take_body(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        proxy: &Proxy,
    ) -> Result<Body, Abort> {
        let mut framing = body_framing(exchange);
        if let Framing::Empty = framing {
            return Ok(Body::None);
        }
        if exchange.request.expects_continue {
            let sent = self.send(b"HTTP/1.1 100 Continue\r\n\r\n", location.core.send_timeout);
            sent.await.map_err(|_| Abort::ClientGone)?;
        }
        let room = location.core.client_body_buffer_size as u64;
        let is_long = exchange.request.content_length.is_some_and(|it| room < it);
        if !proxy.request_buffering || is_long {
            return Ok(Body::Streamed(framing));
        }
        let start = exchange.input.head;
        let mut end = start;
        self.deadline.arm(location.core.client_body_timeout);
        loop {
            match framing.step(exchange.input.unread()).map_err(|_| Abort::BadBody)? {
                Step::Data { skip, data } => {
                    let from = exchange.input.at + skip;
                    exchange.input.bytes.copy_within(from..from + data, end);
                    exchange.input.at = from + data;
                    end += data;
                    if location.core.refuses_body((end - start) as u64) {
                        return Err(Abort::TooLarge);
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
        // What follows the body belongs to the next request.
        exchange.input.close_gap(end);
        exchange.input.at = start;
        let length = (end - start) as u64;
        exchange.received += length;
        Ok(Body::Held(length))
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
