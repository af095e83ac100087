//! Bytes held on disk: a file without a name, gone with its last user.
//!
//! No call here waits for the disk on the thread that serves.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::engine::buffer::LARGE;

/// A file that grows at its end and is read anywhere.
#[derive(Clone, Debug)]
pub struct Spool {
    file: Arc<File>,
    /// Bytes in it.
    pub length: u64,
}

/// A file on its way.
pub type Opening = JoinHandle<io::Result<File>>;

/// A write on its way; it gives the buffer back, emptied.
pub type Writing = JoinHandle<io::Result<Vec<u8>>>;

impl Spool {
    /// Begins to open an empty one in a folder, `None` for the system's temporary one.
    pub fn open(folder: Option<PathBuf>) -> Opening {
        on_disk(move || match folder {
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        })
    }

    /// Waits for the end of [`Self::open`].
    pub fn poll_open(opening: &mut Opening, context: &mut Context<'_>) -> Poll<io::Result<Self>> {
        let file = ready!(Pin::new(opening).poll(context)).map_err(io::Error::other)??;
        Poll::Ready(Ok(Self { file: Arc::new(file), length: 0 }))
    }

    /// An empty one.
    pub async fn create(folder: Option<PathBuf>) -> io::Result<Self> {
        let mut opening = Self::open(folder);
        std::future::poll_fn(|context| Self::poll_open(&mut opening, context)).await
    }

    /// Begins to write bytes behind those that are there.
    pub fn append(&mut self, mut bytes: Vec<u8>) -> Writing {
        let (file, at) = (Arc::clone(&self.file), self.length);
        self.length += bytes.len() as u64;
        on_disk(move || {
            file.write_all_at(&bytes, at)?;
            bytes.clear();
            Ok(bytes)
        })
    }

    /// Reads from a place on.
    pub fn reader(&self, at: u64) -> Reader {
        Reader {
            file: Arc::clone(&self.file),
            at,
            end: self.length,
            reading: None,
            read: Vec::new(),
        }
    }

    /// Its number in this process.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn on_disk<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(task)
}

/// Reads a spool from one place to another.
#[derive(Debug)]
pub struct Reader {
    file: Arc<File>,
    at: u64,
    /// Where it ends for now.
    pub end: u64,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// What was read and is not taken yet.
    read: Vec<u8>,
}

impl Reader {
    /// Bytes that were not taken yet.
    pub fn left(&self) -> u64 {
        self.end - self.at + self.read.len() as u64
    }

    /// Whether there is more.
    pub fn has_more(&self) -> bool {
        self.at < self.end || self.reading.is_some() || !self.read.is_empty()
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read.is_empty() && this.at < this.end && this.reading.is_none() {
            let left = usize::try_from(this.end - this.at).unwrap_or(usize::MAX);
            let (file, at) = (Arc::clone(&this.file), this.at);
            let mut bytes = std::mem::take(&mut this.read);
            bytes.resize(left.min(LARGE), 0);
            this.reading = Some(on_disk(move || {
                file.read_exact_at(&mut bytes, at)?;
                Ok(bytes)
            }));
        }
        if let Some(reading) = &mut this.reading {
            let read = ready!(Pin::new(reading).poll(context));
            this.reading = None;
            this.read = read.map_err(io::Error::other)??;
            this.at += this.read.len() as u64;
        }
        let taken = this.read.len().min(out.remaining());
        out.put_slice(&this.read[..taken]);
        this.read.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_appended_is_read_from_any_place() {
        let mut spool = Spool::create(None).await.unwrap();
        for part in [&b"one "[..], b"two ", b"three"] {
            let buffer = spool.append(part.to_vec()).await.unwrap().unwrap();
            assert!(buffer.is_empty() && buffer.capacity() > 0);
        }
        let read = async |at| {
            let mut text = String::new();
            spool.reader(at).read_to_string(&mut text).await.unwrap();
            text
        };
        assert_eq!(read(0).await, "one two three");
        assert_eq!(read(8).await, "three");
        assert_eq!(read(13).await, "");
    }
}
