//! The answer of a server, read ahead of a client that does not keep up: in memory first, then on
//! disk, so that the server is free long before the client has everything.
//!
//! Source: nginx `ngx_event_pipe.c`. Difference: nothing is read ahead, and no byte copied, before a
//! client has been waited for a while.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::engine::Stream;
use crate::engine::h1::body::Framing;
use crate::engine::h1::chunked::Step;
use crate::engine::spool::{Folder, Opening, Reader, Spool, Writing};

/// How long a client may hold a server up before its answer is read ahead.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes that go to the disk at once.
const BLOCK: usize = 64 * 1024;

/// Bytes read at once.
const PART: usize = 16 * 1024;

/// How much is read ahead.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Bytes in memory.
    pub memory: usize,
    /// Bytes on disk, 0 for none.
    pub disk: u64,
    /// Where the disk's are, `None` for the system's temporary folder.
    pub folder: Option<Arc<PathBuf>>,
}

/// What arrives from a server.
#[derive(Debug, Default)]
pub struct Inflow {
    /// Bytes read.
    pub received: u64,
    /// What is read ahead, once it is.
    pub ahead: Option<Box<Ahead>>,
    /// Bytes per second that are read at most.
    pub rate: Option<Throttle>,
}

/// Slows reading down.
///
/// Source: nginx `ngx_event_pipe.c`, `ngx_event_pipe_read_upstream`.
#[derive(Debug)]
pub struct Throttle {
    rate: u64,
    began: Instant,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Throttle {
    /// Reads at most `rate` bytes in each second from now on.
    pub fn new(rate: u64) -> Self {
        Self { rate, began: Instant::now(), pause: None }
    }

    /// How much may be read now, after this much was read.
    fn poll(&mut self, context: &mut Context<'_>, read: u64) -> Poll<usize> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let allowed = self.rate.saturating_mul(self.began.elapsed().as_secs() + 1);
            let left = allowed.saturating_sub(read);
            if 0 < left {
                return Poll::Ready(usize::try_from(left).unwrap_or(usize::MAX));
            }
            let over = read - allowed;
            let pause = over.saturating_mul(1000) / self.rate + 1;
            self.pause = Some(Box::pin(sleep(Duration::from_millis(pause))));
        }
    }
}

impl Inflow {
    /// Reads from the server itself.
    fn poll_stream(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = out.filled().len();
        match &mut self.rate {
            None => ready!(Pin::new(stream).poll_read(context, out))?,
            Some(throttle) => {
                let room = out.remaining().min(ready!(throttle.poll(context, self.received)));
                let mut part = ReadBuf::new(out.initialize_unfilled_to(room));
                ready!(Pin::new(stream).poll_read(context, &mut part))?;
                let read = part.filled().len();
                out.advance(read);
            }
        }
        let read = out.filled().len() - before;
        self.received += read as u64;
        Poll::Ready(Ok(read))
    }
}

/// Where a relay reads: from what was read ahead, then from the server, if it is still there.
pub struct Source<'a> {
    /// What has arrived.
    pub inflow: &'a mut Inflow,
    /// The server.
    pub stream: Option<&'a mut Stream>,
}

impl AsyncRead for Source<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Source { inflow, stream } = &mut *self;
        if let Some(ahead) = &mut inflow.ahead {
            if ready!(ahead.poll_take(context, out))? {
                return Poll::Ready(Ok(()));
            }
            match &ahead.end {
                Some(End::Broken(kind)) => return Poll::Ready(Err((*kind).into())),
                Some(End::Whole { .. }) => return Poll::Ready(Ok(())),
                None => {}
            }
        }
        let Some(stream) = stream else { return Poll::Ready(Ok(())) };
        let before = out.filled().len();
        let read = ready!(inflow.poll_stream(context, stream, out))?;
        if let Some(ahead) = &mut inflow.ahead {
            ahead.look(&out.filled()[before..before + read]);
        }
        Poll::Ready(Ok(()))
    }
}

/// How reading ahead ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// With the end of the body.
    Whole {
        /// Whether the server has sent more than that.
        has_more: bool,
    },
    /// Before it.
    Broken(io::ErrorKind),
}

/// Bytes read ahead.
#[derive(Debug)]
pub struct Ahead {
    bounds: Bounds,
    /// Says where the body ends, behind all that was read.
    scout: Framing,
    memory: VecDeque<u8>,
    disk: Option<Disk>,
    /// How it ended, `None` while there may be more.
    pub end: Option<End>,
    /// Bytes of the body that had been taken when this began.
    pub before: u64,
    /// Bytes of the body behind those.
    pub data: u64,
}

#[derive(Debug)]
enum Disk {
    Opening(Opening),
    Open(File),
}

#[derive(Debug)]
struct File {
    spool: Spool,
    reader: Reader,
    /// Read, and not on its way to the disk.
    block: Vec<u8>,
    writing: Option<Writing>,
}

impl File {
    fn new(spool: Spool) -> Self {
        Self { reader: spool.reader(0), spool, block: Vec::new(), writing: None }
    }

    /// Waits for the block that is on its way.
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(writing) = &mut self.writing {
            let written = ready!(Pin::new(writing).poll(context));
            self.writing = None;
            self.block = written.map_err(io::Error::other)??;
            self.reader.end = self.spool.length;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is there, oldest first; false when there is nothing.
    fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        if !self.reader.has_more() {
            ready!(self.poll_written(context))?;
        }
        if self.reader.has_more() {
            ready!(Pin::new(&mut self.reader).poll_read(context, out))?;
            return Poll::Ready(Ok(true));
        }
        let taken = self.block.len().min(out.remaining());
        out.put_slice(&self.block[..taken]);
        self.block.drain(..taken);
        Poll::Ready(Ok(taken > 0))
    }

