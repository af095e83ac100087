//! `syslog:` in the place of a file: one datagram for each line, as RFC 3164 has it.
//!
//! Source: nginx `ngx_syslog.c`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;

use nix::unistd::gethostname;

use super::rows::Severity;
use super::time;
use crate::conf::address::{Address, Host, Purpose};

/// Where lines are sent, and as whose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    server: Address,
    /// As it is written.
    name: String,
    facility: u8,
    /// Of access lines.
    severity: u8,
    tag: String,
    has_hostname: bool,
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

const PORT: u16 = 514;
const LOCAL7: u8 = 23;
const INFO: u8 = 6;
const LONGEST_TAG: usize = 32;

impl Peer {
    /// Reads what follows `syslog:`. An error is nginx's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut server, mut facility, mut severity, mut tag) = (None, None, None, None);
        let mut has_hostname = true;
        let position = |names: &[&str], name: &str, what: &str| {
            let found = names.iter().position(|it| *it == name);
            let found = found.and_then(|it| u8::try_from(it).ok());
            found.ok_or_else(|| format!("unknown syslog {what} \"{name}\""))
        };
        let once = |was: bool, what: &str| {
            if was { Err(format!("duplicate syslog \"{what}\"")) } else { Ok(()) }
        };
        for word in text.split(',') {
            match word.split_once('=') {
                Some(("server", value)) => {
                    once(server.is_some(), "server")?;
                    let address = Address::parse(value, Purpose::Peer);
                    let address =
                        address.map_err(|it| format!("{it} in syslog server \"{value}\""))?;
                    server = Some((address, value.to_owned()));
                }
                Some(("facility", value)) => {
                    once(facility.is_some(), "facility")?;
                    facility = Some(position(&FACILITIES, value, "facility")?);
                }
                Some(("severity", value)) => {
                    once(severity.is_some(), "severity")?;
                    severity = Some(position(&SEVERITIES, value, "severity")?);
                }
                Some(("tag", value)) => {
                    once(tag.is_some(), "tag")?;
                    tag = Some(check_tag(value)?);
                }
                None if word == "nohostname" => has_hostname = false,
                _ => return Err(format!("unknown syslog parameter \"{word}\"")),
            }
        }
        let (server, name) = server.ok_or("no syslog server specified")?;
        Ok(Self {
            server,
            name,
            facility: facility.unwrap_or(LOCAL7),
            severity: severity.unwrap_or(INFO),
            tag: tag.unwrap_or_else(|| "nginx".to_owned()),
            has_hostname,
        })
    }

    /// What stands before a line; of an access line when no severity is given.
    pub fn header(&self, severity: Option<Severity>) -> String {
        let severity = severity.map_or(self.severity, |it| {
            // nginx's levels are syslog's, in the other direction.
            Severity::Emerg as u8 - it as u8
        });
        let priority = self.facility * 8 + severity;
        let host = if self.has_hostname { gethostname().ok() } else { None };
        let host = host.map(|it| it.to_string_lossy().to_lowercase() + " ").unwrap_or_default();
        time::with_syslog(|now| format!("<{priority}>{now} {host}{}: ", self.tag))
    }

    /// The server, as it is written.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Source: nginx `ngx_syslog.c`, `ngx_syslog_parse_args`: RFC 3164 has no other tags.
fn check_tag(tag: &str) -> Result<String, String> {
    if tag.len() > LONGEST_TAG {
        return Err("syslog tag length exceeds 32".to_owned());
    }
    if !tag.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
        let text = "syslog \"tag\" only allows alphanumeric characters and underscore";
        return Err(text.to_owned());
    }
    Ok(tag.to_owned())
}

/// Sends lines; connects when there is one to send.
#[derive(Debug)]
pub struct Sender {
    place: Place,
    socket: Option<Connected>,
}

#[derive(Debug)]
enum Place {
    Inet(SocketAddr),
    Unix(String),
}

#[derive(Debug)]
enum Connected {
    Inet(UdpSocket),
    Unix(UnixDatagram),
}

impl Sender {
    /// Looks the server up. An error is nginx's text.
    pub fn find(peer: &Peer) -> Result<Self, String> {
        let port = peer.server.port_or(PORT);
        let place =
            match &peer.server.host {
                Host::Unix(path) => Place::Unix(path.clone()),
                Host::Ip(ip) => Place::Inet(SocketAddr::new(*ip, port)),
                Host::Any => return Err(format!("no host in syslog server \"{}\"", peer.name)),
                Host::Name(name) => {
                    #[expect(clippy::disallowed_methods, reason = "asked once, before serving")]
                    let found = (name.as_str(), port).to_socket_addrs().ok();
                    let found = found.and_then(|mut it| it.next());
                    Place::Inet(found.ok_or_else(|| {
                        format!("host not found in syslog server \"{}\"", peer.name)
                    })?)
                }
            };
        Ok(Self { place, socket: None })
    }

    /// Sends one line; after a failure the next one is sent by another socket.
    pub fn send(&mut self, line: &[u8]) -> io::Result<()> {
        let sent = self.connected().and_then(|it| match it {
            Connected::Inet(socket) => socket.send(line),
            Connected::Unix(socket) => socket.send(line),
        });
        if sent.is_err() {
            self.socket = None;
        }
        sent.map(drop)
    }

    fn connected(&mut self) -> io::Result<&Connected> {
        if self.socket.is_none() {
            self.socket = Some(match &self.place {
                Place::Inet(server) => {
                    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(any)?;
                    socket.connect(server)?;
                    Connected::Inet(socket)
                }
                Place::Unix(path) => {
                    let socket = UnixDatagram::unbound()?;
                    socket.set_nonblocking(true)?;
                    socket.connect(path)?;
                    Connected::Unix(socket)
                }
            });
        }
        self.socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Peer::parse(text).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        check("tag=a", "no syslog server specified");
        check("server=a,server=b", "duplicate syslog \"server\"");
        check("server=a:x", "invalid port in syslog server \"a:x\"");
        check("server=a,facility=x", "unknown syslog facility \"x\"");
        check("server=a,severity=x", "unknown syslog severity \"x\"");
        check(
            "server=a,tag=a-b",
            "syslog \"tag\" only allows alphanumeric characters and underscore",
        );
        check(&format!("server=a,tag={}", "a".repeat(33)), "syslog tag length exceeds 32");
        check("server=a,foo", "unknown syslog parameter \"foo\"");
    }

    #[track_caller]
    fn header(text: &str, severity: Option<Severity>) -> String {
        let header = Peer::parse(text).unwrap().header(severity);
        let (priority, rest) = header.split_once('>').unwrap();
        let date = "Nov  4 11:03:55 ".len();
        format!("{priority}>{}", &rest[date..])
    }

    #[test]
    fn a_header_has_priority_time_host_and_tag() {
        assert_eq!(header("server=a,nohostname", None), "<190>nginx: ");
        assert_eq!(header("server=a,nohostname,tag=t", Some(Severity::Error)), "<187>t: ");
        let text = "server=a,nohostname,facility=user,severity=alert";
        assert_eq!(header(text, None), "<9>nginx: ");
        assert_eq!(header(text, Some(Severity::Emerg)), "<8>nginx: ");
        let host = gethostname().unwrap().to_string_lossy().to_lowercase();
        assert_eq!(header("server=a", None), format!("<190>{host} nginx: "));
    }
}
