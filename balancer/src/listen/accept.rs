//! The accept loop of one listener on one worker.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SocketFlags, acceptfrom_with, recv};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::conf::error::os_text;
use crate::engine::connection::HttpApp;
use crate::engine::places::{self, Place};
use crate::engine::session::StreamApp;
use crate::engine::{Ends, Shared, Stream, WorkerStats, buffer};
use crate::listen::Last;
use crate::listen::workers::Workers;
use crate::snapshot::Bind;
use crate::upstream::backend::add;

/// How often a connection that was promised a place looks for it.
const MOST_TURNS: u32 = 100;

/// How long accepting pauses when no descriptor is left.
const PAUSE: Duration = Duration::from_millis(500);

/// Accepts connections and hands them to the engine.
#[derive(Debug)]
pub struct Accept {
    shared: Arc<Shared>,
    apps: Arc<Apps>,
    bind: Bind,
    stats: Arc<WorkerStats>,
    is_unix: bool,
    closed: watch::Receiver<bool>,
    last: Last,
}

/// How many connections at most are not asked for a request at once after one that had none.
const MOST_UNASKED: u32 = 15;

/// What serves the connections of a listener on a worker. Each holds it.
#[derive(Debug)]
struct Apps {
    http: HttpApp,
    streams: StreamApp,
    /// Connections that are not asked for a request at once, see [`Self::read_at_once`].
    unasked: AtomicU32,
    /// How many that were after the last that had none.
    skipped: AtomicU32,
    /// They serve as long as anybody is served.
    _workers: Arc<Workers>,
}

enum Listener {
    /// With how many came since it was last known to have no more.
    Tcp(AsyncFd<TcpListener>, AtomicU32),
    Unix(UnixListener),
}

enum Accepted {
    /// The runtime does not know it: one that is served at once is never waited for.
    Tcp(TcpStream, Option<SocketAddr>),
    Unix(UnixStream),
}