    /// Has what was read written.
    fn write(&mut self) {
        self.writing = Some(self.spool.append(std::mem::take(&mut self.block)));
    }
}

impl Ahead {
    /// Begins behind `unread`, which has arrived and is not decoded.
    pub fn new(bounds: Bounds, scout: Framing, before: u64, unread: &[u8]) -> Self {
        let memory = VecDeque::new();
        let mut ahead = Self { bounds, scout, memory, disk: None, end: None, before, data: 0 };
        ahead.look(unread);
        ahead
    }

    /// Takes note of bytes that were read; none are the end of the connection.
    fn look(&mut self, mut bytes: &[u8]) {
        while self.end.is_none() {
            if self.scout.is_over() {
                self.end = Some(End::Whole { has_more: !bytes.is_empty() });
                return;
            }
            match self.scout.step(bytes) {
                Ok(Step::Data { skip, data }) => {
                    self.data += data as u64;
                    bytes = &bytes[skip + data..];
                }
                Ok(Step::More { .. }) => return,
                Ok(Step::End { skip }) => {
                    self.end = Some(End::Whole { has_more: skip < bytes.len() });
                }
                Err(_) => self.end = Some(End::Broken(io::ErrorKind::InvalidData)),
            }
        }
    }

    /// Takes what was read ahead, oldest first; false when there is nothing.
    fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        if !self.memory.is_empty() {
            let (front, _) = self.memory.as_slices();
            let taken = front.len().min(out.remaining());
            out.put_slice(&front[..taken]);
            self.memory.drain(..taken);
            return Poll::Ready(Ok(true));
        }
        if let Some(file) = ready!(self.poll_file(context))?
            && ready!(file.poll_take(context, out))?
        {
            return Poll::Ready(Ok(true));
        }
        self.disk = None;
        Poll::Ready(Ok(false))
    }

    /// The file, once it is open; `None` when nothing is on disk.
    fn poll_file(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<&mut File>>> {
        if let Some(Disk::Opening(opening)) = &mut self.disk {
            let spool = ready!(Spool::poll_open(opening, context))?;
            self.disk = Some(Disk::Open(File::new(spool)));
        }
        Poll::Ready(Ok(match &mut self.disk {
            Some(Disk::Open(file)) => Some(file),
            Some(Disk::Opening(_)) | None => None,
        }))
    }
}

impl Inflow {
    /// Reads ahead as far as the bounds allow; ready when the server has nothing more to say.
    pub fn poll_ahead(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<()> {
        loop {
            match self.poll_step(context, stream) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    if let Some(ahead) = &mut self.ahead {
                        ahead.end = Some(End::Broken(error.kind()));
                    }
                    return Poll::Ready(());
                }
            }
        }
    }

    /// One read; false when there is nothing more to read.
    fn poll_step(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<bool>> {
        let Some(mut ahead) = self.ahead.take() else { return Poll::Ready(Ok(false)) };
        let step = self.poll_read_ahead(context, stream, &mut ahead);
        self.ahead = Some(ahead);
        step
    }

    fn poll_read_ahead(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        ahead: &mut Ahead,
    ) -> Poll<io::Result<bool>> {
        if ahead.end.is_some() {
            return Poll::Ready(Ok(false));
        }
        let mut bytes = [0; PART];
        if ahead.disk.is_none() {
            if let room @ 1.. = ahead.bounds.memory.saturating_sub(ahead.memory.len()) {
                let mut out = ReadBuf::new(&mut bytes[..room.min(PART)]);
                let read = ready!(self.poll_stream(context, stream, &mut out))?;
                ahead.memory.extend(out.filled());
                ahead.take_note(out.filled(), read);
                return Poll::Ready(Ok(true));
            }
            if ahead.bounds.disk == 0 {
                // The client makes room, and that wakes us.
                return Poll::Pending;
            }
            let folder = ahead.bounds.folder.as_ref().map(|it| it.to_path_buf());
            ahead.disk = Some(Disk::Opening(Spool::open(Folder::Nameless(folder))));
        }
        let most = ahead.bounds.disk;
        let Some(file) = ready!(ahead.poll_file(context))? else { return Poll::Pending };
        ready!(file.poll_written(context))?;
        if most <= file.reader.left() {
            return Poll::Pending;
        }
        let mut out = ReadBuf::new(&mut bytes);
        let read = self.poll_stream(context, stream, &mut out);
        file.block.extend_from_slice(out.filled());
        let is_last = matches!(read, Poll::Ready(Ok(0) | Err(_)));
        if BLOCK <= file.block.len() || ((read.is_pending() || is_last) && !file.block.is_empty()) {
            file.write();
        }
        let read = ready!(read)?;
        ahead.take_note(out.filled(), read);
        Poll::Ready(Ok(true))
    }
}

impl Ahead {
    /// As [`Self::look`], for a read of this many bytes.
    fn take_note(&mut self, bytes: &[u8], read: usize) {
        if read > 0 {
            return self.look(bytes);
        }
        self.end = Some(match self.scout {
            Framing::UntilClose => End::Whole { has_more: false },
            _ => End::Broken(io::ErrorKind::UnexpectedEof),
        });
    }
}
