//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where clients connect.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Bind {
    /// IP address and port; the unspecified address stands for all.
    Inet(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl Bind {
    /// All addresses of the family, with the same port; `None` where this is that, or none of IP.
    #[must_use]
    pub fn wildcard(&self) -> Option<Self> {
        let Self::Inet(address) = self else { return None };
        let all: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        (address.ip() != all).then(|| Self::Inet(SocketAddr::new(all, address.port())))
    }

    /// Whether a socket of one takes connections that are for the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self == other
            || self.wildcard().as_ref() == Some(other)
            || other.wildcard().as_ref() == Some(self)
    }
}

impl std::fmt::Display for Bind {
    /// As nginx logs it.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// Options of a listening socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Receive buffer in bytes, `None` for the system's.
    pub receive_buffer: Option<usize>,
    /// Send buffer in bytes, `None` for the system's.
    pub send_buffer: Option<usize>,
    /// Whether an IPv6 socket takes IPv6 alone.
    pub only_v6: bool,
    /// Whether the system asks silent clients if they are there; `None` for its own habit.
    pub keepalive: Option<Keepalive>,
    /// Whether a connection may use several paths.
    pub is_multipath: bool,
}

/// How the system asks silent clients if they are there; `None` for its own habit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Keepalive {
    /// Whether it does.
    pub is_on: bool,
    /// Silence before the first question.
    pub idle: Option<Duration>,
    /// Time between questions.
    pub interval: Option<Duration>,
    /// Questions without an answer after which the connection is closed.
    pub count: Option<u32>,
}

impl Default for ListenOptions {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            backlog: 511,
            receive_buffer: None,
            send_buffer: None,
            only_v6: true,
            keepalive: None,
            is_multipath: false,
        }
    }
}
