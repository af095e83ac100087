//! A session and the servers of its group: who is it passed on to, and what became of it?

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nix::sys::socket::SockaddrStorage;
use policy::{Event, Time, Transition};

use crate::conf::error::os_text;
use crate::conf::value::size;
use crate::engine::clock;
use crate::engine::failure::Failure;
use crate::engine::peer::{Outgoing, Peer};
use crate::engine::session::relay::{Ended, Relay};
use crate::engine::session::{Connection, Status};
use crate::logs::Level;
use crate::logs::rows::Severity;
use crate::proxy_protocol;
use crate::stream::log::{note, note_as, tell};
use crate::stream::proxy::aim::{Dynamic, Target, Whom};
use crate::stream::proxy::{Greeting, Proxy};
use crate::stream::session::{Attempt, Session};
use crate::stream::upstream::Habit;
use crate::upstream::backend::add;
use crate::upstream::dns::Unresolved;
use crate::upstream::{Address, Backend, Lease, Reason, Tried, Upstream};
use crate::variable::Template;

impl Connection<'_> {
    /// Source: nginx `ngx_stream_proxy_module.c`, `ngx_stream_proxy_handler`.
    pub(super) async fn pass_on(&mut self, proxy: &Proxy, sends_at_once: bool) -> Status {
        self.session.is_proxied = true;
        let mut way = proxy.sockets.of(&self.session).unwrap_or_else(|(plain, text)| {
            note(Level::Error, &self.session, &text);
            plain
        });
        way.is_delayed = !sends_at_once;
        let upstream = match &proxy.target {
            Target::Group(group) => Arc::clone(group),
            Target::Variable(dynamic) => match self.aim(dynamic).await {
                Ok(group) => group,
                Err(text) => {
                    note(Level::Error, &self.session, &text);
                    return 500;
                }
            },
        };
        self.try_servers(proxy, &upstream, &way).await
    }

    /// The group a session is for, its name looked up if need be.
    async fn aim(&mut self, dynamic: &Dynamic) -> Result<Arc<Upstream>, String> {
        let (whom, text) = dynamic.aim(&self.session)?;
        let (name, port) = match whom {
            Whom::Group(group) => return Ok(group),
            Whom::Address(address) => return Ok(Arc::new(Upstream::passing(&text, &[address]))),
            Whom::Name(name, port) => (name, port),
        };
        let resolver = dynamic.resolver.as_ref();
        let resolver = resolver.ok_or_else(|| format!("no resolver defined to resolve {name}"))?;
        self.deadline.arm(dynamic.patience);
        let mut asking = pin!(resolver.addresses(&name));
        let found = poll_fn(|context| match asking.as_mut().poll(context) {
            Poll::Ready(found) => Poll::Ready(found),
            Poll::Pending => self.deadline.poll(context).map(|()| Err(Unresolved::LATE)),
        });
        let (addresses, _) =
            found.await.map_err(|it| format!("{name} could not be resolved ({it})"))?;
        let address = |it: &_| Address::Inet(SocketAddr::new(*it, port));
        let addresses: Vec<_> = addresses.iter().map(address).collect();
        Ok(Arc::new(Upstream::passing(&text, &addresses)))
    }

    /// Tries servers until one can be connected to, and moves bytes then.
    async fn try_servers(&mut self, proxy: &Proxy, upstream: &Upstream, way: &Outgoing) -> Status {
        let habit = proxy.habits.of(&upstream.name);
        let key = habit.and_then(|it| it.key.as_ref()).map(|it| it.value(&self.session));
        let began = clock::now();
        let mut tried = Tried::default();
        let most = proxy.next_upstream_tries.unwrap_or(u32::MAX);
        let mut left = upstream.usable_servers().min(most);
        let early = self.input.unread().to_vec();
        self.session.received += early.len() as u64;
        let mut relay = Relay::new(proxy);
        loop {
            self.session.action = Some("connecting to upstream");
            let mut asked = policy::Request::at(clock::now());
            asked.key = key.as_deref();
            asked.client = self.session.client.map(|it| it.ip());
            let name = upstream.name.clone();
            let Some(lease) = upstream.pick(&asked, &tried, None) else {
                let attempt =
                    Attempt { upstream: name, session: Some(Duration::ZERO), ..Attempt::default() };
                self.session.attempts.push(attempt);
                note(Level::Error, &self.session, "no live upstreams");
                return 502;
            };
            let backend = Some(Arc::clone(&lease.backend));
            self.session.attempts.push(Attempt { backend, upstream: name, ..Attempt::default() });
            left = left.saturating_sub(1);
            match self.connect(proxy, way, &mut relay, &lease).await {
                Ok(peer) => {
                    let mut first = greeting(proxy, &self.session);
                    first.extend_from_slice(&early);
                    let rates = [&proxy.upload_rate, &proxy.download_rate];
                    let [up, down] = rates.map(|it| rate(&self.session, it));
                    relay.start(first, [up, down], lease.began);
                    return self.relay(proxy, habit, relay, peer, lease).await;
                }
                Err(Some(reason)) => self.charge(&mut tried, lease, reason),
                Err(None) => {
                    let now = clock::now();
                    let total = now.since(lease.began);
                    lease.finish(Event::Abandoned { head: None, total }, now);
                    return 500;
                }
            }
            let is_late = |it| it <= clock::now().since(began);
            if left == 0 || !proxy.next_upstream || proxy.next_upstream_timeout.is_some_and(is_late)
            {
                return 502;
            }
            add(&upstream.totals.retries, 1);
        }
    }

    /// Opens a connection to the server of a lease; what the client sends meanwhile is read. A failure
    /// without a reason is our own.
    async fn connect(
        &mut self,
        proxy: &Proxy,
        way: &Outgoing,
        relay: &mut Relay,
        lease: &Lease<'_>,
    ) -> Result<Peer, Option<Reason>> {
        self.deadline.arm(proxy.connect_timeout);
        // Behind a PROXY header nginx looks at once for more, as it does where more comes.
        let before = self.session.received;
        let mut looks = self.session.header.is_some() && self.session.attempts.len() == 1;
        let mut connecting = pin!(Peer::connect_from(&lease.backend, way));
        let peer = poll_fn(|context| {
            let done = connecting.as_mut().poll(context);
            relay.poll_client(context, &mut self.stream);
            relay.count(&mut self.session);
            looks |= before < self.session.received;
            match done {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => self.deadline.poll(context).map(|()| None),
            }
        });
        let peer = peer.await;
        if looks {
            self.session.action = Some("proxying connection");
        }
        let peer = match peer {
            Some(Ok(peer)) => peer,
            Some(Err(error)) => {
                if let Some(text) = Failure::lack(&error) {
                    note(Level::Error, &self.session, text);
                    return Err(None);
                }
                let (severity, text) = failure(&lease.backend, &error);
                note_as(severity, &self.session, &text);
                return Err(Some(Reason::Connect));
            }
            None => {
                let text = "upstream timed out (110: Connection timed out)";
                note(Level::Error, &self.session, text);
                return Err(Some(Reason::Timeout));
            }
        };
        let took = clock::now().since(lease.began);
        lease.backend.counters.connect.observe(took);
        if let Some(attempt) = self.session.attempts.last_mut() {
            attempt.connect = Some(took);
        }
        let local = match &lease.backend.address {
            Address::Unix(_) => "unix:".to_owned(),
            Address::Inet(_) => nix::sys::socket::getsockname::<SockaddrStorage>(peer.stream.id())
                .map(|it| it.to_string())
                .unwrap_or_default(),
        };
        let text = format!("proxy {local} connected to {}", lease.backend.name);
        tell(Level::Info, &self.session, &text);
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
            note(Level::Warn, &self.session, "upstream server temporarily disabled");
        }
        tried.add(&backend);
    }

    /// Moves bytes both ways until one side, or both, have ended.
    async fn relay(
        &mut self,
        proxy: &Proxy,
        habit: Option<&Habit>,
        mut relay: Relay,
        mut peer: Peer,
        lease: Lease<'_>,
    ) -> Status {
        let by_connect = habit.is_some_and(|it| it.learns_from_connect);
        let attempt = self.session.attempts.last();
        let mut first = attempt.and_then(|it| it.connect).filter(|_| by_connect);
        if let Some(took) = first {
            lease.head(took, clock::now());
        }
        self.deadline.arm(proxy.timeout);
        let ended = poll_fn(|context| {
            let moved = relay.poll(context, &mut self.stream, &mut peer.stream);
            relay.count(&mut self.session);
            if first.is_none()
                && let Some(took) = relay.first_byte()
            {
                first = Some(took);
                lease.head(took, clock::now());
            }
            for failed in relay.take_failures() {
                self.session.action = Some(failed.action);
                note(failed.level, &self.session, &failed.text);
            }
            self.session.action = Some("proxying connection");
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
        self.finish(ended, first, lease, clock::now());
        200
    }

    fn finish(&mut self, ended: Ended, first: Option<Duration>, lease: Lease<'_>, now: Time) {
        let total = now.since(lease.began);
        let counters = &lease.backend.counters;
        if let Some(attempt) = self.session.attempts.last_mut() {
            attempt.session = Some(total);
            add(&counters.sent, attempt.sent);
            add(&counters.received, attempt.received);
        }
        counters.response.observe(total);
        add(&counters.requests[1], 1);
        match ended {
            Ended::Upstream | Ended::Client => {
                let who = if ended == Ended::Client { "client" } else { "upstream" };
                let text = format!("{who} disconnected, {}", self.session.bytes());
                tell(Level::Info, &self.session, &text);
            }
            Ended::Timeout => {
                let text = "connection timed out (110: Connection timed out)";
                note(Level::Info, &self.session, text);
            }
            Ended::Cut => note(Level::Info, &self.session, "shutdown timeout"),
            // It has been told.
            Ended::Broken => {}
        }
        let head = first.unwrap_or(total);
        lease.finish(Event::Success { head, total, status: 200 }, now);
    }
}

/// What is told of a connection that could not be opened. Some errors come at once, and then the
/// server is named; of those only the common ones are no fault of ours.
///
/// Source: nginx `ngx_event_connect.c`, `ngx_event_connect_peer`.
fn failure(backend: &Backend, error: &io::Error) -> (Severity, String) {
    const EAGAIN: i32 = 11;
    const COMMON: [i32; 7] = [EAGAIN, 100, ENETUNREACH, 104, 111, 112, 113];
    const ENETUNREACH: i32 = 101;
    let code = error.raw_os_error().unwrap_or_default();
    let is_common = COMMON.contains(&code);
    let comes_at_once =
        matches!(backend.address, Address::Unix(_)) || code == ENETUNREACH || !is_common;
    let severity = if is_common { Severity::Error } else { Severity::Crit };
    let text = os_text(error);
    match comes_at_once {
        true => (severity, format!("connect() to {} failed {text}", backend.name)),
        false => (severity, format!("connect() failed {text}")),
    }
}

/// What a server is told before anything else.
fn greeting(proxy: &Proxy, session: &Session) -> Vec<u8> {
    let mut header = Vec::new();
    match proxy.protocol {
        Greeting::Off => {}
        Greeting::V1 => proxy_protocol::write_v1(session.client, session.local, &mut header),
        Greeting::V2 => proxy_protocol::write_v2(session.client, session.local, &mut header),
    }
    header
}

/// Bytes per second; a text that is no size limits nothing.
///
/// Source: nginx `ngx_stream_script.c`, `ngx_stream_complex_value_size`.
fn rate(session: &Session, text: &Template<Session>) -> u64 {
    let value = text.value(session);
    let rate = str::from_utf8(&value).ok().and_then(size);
    rate.unwrap_or_else(|| {
        let shown = String::from_utf8_lossy(&value);
        note(Level::Error, session, &format!("invalid size \"{shown}\""));
        0
    })
}
