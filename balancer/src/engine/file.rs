//! Files: found below a location's root, and sent.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::conf::error::os_text;
use crate::engine::exchange::Exchange;
use crate::http::error_page::Target;
use crate::http::location::Location;
use crate::http::not_modified::Conditions;
use crate::http::packed::Packed;
use crate::http::try_files::Last;
use crate::http::{self, Action, escape};
use crate::logs::{self, Level};

mod listing;
mod send;

/// What is done with an admitted request.
pub(super) enum Found<'a> {
    /// This is answered.
    Answer(Action<'a>),
    /// A file is sent.
    File(Reply),
    /// The request goes on elsewhere.
    Lead(Target),
}

/// A file that is to be sent.
pub(super) struct Reply {
    file: File,
    length: u64,
    status: u16,
    /// When it was changed, in seconds since 1970.
    modified: u64,
    etag: Option<String>,
    /// Whether it is compressed.
    is_packed: bool,
    /// Whether others are sent it in another form.
    varies: bool,
}

/// Tries the files of `try_files`, then looks at what the location does.
pub(super) fn find<'a>(exchange: &mut Exchange, location: &'a Location) -> Found<'a> {
    if let Some(found) = tried(exchange, location) {
        return found;
    }
    content(exchange, location)
}

/// What the location does.
pub(super) fn content<'a>(exchange: &mut Exchange, location: &'a Location) -> Found<'a> {
    match http::content(exchange, location) {
        Action::File => stands_for(exchange, location),
        action => Found::Answer(action),
    }
}

fn as_path(file: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(file))
}

/// Source: nginx `ngx_http_try_files_module.c`, `ngx_http_try_files_handler`.
pub(super) fn tried<'a>(exchange: &mut Exchange, location: &Location) -> Option<Found<'a>> {
    let files = location.files.try_files.as_ref()?;
    for candidate in &files.candidates {
        let name = candidate.name.value(exchange);
        let is_fixed = candidate.name.as_text().is_some();
        let (file, path) = location.files.root.tried(exchange, &name, is_fixed);
        if fs::metadata(as_path(&file)).is_ok_and(|it| it.is_dir() == candidate.is_folder) {
            if path != exchange.path {
                exchange.path = path;
                exchange.has_own_target = true;
            }
            return None;
        }
    }
    Some(match &files.last {
        Last::Status(status) => Found::Answer(Action::Status(*status)),
        Last::Path(template) => Found::Lead(split(template.value(exchange))),
    })
}

fn split(target: Vec<u8>) -> Target {
    if target.first() == Some(&b'@') {
        return Target::Named(target);
    }
    match memchr::memchr(b'?', &target) {
        Some(at) => Target::Path(target[..at].to_vec(), target[at + 1..].to_vec()),
        None => Target::Path(target, Vec::new()),
    }
}

/// The file a path stands for.
fn stands_for<'a>(exchange: &mut Exchange, location: &Location) -> Found<'a> {
    let status = |it| Found::Answer(Action::Status(it));
    if !matches!(exchange.method(), b"GET" | b"HEAD" | b"POST") {
        return status(405);
    }
    if exchange.path.ends_with(b"/") {
        return index(exchange, location);
    }
    let mut varies = false;
    if let Some(packed) = &location.files.packed
        && exchange.method() != b"POST"
    {
        match compressed(exchange, location, packed) {
            Beside::File(file, data) => {
                varies = !packed.is_always && packed.rules.vary;
                let kind = Kind { is_packed: true, varies };
                return decide(exchange, location, file, &data, kind);
            }
            Beside::Other => return status(404),
            Beside::Unwanted => varies = packed.rules.vary,
            Beside::Nothing => {}
        }
    }
    let name = location.files.root.file(exchange);
    let opened = open(as_path(&name)).and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Err(error) => status(failure(exchange, location, &name, "open()", &error)),
        Ok((data, _)) if data.is_dir() => {
            let mut target = Vec::new();
            escape::path(&exchange.path, &mut target);
            target.push(b'/');
            if !exchange.args.is_empty() {
                target.push(b'?');
                target.extend_from_slice(&exchange.args);
            }
            exchange.redirect = Some(target);
            Found::Answer(Action::Redirect(301))
        }
        Ok((data, _)) if !data.is_file() => status(404),
        Ok(_) if exchange.method() == b"POST" => status(405),
        Ok((data, file)) => {
            decide(exchange, location, file, &data, Kind { is_packed: false, varies })
        }
    }
}

/// In which form a file is sent, and whether there are others.
struct Kind {
    is_packed: bool,
    varies: bool,
}

/// What is found where the compressed form of a file would be.
enum Beside {
    File(File, Metadata),
    /// A file that this client does not take.
    Unwanted,
    /// Neither file nor folder.
    Other,
    Nothing,
}

