//! The head of a request: parsed line by line as it arrives, checked as nginx checks it.

use crate::engine::h1::body;
use crate::engine::h1::field::{self, Ending, Field, Line, Name, Piece};
use crate::engine::h1::room::Room;
use crate::engine::h1::target;

pub use crate::engine::h1::room::Limits;

mod connection;
mod shown;

/// A request that is not served: the code it is answered with and logged under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// As logged; 494 is sent as a 400 with a page of its own.
    pub status: u16,
    /// For the error log, in nginx's words.
    pub reason: &'static str,
}

impl Refusal {
    const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// Versions are told apart only where they are served differently.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Version {
    /// A bare `GET /path`: answered with a body and no head.
    Http09,
    /// No chunked coding, closes unless asked to stay.
    Http10,
    /// 1.1 and every later 1.x.
    #[default]
    Http11,
}

/// How far the head has been read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// All of it is there.
    Complete,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Expecting {
    #[default]
    RequestLine,
    Fields,
    Nothing,
}

/// A request head, as positions in the buffer it arrived in. Reused from request to request.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the head")]
pub struct Request {
    /// The request line as received, without its line end.
    pub line: Piece,
    /// As received.
    pub method: Piece,
    /// The request target as received: `/path?query` or `http://host/path?query`.
    pub target: Piece,
    /// The target without scheme and authority. Empty stands for `/`.
    pub path_and_query: Piece,
    /// Host and port of an absolute target.
    pub authority: Option<Piece>,
    /// Of the request line.
    pub version: Version,
    /// Header lines in order, those dropped as invalid left out.
    pub fields: Vec<Field>,
    /// Value of the Host line.
    pub host: Option<Piece>,
    /// Name of the host that is asked, without port; empty when none is given.
    pub host_name: Piece,
    /// Announced length of the body.
    pub content_length: Option<u64>,
    /// Whether the body comes in chunks.
    pub chunked: bool,
    /// Whether the sender allows another request on this connection.
    pub keep_alive: bool,
    /// Whether `Expect: 100-continue` was sent.
    pub expects_continue: bool,
    /// Whether an upgrade of the connection was asked for.
    pub upgrade: bool,
    /// Length of the head in the buffer, known when it is complete.
    pub end: usize,
    /// Lines that were dropped as invalid.
    pub dropped: Vec<Piece>,
    /// What the error log says more of a refusal.
    pub detail: String,
    /// Which known names occurred.
    seen: u64,
    at: usize,
    lines: usize,
    expecting: Expecting,
    room: Room,
    connection_close: bool,
    connection_keep_alive: bool,
    /// Whether a `Connection` line names fields of this request.
    names_fields: bool,
}

/// Lines that may stand once only.
const SINGLE: u64 = bits(&[
    Name::Host,
    Name::ContentLength,
    Name::ContentRange,
    Name::TransferEncoding,
    Name::Expect,
    Name::Authorization,
    Name::ProxyAuthorization,
    Name::IfMatch,
    Name::IfNoneMatch,
    Name::IfModifiedSince,
    Name::IfUnmodifiedSince,
    Name::IfRange,
]);

const fn bits(names: &[Name]) -> u64 {
    let (mut all, mut at) = (0, 0);
    while at < names.len() {
        all |= 1 << (names[at] as u64);
        at += 1;
    }
    all
}

impl Request {
    /// Forgets the request before this one; what was allocated stays.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Whether the request line has been read.
    pub fn has_line(&self) -> bool {
        self.expecting != Expecting::RequestLine
    }

    /// Forgets what stands behind the path, which is a bad one: nobody would have read on.
    pub fn forget_fields(&mut self) {
        self.path_and_query = Piece::default();
        self.host = None;
        self.fields.clear();
        self.dropped.clear();
        self.detail.clear();
    }

    /// Whether a line of this known name was sent.
    pub fn has(&self, name: Name) -> bool {
        self.seen & name.bit() != 0
    }

