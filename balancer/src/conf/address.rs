//! What does a word mean as an address?
//!
//! Names stay names: looking one up is a question for the world, and is asked elsewhere.
//!
//! Source: nginx `ngx_inet.c`, `ngx_parse_url`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::value::number;

/// Where to listen or connect, as it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The host, or the path of a Unix socket.
    pub host: Host,
    /// The port, or the range of a `listen`; `None` when none is written.
    pub ports: Option<RangeInclusive<u16>>,
    /// What follows the host and port of a URL, from its first `/` or `?` on; for a Unix socket
    /// what follows the second `:`. Empty when there is nothing.
    pub uri: String,
}

/// A host as it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    /// `*`, or a port without host: every IPv4 address of this machine.
    Any,
    /// A numeric address; IPv6 stands in brackets.
    Ip(IpAddr),
    /// A name, to be looked up.
    Name(String),
    /// The path of a Unix socket.
    Unix(String),
}

/// What an address is for, which decides what may stand in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// `listen`: a port may stand alone, ports may be a range.
    Listen,
    /// A server to connect to.
    Peer,
    /// What follows `http://`: a path may stand behind.
    Url,
}

/// nginx's words for what is wrong, for instance `invalid port`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddressError(&'static str);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for AddressError {}

const INVALID_HOST: AddressError = AddressError("invalid host");
const INVALID_PORT: AddressError = AddressError("invalid port");
const INVALID_RANGE: AddressError = AddressError("invalid port range");
const NO_HOST: AddressError = AddressError("no host");

/// The longest path of a Unix socket, in bytes: `sun_path` of Linux without its final zero.
const LONGEST_SOCKET_PATH: usize = 107;

impl Address {
    /// Parses `host[:port]`, `[v6][:port]` or `unix:path`.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Self, AddressError> {
        match text.get(..5) {
            Some(scheme) if scheme.eq_ignore_ascii_case("unix:") => unix(&text[5..], purpose),
            _ if text.starts_with('[') => bracketed(&text[1..], purpose),
            _ => plain(text, purpose),
        }
    }

    /// The first port, or what is assumed when none is written.
    #[must_use]
    pub fn port_or(&self, default: u16) -> u16 {
        self.ports.as_ref().map_or(default, |it| *it.start())
    }
}

fn unix(text: &str, purpose: Purpose) -> Result<Address, AddressError> {
    let (path, uri) = match purpose {
        Purpose::Url => text.split_once(':').unwrap_or((text, "")),
        Purpose::Listen | Purpose::Peer => (text, ""),
    };
    if path.is_empty() {
        return Err(AddressError("no path in the unix domain socket"));
    }
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(AddressError("too long path in the unix domain socket"));
    }
    Ok(Address { host: Host::Unix(path.to_owned()), ports: None, uri: uri.to_owned() })
}

fn bracketed(text: &str, purpose: Purpose) -> Result<Address, AddressError> {
    let (host, after) = text.split_once(']').ok_or(INVALID_HOST)?;
    let (after, uri) = split_uri(after, after.find('/'), purpose)?;
    let ports = match after.strip_prefix(':') {
        Some(port) => Some(ports(port, purpose)?),
        None if after.is_empty() => None,
        None => return Err(INVALID_HOST),
    };
    if host.is_empty() {
        return Err(NO_HOST);
    }
    let ip: Ipv6Addr = host.parse().map_err(|_| AddressError("invalid IPv6 address"))?;
    Ok(Address { host: Host::Ip(ip.into()), ports, uri })
}

fn plain(text: &str, purpose: Purpose) -> Result<Address, AddressError> {
    let (text, uri) = split_uri(text, text.find(['/', '?']), purpose)?;
    let (host, ports) = match text.split_once(':') {
        Some((host, port)) => (host, Some(ports(port, purpose)?)),
        None => (text, None),
    };
    if purpose == Purpose::Listen && ports.is_none() {
        let (first, last) = host.split_once('-').unwrap_or((host, "1"));
        if number(first).is_some() && number(last).is_some() {
            let ports = Some(self::ports(host, purpose)?);
            return Ok(Address { host: Host::Any, ports, uri });
        }
    }
    if host.is_empty() {
        return Err(NO_HOST);
    }
    let host = match ipv4(host) {
        Some(ip) => Host::Ip(ip.into()),
        None if host == "*" && purpose == Purpose::Listen => Host::Any,
        None => Host::Name(host.to_owned()),
    };
    Ok(Address { host, ports, uri })
}

/// Cuts off the URI that begins at `at`, where one is allowed.
fn split_uri(
    text: &str,
    at: Option<usize>,
    purpose: Purpose,
) -> Result<(&str, String), AddressError> {
    match at {
        None => Ok((text, String::new())),
        Some(at) if purpose == Purpose::Url => Ok((&text[..at], text[at..].to_owned())),
        Some(_) => Err(INVALID_HOST),
    }
}

/// A port, or for `listen` a range of ports.
fn ports(text: &str, purpose: Purpose) -> Result<RangeInclusive<u16>, AddressError> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) if purpose == Purpose::Listen => (first, Some(last)),
        _ => (text, None),
    };
    let last = last.map(port).transpose()?;
    let first = port(first)?;
    match last {
        Some(last) if last < first => Err(INVALID_RANGE),
        Some(last) => Ok(first..=last),
        None => Ok(first..=first),
    }
}

