//! An accepted stream → one session: PROXY header, access, a server or an answer, both directions.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::socket::SockaddrStorage;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::server::ShutdownWatch;
use policy::{Event, Time, Transition};
use tokio::io::AsyncWrite;

use crate::client::allows;
use crate::conf::error::os_text;
use crate::engine::buffer::{self, Input};
use crate::engine::connection::Closed;
use crate::engine::peer::Peer;
use crate::engine::timer::Deadline;
use crate::engine::{Shared, Stream, WorkerStats, clock};
use crate::logs::Level;
use crate::proxy_protocol::{self, Progress};
use crate::snapshot::{Bind, Snapshot, StreamListener};
use crate::stream::log::{access, note};
use crate::stream::proxy::{Greeting, Proxy};
use crate::stream::session::{Attempt, Session};
use crate::stream::variable::Template;
use crate::stream::{Content, Server};
use crate::upstream::backend::add;
use crate::upstream::{Lease, Reason, Tried};

use self::relay::{Ended, Relay};

mod relay;

/// Serves the sessions of one listener on one worker.
#[derive(Debug)]
pub struct StreamApp {
    shared: Arc<Shared>,
    stats: Arc<WorkerStats>,
    bind: Bind,
}

impl StreamApp {
    /// An app for the listener of an address.
    pub fn new(shared: Arc<Shared>, stats: Arc<WorkerStats>, bind: Bind) -> Self {
        Self { shared, stats, bind }
    }
}

#[async_trait]
impl ServerApp for StreamApp {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        self.serve(stream, &self.shared.snapshot.load_full()).await;
        None
    }
}

impl StreamApp {
    /// Serves a session by a configuration, if that listens on its address.
    pub async fn serve(&self, stream: Stream, snapshot: &Snapshot) {
        let Some(listener) = snapshot.stream(&self.bind) else { return };
        add(&self.stats.handled, 1);
        let _closed = Closed(&self.stats);
        let inet = |it: Option<&SocketAddr>| it.and_then(|it| it.as_inet().copied());
        let digest = stream.get_socket_digest();
        let peer = digest.as_ref().and_then(|it| inet(it.peer_addr()));
        let local = digest.as_ref().and_then(|it| inet(it.local_addr()));
        let serial = self.shared.stats.next_serial();
        let mut session = Session::new(serial, self.bind.clone(), peer, local, clock::now());
        session.error_logs = listener.server.error_logs.clone();
        let from = peer.map_or_else(|| session.name.clone(), |it| it.to_string());
        note(Level::Info, &session, &format!("client {from} connected to {}", self.bind), None);
        let generation = snapshot.generation;
        let mut connection = Connection {
            shared: &self.shared,
            stream,
            session,
            deadline: Deadline::new(),
            generation,
        };
        connection.session.status = connection.serve(listener).await;
        access(&connection.session, &listener.server.logs);
    }
}

/// A client's connection.
struct Connection<'a> {
    shared: &'a Shared,
    stream: Stream,
    session: Session,
    deadline: Deadline,
    /// That of the configuration it is served by.
    generation: u64,
}

/// A session that ended before its content was reached, or in it; nginx's code for it.
type Status = u16;