    /// Reads on in `buffer`, which holds all bytes of the head that have arrived.
    pub fn parse(&mut self, buffer: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
        while self.expecting != Expecting::Nothing {
            let start = self.at;
            let ending = match self.expecting {
                Expecting::RequestLine => line_ending(buffer, start),
                Expecting::Fields | Expecting::Nothing => field::ending(buffer, start),
            };
            let (end, next) = match ending {
                Ending::At(end, next) => (end, next),
                Ending::Open => return self.partial(buffer, limits),
                Ending::Bare => return Err(self.bad_line(buffer, start)),
            };
            self.at = next;
            if !self.room.fits(self.at - start, limits) {
                return Err(self.too_large(buffer, start, limits));
            }
            match self.expecting {
                // nginx passes over empty lines before a request line.
                Expecting::RequestLine if start == end => {}
                Expecting::RequestLine => self.request_line(buffer, start, end)?,
                Expecting::Fields if start == end => self.finish(buffer)?,
                Expecting::Fields => self.field(buffer, start, end, limits)?,
                Expecting::Nothing => {}
            }
        }
        Ok(Progress::Complete)
    }

    /// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_request_line`.
    fn request_line(&mut self, buffer: &[u8], start: usize, end: usize) -> Result<(), Refusal> {
        const INVALID: Refusal = Refusal::new(400, "client sent invalid request");
        let line = &buffer[start..end];
        let ends = line.iter().rev().take_while(|it| **it == b'\r').count();
        self.line = Piece::new(start, end - ends);
        let method = line.iter().position(|it| !is_method_byte(*it)).unwrap_or(line.len());
        if method == 0 || line.get(method) != Some(&b' ') {
            return Err(Refusal::new(400, "client sent invalid method"));
        }
        self.method = Piece::new(start, start + method);
        let skip_spaces = |at: usize| at + line[at..].iter().take_while(|it| **it == b' ').count();
        let from = skip_spaces(method);
        let length = line[from..].iter().position(|it| *it <= b' ' || *it == 0x7f);
        let to = from + length.unwrap_or(line.len() - from);
        if from == to || line.get(to).is_some_and(|it| *it != b' ') {
            return Err(INVALID);
        }
        self.target = Piece::new(start + from, start + to);
        let version = &line[skip_spaces(to)..];
        let spaces = version.iter().rev().take_while(|it| **it == b' ').count();
        let version = &version[..version.len() - spaces];
        self.split_target(buffer)?;
        if version.is_empty() {
            self.version = Version::Http09;
            if &line[..method] != b"GET" {
                let reason = "client sent invalid method in HTTP/0.9 request";
                return Err(Refusal::new(400, reason));
            }
            self.expecting = Expecting::Nothing;
            self.end = self.at;
        } else {
            self.version = parse_version(version)?;
            self.expecting = Expecting::Fields;
        }
        Ok(())
    }

    /// Finds authority and path in the target.
    fn split_target(&mut self, buffer: &[u8]) -> Result<(), Refusal> {
        const INVALID: Refusal = Refusal::new(400, "client sent invalid request");
        const BAD_HOST: Refusal = Refusal::new(400, "client sent invalid host in request line");
        let text = self.target.of(buffer);
        if text[0] == b'/' {
            self.path_and_query = self.target;
            return Ok(());
        }
        let connects = self.method.of(buffer) == b"CONNECT";
        let Some(scheme) = text.windows(3).position(|it| it == b"://") else {
            // It is refused for its method, whatever it asks for.
            return if connects { Ok(()) } else { Err(INVALID) };
        };
        let is_plain = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
        if !text[0].is_ascii_alphabetic() || !text[..scheme].iter().all(is_plain) {
            return Err(INVALID);
        }
        let authority = scheme + 3;
        let rest = &text[authority..];
        let end =
            authority + rest.iter().position(|it| matches!(it, b'/' | b'?')).unwrap_or(rest.len());
        let name = target::host(&text[authority..end]).ok_or(BAD_HOST)?.name;
        let at = self.target.start();
        self.host_name = Piece::new(at + authority, at + authority + name.len());
        self.authority = Some(Piece::new(at + authority, at + end));
        self.path_and_query = Piece::new(at + end, self.target.end());
        Ok(())
    }

