//! One end of a connection: the system's sockets as they are, and what Pingora's acceptors make.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr as AnyAddr;
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;
use tokio::net::{TcpStream, UnixStream};

mod transfer;

/// One end of a connection.
///
/// A plain socket is not wrapped: Pingora's stream around it costs a clock reading for each wait, a
/// system call when it is closed, and 600 bytes.
#[derive(Debug)]
pub enum Stream {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A TCP socket that nobody has waited for yet, so that the runtime need not know it. Nobody is
    /// woken by it before [`Stream::watch`].
    Fresh(std::net::TcpStream),
    /// A TCP socket that is waited for until it can be read from, and not yet until it can be written
    /// to: few ever cannot. This is what the runtime has for one direction.
    Reading(Receiver),
    /// A Unix socket.
    Unix(UnixStream),
    /// Nobody: says nothing, and takes everything.
    Nobody,
    /// Whatever Pingora has accepted and wrapped.
    Hosted(pingora_core::protocols::Stream),
}

/// The addresses of both ends, `None` on a Unix socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Who has connected.
    pub peer: Option<SocketAddr>,
    /// Where to.
    pub local: Option<SocketAddr>,
}

impl Ends {
    /// What Pingora knows of a stream.
    pub fn of(stream: &pingora_core::protocols::Stream) -> Self {
        let Some(digest) = stream.get_socket_digest() else { return Self::default() };
        let inet = |it: Option<&AnyAddr>| it.and_then(|it| it.as_inet().copied());
        Self { peer: inet(digest.peer_addr()), local: inet(digest.local_addr()) }
    }
}

impl Stream {
    /// The number of its descriptor, for questions to the system.
    pub fn id(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Fresh(socket) => socket.as_raw_fd(),
            Self::Reading(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
            Self::Hosted(stream) => stream.id(),
            Self::Nobody => -1,
        }
    }

    /// Whether nobody would be woken by it.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// Has the runtime know the socket, so that it can be waited for. After an error it is closed.
    pub fn watch(&mut self) -> io::Result<()> {
        if let Self::Fresh(_) = self
            && let Self::Fresh(socket) = std::mem::replace(self, Self::Nobody)
        {
            *self = Self::Reading(Receiver::from_owned_fd_unchecked(socket.into())?);
        }
        Ok(())
    }

    /// The same for both directions.
    fn watch_both(&mut self, context: &Context<'_>) -> io::Result<()> {
        let socket = match std::mem::replace(self, Self::Nobody) {
            Self::Fresh(socket) => socket,
            Self::Reading(socket) => {
                // Whoever waits to read waits for what the runtime forgets here.
                context.waker().wake_by_ref();
                socket.into_nonblocking_fd()?.into()
            }
            other => {
                *self = other;
                return Ok(());
            }
        };
        *self = Self::Tcp(TcpStream::from_std(socket)?);
        Ok(())
    }

    /// A TCP socket as it is.
    fn tcp(&self) -> Option<SockRef<'_>> {
        match self {
            Self::Tcp(socket) => Some(SockRef::from(socket)),
            Self::Fresh(socket) => Some(SockRef::from(socket)),
            Self::Reading(socket) => Some(SockRef::from(socket)),
            Self::Unix(_) | Self::Hosted(_) | Self::Nobody => None,
        }
    }

    /// Whether nothing has come from the other side, its end included. What has come may be lost.
    ///
    /// Costs no system call, and nobody is woken for it: the runtime knows.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(socket) => socket.try_read(&mut byte),
            Self::Reading(socket) => socket.try_read(&mut byte),
            Self::Unix(socket) => socket.try_read(&mut byte),
            Self::Hosted(stream) => {
                let mut context = Context::from_waker(Waker::noop());
                let mut room = ReadBuf::new(&mut byte);
                return Pin::new(stream).poll_read(&mut context, &mut room).is_pending();
            }
            // What nobody has waited for is no idle connection.
            Self::Fresh(_) | Self::Nobody => return true,
        };
        read.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock)
    }

    /// Says whether small packets are sent at once, or wait until the other side has what was sent
    /// before. Only TCP knows the difference.
    pub fn send_at_once(&self, is_on: bool) -> io::Result<()> {
        self.tcp().map_or(Ok(()), |it| it.set_tcp_nodelay(is_on))
    }

    /// Has the connection reset when it is closed, so that the system keeps nothing of it. One that
    /// is no plain TCP is closed as any other.
    pub fn reset_on_close(&self) -> io::Result<()> {
        self.tcp().map_or(Ok(()), |it| it.set_linger(Some(Duration::ZERO)))
    }

    /// Tells a TCP client that nothing more comes. One that has left needs not be told.
    pub fn end(&self) {
        let _ = self.tcp().map(|it| it.shutdown(Shutdown::Write));
    }
}
