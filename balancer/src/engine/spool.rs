//! Bytes held on disk: mostly a file without a name, gone with its last user.
//!
//! No call here waits for the disk on the thread that serves.

use std::fs::{DirBuilder, File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::engine::buffer::LARGE;

/// A file that grows at its end and is read anywhere.
#[derive(Clone, Debug)]
pub struct Spool {
    file: Arc<File>,
    name: Option<Arc<Name>>,
    /// Bytes in it.
    pub length: u64,
}

/// A name in the folder, taken off when its file's last user is gone, or left.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    stays: bool,
}

impl Drop for Name {
    fn drop(&mut self) {
        if !self.stays {
            // It may have been removed by whoever it was for.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where a file is made.
#[derive(Clone, Debug)]
pub enum Folder {
    /// In a folder, `None` for the system's temporary one, where it has no name.
    Nameless(Option<PathBuf>),
    /// In a folder, or one below it: so many digits from the end of its name each.
    Named {
        /// The folder.
        path: PathBuf,
        /// How many digits name the folders below it.
        levels: Vec<usize>,
        /// Whether it is left there.
        stays: bool,
    },
}

/// A file on its way.
pub type Opening = JoinHandle<io::Result<Spool>>;

/// Which name is tried next, as nginx counts its own.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A write on its way; it gives the buffer back, emptied.
pub type Writing = JoinHandle<io::Result<Vec<u8>>>;

impl Spool {
    /// Begins to open an empty one in a folder.
    pub fn open(folder: Folder) -> Opening {
        on_disk(move || {
            let (file, name) = match folder {
                Folder::Nameless(Some(folder)) => (tempfile::tempfile_in(folder)?, None),
                Folder::Nameless(None) => (tempfile::tempfile()?, None),
                Folder::Named { path, levels, stays } => {
                    let (file, path) = create_named(&path, &levels)?;
                    (file, Some(Arc::new(Name { path, stays })))
                }
            };
            Ok(Self { file: Arc::new(file), name, length: 0 })
        })
    }

    /// Waits for the end of [`Self::open`].
    pub fn poll_open(opening: &mut Opening, context: &mut Context<'_>) -> Poll<io::Result<Self>> {
        Poll::Ready(ready!(Pin::new(opening).poll(context)).map_err(io::Error::other)?)
    }

    /// An empty one.
    pub async fn create(folder: Folder) -> io::Result<Self> {
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

    /// Its path, `None` where it has none.
    pub fn name(&self) -> Option<&Path> {
        self.name.as_ref().map(|it| it.path.as_path())
    }

    /// Its number in this process.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Creates a file that nobody else has.
///
/// Source: nginx `ngx_file.c`, `ngx_create_temp_file` and `ngx_create_hashed_filename`.
fn create_named(folder: &Path, levels: &[usize]) -> io::Result<(File, PathBuf)> {
    loop {
        // Relaxed: a number is tried once; nothing else depends on it.
        let name = format!("{:010}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (mut path, mut end) = (folder.to_path_buf(), name.len());
        for digits in levels {
            let start = end.saturating_sub(*digits);
            path.push(&name[start..end]);
            end = start;
        }
        if !levels.is_empty() {
            DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        }
        path.push(&name);
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
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
        let mut spool = Spool::create(Folder::Nameless(None)).await.unwrap();
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
    #[tokio::test]
    async fn a_name_stays_or_goes_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        for stays in [true, false] {
            let path = folder.path().to_path_buf();
            let spool = Spool::create(Folder::Named { path, levels: vec![1, 2], stays }).await;
            let spool = spool.unwrap();
            let path = spool.name().unwrap().to_path_buf();
            let name = path.file_name().unwrap().to_str().unwrap();
            let below = folder.path().join(&name[9..]).join(&name[7..9]);
            assert_eq!(path, below.join(name));
            assert!(path.exists());
            drop(spool);
            assert_eq!(path.exists(), stays);
        }
    }
}