    fn field(
        &mut self,
        buffer: &[u8],
        start: usize,
        end: usize,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        const TOO_LARGE: Refusal = Refusal::new(494, "client sent too large request");
        self.lines += 1;
        if self.lines > limits.fields {
            return Err(TOO_LARGE);
        }
        let field = match field::parse(buffer, start, end) {
            Line::Bad => return Err(self.bad_line(buffer, start)),
            Line::Field(field) => field,
            Line::Odd(field) => {
                let only_underscores =
                    |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
                let known =
                    limits.underscores && field.name.of(buffer).iter().all(only_underscores);
                if limits.ignore_invalid && !known {
                    self.dropped.push(Piece::new(start, end));
                    return Ok(());
                }
                field
            }
        };
        if self.seen & field.known.bit() & SINGLE != 0 {
            self.detail = self.both(buffer, &field);
            let reason = match field.known {
                Name::Host => "client sent duplicate host header",
                _ => "client sent duplicate header line",
            };
            return Err(Refusal::new(400, reason));
        }
        self.seen |= field.known.bit();
        let value = field.value.of(buffer);
        match field.known {
            Name::Host => self.take_host(buffer, field.value)?,
            Name::ContentLength => self.content_length = Some(length(value)?),
            Name::Connection => self.connection(value),
            Name::Expect => self.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
            Name::Upgrade => self.upgrade = true,
            _ => {}
        }
        self.fields.push(field);
        Ok(())
    }

    /// A head that is refused later belongs to this host already.
    fn take_host(&mut self, buffer: &[u8], host: Piece) -> Result<(), Refusal> {
        self.host = Some(host);
        let name = target::host(host.of(buffer));
        let name = name.ok_or(Refusal::new(400, "client sent invalid host header"))?.name;
        // The authority of an absolute target takes precedence.
        if self.authority.is_none() {
            self.host_name = Piece::new(host.start(), host.start() + name.len());
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.version == Version::Http10 {
            return Err(Refusal::new(
                400,
                "client sent HTTP/1.0 request with \"Transfer-Encoding\" header",
            ));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            self.detail = format!(": \"{}\"", String::from_utf8_lossy(value));
            return Err(Refusal::new(501, "client sent unknown \"Transfer-Encoding\""));
        }
        if self.content_length.is_some() {
            return Err(Refusal::new(
                400,
                "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
            ));
        }
        self.chunked = true;
        Ok(())
    }

    /// The checks that need the whole head.
    fn finish(&mut self, buffer: &[u8]) -> Result<(), Refusal> {
        self.expecting = Expecting::Nothing;
        self.end = self.at;
        if self.host.is_none() && self.version == Version::Http11 {
            let reason = "client sent HTTP/1.1 request without \"Host\" header";
            return Err(Refusal::new(400, reason));
        }
        if self.has(Name::TransferEncoding) {
            let lines = self.fields.iter().find(|it| it.known == Name::TransferEncoding);
            self.transfer_encoding(lines.map_or(b"", |it| it.value.of(buffer)))?;
        }
        match self.method.of(buffer) {
            b"CONNECT" => return Err(Refusal::new(405, "client sent CONNECT method")),
            b"TRACE" => return Err(Refusal::new(405, "client sent TRACE method")),
            _ => {}
        }
        self.keep_alive = match self.version {
            Version::Http11 => !self.connection_close,
            Version::Http10 => self.connection_keep_alive && !self.connection_close,
            Version::Http09 => false,
        };
        self.expects_continue &= self.version == Version::Http11;
        Ok(())
    }
}

/// Where the request line ends. Carriage returns within it are for [`Request::request_line`] to
/// refuse, by the part they stand in.
fn line_ending(buffer: &[u8], start: usize) -> Ending {
    let Some(length) = memchr::memchr(b'\n', &buffer[start..]) else { return Ending::Open };
    let end = start + length;
    let is_pair = start < end && buffer[end - 1] == b'\r';
    Ending::At(end - usize::from(is_pair), end + 1)
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-')
}

fn parse_version(text: &[u8]) -> Result<Version, Refusal> {
    let digits = text.strip_prefix(b"HTTP/").and_then(|it| {
        let dot = it.iter().position(|it| *it == b'.')?;
        let number = |it: &[u8]| {
            let plain = !it.is_empty() && it.len() <= 3 && it.iter().all(u8::is_ascii_digit);
            plain.then(|| it.iter().fold(0_u32, |n, it| n * 10 + u32::from(it - b'0')))
        };
        let major = number(&it[..dot]).filter(|_| it[0] != b'0')?;
        Some((major, number(&it[dot + 1..])?))
    });
    match digits {
        Some((1, 0)) => Ok(Version::Http10),
        Some((1, 1..=99)) => Ok(Version::Http11),
        Some((2.., _)) => Err(Refusal::new(505, "client sent invalid version")),
        _ => Err(Refusal::new(400, "client sent invalid request")),
    }
}

fn length(value: &[u8]) -> Result<u64, Refusal> {
    const INVALID: Refusal = Refusal::new(400, "client sent invalid \"Content-Length\" header");
    body::decimal(value).ok_or(INVALID)
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
