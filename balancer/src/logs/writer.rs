//! Log files: one thread writes each, so that a slow disk slows no request down.
//!
//! Lines are collected per worker and handed over at every tick; what is handed over is written
//! whole. When the disk does not keep up for so long that [`LIMIT`] bytes wait, lines are dropped
//! and counted.

use std::cell::RefCell;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::out::{Named, Out, Packed, append};
use super::error;
use super::rows::Severity;
use super::syslog::{Peer, Sender};
use crate::upstream::backend::add;

pub use self::out::{Keeping, Packing};

mod out;
mod thread;

/// Bytes that may wait for the disk, per file.
pub const LIMIT: usize = 4 << 20;

/// A worker hands its lines over when it has as many bytes, tick or not.
const HAND_OVER: usize = 64 << 10;

/// Memory of written lines that is kept for the next ones.
const SPARES: usize = 8;

/// Every file that is open, so that two lines of a configuration share one.
static OPEN: Mutex<Vec<Weak<LogFile>>> = Mutex::new(Vec::new());

/// Lines that no file took, since the program started.
static DROPPED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Where this thread collects its lines.
    static LANES: RefCell<Vec<(Weak<LogFile>, Arc<Lane>)>> = const { RefCell::new(Vec::new()) };
}

/// A log file that is open; it is written to its end when the last holder is gone.
#[derive(Debug)]
pub struct LogFile {
    channel: Arc<Channel>,
    lanes: Mutex<Vec<Arc<Lane>>>,
}

/// Lines of one worker. Nobody else locks it but whoever ends the program.
type Lane = Mutex<Lines>;

/// Whole lines.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    count: u64,
    /// The file they name, where they do.
    place: Option<Arc<(PathBuf, Option<Keeping>)>>,
}

/// What the threads that log and the one that writes share.
#[derive(Debug)]
struct Channel {
    place: Place,
    state: Mutex<State>,
    changed: Condvar,
}

/// Where lines go.
#[derive(Debug, Eq, PartialEq)]
enum Place {
    Stderr,
    File(PathBuf),
    /// A file whose lines are packed.
    Packed(PathBuf, Packing),
    /// Whatever files lines name.
    Named,
    Syslog(Peer),
}

impl Place {
    fn name(&self) -> &Path {
        match self {
            Self::Stderr => Path::new("stderr"),
            Self::File(path) | Self::Packed(path, _) => path,
            Self::Named => Path::new("access log"),
            Self::Syslog(peer) => Path::new(peer.name()),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Lines>,
    waiting_bytes: usize,
    spares: Vec<Vec<u8>>,
    is_writing: bool,
    /// The file to go on with.
    reopened: Option<File>,
    is_closed: bool,
    /// Whether what is held back is to be written.
    wants_all: bool,
}

impl LogFile {
    /// Opens a file for appending, or finds it open.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        Self::find(Place::File(path.to_owned()), || append(path).map(Out::File))
    }

    /// As [`Self::open`], for lines that are packed.
    pub fn packed(path: &Path, packing: Packing) -> io::Result<Arc<Self>> {
        let place = Place::Packed(path.to_owned(), packing);
        Self::find(place, || Ok(Out::Packed(Packed::new(append(path)?, packing))))
    }

    /// Files that lines name; they are opened as they are written.
    pub fn named() -> io::Result<Arc<Self>> {
        Self::find(Place::Named, || Ok(Out::Named(Named::default())))
    }

    /// Standard error as it is when it is first asked for.
    pub fn stderr() -> io::Result<Arc<Self>> {
        let copy = || io::stderr().as_fd().try_clone_to_owned();
        Self::find(Place::Stderr, || copy().map(|it| Out::File(File::from(it))))
    }

    /// A server of syslog. An error is nginx's text.
    pub fn syslog(peer: &Peer) -> Result<Arc<Self>, String> {
        let sender = Sender::find(peer)?;
        let found = Self::find(Place::Syslog(peer.clone()), || Ok(Out::Syslog(sender)));
        found.map_err(|error| error::failed(Path::new(peer.name()), &error))
    }

    fn find(place: Place, open_it: impl FnOnce() -> io::Result<Out>) -> io::Result<Arc<Self>> {
        let mut open = lock(&OPEN);
        open.retain(|it| it.strong_count() > 0);
        let same = |it: &Arc<Self>| it.channel.place == place;
        if let Some(found) = open.iter().filter_map(Weak::upgrade).find(same) {
            return Ok(found);
        }
        let log = Self::start(open_it()?, place)?;
        open.push(Arc::downgrade(&log));
        Ok(log)
    }

    /// Whether it is standard error.
    pub fn is_stderr(&self) -> bool {
        self.channel.place == Place::Stderr
    }

    fn start(out: Out, place: Place) -> io::Result<Arc<Self>> {
        let channel =
            Arc::new(Channel { place, state: Mutex::default(), changed: Condvar::default() });
        let writer = Arc::clone(&channel);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write(out))?;
        Ok(Arc::new(Self { channel, lanes: Mutex::default() }))
    }

