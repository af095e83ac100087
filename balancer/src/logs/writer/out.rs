//! What takes the lines of a log: a file as it is, one that is packed, files that lines name, syslog.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Lines;
use crate::logs::syslog::Sender;

/// What takes the bytes.
#[derive(Debug)]
pub(super) enum Out {
    File(File),
    Packed(Packed),
    Named(Named),
    Syslog(Sender),
}

impl Out {
    /// Whole lines; to syslog one line.
    pub(super) fn write(&mut self, lines: &Lines) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(&lines.bytes),
            Self::Packed(packed) => packed.add(&lines.bytes),
            Self::Named(named) => named.write(lines),
            Self::Syslog(sender) => sender.send(&lines.bytes),
        }
    }

    /// How long what is held back may be; `None` where nothing is, or for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Packed(packed) => packed.patience(),
            Self::File(_) | Self::Named(_) | Self::Syslog(_) => None,
        }
    }

    /// Writes what is held back.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Packed(packed) => packed.flush(),
            Self::File(_) | Self::Named(_) | Self::Syslog(_) => Ok(()),
        }
    }

    /// Goes on with another file.
    pub(super) fn replace(&mut self, file: File) {
        match self {
            Self::File(own) => *own = file,
            Self::Packed(packed) => packed.file = file,
            Self::Named(_) | Self::Syslog(_) => {}
        }
    }
}

/// Opens a file for what is added at its end.
pub(super) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

/// How the lines of a file are packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packing {
    /// From 1, fast, to 9, small.
    pub level: u32,
    /// Bytes that are packed as one.
    pub buffer: usize,
    /// How long lines may wait to be, `None` for as long as it takes.
    pub flush: Option<Duration>,
}

/// A file of packed pieces, each of which can be unpacked by itself.
///
/// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_gzip`.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    packing: Packing,
    waiting: Vec<u8>,
    /// When the first of those that wait came.
    since: Option<Instant>,
}

impl Packed {
    pub(super) fn new(file: File, packing: Packing) -> Self {
        Self { file, packing, waiting: Vec::new(), since: None }
    }

    fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        for line in lines.split_inclusive(|it| *it == b'\n') {
            if self.packing.buffer < self.waiting.len() + line.len() {
                self.flush()?;
            }
            self.since.get_or_insert_with(Instant::now);
            self.waiting.extend_from_slice(line);
        }
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        let (since, most) = self.since.zip(self.packing.flush)?;
        Some(most.saturating_sub(since.elapsed()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.since = None;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut packer = GzEncoder::new(Vec::new(), Compression::new(self.packing.level));
        packer.write_all(&self.waiting)?;
        self.waiting.clear();
        self.file.write_all(&packer.finish()?)
    }
}

/// Which of the files that lines name stay open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keeping {
    /// Most of them.
    pub max: usize,
    /// How long one stays that nobody uses.
    pub inactive: Duration,
    /// How long nobody looks whether it is still the one of that name.
    pub valid: Duration,
    /// Uses before it stays.
    pub min_uses: u64,
}

/// Files by the names that lines have.
#[derive(Debug, Default)]
pub(super) struct Named {
    kept: HashMap<PathBuf, Kept>,
}

#[derive(Debug)]
struct Kept {
    file: Option<File>,
    used: Instant,
    checked: Instant,
    uses: u64,
}

impl Named {
    fn write(&mut self, lines: &Lines) -> io::Result<()> {
        let Some(place) = &lines.place else { return Ok(()) };
        let (path, keeping) = &**place;
        let Some(keeping) = keeping else { return append(path)?.write_all(&lines.bytes) };
        let now = Instant::now();
        self.kept.retain(|_, it| now.duration_since(it.used) < keeping.inactive);
        if !self.kept.contains_key(path) && keeping.max <= self.kept.len() {
            let oldest = self.kept.iter().min_by_key(|(_, it)| it.used).map(|(path, _)| path);
            if let Some(oldest) = oldest.cloned() {
                self.kept.remove(&oldest);
            }
        }
        let kept = self.kept.entry(path.clone()).or_insert_with(|| Kept {
            file: None,
            used: now,
            checked: now,
            uses: 0,
        });
        kept.used = now;
        kept.uses += 1;
        if keeping.valid <= now.duration_since(kept.checked) {
            kept.checked = now;
            kept.file = kept.file.take().filter(|it| is_same(it, path));
        }
        let mut file = match kept.file.take() {
            Some(file) => file,
            None => append(path)?,
        };
        let written = file.write_all(&lines.bytes);
        kept.file = Some(file).filter(|_| keeping.min_uses <= kept.uses);
        written
    }
}

/// Whether a file is still the one of its name.
fn is_same(file: &File, path: &Path) -> bool {
    let id = |it: std::fs::Metadata| (it.dev(), it.ino());
    let (own, named) = (file.metadata().map(id), std::fs::metadata(path).map(id));
    matches!((own, named), (Ok(own), Ok(named)) if own == named)
}
