//! The head of an upstream's answer: parsed, checked, and turned into how its body ends.

use crate::engine::h1::body::{self, Framing};
use crate::engine::h1::field::{self, Ending, Field, Line, Name, Piece};
use crate::engine::h1::hop;
use crate::engine::h1::request::Progress;

/// Why an answer cannot be passed on; the words nginx logs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadResponse(pub &'static str);

impl BadResponse {
    /// There is no status line.
    pub const NO_HEAD: Self = Self("upstream sent no valid HTTP/1.0 header");
}

/// An answer's head, as positions in the buffer it arrived in. Reused from answer to answer.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the head")]
pub struct Response {
    /// The three digits of the status line.
    pub status: u16,
    /// The words after them, as sent; may be empty.
    pub reason: Piece,
    /// Whether the status line ends with the digits.
    pub omits_blank: bool,
    /// Header lines in order.
    pub fields: Vec<Field>,
    /// Lines that repeat one that may stand once; they count for nothing.
    pub ignored: Vec<Field>,
    /// Announced length of the body.
    pub content_length: Option<u64>,
    /// Whether the body comes in chunks.
    pub chunked: bool,
    /// Whether the upstream allows another request on this connection.
    pub keep_alive: bool,
    /// Whether there is no head: every byte belongs to the body.
    pub is_bare: bool,
    /// Length of the head in the buffer, known when it is complete.
    pub end: usize,
    /// Where the line begins that is none.
    odd: Option<usize>,
    at: usize,
    status_line: bool,
    done: bool,
    seen: u64,
    connection_keep_alive: bool,
    connection_close: bool,
    http_1_1: bool,
    /// Whether a `Connection` line names fields.
    names_fields: bool,
}

impl Response {
    /// Forgets the answer before this one; what was allocated stays.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// The beginning of a line that is none, as nginx shows it; empty where all are lines.
    pub fn shown(&self, buffer: &[u8]) -> String {
        self.odd.map(|start| field::shown(buffer, start)).unwrap_or_default()
    }

    /// Takes everything for the body, as an answer of HTTP/0.9 is.
    pub fn take_bare(&mut self) {
        self.clear();
        self.status = 200;
        self.is_bare = true;
        self.done = true;
    }

    /// Reads on in `buffer`, which holds all bytes of the answer that have arrived.
    pub fn parse(&mut self, buffer: &[u8]) -> Result<Progress, BadResponse> {
        // Asked before anything can have come, too.
        if buffer.is_empty() && !self.done {
            return Ok(Progress::Partial);
        }
        if !self.status_line && !buffer.iter().zip(b"HTTP/").all(|(a, b)| a == b) {
            return Err(BadResponse::NO_HEAD);
        }
        while !self.done {
            let start = self.at;
            let (end, next) = match field::ending(buffer, start) {
                Ending::At(end, next) => (end, next),
                Ending::Open => return Ok(Progress::Partial),
                Ending::Bare if self.status_line => return Err(self.bad_line(start)),
                Ending::Bare => return Err(BadResponse::NO_HEAD),
            };
            self.at = next;
            if !self.status_line {
                self.parse_status(buffer, start, end)?;
                self.status_line = true;
            } else if start == end {
                self.finish()?;
            } else {
                self.field(buffer, start, end)?;
            }
        }
        Ok(Progress::Complete)
    }

    fn parse_status(&mut self, buffer: &[u8], start: usize, end: usize) -> Result<(), BadResponse> {
        const INVALID: BadResponse = BadResponse::NO_HEAD;
        let line = &buffer[start..end];
        let rest = line.strip_prefix(b"HTTP/1.").ok_or(INVALID)?;
        let minor = rest.iter().take_while(|it| it.is_ascii_digit()).count();
        let code = rest[minor..].trim_ascii_start();
        let blank = rest.len() - minor - code.len();
        let digits = code.get(..3).filter(|it| it.iter().all(u8::is_ascii_digit)).ok_or(INVALID)?;
        if minor == 0 || blank == 0 || code.get(3).is_some_and(|it| *it != b' ') {
            return Err(INVALID);
        }
        self.http_1_1 = &rest[..minor] != b"0";
        self.status = digits.iter().fold(0, |n, it| n * 10 + u16::from(it - b'0'));
        let text = end - code.len() + 3;
        self.omits_blank = text == end;
        self.reason = Piece::new((text + 1).min(end), end);
        if self.status < 100 { Err(INVALID) } else { Ok(()) }
    }

    /// Takes note of where the line that begins at `start` is no header line.
    fn bad_line(&mut self, start: usize) -> BadResponse {
        self.odd = Some(start);
        BadResponse("upstream sent invalid header")
    }