impl Connection<'_> {
    /// nginx's phases: real address, access, content.
    async fn serve(&mut self, listener: &StreamListener) -> Status {
        let server = &*listener.server;
        let mut rest = Input { bytes: buffer::take(), ..Input::default() };
        if listener.proxy_protocol
            && let Err(status) = self.read_header(server, &mut rest).await
        {
            return status;
        }
        self.find_client(server);
        let ip = self.session.client.map(|it| it.ip());
        if !allows(&server.rules, ip) {
            let action = Some("initializing session");
            note(Level::Error, &self.session, "access forbidden by rule", action);
            return 403;
        }
        match &server.content {
            Content::Proxy(proxy) => self.pass_on(proxy, rest).await,
            Content::Return(text) => self.answer(text).await,
        }
    }

    async fn read_header(&mut self, server: &Server, input: &mut Input) -> Result<(), Status> {
        const ACTION: Option<&str> = Some("reading PROXY protocol");
        self.deadline.arm(server.proxy_protocol_timeout);
        loop {
            match proxy_protocol::parse(input.unread()) {
                Ok(Progress::Complete { length, header }) => {
                    input.at = length;
                    self.session.header = header;
                    return Ok(());
                }
                Ok(Progress::Partial) => {}
                Err(broken) => {
                    note(Level::Error, &self.session, &broken.0, ACTION);
                    return Err(400);
                }
            }
            let read = poll_fn(|context| match input.poll_fill(context, &mut self.stream) {
                Poll::Pending => self.deadline.poll(context).map(|()| None),
                Poll::Ready(read) => Poll::Ready(Some(read)),
            });
            match read.await {
                None => {
                    let text = "client timed out (110: Connection timed out)";
                    note(Level::Info, &self.session, text, ACTION);
                    return Err(200);
                }
                Some(Ok(0)) => {
                    let shown = String::from_utf8_lossy(input.unread());
                    let text = format!("broken header: \"{shown}\"");
                    note(Level::Error, &self.session, &text, ACTION);
                    return Err(400);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let text = format!("recv() failed {}", os_text(&error));
                    note(Level::Info, &self.session, &text, ACTION);
                    return Err(200);
                }
            }
        }
    }

    /// Believes the PROXY header of a trusted proxy.
    fn find_client(&mut self, server: &Server) {
        let peer = self.session.peer.map(|it| it.ip());
        let Some(header) = &self.session.header else { return };
        if let (true, Some(client)) =
            (server.trusted.iter().any(|it| it.has(peer)), header.client())
        {
            self.session.set_client(Some(client));
        }
    }

    /// Sends a text and ends the session.
    async fn answer(&mut self, text: &Template) -> Status {
        let mut bytes = Vec::new();
        text.write(&self.session, &mut bytes);
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            let stream = &mut self.stream;
            let sent = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, left)).await;
            match sent {
                Ok(sent) if sent > 0 => {
                    self.session.sent += sent as u64;
                    left = &left[sent..];
                }
                _ => return 200,
            }
        }
        200
    }

    async fn pass_on(&mut self, proxy: &Proxy, rest: Input) -> Status {
        let upstream = &proxy.upstream;
        let key = proxy.key.as_ref().map(|it| {
            let mut key = Vec::new();
            it.write(&self.session, &mut key);
            key
        });
        let began = clock::now();
        let mut tried = Tried::default();
        let most = proxy.next_upstream_tries.unwrap_or(u32::MAX);
        let mut left = upstream.usable_servers().min(most);
        loop {
            let mut asked = policy::Request::at(clock::now());
            asked.key = key.as_deref();
            asked.client = self.session.client.map(|it| it.ip());
            let name = upstream.name.clone();
            let Some(lease) = upstream.pick(&asked, &tried, None) else {
                let attempt =
                    Attempt { upstream: name, session: Some(Duration::ZERO), ..Attempt::default() };
                self.session.attempts.push(attempt);
                let action = Some("connecting to upstream");
                note(Level::Error, &self.session, "no live upstreams", action);
                return 502;
            };
            let backend = Some(Arc::clone(&lease.backend));
            self.session.attempts.push(Attempt { backend, upstream: name, ..Attempt::default() });
            left = left.saturating_sub(1);
            match self.connect(proxy, &lease).await {
                Ok(peer) => return self.relay(proxy, peer, lease, rest).await,
                Err(reason) => self.charge(&mut tried, lease, reason),
            }
            let is_late = |it| it <= clock::now().since(began);
            if left == 0 || !proxy.next_upstream || proxy.next_upstream_timeout.is_some_and(is_late)
            {
                return 502;
            }
            add(&upstream.retries, 1);
        }
    }

    /// Opens a connection to the server of a lease.
    async fn connect(&mut self, proxy: &Proxy, lease: &Lease<'_>) -> Result<Peer, Reason> {
        self.deadline.arm(proxy.connect_timeout);
        let mut connecting = pin!(Peer::connect(&lease.backend));
        let peer = poll_fn(|context| match connecting.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.deadline.poll(context).map(|()| None),
        });
        let action = Some("connecting to upstream");
        let peer = match peer.await {
            Some(Ok(peer)) => peer,
            Some(Err(error)) => {
                let text = format!("connect() failed {}", os_text(&error));
                note(Level::Error, &self.session, &text, action);
                return Err(Reason::Connect);
            }
            None => {
                let text = "upstream timed out (110: Connection timed out)";
                note(Level::Error, &self.session, text, action);
                return Err(Reason::Timeout);
            }
        };
        let took = clock::now().since(lease.began);
        lease.backend.counters.connect.observe(took);
        if let Some(attempt) = self.session.attempts.last_mut() {
            attempt.connect = Some(took);
        }
        let local = nix::sys::socket::getsockname::<SockaddrStorage>(peer.stream.id());
        let local = local.map(|it| it.to_string());
        let text =
            format!("proxy {} connected to {}", local.unwrap_or_default(), lease.backend.name);
        note(Level::Info, &self.session, &text, None);
        Ok(peer)
    }

    /// Ends the lease of a server that could not be connected to.
    fn charge(&mut self, tried: &mut Tried, lease: Lease<'_>, reason: Reason) {
        let now = clock::now();
        let total = now.since(lease.began);
        if let Some(attempt) = self.session.attempts.last_mut() {
            attempt.session = Some(total);
        }
        let backend = Arc::clone(&lease.backend);
        add(&backend.counters.failures[reason as usize], 1);
        if lease.finish(Event::Failure { head: None, total }, now) == Some(Transition::Down) {
            let text = "upstream server temporarily disabled";
            note(Level::Warn, &self.session, text, Some("connecting to upstream"));
        }
        tried.add(&backend);
    }

    /// Moves bytes both ways until one side, or both, have ended.
    async fn relay(
        &mut self,
        proxy: &Proxy,
        mut peer: Peer,
        lease: Lease<'_>,
        rest: Input,
    ) -> Status {
        let (client, local) = (self.session.client, self.session.local);
        let mut first = Vec::with_capacity(proxy.buffer_size);
        match proxy.protocol {
            Greeting::Off => {}
            Greeting::V1 => proxy_protocol::write_v1(client, local, &mut first),
            Greeting::V2 => proxy_protocol::write_v2(client, local, &mut first),
        }
        first.extend_from_slice(rest.unread());
        self.session.received += rest.unread().len() as u64;
        buffer::give(rest.bytes);
        let mut relay = Relay::new(proxy, first, lease.began);
        self.deadline.arm(proxy.timeout);
        let ended = poll_fn(|context| {
            let moved = relay.poll(context, &mut self.stream, &mut peer.stream);
            relay.count(&mut self.session);
            match moved {
                Poll::Ready(ended) => return Poll::Ready(ended),
                Poll::Pending if relay.has_moved() => self.deadline.arm(proxy.timeout),
                Poll::Pending if relay.is_delayed() => self.deadline.arm(proxy.timeout),
                Poll::Pending => {}
            }
            if self.shared.is_cut(self.generation) {
                return Poll::Ready(Ended::Cut);
            }
            self.deadline.poll(context).map(|()| Ended::Timeout)
        });
        let ended = ended.await;
        let now = clock::now();
        self.finish(&ended, lease, now);
        200
    }

    fn finish(&mut self, ended: &Ended, lease: Lease<'_>, now: Time) {
        let total = now.since(lease.began);
        let counters = &lease.backend.counters;
        let mut head = total;
        if let Some(attempt) = self.session.attempts.last_mut() {
            attempt.session = Some(total);
            head = attempt.first_byte.unwrap_or(total);
            add(&counters.sent, attempt.sent);
            add(&counters.received, attempt.received);
        }
        counters.response.observe(total);
        add(&counters.requests[1], 1);
        let action = Some("proxying connection");
        match ended {
            Ended::Upstream | Ended::Client => {
                let who = if *ended == Ended::Client { "client" } else { "upstream" };
                let text = format!("{who} disconnected, {}", self.session.bytes());
                note(Level::Info, &self.session, &text, None);
            }
            Ended::Timeout => {
                let text = "connection timed out (110: Connection timed out)";
                note(Level::Info, &self.session, text, action);
            }
            Ended::Cut => note(Level::Info, &self.session, "shutdown timeout", action),
            Ended::Broken(text) => note(Level::Info, &self.session, text, action),
        }
        lease.finish(Event::Success { head, total, status: 200 }, now);
    }
}
