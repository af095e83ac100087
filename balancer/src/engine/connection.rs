//! An accepted stream → exchanges: the keep-alive loop and its deadlines.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::server::ShutdownWatch;
use policy::Time;

use crate::engine::buffer;
use crate::engine::clock;
use crate::engine::exchange::{Client, Exchange};
use crate::engine::failure::Abort;
use crate::engine::h1::body::Framing;
use crate::engine::h1::request::{Limits, Progress, Refusal};
use crate::engine::timer::Deadline;
use crate::engine::{Shared, Stream, WorkerStats};
use crate::http::location::Location;
use crate::http::{self, Action};
use crate::logs::{self, Level};
use crate::snapshot::{Bind, Snapshot};
use crate::upstream::backend::add;

/// Serves the connections of one listener on one worker.
#[derive(Debug)]
pub struct HttpApp {
    shared: Arc<Shared>,
    stats: Arc<WorkerStats>,
    bind: Bind,
}

impl HttpApp {
    /// An app for the listener of an address.
    pub fn new(shared: Arc<Shared>, stats: Arc<WorkerStats>, bind: Bind) -> Self {
        Self { shared, stats, bind }
    }
}

#[async_trait]
impl ServerApp for HttpApp {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        add(&self.stats.handled, 1);
        let _closed = Closed(&self.stats);
        let (address, local) = match stream.get_socket_digest() {
            Some(digest) => {
                let inet = |it: Option<&SocketAddr>| it.and_then(|it| it.as_inet().copied());
                (inet(digest.peer_addr()), inet(digest.local_addr()))
            }
            None => (None, None),
        };
        let name =
            address.map_or_else(|| "unix:".to_owned(), |it| it.ip().to_canonical().to_string());
        let serial = self.shared.stats.next_serial();
        let client = Client { address, name, local, serial, accepted: clock::now() };
        let connection = Connection {
            shared: &self.shared,
            stats: &self.stats,
            bind: &self.bind,
            stream,
            client: Arc::new(client),
            deadline: Deadline::new(),
            served: 0,
            idle_timeout: Duration::ZERO,
        };
        connection.serve().await;
        None
    }
}

/// Counts a connection as closed when it is, whatever ends it.
struct Closed<'a>(&'a WorkerStats);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        add(&self.0.closed, 1);
        // A panic ends the one connection it happens on.
        if std::thread::panicking() {
            add(&self.0.panics, 1);
            tracing::error!(severity = "alert", "A request panicked");
        }
    }
}

/// A state that `stub_status` counts, left when dropped.
struct During<'a>(&'a [std::sync::atomic::AtomicU64; 2]);

impl<'a> During<'a> {
    fn start(counts: &'a [std::sync::atomic::AtomicU64; 2]) -> Self {
        add(&counts[0], 1);
        Self(counts)
    }
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        add(&self.0[1], 1);
    }
}

/// What happens to the connection when an exchange is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum After {
    /// It serves the next request.
    Keep,
    /// It is closed; what the client still sends is read first, so that it gets the answer.
    Linger,
    /// It is closed at once.
    Close,
}

/// A client's connection.
pub(super) struct Connection<'a> {
    pub(super) shared: &'a Shared,
    stats: &'a WorkerStats,
    bind: &'a Bind,
    pub(super) stream: Stream,
    client: Arc<Client>,
    pub(super) deadline: Deadline,
    served: u64,
    /// How long the connection may be idle before its next request.
    idle_timeout: Duration,
}

/// Why a head was not read to its end.
enum Unread {
    /// The client closed or failed.
    Gone,
    /// `client_header_timeout` has passed.
    Timeout,
    /// It must not be served.
    Refused(Refusal),
}