    fn field(&mut self, buffer: &[u8], start: usize, end: usize) -> Result<(), BadResponse> {
        let (Line::Field(field) | Line::Odd(field)) = field::parse(buffer, start, end) else {
            return Err(self.bad_line(start));
        };
        let value = field.value.of(buffer);
        let twice = self.seen & field.known.bit() != 0;
        self.seen |= field.known.bit();
        match field.known {
            Name::ContentLength if twice => {
                return Err(BadResponse("upstream sent duplicate header line: \"Content-Length\""));
            }
            Name::TransferEncoding if twice => {
                return Err(BadResponse(
                    "upstream sent duplicate header line: \"Transfer-Encoding\"",
                ));
            }
            Name::ContentLength => self.content_length = Some(length(value)?),
            Name::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => self.chunked = true,
            Name::TransferEncoding => {
                return Err(BadResponse("upstream sent unknown \"Transfer-Encoding\""));
            }
            Name::Connection => {
                let options = hop::Options::of(value);
                self.connection_close |= options.close;
                self.connection_keep_alive |= options.keep_alive;
                self.names_fields |= options.names_fields;
            }
            // nginx keeps the first of these and drops the rest.
            Name::Date
            | Name::Server
            | Name::Etag
            | Name::Location
            | Name::ContentType
            | Name::LastModified
            | Name::Expires
                if twice =>
            {
                self.ignored.push(field);
                return Ok(());
            }
            _ => {}
        }
        self.fields.push(field);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BadResponse> {
        if self.chunked && self.content_length.is_some() {
            return Err(BadResponse(
                "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
            ));
        }
        self.done = true;
        self.end = self.at;
        self.keep_alive = !self.connection_close && (self.http_1_1 || self.connection_keep_alive);
        Ok(())
    }

    /// Whether a field of it is meant for us alone: it is about this connection or how the body is
    /// framed, or a `Connection` line names it. The protocol that is switched to is the client's.
    pub fn is_for_this_hop(&self, known: Name, name: &[u8], buffer: &[u8]) -> bool {
        match known {
            Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::ContentLength => true,
            Name::Upgrade if self.status == 101 => false,
            _ => self.names_fields && hop::is_named(&self.fields, buffer, name),
        }
    }

    /// How the body of this answer ends; `bodiless` for the answer to a HEAD request.
    pub fn framing(&self, bodiless: bool) -> Framing {
        if bodiless || matches!(self.status, 100..=199 | 204 | 304) {
            return Framing::Empty;
        }
        match self.content_length {
            _ if self.chunked => Framing::chunked(),
            Some(0) => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }
}

fn length(value: &[u8]) -> Result<u64, BadResponse> {
    const INVALID: BadResponse = BadResponse("upstream sent invalid \"Content-Length\" header");
    body::decimal(value).ok_or(INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Response, BadResponse> {
        let mut response = Response::default();
        match response.parse(text.as_bytes())? {
            Progress::Complete => Ok(response),
            Progress::Partial => Err(BadResponse("incomplete")),
        }
    }

    #[test]
    fn status_and_reason_are_kept_as_sent() {
        let text = "HTTP/1.1 200 All is well\r\nContent-Length: 3\r\n\r\nabc";
        let response = parse(text).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.reason.of(text.as_bytes()), b"All is well");
        assert_eq!(response.end, text.len() - 3);
        assert!(matches!(response.framing(false), Framing::Length(3)));
        assert!(matches!(response.framing(true), Framing::Empty));
        assert!(parse("HTTP/1.1 200\r\n\r\n").unwrap().reason.is_empty());
    }

    #[test]
    fn the_connection_is_kept_as_the_version_and_the_upstream_say() {
        assert!(parse("HTTP/1.1 200 OK\r\n\r\n").unwrap().keep_alive);
        assert!(!parse("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap().keep_alive);
        assert!(!parse("HTTP/1.0 200 OK\r\n\r\n").unwrap().keep_alive);
        assert!(parse("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").unwrap().keep_alive);
    }

    #[test]
    fn answers_that_can_be_read_in_two_ways_are_refused() {
        for text in [
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert_ne!(parse(text).err(), None, "{text:?}");
            assert_ne!(parse(text).err(), Some(BadResponse("incomplete")), "{text:?}");
        }
    }

    #[test]
    fn the_first_of_two_lines_that_stand_once_is_kept() {
        let response =
            parse("HTTP/1.1 200 OK\r\nETag: 1\r\nETag: 2\r\nX: 1\r\nX: 2\r\n\r\n").unwrap();
        assert_eq!(response.fields.len(), 3);
    }

    #[test]
    fn some_statuses_have_no_body_whatever_the_head_says() {
        for status in [204, 304] {
            let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
            assert!(parse(&text).unwrap().framing(false).is_over());
        }
        assert!(matches!(
            parse("HTTP/1.1 200 x\r\n\r\n").unwrap().framing(false),
            Framing::UntilClose
        ));
    }
}
