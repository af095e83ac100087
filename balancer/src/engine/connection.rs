//! An accepted stream → exchanges: the keep-alive loop and its deadlines.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream as Hosted;
use pingora_core::server::ShutdownWatch;

use crate::client;
use crate::engine::exchange::{Client, Exchange, MOST_CHANGES};
use crate::engine::failure::Abort;
use crate::engine::h1::request::{Limits, Progress, Refusal};
use crate::engine::timer::{self, Deadline, TICK};
use crate::engine::{self, clock};
use crate::engine::{Ends, Shared, Stream, WorkerStats, buffer};
use crate::http::Action;
use crate::http::closing::Closing;
use crate::http::location::Location;
use crate::http::otel;
use crate::logs::{self, Level};
use crate::snapshot::{Bind, Snapshot};
use crate::upstream::backend::add;

mod count;
mod follow;
mod header;
mod nobody;
mod spare;
mod unread;

pub(super) use self::count::Closed;
use self::count::During;
pub use self::header::Early;
use self::spare::{fresh, recycle};
use self::unread::{Gone, Unread, tell_dropped};

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
    async fn process_new(self: &Arc<Self>, stream: Hosted, _: &ShutdownWatch) -> Option<Hosted> {
        let ends = Ends::of(&stream);
        let snapshot = self.shared.snapshot.load_full();
        self.serve(Stream::Hosted(stream), ends, snapshot, Vec::new()).await;
        None
    }
}

impl HttpApp {
    /// Serves a connection by a configuration, and by those that follow it. Something of its first
    /// request may have been read.
    pub async fn serve(&self, stream: Stream, ends: Ends, snapshot: Arc<Snapshot>, read: Vec<u8>) {
        add(&self.stats.handled, 1);
        let _closed = Closed(&self.stats);
        let early = Early { read, ..Early::default() };
        self.take_over(stream, ends, snapshot, early).await;
    }

    /// As [`Self::serve`], for one that another listener has accepted and counts.
    pub async fn take_over(
        &self,
        stream: Stream,
        ends: Ends,
        snapshot: Arc<Snapshot>,
        early: Early,
    ) {
        let Ends { peer: address, local } = ends;
        let name = client::name(address);
        let serial = self.shared.stats.next_serial();
        let generation = snapshot.generation;
        let shared = Arc::clone(&self.shared);
        let accepted = clock::now();
        let header = early.header.map(Arc::new);
        let descriptor = stream.id();
        let client = Client { address, name, local, serial, accepted, descriptor, header, shared };
        let address = snapshot.address_of(&self.bind, local);
        let entrance = snapshot.listener(&address).map(|it| &it.servers.entrance);
        let connection = Connection {
            shared: &self.shared,
            stats: &self.stats,
            bind: &self.bind,
            idle_timeout: entrance.map_or(Duration::ZERO, |it| it.header_timeout),
            address,
            stream,
            client: Arc::new(client),
            deadline: Deadline::new(),
            unwatched: None,
            served: 0,
            closing: Closing::default(),
            sends_at_once: true,
            holds_last: false,
            generation,
            snapshot,
            early: early.read,
        };
        let mut serving = std::pin::pin!(connection.serve());
        poll_fn(|context| {
            if self.shared.is_cut(generation) {
                return Poll::Ready(());
            }
            serving.as_mut().poll(context)
        })
        .await;
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
    /// It is closed at once, as one whose client took too long.
    Late,
}

/// What an attempt to have a request served came to.
pub(super) enum Outcome<'s> {
    /// The client has its answer, or gets none.
    Over(After),
    /// This is to be answered instead.
    Answer(Action<'s>),
}

/// A client's connection.
pub(super) struct Connection<'a> {
    pub(super) shared: &'a Shared,
    stats: &'a WorkerStats,
    /// That of the socket.
    bind: &'a Bind,
    /// The one of the configuration that serves it.
    address: Bind,
    pub(super) stream: Stream,
    client: Arc<Client>,
    pub(super) deadline: Deadline,
    /// When the stream begins to be watched for its end, while it is fresh.
    pub(super) unwatched: Option<Deadline>,
    served: u64,
    /// How long the connection may be idle before its next request.
    pub(super) idle_timeout: Duration,
    /// How it ends.
    pub(super) closing: Closing,
    /// Whether its small packets wait for no other.
    pub(super) sends_at_once: bool,
    /// Whether the last bytes of an answer wait for its end, see [`Stream::poll_write_last`].
    pub(super) holds_last: bool,
    /// That of the configuration it was accepted under.
    generation: u64,
    /// The configuration in force when it was last looked for: the newest one that listens on the
    /// connection's address.
    snapshot: Arc<Snapshot>,
    /// What was read of its first request before it came here.
    early: Vec<u8>,
}