impl Connection<'_> {
    async fn serve(mut self) {
        let mut idle = self.header_timeout();
        while let Some(mut exchange) = self.wait(idle).await {
            let after = loop {
                let after = self.exchange(&mut exchange).await;
                let more = !exchange.input.unread().is_empty();
                exchange.next_request();
                if after != After::Keep || !more {
                    break after;
                }
                exchange.pipelined = true;
            };
            recycle(exchange);
            match after {
                After::Keep => {}
                After::Linger => return self.linger().await,
                After::Close => return,
            }
            idle = self.idle_timeout;
        }
    }

    fn header_timeout(&self) -> Duration {
        let snapshot = self.shared.snapshot.load();
        snapshot.listener(self.bind).map_or(Duration::ZERO, |it| it.servers.entrance.header_timeout)
    }

    /// Waits for the first bytes of a request. Until they come the connection owns no buffer.
    async fn wait(&mut self, timeout: Duration) -> Option<Box<Exchange>> {
        let _waiting = During::start(&self.stats.waiting);
        self.deadline.arm(timeout);
        poll_fn(|context| {
            let mut exchange = fresh();
            match exchange.input.poll_fill(context, &mut self.stream) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    recycle(exchange);
                    Poll::Ready(None)
                }
                Poll::Ready(Ok(_)) => Poll::Ready(Some(exchange)),
                Poll::Pending => {
                    recycle(exchange);
                    let ends = self.shared.is_stopping() || self.deadline.poll(context).is_ready();
                    if ends { Poll::Ready(None) } else { Poll::Pending }
                }
            }
        })
        .await
    }

    /// Serves one request whose first bytes have arrived.
    async fn exchange(&mut self, exchange: &mut Exchange) -> After {
        exchange.started = clock::now();
        exchange.client = Some(Arc::clone(&self.client));
        self.served += 1;
        exchange.serial = self.served;
        let snapshot: Arc<Snapshot> = self.shared.snapshot.load_full();
        let Some(listener) = snapshot.listener(self.bind) else { return After::Close };
        let servers = &listener.servers;
        let limits = &servers.entrance.limits;
        let head = self.read_head(exchange, limits, servers.entrance.header_timeout).await;
        let mut refused = match head {
            Ok(()) => None,
            Err(Unread::Gone) => return After::Close,
            Err(Unread::Timeout) => {
                exchange.status = 408;
                exchange.ended = clock::now();
                logs::access(exchange, &servers.find(b"").fallback);
                return After::Close;
            }
            Err(Unread::Refused(refusal)) => Some(refusal),
        };
        add(&self.stats.requests, 1);
        exchange.received = exchange.request.end as u64;
        if refused.is_none() {
            exchange.input.keep_head(exchange.request.end);
            if exchange.split_path(servers.entrance.merge_slashes).is_err() {
                refused = Some(Refusal { status: 400, reason: "client sent invalid request" });
            }
        }
        let server = servers.find(&exchange.host);
        exchange.server = Some(Arc::clone(server));
        let (location, action) = if let Some(refusal) = refused {
            logs::note(Level::Info, exchange, refusal.reason, "reading client request headers");
            exchange.request.keep_alive = false;
            (&server.fallback, Action::Status(refusal.status))
        } else {
            let location = server.location(&exchange.path);
            (location, http::decide(exchange, location))
        };
        self.idle_timeout = location.core.keepalive_timeout.unwrap_or_default();
        exchange.request.keep_alive &= self.may_stay(location, exchange.started);
        let after = match action {
            Action::Forward(proxy) => self.forward(exchange, location, proxy).await,
            Action::Close => {
                exchange.status = 444;
                exchange.ended = clock::now();
                After::Close
            }
            answer => self.answer(exchange, location, answer).await,
        };
        let method = exchange.text(exchange.request.method);
        let took = exchange.ended.since(exchange.started);
        server.counters.observe(exchange.status, method, took);
        logs::access(exchange, location);
        after
    }

    /// The client's address, `None` on a Unix socket.
    pub(super) fn client_address(&self) -> Option<std::net::SocketAddr> {
        self.client.address
    }

    /// Whether the limits of the location allow another request after this one.
    fn may_stay(&self, location: &Location, now: Time) -> bool {
        let core = &location.core;
        let age = || now.since(self.client.accepted);
        core.keepalive_timeout.is_some_and(|it| !it.is_zero())
            && self.served < core.keepalive_requests
            && age() < core.keepalive_time
            && !self.shared.is_stopping()
    }

    async fn read_head(
        &mut self,
        exchange: &mut Exchange,
        limits: &Limits,
        timeout: Duration,
    ) -> Result<(), Unread> {
        let _reading = During::start(&self.stats.reading);
        let mut is_armed = false;
        loop {
            match exchange.request.parse(&exchange.input.bytes, limits) {
                Ok(Progress::Complete) => return Ok(()),
                Ok(Progress::Partial) => {}
                Err(refusal) => return Err(Unread::Refused(refusal)),
            }
            if !is_armed {
                self.deadline.arm(timeout);
                is_armed = true;
            }
            if !exchange.input.has_room() {
                exchange.input.bytes.reserve(limits.head);
            }
            let read =
                poll_fn(|context| match exchange.input.poll_fill(context, &mut self.stream) {
                    Poll::Pending => self.deadline.poll(context).map(|()| Err(Unread::Timeout)),
                    Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Unread::Gone)),
                    Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                });
            read.await?;
        }
    }

    /// Reads and drops a body nobody asked for; false when the client does not finish it in time.
    pub(super) async fn discard(&mut self, exchange: &mut Exchange, mut framing: Framing) -> bool {
        use crate::engine::h1::chunked::Step;
        self.deadline.arm(LINGERING_TIME);
        loop {
            match framing.step(exchange.input.unread()) {
                Ok(Step::Data { skip, data }) => exchange.input.at += skip + data,
                Ok(Step::End { skip }) => {
                    exchange.input.at += skip;
                    return true;
                }
                Ok(Step::More { skip }) => {
                    exchange.input.at += skip;
                    exchange.input.compact();
                    let read = poll_fn(|context| {
                        match exchange.input.poll_fill(context, &mut self.stream) {
                            Poll::Pending => self.deadline.poll(context).map(|()| false),
                            Poll::Ready(read) => Poll::Ready(read.is_ok_and(|it| it > 0)),
                        }
                    });
                    if !read.await {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
    }

    /// Ends our side, then reads what the client still sends, so that it can read the answer.
    async fn linger(mut self) {
        use tokio::io::AsyncWrite;
        let ended = poll_fn(|context| std::pin::Pin::new(&mut self.stream).poll_shutdown(context));
        if ended.await.is_err() {
            return;
        }
        let until = clock::now() + LINGERING_TIME;
        let mut rest = buffer::Input { bytes: buffer::take(), ..buffer::Input::default() };
        while clock::now() < until {
            rest.bytes.clear();
            self.deadline.arm(LINGERING_TIMEOUT);
            let read = poll_fn(|context| match rest.poll_fill(context, &mut self.stream) {
                Poll::Pending if self.shared.is_stopping() => Poll::Ready(false),
                Poll::Pending => self.deadline.poll(context).map(|()| false),
                Poll::Ready(read) => Poll::Ready(read.is_ok_and(|it| it > 0)),
            });
            if !read.await {
                break;
            }
        }
        buffer::give(rest.bytes);
    }

    /// Ends an exchange whose client gets no answer, or a last one.
    pub(super) async fn abort(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        abort: Abort,
    ) -> After {
        exchange.request.keep_alive = false;
        match abort {
            Abort::ClientGone | Abort::ClientTimeout => {
                exchange.status = abort.status();
                exchange.ended = clock::now();
                After::Close
            }
            Abort::BadBody | Abort::TooLarge => {
                self.answer(exchange, location, Action::Status(abort.status())).await
            }
        }
    }
}

/// nginx's `lingering_time`.
const LINGERING_TIME: Duration = Duration::from_secs(30);
/// nginx's `lingering_timeout`.
const LINGERING_TIMEOUT: Duration = Duration::from_secs(5);

thread_local! {
    #[expect(clippy::vec_box, reason = "an exchange is large, and moves from hand to hand")]
    static UNUSED: std::cell::RefCell<Vec<Box<Exchange>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// An exchange with room to read into.
fn fresh() -> Box<Exchange> {
    let mut exchange = UNUSED.with_borrow_mut(Vec::pop).unwrap_or_default();
    if exchange.input.bytes.capacity() == 0 {
        exchange.input.bytes = buffer::take();
    }
    exchange
}

/// Keeps an exchange's memory for the next connection of this worker that needs one.
fn recycle(mut exchange: Box<Exchange>) {
    /// A worker has few exchanges at a time that are neither waiting nor served.
    const KEPT: usize = 16;
    exchange.client = None;
    exchange.server = None;
    let plain = |it: &Vec<u8>| it.capacity() < 2 * buffer::ROOM;
    if plain(&exchange.input.bytes) && plain(&exchange.reply.bytes) {
        UNUSED.with_borrow_mut(|unused| {
            if unused.len() < KEPT {
                exchange.input.bytes.clear();
                unused.push(exchange);
            }
        });
    }
}
