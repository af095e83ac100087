//! The PROXY protocol: who the client is, said by the proxy in front of us, and by us to a server.
//!
//! Both versions, in and out, as functions of bytes: whoever holds the connection reads and writes.
//!
//! Source: nginx `ngx_proxy_protocol.c`, and `proxy-protocol.txt` of `HAProxy`. Unlike nginx, which
//! looks at what one read brings, a header may arrive in pieces.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

mod tlv;

pub use self::tlv::Tlv;

/// The longest header of either version, in bytes; what is longer is refused.
pub const LONGEST: usize = 4096;

/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// Address of the client, as text.
    pub source: String,
    /// Address the client connected to, as text.
    pub destination: String,
    /// Port of the client.
    pub source_port: u16,
    /// Port the client connected to.
    pub destination_port: u16,
    /// What version 2 says beside, see [`Tlv`].
    pub tlvs: Vec<u8>,
}

impl Header {
    /// Address and port of the client; `None` when version 1 brought a text that is no address.
    pub fn client(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.source.parse().ok()?;
        Some(SocketAddr::new(ip, self.source_port))
    }
}

/// How far the bytes that have arrived go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// More have to come.
    Partial,
    /// The header is complete.
    Complete {
        /// How many bytes it takes.
        length: usize,
        /// What it says; `None` where it says nothing of a client: `UNKNOWN`, `LOCAL`, datagrams,
        /// Unix sockets.
        header: Option<Header>,
    },
}

/// Bytes that are no header, in nginx's words for the error log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken(pub String);

/// Reads the header at the front of what a connection has brought.
pub fn parse(bytes: &[u8]) -> Result<Progress, Broken> {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] == SIGNATURE[..common] {
        return binary(bytes);
    }
    match line(bytes) {
        Ok(Some(complete)) => Ok(complete),
        Ok(None) => Ok(Progress::Partial),
        Err(Invalid) => {
            let end = bytes.iter().position(|it| matches!(it, b'\r' | b'\n'));
            let shown = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
            Err(Broken(format!("broken header: \"{shown}\"")))
        }
    }
}

struct Invalid;

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 4567 80`, and a line end. `None` is partial.
fn line(bytes: &[u8]) -> Result<Option<Progress>, Invalid> {
    const WORD: &[u8] = b"PROXY ";
    let common = bytes.len().min(WORD.len());
    if bytes[..common] != WORD[..common] {
        return Err(Invalid);
    }
    let end = memchr::memchr(b'\n', bytes);
    let (line, length) = match end {
        Some(at) if at < LONGEST_LINE => (&bytes[..at], at + 1),
        None if bytes.len() < LONGEST_LINE => return Ok(None),
        _ => return Err(Invalid),
    };
    let line = line.strip_suffix(b"\r").and_then(|it| it.strip_prefix(WORD)).ok_or(Invalid)?;
    if line.starts_with(b"UNKNOWN") {
        return Ok(Some(Progress::Complete { length, header: None }));
    }
    let line = std::str::from_utf8(line).map_err(|_| Invalid)?;
    let mut words = line.split(' ');
    let mut next = || words.next().ok_or(Invalid);
    if !matches!(next()?, "TCP4" | "TCP6") {
        return Err(Invalid);
    }
    let header = Header {
        source: address(next()?)?,
        destination: address(next()?)?,
        source_port: port(next()?)?,
        destination_port: port(next()?)?,
        tlvs: Vec::new(),
    };
    if words.next().is_some() {
        return Err(Invalid);
    }
    Ok(Some(Progress::Complete { length, header: Some(header) }))
}

fn address(word: &str) -> Result<String, Invalid> {
    let fits = |it: u8| it.is_ascii_hexdigit() || matches!(it, b':' | b'.');
    word.bytes().all(fits).then(|| word.to_owned()).ok_or(Invalid)
}

fn port(word: &str) -> Result<u16, Invalid> {
    let digits = !word.is_empty() && word.bytes().all(|it| it.is_ascii_digit());
    digits.then(|| word.parse().ok()).flatten().ok_or(Invalid)
}

/// Version 2: signature, version and command, family and transport, length, addresses, TLVs.
fn binary(bytes: &[u8]) -> Result<Progress, Broken> {
    let Some(&[command, family, high, low]) = bytes.get(12..16) else {
        return Ok(Progress::Partial);
    };
    let version = command >> 4;
    if version != 2 {
        return Err(Broken(format!("unknown PROXY protocol version: {version}")));
    }
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if LONGEST < length {
        return Err(Broken("header is too large".to_owned()));
    }
    let Some(body) = bytes.get(16..length) else { return Ok(Progress::Partial) };
    let nobody = Ok(Progress::Complete { length, header: None });
    // Anything but PROXY is LOCAL: the connection speaks for itself.
    if command & 0x0f != 1 || family & 0x0f != STREAM {
        return nobody;
    }
    let header = match family >> 4 {
        INET => addresses::<4>(body),
        INET6 => addresses::<16>(body),
        _ => return nobody,
    };
    match header {
        Some(header) => Ok(Progress::Complete { length, header: Some(header) }),
        None => Err(Broken("broken header: addresses are missing".to_owned())),
    }
}

const STREAM: u8 = 1;
const INET: u8 = 1;
const INET6: u8 = 2;

/// Two addresses of `N` bytes, two ports, TLVs.
fn addresses<const N: usize>(body: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (&[a, b, c, d], tlvs) = rest.split_first_chunk::<4>()?;
    Some(Header {
        source: IpAddr::from(*source).to_string(),
        destination: IpAddr::from(*destination).to_string(),
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
        tlvs: tlvs.to_vec(),
    })
}

/// Appends the header of version 1 for a connection from `client` to `local`; `None` is a Unix
/// socket.
pub fn write_v1(client: Option<SocketAddr>, local: Option<SocketAddr>, out: &mut Vec<u8>) {
    let family = match (client, local) {
        (Some(SocketAddr::V4(_)), Some(SocketAddr::V4(_))) => "TCP4",
        (Some(SocketAddr::V6(_)), Some(SocketAddr::V6(_))) => "TCP6",
        _ => return out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
    };
    let (Some(client), Some(local)) = (client, local) else { return };
    let (from, to) = (client.ip(), local.ip());
    let line = format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port());
    out.extend_from_slice(line.as_bytes());
}

/// As [`write_v1`], in version 2. Where one side is IPv6, the other is mapped to it.
pub fn write_v2(client: Option<SocketAddr>, local: Option<SocketAddr>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.push(0x21);
    let canonical = |it: Option<SocketAddr>| it.map(|it| (it.ip().to_canonical(), it.port()));
    match (canonical(client), canonical(local)) {
        (Some((IpAddr::V4(from), source)), Some((IpAddr::V4(to), destination))) => {
            out.extend_from_slice(&[INET << 4 | STREAM, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
            out.extend_from_slice(&source.to_be_bytes());
            out.extend_from_slice(&destination.to_be_bytes());
        }
        (Some((from, source)), Some((to, destination))) => {
            out.extend_from_slice(&[INET6 << 4 | STREAM, 0, 36]);
            out.extend_from_slice(&mapped(from).octets());
            out.extend_from_slice(&mapped(to).octets());
            out.extend_from_slice(&source.to_be_bytes());
            out.extend_from_slice(&destination.to_be_bytes());
        }
        _ => out.extend_from_slice(&[STREAM, 0, 0]),
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests;
