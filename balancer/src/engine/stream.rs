//! One end of a connection: the system's sockets as they are, and what Pingora's acceptors make.

use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr as AnyAddr;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

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
            *self = Self::Tcp(TcpStream::from_std(socket)?);
        }
        Ok(())
    }

    /// Whether nothing has come from the other side, its end included. What has come may be lost.
    ///
    /// Costs no system call, and nobody is woken for it: the runtime knows.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(socket) => socket.try_read(&mut byte),
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
        match self {
            Self::Tcp(socket) => socket.set_nodelay(is_on),
            Self::Fresh(socket) => socket.set_nodelay(is_on),
            Self::Unix(_) | Self::Hosted(_) | Self::Nobody => Ok(()),
        }
    }

    /// Has the connection reset when it is closed, so that the system keeps nothing of it. One that
    /// is no plain TCP is closed as any other.
    pub fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket).set_linger(Some(Duration::ZERO)),
            Self::Fresh(socket) => SockRef::from(socket).set_linger(Some(Duration::ZERO)),
            Self::Unix(_) | Self::Hosted(_) | Self::Nobody => Ok(()),
        }
    }
}

impl Stream {
    /// As `poll_write_vectored`, for bytes behind which only [`Self::end`] comes: they wait for it
    /// where the system can have them do so, and both leave in one packet.
    pub fn poll_write_last(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Self::Fresh(socket) = self {
            if let Some(written) = taken(send_last(socket, parts)) {
                return Poll::Ready(written);
            }
            self.watch()?;
        }
        let Self::Tcp(socket) = self else {
            return Pin::new(self).poll_write_vectored(context, parts);
        };
        loop {
            ready!(socket.poll_write_ready(context))?;
            let sent = socket.try_io(Interest::WRITABLE, || send_last(&*socket, parts));
            if let Some(sent) = taken(sent) {
                return Poll::Ready(sent);
            }
        }
    }

    /// Tells a TCP client that nothing more comes. One that has left needs not be told.
    pub fn end(&self) {
        let _ = match self {
            Self::Tcp(socket) => SockRef::from(socket).shutdown(Shutdown::Write),
            Self::Fresh(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(_) | Self::Hosted(_) | Self::Nobody => Ok(()),
        };
    }
}

/// Hands bytes to the system that are sent with what comes next, the end or more bytes.
fn send_last(socket: impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if let [only] = parts {
        return Ok(send(socket, only, flags)?);
    }
    Ok(sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags)?)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.watch()?;
        match stream {
            Self::Tcp(it) => Pin::new(it).poll_read(context, out),
            Self::Unix(it) => Pin::new(it).poll_read(context, out),
            Self::Hosted(it) => Pin::new(it).poll_read(context, out),
            Self::Fresh(_) | Self::Nobody => Poll::Pending,
        }
    }
}

/// What a socket that is not watched took, `None` when it has to be waited for.
fn taken(written: io::Result<usize>) -> Option<io::Result<usize>> {
    let waits = written.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock);
    (!waits).then_some(written)
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if let Self::Fresh(socket) = stream {
            if let Some(written) = taken(socket.write(bytes)) {
                return Poll::Ready(written);
            }
            stream.watch()?;
        }
        match stream {
            Self::Tcp(it) => Pin::new(it).poll_write(context, bytes),
            Self::Unix(it) => Pin::new(it).poll_write(context, bytes),
            Self::Hosted(it) => Pin::new(it).poll_write(context, bytes),
            Self::Fresh(_) | Self::Nobody => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if let Self::Fresh(socket) = stream {
            if let Some(written) = taken(socket.write_vectored(parts)) {
                return Poll::Ready(written);
            }
            stream.watch()?;
        }
        match stream {
            Self::Tcp(it) => Pin::new(it).poll_write_vectored(context, parts),
            Self::Unix(it) => Pin::new(it).poll_write_vectored(context, parts),
            Self::Hosted(it) => Pin::new(it).poll_write_vectored(context, parts),
            Self::Fresh(_) | Self::Nobody => Poll::Ready(Ok(parts.iter().map(|it| it.len()).sum())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_flush(context),
            Self::Unix(it) => Pin::new(it).poll_flush(context),
            Self::Hosted(it) => Pin::new(it).poll_flush(context),
            Self::Fresh(_) | Self::Nobody => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_shutdown(context),
            Self::Unix(it) => Pin::new(it).poll_shutdown(context),
            Self::Fresh(it) => Poll::Ready(it.shutdown(Shutdown::Write)),
            Self::Hosted(it) => Pin::new(it).poll_shutdown(context),
            Self::Nobody => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    use pingora_core::protocols::l4::ext::get_tcp_info;

    use super::*;

    /// A client, and who answers it.
    fn pair() -> (std::net::TcpStream, Stream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        served.set_nonblocking(true).unwrap();
        (client, Stream::Fresh(served))
    }

    fn segments_in(client: &std::net::TcpStream) -> u32 {
        get_tcp_info(client.as_raw_fd()).unwrap().tcpi_segs_in
    }

    async fn send_last(stream: &mut Stream, parts: &[IoSlice<'_>]) -> usize {
        std::future::poll_fn(|context| stream.poll_write_last(context, parts)).await.unwrap()
    }

    #[tokio::test]
    async fn the_last_bytes_and_the_end_come_as_one_packet() {
        for is_watched in [false, true] {
            for parts in [&[&b"all"[..]][..], &[b"al", b"", b"l"]] {
                let (mut client, mut stream) = pair();
                if is_watched {
                    stream.watch().unwrap();
                }
                let before = segments_in(&client);
                let parts: Vec<IoSlice<'_>> = parts.iter().map(|it| IoSlice::new(it)).collect();
                assert_eq!(send_last(&mut stream, &parts).await, 3);
                stream.end();
                let mut text = String::new();
                client.read_to_string(&mut text).unwrap();
                assert_eq!(text, "all");
                assert_eq!(segments_in(&client) - before, 1, "watched: {is_watched}");
            }
        }
    }

    #[tokio::test]
    async fn more_than_the_system_takes_at_once_waits_for_the_reader() {
        let (mut client, mut stream) = pair();
        let bytes = vec![b'x'; 16 << 20];
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            client.read_to_end(&mut read).unwrap();
            read.len()
        });
        let (mut at, mut writes) = (0, 0);
        while at < bytes.len() {
            at += send_last(&mut stream, &[IoSlice::new(&bytes[at..])]).await;
            writes += 1;
        }
        stream.end();
        let read = tokio::task::spawn_blocking(|| reading.join().unwrap()).await.unwrap();
        assert_eq!(read, bytes.len());
        assert!(1 < writes);
    }
}
