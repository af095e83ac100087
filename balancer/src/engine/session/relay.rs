//! Both directions of a session, each through one buffer.
//!
//! Source: nginx `ngx_stream_proxy_module.c`, `ngx_stream_proxy_process` and
//! `ngx_stream_proxy_test_finalize`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use policy::Time;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use crate::conf::error::os_text;
use crate::engine::timer::Deadline;
use crate::engine::{Stream, clock};
use crate::stream::proxy::Proxy;
use crate::stream::session::Session;

/// How a session ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// The client closed.
    Client,
    /// The server closed.
    Upstream,
    /// Both were silent for too long.
    Timeout,
    /// The program ends.
    Cut,
    /// A side cannot be written to, for this reason.
    Broken(String),
}

/// One direction.
struct Way {
    bytes: Vec<u8>,
    at: usize,
    size: usize,
    rate: u64,
    resume: Option<Deadline>,
    is_delayed: bool,
    is_over: bool,
    is_shut: bool,
    read: u64,
    sent: u64,
}

/// Both directions.
pub(super) struct Relay {
    up: Way,
    down: Way,
    half_close: bool,
    started: Time,
    began: Time,
    first_byte: Option<Duration>,
    /// Bytes moved when it was last asked.
    seen: u64,
    /// The client's bytes that came before, with a PROXY header.
    before: u64,
}

impl Relay {
    /// Sends `first` to the server before anything else.
    pub(super) fn new(proxy: &Proxy, first: Vec<u8>, began: Time) -> Self {
        let way = |bytes: Vec<u8>, rate: u64| Way {
            size: proxy.buffer_size.max(bytes.len()),
            bytes,
            at: 0,
            rate,
            resume: (rate > 0).then(Deadline::new),
            is_delayed: false,
            is_over: false,
            is_shut: false,
            read: 0,
            sent: 0,
        };
        Self {
            up: way(first, proxy.upload_rate),
            down: way(Vec::new(), proxy.download_rate),
            half_close: proxy.half_close,
            started: clock::now(),
            began,
            first_byte: None,
            seen: 0,
            before: 0,
        }
    }

    /// Moves on as far as both sides allow; ready when the session is over.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Stream,
        server: &mut Stream,
    ) -> Poll<Ended> {
        if let Err(text) = self.up.poll(context, client, server, self.started) {
            return Poll::Ready(Ended::Broken(text));
        }
        if self.is_done() {
            return Poll::Ready(Ended::Client);
        }
        if let Err(text) = self.down.poll(context, server, client, self.started) {
            return Poll::Ready(Ended::Broken(text));
        }
        if self.first_byte.is_none() && (self.down.read > 0 || self.down.is_over) {
            self.first_byte = Some(clock::now().since(self.began));
        }
        if self.is_done() {
            return Poll::Ready(Ended::Upstream);
        }
        if self.half_close {
            self.up.poll_shut(context, server);
            self.down.poll_shut(context, client);
        }
        Poll::Pending
    }

    fn is_done(&self) -> bool {
        let (up, down) = (&self.up, &self.down);
        if self.half_close {
            return up.is_over && down.is_over && up.is_empty() && down.is_empty();
        }
        // What is on its way to a side that is still there arrives first.
        (up.is_over || down.is_over && down.is_empty()) && (down.is_over || up.is_empty())
    }

    /// Enters the counts into the session.
    pub(super) fn count(&mut self, session: &mut Session) {
        session.received += self.up.read - std::mem::replace(&mut self.before, self.up.read);
        session.sent = self.down.sent;
        if let Some(attempt) = session.attempts.last_mut() {
            attempt.sent = self.up.sent;
            attempt.received = self.down.read;
            attempt.first_byte = self.first_byte;
        }
    }

    /// Whether anything was moved since it was last asked.
    pub(super) fn has_moved(&mut self) -> bool {
        let total = self.up.read + self.up.sent + self.down.read + self.down.sent;
        std::mem::replace(&mut self.seen, total) != total
    }

    /// Whether a rate holds one direction back; silence does not count then.
    pub(super) fn is_delayed(&self) -> bool {
        self.up.is_delayed || self.down.is_delayed
    }
}

impl Way {
    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
        started: Time,
    ) -> Result<(), String> {
        loop {
            let mut is_stuck = false;
            while !self.is_empty() && !is_stuck {
                match Pin::new(&mut *sink).poll_write(context, &self.bytes[self.at..]) {
                    Poll::Pending => is_stuck = true,
                    Poll::Ready(Ok(0)) => return Err("send() failed".to_owned()),
                    Poll::Ready(Ok(sent)) => {
                        self.at += sent;
                        self.sent += sent as u64;
                    }
                    Poll::Ready(Err(error)) => {
                        return Err(format!("send() failed {}", os_text(&error)));
                    }
                }
            }
            if self.is_empty() {
                self.bytes.clear();
                self.at = 0;
            }
            let room = self.room(context, started);
            if room == 0 {
                return Ok(());
            }
            self.bytes.reserve_exact(self.size - self.bytes.len());
            let mut into = (&mut self.bytes).limit(room);
            let read = match poll_read_buf(Pin::new(&mut *source), context, &mut into) {
                Poll::Pending => return Ok(()),
                // nginx takes a connection that was reset for one that has ended.
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.is_over = true;
                    return Ok(());
                }
                Poll::Ready(Ok(read)) => read as u64,
            };
            self.read += read;
            if let Some(resume) = &self.resume {
                let delay = Duration::from_millis(read * 1000 / self.rate);
                if !delay.is_zero() {
                    resume.arm(delay);
                    self.is_delayed = true;
                }
            }
        }
    }

    /// How many bytes may be read now.
    fn room(&mut self, context: &mut Context<'_>, started: Time) -> usize {
        let room = self.size - self.bytes.len();
        if self.is_over || room == 0 {
            return 0;
        }
        let Some(resume) = &self.resume else { return room };
        loop {
            if self.is_delayed && resume.poll(context).is_pending() {
                return 0;
            }
            self.is_delayed = false;
            let allowed = self.rate.saturating_mul(clock::now().since(started).as_secs() + 1);
            if self.read < allowed {
                return room.min(usize::try_from(allowed - self.read).unwrap_or(usize::MAX));
            }
            resume.arm(Duration::from_millis((self.read - allowed) * 1000 / self.rate + 1));
            self.is_delayed = true;
        }
    }

    /// Ends the sink's side when all that the source sent has gone out.
    fn poll_shut(&mut self, context: &mut Context<'_>, sink: &mut Stream) {
        if self.is_over && self.is_empty() && !self.is_shut {
            self.is_shut = Pin::new(sink).poll_shutdown(context).is_ready();
        }
    }
}
