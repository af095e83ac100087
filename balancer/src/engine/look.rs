//! A path → what is there now.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// What is at a path, links followed; `None` where nothing can be seen.
pub fn metadata(path: &[u8]) -> Option<Metadata> {
    fs::metadata(OsStr::from_bytes(path)).ok()
}

/// The path without links, `.` and `..`; `None` where there is nothing.
pub fn canonical(path: &[u8]) -> Option<Vec<u8>> {
    fs::canonicalize(OsStr::from_bytes(path)).ok().map(|it| it.into_os_string().into_vec())
}

/// What a file holds.
pub fn contents(path: &[u8]) -> io::Result<Vec<u8>> {
    fs::read(OsStr::from_bytes(path))
}
