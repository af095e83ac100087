//! A connection to a server of an upstream: from the idle ones, or a new one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use policy::Time;
use tokio::net::{TcpSocket, UnixStream};

use crate::engine::places::Place;
use crate::engine::{Stream, clock};
use crate::upstream::{Address, Backend};

/// How connections to servers are opened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outgoing {
    /// Where they come from, `None` for the system's choice.
    pub local: Option<SocketAddr>,
    /// Whether that may be an address of another machine.
    pub is_transparent: bool,
    /// Whether the system looks after dead ones.
    pub keepalive: bool,
    /// Size of the socket's buffer for what arrives.
    pub rcvbuf: Option<u32>,
    /// Size of the socket's buffer for what is sent.
    pub sndbuf: Option<u32>,
    /// Whether small packets wait until the other side has what was sent before.
    pub is_delayed: bool,
}

impl Outgoing {
    /// Source: nginx `ngx_event_connect.c`, `ngx_event_connect_peer`.
    fn prepare(&self, socket: &TcpSocket) -> io::Result<()> {
        if self.keepalive {
            socket.set_keepalive(true)?;
        }
        if let Some(size) = self.rcvbuf {
            socket.set_recv_buffer_size(size)?;
        }
        if let Some(size) = self.sndbuf {
            socket.set_send_buffer_size(size)?;
        }
        let Some(local) = self.local else { return Ok(()) };
        if self.is_transparent {
            let socket = socket2::SockRef::from(socket);
            match local {
                SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
            }
        }
        socket.bind(local)
    }
}

/// Opens a connection that counts nowhere.
pub async fn open(address: &Address, way: &Outgoing) -> io::Result<Stream> {
    match address {
        Address::Inet(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_nodelay(!way.is_delayed)?;
            way.prepare(&socket)?;
            Ok(Stream::Tcp(socket.connect(*address).await?))
        }
        Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
    }
}

/// An open connection to a server; counted as open until dropped.
#[derive(Debug)]
pub struct Peer {
    /// The bytes.
    pub stream: Stream,
    /// Whom it leads to.
    pub backend: Arc<Backend>,
    /// When it was opened.
    pub opened: Time,
    /// Requests it has carried.
    pub requests: u64,
    /// Counts it among the connections of the program.
    _place: Place,
}

impl Peer {
    /// Opens a connection. How long that may take is the caller's to limit.
    pub async fn connect(backend: &Arc<Backend>) -> io::Result<Self> {
        Self::connect_from(backend, &Outgoing::default()).await
    }

    /// As [`Self::connect`], in a certain way.
    pub async fn connect_from(backend: &Arc<Backend>, way: &Outgoing) -> io::Result<Self> {
        let stream = open(&backend.address, way).await?;
        let place = Place::claim();
        backend.counters.open.fetch_add(1, Ordering::Relaxed);
        let backend = Arc::clone(backend);
        Ok(Self { stream, backend, opened: clock::now(), requests: 0, _place: place })
    }

    /// Whether it has carried requests before.
    pub fn is_reused(&self) -> bool {
        self.requests > 0
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.backend.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}