/// Source: nginx `ngx_http_gzip_static_module.c`, `ngx_http_gzip_static_handler`.
fn compressed(exchange: &Exchange, location: &Location, packed: &Packed) -> Beside {
    let is_wanted = packed.is_always || packed.rules.allow(exchange);
    if !is_wanted && !packed.rules.vary {
        return Beside::Nothing;
    }
    let mut name = location.files.root.file(exchange);
    name.extend_from_slice(b".gz");
    match open(as_path(&name)).and_then(|file| Ok((file.metadata()?, file))) {
        Ok(_) if !is_wanted => Beside::Unwanted,
        Ok((data, _)) if data.is_dir() => Beside::Nothing,
        Ok((data, file)) if data.is_file() => Beside::File(file, data),
        Ok(_) => Beside::Other,
        Err(error) => {
            let is_absent = error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc_error::ENOTDIR);
            if !is_absent {
                let name = String::from_utf8_lossy(&name);
                let text = format!("open() \"{name}\" failed {}", os_text(&error));
                logs::note(Level::Error, exchange, &text, "");
            }
            Beside::Nothing
        }
    }
}

/// Opens a file; a pipe without a writer must not hold the worker up.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Source: nginx `ngx_http_static_module.c`, `ngx_http_static_handler`.
fn failure(
    exchange: &Exchange,
    location: &Location,
    name: &[u8],
    call: &str,
    error: &io::Error,
) -> u16 {
    let status = match error.raw_os_error() {
        Some(libc_error::ENOENT | libc_error::ENOTDIR | libc_error::ENAMETOOLONG) => 404,
        Some(libc_error::EACCES) => 403,
        _ if error.kind() == io::ErrorKind::InvalidInput => 404,
        _ => 500,
    };
    if status != 404 || location.files.log_not_found {
        let name = String::from_utf8_lossy(name);
        let text = format!("{call} \"{name}\" failed {}", os_text(error));
        logs::note(Level::Error, exchange, &text, "");
    }
    status
}

mod libc_error {
    use nix::errno::Errno;

    pub(super) const ENOENT: i32 = Errno::ENOENT as i32;
    pub(super) const ENOTDIR: i32 = Errno::ENOTDIR as i32;
    pub(super) const ENAMETOOLONG: i32 = Errno::ENAMETOOLONG as i32;
    pub(super) const EACCES: i32 = Errno::EACCES as i32;
    pub(super) const ELOOP: i32 = Errno::ELOOP as i32;
}

fn forbidden(exchange: &Exchange, location: &Location) -> u16 {
    let name = location.files.root.file(exchange);
    let text = format!("directory index of \"{}\" is forbidden", String::from_utf8_lossy(&name));
    logs::note(Level::Error, exchange, &text, "");
    403
}

/// Source: nginx `ngx_http_index_module.c`, `ngx_http_index_handler`.
fn index<'a>(exchange: &mut Exchange, location: &Location) -> Found<'a> {
    let folder = location.files.root.file(exchange);
    let status = |it| Found::Answer(Action::Status(it));
    let mut is_tested = false;
    for name in &location.files.index {
        let is_fixed = name.as_text().is_some();
        let name = name.value(exchange);
        if name.first() == Some(&b'/') && is_fixed {
            return Found::Lead(Target::Path(name, exchange.args.clone()));
        }
        let file = [&folder[..], &name[..]].concat();
        match fs::metadata(as_path(&file)) {
            Ok(_) => {
                let path = [&exchange.path[..], &name[..]].concat();
                return Found::Lead(Target::Path(path, exchange.args.clone()));
            }
            Err(error) => {
                if error.raw_os_error() != Some(libc_error::ENOENT) {
                    return status(absent(exchange, location, &file, &error));
                }
            }
        }
        if !std::mem::replace(&mut is_tested, true)
            && let Err(error) = fs::metadata(as_path(&folder))
        {
            return status(absent(exchange, location, &file, &error));
        }
    }
    match location.files.auto_index {
        Some(how) if exchange.method() != b"POST" => listing::listing(exchange, location, how),
        _ => status(forbidden(exchange, location)),
    }
}

/// Source: nginx `ngx_http_index_module.c`, `ngx_http_index_error`.
fn absent(exchange: &Exchange, location: &Location, name: &[u8], error: &io::Error) -> u16 {
    let name = String::from_utf8_lossy(name);
    let (status, what) = match error.raw_os_error() {
        Some(libc_error::EACCES) => (403, "forbidden"),
        _ => (404, "not found"),
    };
    if status != 404 || location.files.log_not_found {
        let text = format!("\"{name}\" is {what} {}", os_text(error));
        logs::note(Level::Error, exchange, &text, "");
    }
    status
}

/// Whether a file is sent.
fn decide<'a>(
    exchange: &mut Exchange,
    location: &Location,
    file: File,
    data: &Metadata,
    Kind { is_packed, varies }: Kind,
) -> Found<'a> {
    let seconds = u64::try_from(data.mtime()).unwrap_or_default();
    let etag = location.files.etag.then(|| format!("\"{seconds:x}-{:x}\"", data.len()));
    let tag = etag.as_ref().map(String::as_bytes);
    let mut status = exchange.error_status.unwrap_or(200);
    if status == 200 {
        match Conditions::of(exchange).status(Some(seconds), tag, location.files.since) {
            Some(412) => return Found::Answer(Action::Status(412)),
            Some(other) => status = other,
            None => {}
        }
    }
    let (length, modified) = (data.len(), seconds);
    Found::File(Reply { file, length, status, modified, etag, is_packed, varies })
}
