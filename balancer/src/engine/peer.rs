//! A connection to a server of an upstream: from the idle ones, or a new one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pingora_core::protocols::l4::stream::Stream as L4Stream;
use policy::Time;
use tokio::net::{TcpSocket, UnixStream};

use crate::engine::{Stream, clock};
use crate::upstream::{Address, Backend};

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
}

impl Peer {
    /// Opens a connection. How long that may take is the caller's to limit.
    pub async fn connect(backend: &Arc<Backend>) -> io::Result<Self> {
        let stream = match &backend.address {
            Address::Inet(address) => {
                let socket =
                    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                socket.set_nodelay(true)?;
                L4Stream::from(socket.connect(*address).await?)
            }
            Address::Unix(path) => L4Stream::from(UnixStream::connect(path).await?),
        };
        backend.counters.open.fetch_add(1, Ordering::Relaxed);
        let backend = Arc::clone(backend);
        Ok(Self { stream: Box::new(stream), backend, opened: clock::now(), requests: 0 })
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
