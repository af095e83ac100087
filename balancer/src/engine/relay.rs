//! One direction of an exchange: decodes a body as it arrives, frames it anew, sends it on.
//!
//! A relay holds at most one buffer. It reads only when everything read before has been sent, so a
//! slow receiver slows the sender down.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use policy::Time;
use tokio::io::AsyncRead;

use crate::engine::Stream;
use crate::engine::buffer::{Input, LARGE};
use crate::engine::coding::{Coding, NotPacked, Then};
use crate::engine::h1::body::Framing;
use crate::engine::h1::chunked::Step;
use crate::engine::h1::write;
use crate::engine::pace::Pace;

mod send;

/// Why a relay ended before its body did.
#[derive(Debug)]
pub enum Broken {
    /// The sender's bytes are no valid chunked coding.
    Framing,
    /// The sender closed, or its connection failed.
    Source(io::Error),
    /// The receiver's connection failed.
    Sink(io::Error),
    /// The body grows beyond its limit: behind so many bytes comes a piece of so many.
    TooLarge(u64, u64),
}

impl From<NotPacked> for Broken {
    fn from(_: NotPacked) -> Self {
        Self::Framing
    }
}

/// On whom a relay waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waiting {
    /// On more bytes to send.
    Source,
    /// On room to send them.
    Sink,
    /// Until it may send more.
    Pace(Duration),
}

/// A body on its way, with the head that goes before it.
#[derive(Debug)]
pub struct Relay {
    framing: Framing,
    chunked: bool,
    coding: Option<Box<Coding>>,
    /// How fast it sends, since when, and from when on it may go on.
    pace: Option<(Pace, Time, Time)>,
    /// Sent first: a head, or a chunk's size.
    before: Vec<u8>,
    before_at: usize,
    /// Sent next: a stretch of the source's buffer.
    data: std::ops::Range<usize>,
    /// Sent last: what closes a chunk or the body.
    after: &'static [u8],
    over: bool,
    /// Whether the receiver's connection ends behind it.
    ends: bool,
    /// What stood between the chunks last, where that is kept: in the end the lines behind them.
    between: Option<Vec<u8>>,
    /// Where what is sent of the body begins and ends, where that is not all of it.
    window: Option<(u64, u64)>,
    /// Longest body, in bytes.
    most: u64,
    /// Everything sent so far, framing included, in bytes.
    pub sent: u64,
    /// Bytes of the body taken from the source so far.
    pub taken: u64,
    /// On whom the last poll waited.
    pub waiting: Waiting,
}

/// Largest piece of a body that is copied behind the head it goes with, in bytes.
const JOINED: usize = 2048;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const CHUNK_END: &[u8] = b"\r\n";
const CHUNK_END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

impl Relay {
    /// Sends `head`, then the body framed by `framing`, itself in chunks if `chunked` says so.
    pub fn new(head: Vec<u8>, framing: Framing, chunked: bool) -> Self {
        Self {
            framing,
            chunked,
            coding: None,
            pace: None,
            before: head,
            before_at: 0,
            data: 0..0,
            after: b"",
            over: false,
            ends: false,
            between: None,
            window: None,
            most: u64::MAX,
            sent: 0,
            taken: 0,
            waiting: Waiting::Sink,
        }
    }

    /// Has the body encoded; framing it is left to the coding, too.
    #[must_use]
    pub fn coded(mut self, coding: Option<Box<Coding>>) -> Self {
        self.chunked &= coding.is_none();
        self.coding = coding;
        self
    }

    /// Ends as soon as the body is seen to be longer: nothing is sent then that could pass for its
    /// end.
    #[must_use]
    pub fn at_most(mut self, most: Option<u64>) -> Self {
        self.most = most.unwrap_or(u64::MAX);
        self
    }

    /// Leaves the last bytes to [`Stream::end`], which has to follow.
    #[must_use]
    pub fn ending(mut self, ends: bool) -> Self {
        self.ends = ends;
        self
    }

    /// Keeps the lines that follow the body, see [`Self::trailers`].
    #[must_use]
    pub fn keeping_trailers(mut self, keeps: bool) -> Self {
        self.between = keeps.then(Vec::new);
        self
    }

    /// The lines that followed the body, once it is over: behind the size of the last chunk.
    pub fn trailers(&self) -> &[u8] {
        let between = self.between.as_deref().unwrap_or_default();
        let between = between.strip_prefix(b"\r\n").unwrap_or(between);
        let start = memchr::memchr(b'\n', between).map_or(between.len(), |it| it + 1);
        between[start..].strip_suffix(b"\r\n").unwrap_or_default()
    }

    /// Sends a part of the body only.
    #[must_use]
    pub fn cut(mut self, window: Option<(u64, u64)>) -> Self {
        self.window = window;
        self
    }

    /// Bounds how fast it is sent, counted from when the request began.
    #[must_use]
    pub fn paced(mut self, pace: Option<Pace>, started: Time) -> Self {
        self.pace = pace.map(|it| (it, started, started));
        self
    }

    /// Bytes into the compressor, and out of it.
    pub fn ratio(&self) -> Option<(u64, u64)> {
        self.coding.as_ref().and_then(|it| it.ratio())
    }

    /// Whether the whole body has been taken from the source.
    pub fn has_read_all(&self) -> bool {
        self.over || self.framing.is_over()
    }

