//! Where did these bytes come from?
//!
//! A span points into the file it was read from and travels with every word, so that a problem
//! found long after reading still names its file, line and column.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The one question that reading a configuration has for the world.
pub trait Reader {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths that match a pattern of `*`, `?` and `[…]`, sorted; none is no error.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// One text: a file, or what `-g` gave.
#[derive(Debug)]
pub struct Source {
    /// The name as messages print it: the path after prefixing; `None` for the command line.
    pub name: Option<String>,
    /// The bytes as they were read, byte order mark included.
    pub bytes: Vec<u8>,
}

impl Source {
    /// Line and column, both from 1, of an offset; an offset beyond the end is at the end.
    ///
    /// Columns count characters, a malformed byte as one.
    #[must_use]
    pub fn position(&self, offset: u32) -> (usize, usize) {
        let before = &self.bytes[..self.bytes.len().min(offset as usize)];
        let start = before.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
        let line = before.split(|it| *it == b'\n').count();
        (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
    }
}

/// Every file that was opened, in order of first opening.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Arc<Source>>,
}

impl Sources {
    /// The file of this name; it is read when nobody asked for it before.
    pub(super) fn open(&mut self, path: &Path, reader: &dyn Reader) -> io::Result<Arc<Source>> {
        let name = path.to_string_lossy().into_owned();
        let known = self.files.iter().find(|it| it.name.as_deref() == Some(&name));
        if let Some(source) = known {
            return Ok(Arc::clone(source));
        }
        let bytes = reader.read(path)?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(io::Error::from_raw_os_error(FILE_TOO_LARGE));
        }
        let source = Arc::new(Source { name: Some(name), bytes });
        self.files.push(Arc::clone(&source));
        Ok(source)
    }

    /// The files, in order of first opening.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().map(AsRef::as_ref)
    }

    /// What `-T` writes: a heading, the bytes and an empty line for each file.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        let mut dump = Vec::new();
        for source in self.iter() {
            let name = source.name.as_deref().unwrap_or_default();
            dump.extend_from_slice(format!("# configuration file {name}:\n").as_bytes());
            dump.extend_from_slice(&source.bytes);
            dump.push(b'\n');
        }
        dump
    }
}

/// `EFBIG`: offsets are kept in 32 bits.
const FILE_TOO_LARGE: i32 = 27;

/// A piece of a source, and the line nginx names for it.
#[derive(Clone)]
pub struct Span {
    /// The text it points into.
    pub source: Arc<Source>,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
    /// The line nginx reports, from 1: the one on which the directive ends.
    pub line: u32,
    /// The place of its directive in reading order, over all files.
    pub order: u32,
}

impl Span {
    /// Line and column of the first byte, from 1.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        self.source.position(self.start)
    }

    /// Whether another span covers the very same bytes.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source) && self.range() == other.range()
    }

    /// The bytes as text; malformed UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let end = self.range().end.min(self.source.bytes.len());
        String::from_utf8_lossy(&self.source.bytes[self.range().start.min(end)..end])
    }

    /// The offsets, for slicing.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// From the start of this span to the end of a later one of the same source.
    #[must_use]
    pub fn to(&self, last: &Self) -> Self {
        Self { end: last.end, line: last.line, ..self.clone() }
    }
}

/// As nginx ends a message: `FILE:LINE`, or `command line`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source.name {
            Some(name) => write!(f, "{name}:{}", self.line),
            None => f.write_str("command line"),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({}..{})", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source { name: None, bytes: "a\nä\u{20ac} x\n".as_bytes().to_vec() };
        for (offset, expected) in [(0, (1, 1)), (2, (2, 1)), (4, (2, 2)), (7, (2, 3)), (8, (2, 4))]
        {
            assert_eq!(source.position(offset), expected, "offset {offset}");
        }
        assert_eq!(source.position(99), (3, 1), "beyond the end");
    }
}
