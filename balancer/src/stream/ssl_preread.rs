//! `ssl_preread`: what does a TLS session say before it is encrypted?
//!
//! Source: nginx `ngx_stream_ssl_preread_module.c`.

use crate::conf::{Effect, Row};
use crate::http::put;
use crate::stream::{EVERYWHERE, core};

/// The row; its setting is one of those of prereading.
pub const ROWS: &[Row<core::Settings>] = &[Row {
    name: "ssl_preread",
    within: EVERYWHERE,
    arguments: 1..=1,
    effect: Effect::Set(|it, directive| put(&mut it.ssl_preread, directive.flag())),
}];

/// What a client says first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hello {
    /// `$ssl_preread_server_name`
    pub name: Vec<u8>,
    /// `$ssl_preread_alpn_protocols`
    pub protocols: Vec<u8>,
    version: [u8; 2],
}

impl Hello {
    /// `$ssl_preread_protocol`, empty when it is none of those that have a name.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self.version {
            [0, 2] => "SSLv2",
            [3, 0] => "SSLv3",
            [3, 1] => "TLSv1",
            [3, 2] => "TLSv1.1",
            [3, 3] => "TLSv1.2",
            [3, 4] => "TLSv1.3",
            _ => "",
        }
    }
}

/// How far the bytes that have arrived go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// More have to come.
    Partial,
    /// They are no TLS, or none that can be read.
    Foreign,
    /// The client has said all.
    Complete(Hello),
}

/// Why reading stops early.
enum Stop {
    Partial,
    Foreign,
}

const HANDSHAKE: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Reads the first records of a session.
#[must_use]
pub fn parse(bytes: &[u8]) -> Progress {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let [first, second, third, fourth, fifth, body @ ..] = rest {
        if first & 0x80 != 0 && *third == CLIENT_HELLO && matches!(fourth, 0 | 3) {
            let version = [*fourth, *fifth];
            return Progress::Complete(Hello { version, ..Hello::default() });
        }
        if *first != HANDSHAKE || *second != 3 {
            return Progress::Foreign;
        }
        let length = usize::from(u16::from_be_bytes([*fourth, *fifth]));
        let Some((record, after)) = body.split_at_checked(length) else { break };
        message.extend_from_slice(record);
        rest = after;
        match (Reader { bytes: &message, left: 4 }).hello() {
            Ok(hello) => return Progress::Complete(hello),
            Err(Stop::Foreign) => return Progress::Foreign,
            Err(Stop::Partial) => {}
        }
    }
    Progress::Partial
}

/// A handshake message, of which so many bytes may be left.
struct Reader<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        self.left = self.left.checked_sub(count).ok_or(Stop::Foreign)?;
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Stop::Partial)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    fn two(&mut self) -> Result<u16, Stop> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn hello(&mut self) -> Result<Hello, Stop> {
        let head = self.take(4)?;
        if head[0] != CLIENT_HELLO {
            return Err(Stop::Foreign);
        }
        self.left = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        let mut hello = Hello::default();
        hello.version.copy_from_slice(self.take(2)?);
        self.take(32)?;
        let session = self.byte()?;
        self.take(session.into())?;
        let suites = self.two()?;
        self.take(suites.into())?;
        let methods = self.byte()?;
        self.take(methods.into())?;
        if self.left == 0 {
            return Ok(hello);
        }
        self.two()?;
        let (mut has_name, mut has_protocols) = (false, false);
        while self.left > 0 {
            let (kind, length) = (self.two()?, self.two()?);
            match kind {
                SERVER_NAME if !has_name => {
                    has_name = true;
                    hello.name = self.server_name()?;
                }
                ALPN if !has_protocols => {
                    has_protocols = true;
                    hello.protocols = self.protocols()?;
                }
                SUPPORTED_VERSIONS => {
                    let length = self.byte()?;
                    hello.version = [3, 4];
                    self.take(length.into())?;
                }
                _ => drop(self.take(length.into())?),
            }
        }
        Ok(hello)
    }

    /// The first name of the list, which has to be that of a host.
    fn server_name(&mut self) -> Result<Vec<u8>, Stop> {
        let list = usize::from(self.two()?);
        let kind = self.byte()?;
        let length = usize::from(self.two()?);
        if kind != 0 || list < 3 + length {
            return Err(Stop::Foreign);
        }
        let name = self.take(length)?.to_vec();
        self.take(list - 3 - length)?;
        Ok(name)
    }

    /// The names of the list, with commas between them.
    fn protocols(&mut self) -> Result<Vec<u8>, Stop> {
        let mut list = usize::from(self.two()?);
        let mut protocols = Vec::new();
        loop {
            let length = self.byte()?;
            let size = usize::from(length);
            if size == 0 || list < 1 + size {
                return Err(Stop::Foreign);
            }
            list -= 1 + size;
            protocols.extend_from_slice(self.take(size)?);
            if list == 0 {
                return Ok(protocols);
            }
            protocols.push(b',');
        }
    }
}

