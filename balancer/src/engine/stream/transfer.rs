//! Reading from a stream and writing to it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::task::coop::poll_proceed;

use super::Stream;

impl Stream {
    /// As `poll_write_vectored`, for bytes behind which only [`Self::end`] comes: they wait for it
    /// where the system can have them do so, and both leave in one packet.
    pub fn poll_write_last(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = ready!(self.poll_unwatched(context, parts, SendFlags::MORE)) {
            return Poll::Ready(written);
        }
        let Self::Tcp(socket) = self else {
            return Pin::new(self).poll_write_vectored(context, parts);
        };
        loop {
            ready!(socket.poll_write_ready(context))?;
            let sent = socket
                .try_io(Interest::WRITABLE, || send_parts(socket.as_fd(), parts, SendFlags::MORE));
            if let Some(sent) = taken(sent) {
                return Poll::Ready(sent);
            }
        }
    }

    /// Writes to a TCP socket that is not waited for until it can be written to; `None` for any other,
    /// and for one that has to be waited for from now on.
    fn poll_unwatched(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        flags: SendFlags,
    ) -> Poll<Option<io::Result<usize>>> {
        let socket = match &*self {
            Self::Fresh(socket) => socket.as_fd(),
            Self::Reading(socket) => socket.as_fd(),
            _ => return Poll::Ready(None),
        };
        // Others have their turn, too, where a client reads as fast as we write.
        let turn = ready!(poll_proceed(context));
        if let Some(written) = taken(send_parts(socket, parts, flags)) {
            turn.made_progress();
            return Poll::Ready(Some(written));
        }
        match self.watch_both(context) {
            Ok(()) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

/// Sends as much as the system takes. With `MORE` that waits for what comes next, the end or more bytes.
fn send_parts(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    flags: SendFlags,
) -> io::Result<usize> {
    let flags = flags | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
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
            Self::Reading(it) => Pin::new(it).poll_read(context, out),
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
        let part = [IoSlice::new(bytes)];
        if let Some(written) = ready!(stream.poll_unwatched(context, &part, SendFlags::empty())) {
            return Poll::Ready(written);
        }
        match stream {
            Self::Tcp(it) => Pin::new(it).poll_write(context, bytes),
            Self::Unix(it) => Pin::new(it).poll_write(context, bytes),
            Self::Hosted(it) => Pin::new(it).poll_write(context, bytes),
            Self::Fresh(_) | Self::Reading(_) | Self::Nobody => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if let Some(written) = ready!(stream.poll_unwatched(context, parts, SendFlags::empty())) {
            return Poll::Ready(written);
        }
        match stream {
            Self::Tcp(it) => Pin::new(it).poll_write_vectored(context, parts),
            Self::Unix(it) => Pin::new(it).poll_write_vectored(context, parts),
            Self::Hosted(it) => Pin::new(it).poll_write_vectored(context, parts),
            Self::Fresh(_) | Self::Reading(_) | Self::Nobody => {
                Poll::Ready(Ok(parts.iter().map(|it| it.len()).sum()))
            }
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
            Self::Fresh(_) | Self::Reading(_) | Self::Nobody => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(it) => Pin::new(it).poll_shutdown(context),
            Self::Unix(it) => Pin::new(it).poll_shutdown(context),
            Self::Fresh(it) => Poll::Ready(it.shutdown(Shutdown::Write)),
            Self::Reading(it) => Poll::Ready(SockRef::from(&*it).shutdown(Shutdown::Write)),
            Self::Hosted(it) => Pin::new(it).poll_shutdown(context),
            Self::Nobody => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

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
        for is_watched in [false, true] {
            let (mut client, mut stream) = pair();
            if is_watched {
                stream.watch().unwrap();
            }
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

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn whoever_waits_to_read_asks_again_when_the_other_direction_is_waited_for() {
        let (_client, mut stream) = pair();
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        assert!(Pin::new(&mut stream).poll_read(&mut context, &mut room).is_pending());
        assert!(matches!(stream, Stream::Reading(_)));
        let bytes = vec![0; 1 << 20];
        // Of each turn of a task only so many writes may be; the room of a socket is less.
        while Pin::new(&mut stream).poll_write(&mut context, &bytes).is_ready() {}
        assert!(matches!(stream, Stream::Tcp(_)));
        assert!(woken.0.load(Ordering::Relaxed));
    }
}
