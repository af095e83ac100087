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
use crate::logs::Level;
use crate::stream::proxy::Proxy;
use crate::stream::session::Session;

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// The client closed.
    Client,
    /// The server closed.
    Upstream,
    /// Both were silent for too long.
    Timeout,
    /// The program ends.
    Cut,
    /// A side cannot be written to.
    Broken,
}

/// An error of one side, as it is told.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) level: Level,
    pub(super) action: &'static str,
    pub(super) text: String,
}

/// One direction.
struct Way {
    /// What goes before all that is read.
    first: Vec<u8>,
    /// How much of that has gone.
    gone: usize,
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
    failures: Vec<Failure>,
    /// What is told of errors: how grave they are, and what was being done.
    reading: (Level, &'static str),
    writing: (Level, &'static str),
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
    /// The client's bytes that have been counted.
    counted: u64,
}

impl Relay {
    /// One that only reads from the client, until it is started.
    pub(super) fn new(proxy: &Proxy) -> Self {
        let way = |reading, writing| Way {
            first: Vec::new(),
            gone: 0,
            bytes: Vec::new(),
            at: 0,
            size: proxy.buffer_size,
            rate: 0,
            resume: None,
            is_delayed: false,
            is_over: false,
            is_shut: false,
            read: 0,
            sent: 0,
            failures: Vec::new(),
            reading,
            writing,
        };
        // The client's faults are less grave than those of a server.
        let up = way(
            (Level::Info, "proxying and reading from client"),
            (Level::Error, "proxying and sending to upstream"),
        );
        let down = way(
            (Level::Error, "proxying and reading from upstream"),
            (Level::Info, "proxying and sending to client"),
        );
        let now = clock::now();
        Self {
            up,
            down,
            half_close: proxy.half_close,
            started: now,
            began: now,
            first_byte: None,
            seen: 0,
            counted: 0,
        }
    }

    /// There is a server, chosen at `began`: `first` is sent to it before anything else.
    pub(super) fn start(&mut self, first: Vec<u8>, rates: [u64; 2], began: Time) {
        self.up.first = first;
        self.began = began;
        for (way, rate) in [&mut self.up, &mut self.down].into_iter().zip(rates) {
            way.rate = rate;
            way.resume = (rate > 0).then(Deadline::new);
        }
    }

    /// Reads what the client sends while there is no server.
    pub(super) fn poll_client(&mut self, context: &mut Context<'_>, client: &mut Stream) {
        self.up.poll_read(context, client, self.started);
    }

    /// Moves on as far as both sides allow; ready when the session is over.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Stream,
        server: &mut Stream,
    ) -> Poll<Ended> {
        if self.up.poll(context, client, server, self.started).is_err() {
            return Poll::Ready(Ended::Broken);
        }
        if self.is_done() {
            return Poll::Ready(Ended::Client);
        }
        if self.down.poll(context, server, client, self.started).is_err() {
            return Poll::Ready(Ended::Broken);
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

    /// How long the server took to its first byte.
    pub(super) const fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// The errors since it was last asked.
    pub(super) fn take_failures(&mut self) -> impl Iterator<Item = Failure> {
        let failures = [&mut self.up, &mut self.down].map(|it| std::mem::take(&mut it.failures));
        failures.into_iter().flatten()
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
        session.received += self.up.read - std::mem::replace(&mut self.counted, self.up.read);
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

/// A side that cannot be written to; it has been told.
struct Broken;

impl Way {
    fn is_empty(&self) -> bool {
        self.unsent().is_empty()
    }

    fn unsent(&self) -> &[u8] {
        match &self.first[self.gone..] {
            [] => &self.bytes[self.at..],
            first => first,
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
        started: Time,
    ) -> Result<(), Broken> {
        loop {
            self.poll_write(context, sink)?;
            if !self.poll_read(context, source, started) {
                return Ok(());
            }
        }
    }

    /// Sends all that the sink takes.
    fn poll_write(&mut self, context: &mut Context<'_>, sink: &mut Stream) -> Result<(), Broken> {
        while !self.is_empty() {
            let sent = match Pin::new(&mut *sink).poll_write(context, self.unsent()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(self.broken("writev() failed".to_owned())),
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(error)) => {
                    return Err(self.broken(format!("writev() failed {}", os_text(&error))));
                }
            };
            self.sent += sent as u64;
            if self.gone < self.first.len() {
                self.gone += sent;
            } else {
                self.at += sent;
            }
        }
        self.bytes.clear();
        self.at = 0;
        Ok(())
    }

    fn broken(&mut self, text: String) -> Broken {
        let (level, action) = self.writing;
        self.failures.push(Failure { level, action, text });
        Broken
    }

    /// Reads once; whether anything came of it.
    fn poll_read(&mut self, context: &mut Context<'_>, source: &mut Stream, started: Time) -> bool {
        let room = self.room(context, started);
        if room == 0 {
            return false;
        }
        self.bytes.reserve_exact(self.size - self.bytes.len());
        let mut into = (&mut self.bytes).limit(room);
        let read = match poll_read_buf(Pin::new(source), context, &mut into) {
            Poll::Pending => return false,
            Poll::Ready(Ok(0)) => {
                self.is_over = true;
                return false;
            }
            // nginx takes a connection that was reset for one that has ended.
            Poll::Ready(Err(error)) => {
                let (level, action) = self.reading;
                let text = format!("recv() failed {}", os_text(&error));
                self.failures.push(Failure { level, action, text });
                self.is_over = true;
                return false;
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
        true
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