/// The name of a host as servers are looked for by it; `None` when it is none.
///
/// Source: nginx `ngx_stream_core_module.c`, `ngx_stream_validate_host`.
#[must_use]
pub fn host(name: &[u8]) -> Option<Vec<u8>> {
    let is_bad = |it: &u8| matches!(it, b'/' | 0..=0x20 | 0x7f);
    if name.iter().any(is_bad) || name.windows(2).any(|it| it == b"..") {
        return None;
    }
    let end = match name {
        [b'[', ..] => name.iter().position(|it| *it == b']').map(|it| it + 1),
        _ => name.iter().position(|it| *it == b':'),
    };
    let name = &name[..end.unwrap_or(name.len())];
    let name = name.strip_suffix(b".").unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of a client that offers these extensions, without its record.
    fn message(version: [u8; 2], extensions: &[u8]) -> Vec<u8> {
        let mut body = version.to_vec();
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        if !extensions.is_empty() {
            body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
            body.extend(extensions);
        }
        let mut message = vec![CLIENT_HELLO, 0];
        message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(body);
        message
    }

    fn record(bytes: &[u8]) -> Vec<u8> {
        let mut record = vec![HANDSHAKE, 3, 1];
        record.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        record.extend(bytes);
        record
    }

    const SNI: &[u8] = b"\0\0\0\x08\0\x06\0\0\x03a.b";
    const ALPNS: &[u8] = b"\0\x10\0\x0e\0\x0c\x02h2\x08http/1.1";

    fn complete(bytes: &[u8]) -> Hello {
        match parse(bytes) {
            Progress::Complete(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn name_protocols_and_version_are_read() {
        let hello = complete(&record(&message([3, 3], &[SNI, ALPNS].concat())));
        assert_eq!((&*hello.name, &*hello.protocols), (&b"a.b"[..], &b"h2,http/1.1"[..]));
        assert_eq!(hello.protocol(), "TLSv1.2");
        let newest = complete(&record(&message([3, 3], b"\0\x2b\0\x03\x02\x03\x04")));
        assert_eq!(newest.protocol(), "TLSv1.3");
        assert_eq!(complete(&record(&message([3, 1], b""))).protocol(), "TLSv1");
        assert_eq!(complete(b"\x80\x2e\x01\0\x02").protocol(), "SSLv2");
    }

    #[test]
    fn a_message_may_come_in_records_and_pieces() {
        let whole = message([3, 3], SNI);
        let records = [record(&whole[..10]), record(&whole[10..])].concat();
        assert_eq!(complete(&records).name, b"a.b");
        for end in 0..records.len() {
            assert_eq!(parse(&records[..end]), Progress::Partial, "{end}");
        }
    }

    #[test]
    fn no_byte_makes_the_reading_fail() {
        let whole = record(&message([3, 3], &[SNI, ALPNS].concat()));
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                // Whatever comes of it, it comes to an end.
                let _ = parse(&bytes);
            }
        }
    }

    #[test]
    fn what_is_no_hello_is_foreign() {
        assert_eq!(parse(b"GET / HTTP/1.1"), Progress::Foreign);
        assert_eq!(parse(&record(&[2, 0, 0, 0])), Progress::Foreign);
        let alien = message([3, 3], b"\0\0\0\x08\0\x06\x01\0\x03a.b");
        assert_eq!(parse(&record(&alien)), Progress::Foreign);
        let too_long = message([3, 3], b"\0\0\0\x08\0\x06\0\0\x09a.b");
        assert_eq!(parse(&record(&too_long)), Progress::Foreign);
        let empty = message([3, 3], b"\0\x10\0\x03\0\x01\0");
        assert_eq!(parse(&record(&empty)), Progress::Foreign);
    }

    #[test]
    fn a_host_is_in_lower_case_without_port_and_last_dot() {
        assert_eq!(host(b"A.b.").as_deref(), Some(&b"a.b"[..]));
        assert_eq!(host(b"a:443").as_deref(), Some(&b"a"[..]));
        assert_eq!(host(b"[::1]:443").as_deref(), Some(&b"[::1]"[..]));
        assert_eq!(
            (host(b""), host(b"a..b"), host(b"a b"), host(b"a/b")),
            (None, None, None, None)
        );
    }
}