impl Connection<'_> {
    async fn serve(mut self) {
        if !self.introduce().await {
            return;
        }
        let mut idle = self.idle_timeout;
        while let Some(mut exchange) = self.wait(idle).await {
            // Boxed, so that an idle connection keeps no room for what a request needs.
            let after = Box::pin(self.busy(&mut exchange)).await;
            recycle(exchange);
            match after {
                After::Keep => {}
                After::Linger if self.closing.lingers => return self.linger().await,
                After::Close if self.closing.lingers_always => return self.linger().await,
                After::Late if self.closing.resets => {
                    // A connection that cannot be reset is closed as any other.
                    let _ = self.stream.reset_on_close();
                    return;
                }
                After::Linger | After::Close if self.holds_last => return self.stream.end(),
                After::Linger | After::Close | After::Late => return,
            }
            idle = self.idle_timeout;
        }
    }

    /// Serves requests until none has begun to arrive.
    async fn busy(&mut self, exchange: &mut Exchange) -> After {
        loop {
            let after = self.exchange(exchange).await;
            let more = !exchange.input.unread().is_empty();
            exchange.next_request();
            if after != After::Keep || !more {
                return after;
            }
            exchange.pipelined = true;
        }
    }

    /// Waits for the first bytes of a request. Until they come the connection owns no buffer.
    async fn wait(&mut self, timeout: Duration) -> Option<Box<Exchange>> {
        if !self.early.is_empty() {
            let mut exchange = fresh();
            buffer::give(std::mem::replace(
                &mut exchange.input.bytes,
                std::mem::take(&mut self.early),
            ));
            return Some(exchange);
        }
        let _waiting = During::start(&self.stats.waiting);
        self.unwatched = None;
        self.deadline.arm_idle(timeout);
        let mut is_last = false;
        // Never early: what is counted from it must not end before its time.
        let began = timer::coarse_now() + TICK;
        let waited = poll_fn(|context| {
            let mut exchange = fresh();
            match exchange.input.poll_fill(context, &mut self.stream) {
                Poll::Ready(read) => Poll::Ready(match Gone::of(read) {
                    None => Ok(exchange),
                    Some(gone) => {
                        recycle(exchange);
                        Err(Some(gone))
                    }
                }),
                Poll::Pending => {
                    recycle(exchange);
                    // A client may be sending its next request just now: it is answered, and told
                    // that the connection ends, which a connection that is closed tells nobody.
                    let ends = !self.follow() || self.shared.is_stopping();
                    if ends && !std::mem::replace(&mut is_last, true) {
                        let least =
                            self.closing.least_idle.saturating_sub(clock::now().since(began));
                        self.deadline.arm(LAST_REQUEST.max(least).min(timeout));
                    }
                    self.deadline.poll(context).map(|()| Err(None))
                }
            }
        });
        match waited.await {
            Ok(exchange) => Some(exchange),
            Err(gone) => {
                if gone.is_some() || !is_last {
                    self.tell_waited(gone.as_ref());
                }
                None
            }
        }
    }

    /// Serves one request whose first bytes have arrived.
    async fn exchange(&mut self, exchange: &mut Exchange) -> After {
        exchange.started = clock::now();
        exchange.changes_left = MOST_CHANGES;
        exchange.client = Some(Arc::clone(&self.client));
        self.served += 1;
        exchange.serial = self.served;
        self.follow();
        let snapshot = Arc::clone(&self.snapshot);
        let Some(listener) = snapshot.listener(&self.address) else { return After::Close };
        let servers = &listener.servers;
        let limits = &servers.entrance.limits;
        let head = self.read_head(exchange, limits, servers.entrance.header_timeout).await;
        let mut refused = match head {
            Ok(()) => None,
            Err(Unread::Gone(gone)) => return self.give_up(exchange, servers, Some(gone)),
            Err(Unread::Timeout) => return self.give_up(exchange, servers, None),
            Err(Unread::Refused(refusal)) => Some(refusal),
        };
        engine::count(&self.stats.requests);
        exchange.received = exchange.request.end as u64;
        if refused.is_none() {
            exchange.input.keep_head(exchange.request.end);
        }
        let mut is_bad_path = false;
        if exchange.request.has_line() {
            is_bad_path = exchange.split_path(servers.entrance.merge_slashes).is_err();
            if is_bad_path {
                exchange.request.forget_fields();
                refused = Some(Refusal { status: 400, reason: "client sent invalid request" });
            }
        }
        let server = servers.find(&exchange.host, &exchange.scratch);
        exchange.server = Some(Arc::clone(server));
        let refused = refused.map(|refusal| {
            let is_line = is_bad_path || !exchange.request.has_line();
            let part = if is_line { "line" } else { "headers" };
            let action = &format!("reading client request {part}");
            let text = format!("{}{}", refusal.reason, exchange.request.detail);
            logs::note(Level::Info, exchange, &text, action);
            exchange.drop_body();
            Action::Status(refusal.status)
        });
        tell_dropped(exchange);
        let guards = server.fallback.guards.as_ref();
        if let Some(real_ip) = guards.and_then(|it| it.real_ip.as_ref()) {
            real_ip.apply(exchange);
        }
        let (location, after) = self.process(exchange, server, refused).await;
        server.counters.observe(exchange);
        logs::access(exchange, location);
        otel::finish(exchange, location);
        after
    }

    /// Whether the limits of the location allow another request after this one.
    pub(super) fn may_stay(&self, exchange: &Exchange, location: &Location) -> bool {
        let core = &location.core;
        let age = || exchange.started.since(self.client.accepted);
        core.keepalive_timeout.is_some_and(|it| !it.is_zero())
            && self.served < core.keepalive_requests
            && !location.browsers.closes(exchange)
            && age() < core.keepalive_time
            && !self.is_leaving()
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
                exchange.input.bytes.reserve(limits.head());
            }
            let read =
                poll_fn(|context| match exchange.input.poll_fill(context, &mut self.stream) {
                    Poll::Pending => self.deadline.poll(context).map(|()| Err(Unread::Timeout)),
                    Poll::Ready(read) => {
                        Poll::Ready(Gone::of(read).map_or(Ok(()), |it| Err(Unread::Gone(it))))
                    }
                });
            read.await?;
        }
    }

    /// Ends an exchange whose client gets no answer, or a last one.
    pub(super) fn abort<'s>(exchange: &mut Exchange, abort: Abort) -> Outcome<'s> {
        exchange.request.keep_alive = false;
        match abort {
            Abort::ClientGone | Abort::ClientTimeout => {
                exchange.status = abort.status();
                exchange.ended = clock::now();
                let is_late = abort == Abort::ClientTimeout;
                Outcome::Over(if is_late { After::Late } else { After::Close })
            }
            Abort::BadBody | Abort::TooLarge | Abort::Own => {
                exchange.drop_body();
                Outcome::Answer(Action::Status(abort.status()))
            }
        }
    }
}

/// How long an idle connection has for one more request when it is to end.
const LAST_REQUEST: Duration = Duration::from_millis(500);