    /// Adds a line to those this worker collects. It is written after the next [`flush`].
    ///
    /// `write` appends it, its end included.
    pub fn collect(self: &Arc<Self>, write: impl FnOnce(&mut Vec<u8>)) {
        if let Place::Syslog(peer) = &self.channel.place {
            let mut bytes = peer.header(None).into_bytes();
            write(&mut bytes);
            // A datagram is a line.
            bytes.pop_if(|it| *it == b'\n');
            return self.channel.take(&mut Lines { bytes, count: 1, place: None });
        }
        LANES.with_borrow_mut(|lanes| {
            let at = lanes.iter().position(|(it, _)| it.as_ptr() == Arc::as_ptr(self));
            let at = at.unwrap_or_else(|| {
                let lane = Arc::<Lane>::default();
                lock(&self.lanes).push(Arc::clone(&lane));
                lanes.push((Arc::downgrade(self), lane));
                lanes.len() - 1
            });
            let mut lines = lock(&lanes[at].1);
            write(&mut lines.bytes);
            lines.count += 1;
            if lines.bytes.len() >= HAND_OVER {
                self.channel.take(&mut lines);
            }
        });
    }

    /// Hands a line over at once, for a file that it names.
    pub fn collect_at(
        &self,
        path: PathBuf,
        keeping: Option<Keeping>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.channel.take(&mut Lines { bytes, count: 1, place: Some(Arc::new((path, keeping))) });
    }

    /// Hands a line of an error log over at once.
    pub fn tell(&self, severity: Severity, line: &[u8]) {
        let bytes = match &self.channel.place {
            Place::Syslog(peer) => {
                let bare = line.strip_suffix(b"\n").unwrap_or(line);
                [peer.header(Some(severity)).as_bytes(), bare].concat()
            }
            _ => line.to_vec(),
        };
        self.channel.take(&mut Lines { bytes, count: 1, place: None });
    }

    /// Hands over what every worker has collected.
    fn gather(&self) {
        for lane in lock(&self.lanes).iter() {
            self.channel.take(&mut lock(lane));
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.gather();
        lock(&self.channel.state).is_closed = true;
        self.channel.changed.notify_all();
    }
}

impl Channel {
    /// Puts lines into the queue, or drops and counts them; their memory may be another afterwards.
    fn take(&self, lines: &mut Lines) {
        if lines.count == 0 {
            return;
        }
        let mut state = lock(&self.state);
        if state.waiting_bytes + lines.bytes.len() > LIMIT {
            drop(state);
            add(&DROPPED, lines.count);
            lines.bytes.clear();
            lines.count = 0;
            return;
        }
        state.waiting_bytes += lines.bytes.len();
        let spare = state.spares.pop().unwrap_or_default();
        let bytes = std::mem::replace(&mut lines.bytes, spare);
        let (count, place) = (std::mem::take(&mut lines.count), lines.place.take());
        state.waiting.push(Lines { bytes, count, place });
        drop(state);
        self.changed.notify_all();
    }
}

fn complain(call: &str, path: &Path, error: &io::Error) {
    let path = path.display();
    let text = crate::conf::error::os_text(error);
    tracing::error!(severity = "alert", "{call} \"{path}\" failed {text}");
}

/// Hands over what this worker has collected; called at every tick.
pub fn flush() {
    LANES.with_borrow_mut(|lanes| {
        lanes.retain(|(log, lane)| match log.upgrade() {
            Some(log) => {
                log.channel.take(&mut lock(lane));
                true
            }
            // Its lines were gathered when it was closed.
            None => false,
        });
    });
}

/// Opens every file again by its name, for a rotation that renamed it, and gives it to a user.
///
/// The caller opens, not the file's thread: it may have the right to.
pub fn reopen(owner: Option<u32>) {
    for log in open() {
        log.gather();
        let (Place::File(path) | Place::Packed(path, _)) = &log.channel.place else { continue };
        match append(path) {
            Ok(file) => {
                if let Err(error) = give(&file, owner) {
                    complain("chown()", path, &error);
                }
                lock(&log.channel.state).reopened = Some(file);
                log.channel.changed.notify_all();
            }
            Err(error) => complain("open()", path, &error),
        }
    }
}

/// Source: nginx `ngx_cycle.c`, `ngx_reopen_files`.
fn give(file: &File, owner: Option<u32>) -> io::Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let found = file.metadata()?;
    if found.uid() != owner {
        fchown(file, Some(owner), None)?;
    }
    if found.mode() & 0o600 != 0o600 {
        file.set_permissions(Permissions::from_mode(found.mode() & 0o7777 | 0o600))?;
    }
    Ok(())
}

/// Writes what all workers have collected, and waits for it, but not for a disk that has stalled.
pub fn finish(within: Duration) {
    let until = Instant::now() + within;
    for log in open() {
        log.gather();
        let left = until.saturating_duration_since(Instant::now());
        let is_busy = |it: &mut State| {
            it.is_writing || it.wants_all || it.reopened.is_some() || !it.waiting.is_empty()
        };
        let mut state = lock(&log.channel.state);
        state.wants_all = true;
        log.channel.changed.notify_all();
        drop(log.channel.changed.wait_timeout_while(state, left, is_busy));
    }
}

/// Lines that no file took, since the program started.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn open() -> Vec<Arc<LogFile>> {
    lock(&OPEN).iter().filter_map(Weak::upgrade).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a line was formatted costs that line alone.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