    /// How the rest of the body ends, behind what was taken from the buffer.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Gives the memory of the head back.
    pub fn into_head(self) -> Vec<u8> {
        self.before
    }

    /// Moves on as far as both sides allow; ready when everything is sent.
    pub fn poll<S: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        input: &mut Input,
        sink: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.before_at < self.before.len() || !self.data.is_empty() || !self.after.is_empty()
            {
                // The body's first bytes ride with the head.
                if self.before_at == 0 && self.data.is_empty() && !self.over {
                    self.decode(input)?;
                }
                let room = match self.room() {
                    Ok(room) => room,
                    Err(wait) => {
                        self.waiting = Waiting::Pace(wait);
                        return Poll::Pending;
                    }
                };
                self.waiting = Waiting::Sink;
                match self.poll_send(context, input, sink, room) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(Broken::Sink(io::ErrorKind::WriteZero.into())));
                    }
                    Poll::Ready(Ok(sent)) => {
                        self.advance(sent);
                        self.take_pause(sent as u64);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Sink(error))),
                }
                continue;
            }
            if self.over {
                return Poll::Ready(Ok(()));
            }
            if self.decode(input)? {
                continue;
            }
            // What was sent moves away; nothing may point there any more.
            self.data = 0..0;
            input.compact();
            // The end may come at once, and what was sent is not there any more.
            self.data = input.at..input.at;
            if !input.has_room() {
                input.grow();
            }
            self.waiting = Waiting::Source;
            match input.poll_fill(context, source) {
                Poll::Pending => {
                    // What the compressor holds back must not wait for a slow source.
                    if let Some(coding) = self.coding.as_mut().filter(|it| it.holds()) {
                        coding.encode(b"", Then::Flush, &mut self.before)?;
                        continue;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => self.end_of_source()?,
                Poll::Ready(Ok(_)) => {
                    // A buffer filled to the brim belongs to a body worth larger reads.
                    if !input.has_room() && input.bytes.capacity() < LARGE {
                        input.grow();
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Source(error))),
            }
        }
    }

    /// Takes what the buffer holds of the body; false when more has to be read first.
    fn decode(&mut self, input: &mut Input) -> Result<bool, Broken> {
        if self.before_at == self.before.len() {
            self.before.clear();
            self.before_at = 0;
        }
        let start = input.at;
        let mut end = start;
        // Chunks that arrived together are moved together and leave as one.
        loop {
            let step = self.framing.step(input.unread()).map_err(|_| Broken::Framing)?;
            self.measure(step)?;
            match step {
                Step::Data { skip, data } => {
                    let from = input.at + skip;
                    self.between.iter_mut().for_each(Vec::clear);
                    if from > end {
                        input.bytes.copy_within(from..from + data, end);
                    }
                    input.at = from + data;
                    end += data;
                    self.taken += data as u64;
                    self.over = self.framing.is_over();
                }
                Step::More { skip } | Step::End { skip } => {
                    if let Some(between) = &mut self.between {
                        between.extend_from_slice(&input.unread()[..skip]);
                    }
                    input.at += skip;
                    self.over = matches!(step, Step::End { .. });
                    break;
                }
            }
            if self.over {
                break;
            }
        }
        self.data = start..end;
        if let Some((first, last)) = self.window {
            let before = self.taken - (end - start) as u64;
            let within = |it: u64| {
                usize::try_from(it.saturating_sub(before)).map_or(end, |it| end.min(start + it))
            };
            self.data = within(first)..within(last);
        }
        if let Some(coding) = &mut self.coding {
            let then = if self.over { Then::End } else { Then::More };
            coding.encode(&input.bytes[self.data.clone()], then, &mut self.before)?;
            self.data = end..end;
        } else if self.chunked {
            self.frame();
        }
        // Copying little is cheaper than gathering it from two places.
        if !self.before.is_empty() && self.data.len() <= JOINED {
            self.before.extend_from_slice(&input.bytes[self.data.clone()]);
            self.before.extend_from_slice(self.after);
            self.data = end..end;
            self.after = b"";
        }
        Ok(self.over || !self.data.is_empty() || !self.before.is_empty())
    }

    /// A chunk counts as soon as its size is known.
    fn measure(&self, step: Step) -> Result<(), Broken> {
        let data = if let Step::Data { data, .. } = step { data as u64 } else { 0 };
        let piece = data + self.framing.left_of_chunk();
        if self.most < self.taken.saturating_add(piece) {
            return Err(Broken::TooLarge(self.taken, piece));
        }
        Ok(())
    }

    /// Puts a chunk's size before the data, and what closes it behind.
    fn frame(&mut self) {
        let data = self.data.len() as u64;
        if data > 0 {
            write::hexadecimal(&mut self.before, data);
            self.before.extend_from_slice(CHUNK_END);
        }
        self.after = match (data > 0, self.over) {
            (true, true) => CHUNK_END_AND_LAST,
            (true, false) => CHUNK_END,
            (false, true) => LAST_CHUNK,
            (false, false) => b"",
        };
    }

    fn end_of_source(&mut self) -> Result<(), Broken> {
        if !matches!(self.framing, Framing::UntilClose) {
            return Err(Broken::Source(io::ErrorKind::UnexpectedEof.into()));
        }
        self.over = true;
        match &mut self.coding {
            Some(coding) => coding.encode(b"", Then::End, &mut self.before)?,
            None if self.chunked => self.after = LAST_CHUNK,
            None => {}
        }
        Ok(())
    }
}
