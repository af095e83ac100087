//! What is in a folder, for a client that asks for one without an index.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Found, as_path, failure, libc_error};
use crate::conf::error::os_text;
use crate::engine::exchange::Exchange;
use crate::http::Action;
use crate::http::autoindex::{AutoIndex, Entry, Kind};
use crate::http::location::Location;
use crate::logs::{self, Level};

/// Source: nginx `ngx_http_autoindex_module.c`, `ngx_http_autoindex_handler`.
pub(super) fn listing<'a>(
    exchange: &mut Exchange,
    location: &Location,
    how: AutoIndex,
) -> Found<'a> {
    let status = |it| Found::Answer(Action::Status(it));
    if how.check(exchange).is_err() {
        return status(400);
    }
    let mut folder = location.files.root.file(exchange);
    if 1 < folder.len() {
        folder.pop_if(|it| *it == b'/');
    }
    let read = match fs::read_dir(as_path(&folder)) {
        Ok(read) => read,
        Err(error) => return status(failure(exchange, location, &folder, "opendir()", &error)),
    };
    let mut entries = Vec::new();
    for found in read {
        let entry = found.and_then(|it| {
            let name = it.file_name();
            if name.as_bytes().first() == Some(&b'.') {
                return Ok(None);
            }
            look(exchange, &it.path()).map(|it| it.map(|it| (name, it)))
        });
        match entry {
            Ok(Some((name, data))) => entries.push(Entry {
                name: name.as_bytes().to_vec(),
                kind: match () {
                    () if data.is_dir() => Kind::Folder,
                    () if data.is_file() => Kind::File,
                    () => Kind::Other,
                },
                modified: data.mtime(),
                size: data.len(),
            }),
            Ok(None) => {}
            Err(_) => return status(500),
        }
    }
    exchange.listing = Some(how.list(exchange, entries));
    Found::Answer(Action::Listing)
}

/// What a name leads to; the link itself where that leads nowhere, nothing where it is forbidden.
fn look(exchange: &Exchange, path: &Path) -> io::Result<Option<fs::Metadata>> {
    let error = match fs::metadata(path) {
        Ok(data) => return Ok(Some(data)),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc_error::ENOENT | libc_error::ELOOP) => fs::symlink_metadata(path).map(Some),
        code => {
            let text = format!("stat() \"{}\" failed {}", path.display(), os_text(&error));
            logs::note(Level::Error, exchange, &text, "");
            if code == Some(libc_error::EACCES) { Ok(None) } else { Err(error) }
        }
    }
}