impl Listener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(it, came) => loop {
                let mut ready = ready!(it.poll_read_ready(context))?;
                // Accepting in vain costs the system a socket that it makes beforehand. Who comes alone
                // has nobody behind them, of many there are more.
                if came.load(Ordering::Relaxed) == 1 && !has_come(it.get_ref()) {
                    came.store(0, Ordering::Relaxed);
                    ready.clear_ready();
                    continue;
                }
                if let Ok(accepted) = ready.try_io(|it| accept(it.get_ref())) {
                    came.store(came.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    return Poll::Ready(accepted);
                }
                came.store(0, Ordering::Relaxed);
            },
            Self::Unix(it) => it.poll_accept(context).map_ok(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

#[expect(deprecated, reason = "sound for what owns its descriptor; what replaces it is unsafe")]
fn watched(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

fn accept(listener: &TcpListener) -> io::Result<Accepted> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    Ok(Accepted::Tcp(socket.into(), peer.and_then(|it| it.try_into().ok())))
}

/// Whether somebody waits to be accepted.
fn has_come(listener: &TcpListener) -> bool {
    let mut asked = [PollFd::new(listener, PollFlags::IN)];
    // Where the system does not tell, accepting does.
    poll(&mut asked, Some(&Timespec::default())).map_or(true, |it| 0 < it)
}

impl Accept {
    /// A loop for the socket of `bind` on one of the workers, until `closed` turns true.
    pub fn new(
        bind: &Bind,
        shared: &Arc<Shared>,
        (workers, number): (&Arc<Workers>, usize),
        closed: watch::Receiver<bool>,
        last: &Last,
    ) -> Self {
        let stats = shared.stats.worker(number);
        let apps = Apps {
            http: HttpApp::new(Arc::clone(shared), Arc::clone(&stats), bind.clone()),
            streams: StreamApp::new(Arc::clone(shared), Arc::clone(&stats), bind.clone()),
            unasked: AtomicU32::new(0),
            skipped: AtomicU32::new(0),
            _workers: Arc::clone(workers),
        };
        Self {
            shared: Arc::clone(shared),
            apps: Arc::new(apps),
            bind: bind.clone(),
            stats,
            is_unix: matches!(bind, Bind::Unix(_)),
            closed,
            last: Arc::clone(last),
        }
    }

    /// Runs until told to close; what waits to be accepted by then is still served.
    pub async fn run(self, socket: Socket) {
        let listener = if self.is_unix {
            UnixListener::from_std(socket.into()).map(Listener::Unix)
        } else {
            watched(socket.into()).map(|it| Listener::Tcp(it, AtomicU32::new(0)))
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!("A listener cannot be used: {error}"),
        };
        let mut closed = self.closed.clone();
        let asked = self.closed.clone();
        let mut closing = pin!(closed.changed());
        let accept = Arc::new(self);
        let mut is_short = false;
        // Asked for first: connections may come without a pause.
        while !asked.has_changed().unwrap_or(true) {
            let next = std::future::poll_fn(|context| match listener.poll_accept(context) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending => closing.as_mut().poll(context).map(|_| None),
            });
            match next.await {
                Some(Ok(accepted)) => {
                    is_short = false;
                    accept.hand_over(accepted);
                }
                Some(Err(error)) => is_short = pause_if_exhausted(&error, is_short).await,
                None => break,
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(accepted)) = listener.poll_accept(&mut context) {
            accept.hand_over(accepted);
        }
    }

    /// Finds a place for a connection, and serves it there.
    fn hand_over(self: &Arc<Self>, accepted: Accepted) {
        add(&self.stats.accepted, 1);
        if let Some(place) = Place::take() {
            return self.begin(accepted, place);
        }
        if !places::make_room(1) {
            return places::tell_refusal();
        }
        // Who leaves does so as soon as this task lets go of the worker.
        let accept = Arc::clone(self);
        tokio::spawn(async move {
            for _ in 0..MOST_TURNS {
                tokio::task::yield_now().await;
                if let Some(place) = Place::take() {
                    return accept.begin(accepted, place);
                }
            }
            places::tell_refusal();
        });
    }

    fn begin(&self, accepted: Accepted, place: Place) {
        let (stream, ends) = match accepted {
            Accepted::Tcp(stream, peer) => {
                // The kernel is asked only where it alone knows.
                let local = match self.bind {
                    Bind::Inet(address) if !address.ip().is_unspecified() => Some(address),
                    _ => stream.local_addr().ok(),
                };
                (Stream::Fresh(stream), Ends { peer, local })
            }
            Accepted::Unix(stream) => (Stream::Unix(stream), Ends::default()),
        };
        // Who waited at an address that the configuration in force does not name any more is served
        // by the last one that did.
        let snapshot = match self.last.get() {
            Some(last) => Arc::clone(last),
            None => self.shared.snapshot.load_full(),
        };
        // A reload may give an address from one block to the other.
        let apps = Arc::clone(&self.apps);
        // Boxed: the runtime moves what it is given, whole, before its first turn and behind its last.
        if snapshot.stream(&self.bind).is_some() {
            tokio::spawn(Box::pin(async move {
                let _place = place;
                apps.streams.serve(stream, ends, snapshot).await;
            }));
        } else {
            tokio::spawn(Box::pin(async move {
                let _place = place;
                // Asked here: what was not there when it was accepted may have come by now.
                let read = apps.read_at_once(&stream);
                apps.http.serve(stream, ends, snapshot, read).await;
            }));
        }
    }
}

impl Apps {
    /// What a client has sent by the time its connection is first looked at.
    ///
    /// A request that is there saves a wait for it, a question in vain costs a system call: the more
    /// have been in vain, as where clients are far away, the fewer are asked.
    fn read_at_once(&self, stream: &Stream) -> Vec<u8> {
        let Stream::Fresh(socket) = stream else { return Vec::new() };
        let left = self.unasked.load(Ordering::Relaxed);
        if 0 < left {
            self.unasked.store(left - 1, Ordering::Relaxed);
            return Vec::new();
        }
        let mut read = buffer::take();
        // What is wrong with a connection its first use will tell.
        if let Ok((_, 1..)) = recv(socket, spare_capacity(&mut read), RecvFlags::DONTWAIT) {
            self.skipped.store(0, Ordering::Relaxed);
            return read;
        }
        let skipped = (2 * self.skipped.load(Ordering::Relaxed) + 1).min(MOST_UNASKED);
        self.skipped.store(skipped, Ordering::Relaxed);
        self.unasked.store(skipped, Ordering::Relaxed);
        buffer::give(read);
        Vec::new()
    }
}

/// Waits a little when descriptors are short, so that others can finish meanwhile. Says whether they
/// are; a log is told once, not each time it `is_known`.
async fn pause_if_exhausted(error: &io::Error, is_known: bool) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ECONNABORTED: i32 = 103;
    let text = format!("accept4() failed {}", os_text(error));
    match error.raw_os_error() {
        Some(EMFILE | ENFILE) => {
            if !is_known {
                tracing::error!(severity = "crit", "{text}");
            }
            tokio::time::sleep(PAUSE).await;
            return true;
        }
        Some(ECONNABORTED) => tracing::error!("{text}"),
        _ => tracing::error!(severity = "alert", "{text}"),
    }
    false
}
