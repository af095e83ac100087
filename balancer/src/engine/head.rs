//! The head of an answer, between whoever answers and the wire.
//!
//! What nginx writes itself stands in fields of its own, in no order; every other line is kept as
//! text, in the order it was produced.

use std::ops::Range;
use std::time::Duration;

use crate::engine::clock;
use crate::engine::h1::field::Field;
use crate::engine::h1::write;

/// What is sent before a body. Reused from answer to answer.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the head")]
pub struct Head {
    /// The three digits of the status line.
    pub status: u16,
    /// Whether not even the blank before the words is sent.
    pub omits_blank: bool,
    /// The words after them.
    pub reason: Vec<u8>,
    /// Whether `Server` stands among the lines.
    pub has_server: bool,
    /// Whether `Date` stands among the lines.
    pub has_date: bool,
    /// Empty when there is none.
    pub content_type: Vec<u8>,
    /// What is added to the type; empty for nothing.
    pub charset: Vec<u8>,
    /// Announced length of the body.
    pub content_length: Option<u64>,
    /// When a file of ours was changed, in seconds since 1970.
    pub last_modified: Option<u64>,
    /// Where a redirect of ours leads; empty for nowhere.
    pub location: Vec<u8>,
    /// Whether the body comes in chunks.
    pub is_chunked: bool,
    /// Whether protocols are switched.
    pub is_upgrade: bool,
    /// Whether the connection may carry another request.
    pub stays: bool,
    /// Value of `Keep-Alive`, where it is sent.
    pub keep_alive: Option<Duration>,
    /// Whether the answer depends on `Accept-Encoding`.
    pub varies: bool,
    /// All other lines.
    pub fields: Vec<u8>,
}

impl Head {
    /// Forgets the answer before; what was allocated stays.
    pub fn clear(&mut self) {
        fn emptied(of: &mut Vec<u8>) -> Vec<u8> {
            of.clear();
            std::mem::take(of)
        }
        *self = Self {
            reason: emptied(&mut self.reason),
            content_type: emptied(&mut self.content_type),
            charset: emptied(&mut self.charset),
            location: emptied(&mut self.location),
            fields: emptied(&mut self.fields),
            ..Self::default()
        };
    }

    /// Adds a line at the end.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        write::field(&mut self.fields, name, value);
    }

    /// Adds a line that came in `buffer`, perhaps with another value.
    pub fn pass(&mut self, field: &Field, buffer: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.add(field.name.of(buffer), value),
            None => field.write(buffer, &mut self.fields),
        }
    }

    /// The value of the first line of a name among those that are text.
    pub fn first<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// The values of all lines of a name among those that are text.
    pub fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        values(&self.fields, name)
    }

    /// The whole line of a name, its line end included, at or behind a position.
    fn line(&self, name: &[u8], mut from: usize) -> Option<Range<usize>> {
        while let Some(length) = memchr::memchr(b'\n', &self.fields[from..]) {
            let line = from..from + length + 1;
            if value_of(&self.fields[line.clone()], name).is_some() {
                return Some(line);
            }
            from = line.end;
        }
        None
    }

    /// Drops every line of a name.
    pub fn remove(&mut self, name: &[u8]) {
        let mut from = 0;
        while let Some(line) = self.line(name, from) {
            from = line.start;
            self.fields.drain(line);
        }
    }

    /// Puts a line in the place of the first of its name, or at the end.
    pub fn replace(&mut self, name: &[u8], value: &[u8]) {
        let mut line = Vec::new();
        write::field(&mut line, name, value);
        let place = self.line(name, 0).unwrap_or(self.fields.len()..self.fields.len());
        self.fields.splice(place, line);
    }

    /// As [`Self::replace`], and drops every further line of the name.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        if let Some(first) = self.line(name, 0) {
            while let Some(next) = self.line(name, first.end) {
                self.fields.drain(next);
            }
        }
        self.replace(name, value);
    }

    /// The type without parameters, where one of them is the charset; nginx compares no other.
    pub fn kind(&self) -> &[u8] {
        self.kind_and_charset().0
    }

    /// Whether the type names a charset itself.
    pub fn names_charset(&self) -> bool {
        self.kind_and_charset().1
    }

    /// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_copy_content_type`.
    fn kind_and_charset(&self) -> (&[u8], bool) {
        let all = &self.content_type[..];
        for at in memchr::memchr_iter(b';', all) {
            let rest = all[at + 1..].trim_ascii_start();
            if rest.get(..8).is_some_and(|it| it.eq_ignore_ascii_case(b"charset=")) {
                return (&all[..at], true);
            }
        }
        (all, false)
    }

    /// Appends the lines nginx writes itself, then all others.
    ///
    /// Source: nginx `ngx_http_header_filter_module.c`, `ngx_http_header_filter`.
    pub fn write(&self, server: &str, out: &mut Vec<u8>) {
        out.reserve(self.fields.len() + 384);
        write::status_line(out, self.status, &self.reason);
        if self.omits_blank {
            out.truncate(out.len() - 3);
            out.extend_from_slice(b"\r\n");
        }
        if !self.has_server {
            write::field(out, b"Server", server.as_bytes());
        }
        if !self.has_date {
            clock::with_date(|date| write::field(out, b"Date", date));
        }
        if !self.content_type.is_empty() {
            out.extend_from_slice(b"Content-Type: ");
            self.write_type(out);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(length) = self.content_length {
            out.extend_from_slice(b"Content-Length: ");
            write::decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(seconds) = self.last_modified {
            write::field(out, b"Last-Modified", date(seconds).as_bytes());
        }
        if !self.location.is_empty() {
            write::field(out, b"Location", &self.location);
        }
        if self.is_chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        out.extend_from_slice(b"Connection: ");
        out.extend_from_slice(self.connection());
        out.extend_from_slice(b"\r\n");
        if let Some(timeout) = self.keep_alive() {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            write::decimal(out, timeout.as_secs());
            out.extend_from_slice(b"\r\n");
        }
        if self.varies {
            out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        out.extend_from_slice(&self.fields);
        out.extend_from_slice(b"\r\n");
    }

    fn write_type(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.content_type);
        if !self.charset.is_empty() {
            out.extend_from_slice(b"; charset=");
            out.extend_from_slice(&self.charset);
        }
    }

    fn connection(&self) -> &'static [u8] {
        match self {
            Self { is_upgrade: true, .. } => b"upgrade",
            Self { stays: true, .. } => b"keep-alive",
            _ => b"close",
        }
    }

    fn keep_alive(&self) -> Option<Duration> {
        self.keep_alive.filter(|_| self.stays && !self.is_upgrade)
    }

    /// Appends `$sent_http_NAME`; false where no such line is sent.
    ///
    /// Source: nginx `ngx_http_variables.c`, `ngx_http_variable_sent_content_type` and its
    /// relatives.
    pub fn value(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        match name {
            b"content-type" if !self.content_type.is_empty() => self.write_type(out),
            b"content-length" if self.content_length.is_some() => {
                write::decimal(out, self.content_length.unwrap_or_default());
            }
            b"last-modified" if self.last_modified.is_some() => {
                out.extend_from_slice(date(self.last_modified.unwrap_or_default()).as_bytes());
            }
            b"location" if !self.location.is_empty() => out.extend_from_slice(&self.location),
            b"transfer-encoding" if self.is_chunked => out.extend_from_slice(b"chunked"),
            b"connection" if self.status != 0 => out.extend_from_slice(self.connection()),
            b"keep-alive" if self.keep_alive().is_some() => {
                out.extend_from_slice(b"timeout=");
                write::decimal(out, self.keep_alive().unwrap_or_default().as_secs());
            }
            _ => {
                return joined(self.values(name), out);
            }
        }
        true
    }
}

