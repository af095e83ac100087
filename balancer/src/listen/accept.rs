//! The accept loop of one listener on one worker.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::socket::SocketAddr as AnyAddr;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use socket2::Socket;
use std::os::fd::AsRawFd;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use crate::engine::connection::HttpApp;
use crate::engine::{Shared, WorkerStats};
use crate::snapshot::Bind;
use crate::upstream::backend::add;

/// How long accepting pauses when no descriptor is left.
const PAUSE: Duration = Duration::from_millis(500);

/// Accepts connections and hands them to the engine.
#[derive(Debug)]
pub struct Accept {
    app: Arc<HttpApp>,
    stats: Arc<WorkerStats>,
    is_unix: bool,
    closed: watch::Receiver<bool>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, std::net::SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(it) => {
                it.poll_accept(context).map_ok(|(stream, peer)| Accepted::Tcp(stream, peer))
            }
            Self::Unix(it) => it.poll_accept(context).map_ok(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

impl Accept {
    /// A loop for the socket of `bind` on worker `number`, until `closed` turns true.
    pub fn new(
        bind: &Bind,
        shared: &Arc<Shared>,
        number: usize,
        closed: watch::Receiver<bool>,
    ) -> Self {
        let stats = shared.stats.worker(number);
        let app = HttpApp::new(Arc::clone(shared), Arc::clone(&stats), bind.clone());
        Self { app: Arc::new(app), stats, is_unix: matches!(bind, Bind::Unix(_)), closed }
    }

    /// Runs until told to close; what waits to be accepted by then is still served.
    pub async fn run(mut self, socket: Socket) {
        let listener = if self.is_unix {
            UnixListener::from_std(socket.into()).map(Listener::Unix)
        } else {
            TcpListener::from_std(socket.into()).map(Listener::Tcp)
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!("A listener cannot be used: {error}"),
        };
        loop {
            let accepted = std::future::poll_fn(|context| listener.poll_accept(context));
            tokio::select! {
                accepted = accepted => match accepted {
                    Ok(accepted) => self.hand_over(accepted),
                    Err(error) => pause_if_exhausted(&error).await,
                },
                _ = self.closed.changed() => break,
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(accepted)) = listener.poll_accept(&mut context) {
            self.hand_over(accepted);
        }
    }

    fn hand_over(&self, accepted: Accepted) {
        add(&self.stats.accepted, 1);
        let stream = match accepted {
            Accepted::Tcp(stream, peer) => {
                // A socket that refuses this is broken, which its first read will tell.
                let _ = stream.set_nodelay(true);
                let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
                let _ = digest.peer_addr.set(Some(AnyAddr::from(peer)));
                let mut stream = L4Stream::from(stream);
                stream.set_socket_digest(digest);
                stream
            }
            Accepted::Unix(stream) => L4Stream::from(stream),
        };
        let app = Arc::clone(&self.app);
        let closed = self.closed.clone();
        tokio::spawn(async move { app.process_new(Box::new(stream), &closed).await });
    }
}

/// Waits a little when descriptors or memory are short, so that others can finish meanwhile.
async fn pause_if_exhausted(error: &io::Error) {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    if let Some(EMFILE | ENFILE) = error.raw_os_error() {
        tracing::error!("accept() failed ({error}), pausing for {} ms", PAUSE.as_millis());
        tokio::time::sleep(PAUSE).await;
    } else {
        tracing::info!("accept() failed ({error})");
    }
}
