//! `autoindex`: is a folder without an index shown as a list, and in which form?
//!
//! Source: nginx `ngx_http_autoindex_module.c`.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::conf::{Effect, Row};
use crate::engine::exchange::Exchange;
use crate::http::{EVERYWHERE, put};
use crate::logs::{self, Level};

mod form;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    is_on: Option<bool>,
    format: Option<Format>,
    is_local: Option<bool>,
    is_exact: Option<bool>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Format {
    #[default]
    Html,
    Json,
    Jsonp,
    Xml,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one("autoindex", Effect::Set(|it, directive| put(&mut it.is_on, directive.flag()))),
    one(
        "autoindex_format",
        Effect::Set(|it, directive| {
            let words = [
                ("html", Format::Html),
                ("json", Format::Json),
                ("jsonp", Format::Jsonp),
                ("xml", Format::Xml),
            ];
            put(&mut it.format, directive.choice(&words))
        }),
    ),
    one("autoindex_localtime", Effect::Set(|it, line| put(&mut it.is_local, line.flag()))),
    one("autoindex_exact_size", Effect::Set(|it, line| put(&mut it.is_exact, line.flag()))),
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            is_on: self.is_on.or(outer.is_on),
            format: self.format.or(outer.format),
            is_local: self.is_local.or(outer.is_local),
            is_exact: self.is_exact.or(outer.is_exact),
        }
    }

    /// What a request needs; `None` where folders are not shown.
    pub fn compile(&self, counts_characters: bool) -> Option<AutoIndex> {
        self.is_on.unwrap_or_default().then(|| AutoIndex {
            format: self.format.unwrap_or_default(),
            is_local: self.is_local.unwrap_or_default(),
            is_exact: self.is_exact.unwrap_or(true),
            counts_characters,
        })
    }
}

/// How folders are shown.
#[derive(Clone, Copy, Debug)]
pub struct AutoIndex {
    format: Format,
    /// Whether times are those of this machine's zone.
    is_local: bool,
    /// Whether sizes are told to the byte.
    is_exact: bool,
    /// Whether names are made of characters rather than bytes.
    counts_characters: bool,
}

/// What is in a folder.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A folder; these come first.
    Folder,
    /// A file.
    File,
    /// A pipe, a socket, a device, a link to nothing.
    Other,
}

/// One of the things in a folder.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, without folders.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
    /// Bytes in it.
    pub size: u64,
}

/// A list, ready to be sent.
#[derive(Debug)]
pub struct Listing {
    /// Its type.
    pub content_type: &'static str,
    /// The list.
    pub body: Vec<u8>,
}

/// A request that cannot be answered by a list; it gets 400.
#[derive(Clone, Copy, Debug)]
pub struct BadCallback;

impl AutoIndex {
    /// The function that a list is wrapped in, empty for none.
    fn callback(self, exchange: &Exchange) -> Result<&[u8], BadCallback> {
        if self.format != Format::Jsonp {
            return Ok(b"");
        }
        let mut pairs = exchange.args.split(|it| *it == b'&');
        let is_named = |it: &[u8]| it.eq_ignore_ascii_case(b"callback=");
        let found = pairs.find_map(|it| {
            let (name, value) = it.split_at_checked(9)?;
            is_named(name).then_some(value)
        });
        let callback = found.unwrap_or_default();
        let fits = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'.');
        let problem = match callback {
            long if 128 < long.len() => "too long",
            odd if !odd.iter().all(fits) => "invalid",
            _ => return Ok(callback),
        };
        let name = String::from_utf8_lossy(callback);
        let text = format!("client sent {problem} callback name: \"{name}\"");
        logs::note(Level::Info, exchange, &text, "");
        Err(BadCallback)
    }

    /// Checks what the client asks for, before the folder is read.
    pub fn check(self, exchange: &Exchange) -> Result<(), BadCallback> {
        self.callback(exchange).map(drop)
    }

    /// Writes the list of a folder's entries.
    pub fn list(self, exchange: &Exchange, mut entries: Vec<Entry>) -> Listing {
        // Only folders are told from the rest.
        entries.sort_by(|a, b| {
            let rank = |it: &Entry| it.kind != Kind::Folder;
            rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
        });
        let callback = self.callback(exchange).unwrap_or_default();
        let content_type = match self.format {
            Format::Html => "text/html",
            Format::Jsonp if !callback.is_empty() => "application/javascript",
            Format::Json | Format::Jsonp => "application/json",
            Format::Xml => "text/xml; charset=utf-8",
        };
        let body = match self.format {
            Format::Html => form::html(&exchange.path, &entries, self),
            Format::Json | Format::Jsonp => form::json(&entries, callback),
            Format::Xml => form::xml(&entries),
        };
        Listing { content_type, body }
    }

    /// What is added to times.
    fn offset(self) -> Offset {
        if self.is_local { TimeZone::system().to_offset(Timestamp::now()) } else { Offset::UTC }
    }
}