/// The values of all lines of a name.
pub fn values<'a>(lines: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let ends = memchr::memchr_iter(b'\n', lines);
    ends.scan(0, |from, at| Some(std::mem::replace(from, at + 1)..at - 1)).filter_map(move |line| {
        let line = &lines[line];
        Some(&line[value_of(line, name)?])
    })
}

/// Appends values as one; false where there is none, or nothing in them.
pub fn joined<'a>(values: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> bool {
    let from = out.len();
    for value in values {
        if out.len() > from {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
    }
    out.len() > from
}

/// A time as HTTP writes it.
pub fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Where the value of a line stands in it, if the line has this name.
fn value_of(line: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let rest = line.get(name.len()..)?.strip_prefix(b": ")?;
    let is_named = line[..name.len()].eq_ignore_ascii_case(name);
    is_named.then_some(line.len() - rest.len()..line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let mut head = Head::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("a", "3"), ("C", "")] {
            head.add(name.as_bytes(), value.as_bytes());
        }
        head
    }

    #[test]
    fn lines_are_found_whatever_the_case_of_their_name() {
        let head = head();
        assert_eq!(head.values(b"a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(head.first(b"c"), Some(&b""[..]));
        assert_eq!(head.first(b"d"), None);
    }

    #[test]
    fn a_line_keeps_its_place_when_its_value_changes() {
        let mut changed = head();
        changed.set(b"A", b"9");
        assert_eq!(changed.fields, b"A: 9\r\nB: 2\r\nC: \r\n");
        changed.replace(b"D", b"4");
        changed.remove(b"b");
        assert_eq!(changed.fields, b"A: 9\r\nC: \r\nD: 4\r\n");
        let mut emptied = head();
        emptied.remove(b"A");
        assert_eq!(emptied.fields, b"B: 2\r\nC: \r\n");
    }

    #[test]
    fn only_a_charset_is_taken_off_a_type() {
        for (text, kind) in [
            ("text/html", "text/html"),
            ("text/html; charset=utf-8", "text/html"),
            ("text/html; x=y", "text/html; x=y"),
            ("text/html; x=y; Charset=a", "text/html; x=y"),
        ] {
            let head = Head { content_type: text.into(), ..Head::default() };
            assert_eq!(head.kind(), kind.as_bytes(), "{text}");
        }
    }
}