fn port(text: &str) -> Result<u16, AddressError> {
    let number = number(text).and_then(|it| u16::try_from(it).ok());
    number.filter(|it| *it != 0).ok_or(INVALID_PORT)
}

/// Four decimal numbers. As nginx reads them, leading zeros do not count and an empty one is 0.
#[must_use]
pub fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if !part.is_empty() {
            *octet = u8::try_from(number(part)?).ok()?;
        }
    }
    parts.next().is_none().then(|| octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host, the first and last port, the URI.
    type Parts = (Host, Option<(u16, u16)>, &'static str);

    #[track_caller]
    fn check(purpose: Purpose, text: &str, expected: Result<Parts, &str>) {
        let expected = expected.map(|(host, ports, uri)| Address {
            host,
            ports: ports.map(|(first, last)| first..=last),
            uri: uri.to_owned(),
        });
        let actual = Address::parse(text, purpose).map_err(|it| it.0);
        assert_eq!(actual, expected, "{purpose:?} {text}");
    }

    fn ip(text: &str) -> Host {
        Host::Ip(text.parse().unwrap())
    }

    fn name(text: &str) -> Host {
        Host::Name(text.to_owned())
    }

    fn socket(text: &str) -> Host {
        Host::Unix(text.to_owned())
    }

    #[test]
    fn listen_takes_hosts_ports_and_ranges() {
        use Purpose::Listen;
        check(Listen, "80", Ok((Host::Any, Some((80, 80)), "")));
        check(Listen, "8080-8082", Ok((Host::Any, Some((8080, 8082)), "")));
        check(Listen, "*:80", Ok((Host::Any, Some((80, 80)), "")));
        check(Listen, "*", Ok((Host::Any, None, "")));
        check(Listen, "127.0.0.1:80-81", Ok((ip("127.0.0.1"), Some((80, 81)), "")));
        check(Listen, "127.0.0.1", Ok((ip("127.0.0.1"), None, "")));
        check(Listen, "[::]:8080-8081", Ok((ip("::"), Some((8080, 8081)), "")));
        check(Listen, "localhost:80", Ok((name("localhost"), Some((80, 80)), "")));
        check(Listen, "80x", Ok((name("80x"), None, "")));
        check(Listen, "unix:/tmp/a:b", Ok((socket("/tmp/a:b"), None, "")));
        check(Listen, "UNIX:a", Ok((socket("a"), None, "")));
    }

    #[test]
    fn a_wrong_listen_address_is_told_in_nginx_words() {
        for (text, expected) in [
            ("127.0.0.1:0", "invalid port"),
            ("127.0.0.1:70000", "invalid port"),
            ("127.0.0.1:", "invalid port"),
            ("0", "invalid port"),
            ("*:x", "invalid port"),
            ("127.0.0.1:81-80", "invalid port range"),
            ("81-80", "invalid port range"),
            ("127.0.0.1:80/x", "invalid host"),
            ("[::1", "invalid host"),
            ("[::1]x", "invalid host"),
            ("[]:80", "no host"),
            ("[::g]:80", "invalid IPv6 address"),
            (":80", "no host"),
            ("", "no host"),
            ("unix:", "no path in the unix domain socket"),
        ] {
            check(Purpose::Listen, text, Err(expected));
        }
        let long = format!("unix:/{}", "a".repeat(LONGEST_SOCKET_PATH));
        check(Purpose::Listen, &long, Err("too long path in the unix domain socket"));
    }

    #[test]
    fn a_peer_has_one_port_and_no_path() {
        use Purpose::Peer;
        check(Peer, "store:5000", Ok((name("store"), Some((5000, 5000)), "")));
        check(Peer, "store_manager", Ok((name("store_manager"), None, "")));
        check(Peer, "80", Ok((name("80"), None, "")));
        check(Peer, "[::1]", Ok((ip("::1"), None, "")));
        check(Peer, "unix:/a:/b", Ok((socket("/a:/b"), None, "")));
        check(Peer, "127.0.0.1:80-90", Err("invalid port"));
        check(Peer, "127.0.0.1:80:90", Err("invalid port"));
        check(Peer, "a/b", Err("invalid host"));
        check(Peer, "a?b", Err("invalid host"));
    }

    #[test]
    fn a_url_keeps_what_follows_the_host() {
        use Purpose::Url;
        check(Url, "store:5000/api/", Ok((name("store"), Some((5000, 5000)), "/api/")));
        check(Url, "store?a:b/c", Ok((name("store"), None, "?a:b/c")));
        check(Url, "[::1]:80/a:b", Ok((ip("::1"), Some((80, 80)), "/a:b")));
        check(Url, "unix:/tmp/s:/api", Ok((socket("/tmp/s"), None, "/api")));
    }

    #[test]
    fn numbers_of_an_address_may_have_leading_zeros() {
        for (text, expected) in [
            ("127.0.0.1", Some([127, 0, 0, 1])),
            ("010.0.0.001", Some([10, 0, 0, 1])),
            ("1..2.3", Some([1, 0, 2, 3])),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("1.2.3.256", None),
            ("1.2.3.x", None),
        ] {
            assert_eq!(ipv4(text), expected.map(Ipv4Addr::from), "{text}");
        }
    }
}
