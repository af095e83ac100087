//! Addresses to listen on.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where clients connect.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Bind {
    /// IP address and port; the unspecified address stands for all.
    Inet(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
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
}

impl Default for ListenOptions {
    /// nginx's defaults.
    fn default() -> Self {
        Self { backlog: 511, receive_buffer: None, send_buffer: None, only_v6: true }
    }
}
