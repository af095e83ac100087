//! Passes a request on: lease, connection, both bodies at once, and another server if that fails.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use policy::{Class, Event, Sent, Time, Transition};

use crate::engine::connection::{After, Connection};
use crate::engine::exchange::{Attempt, Exchange};
use crate::engine::failure::{Abort, Failure};
use crate::engine::peer::Peer;
use crate::engine::{clock, pool};
use crate::http::Action;
use crate::http::location::Location;
use crate::http::proxy_pass::Proxy;
use crate::logs::{self, Level};
use crate::upstream::backend::add;
use crate::upstream::{Lease, Reason};

use self::body::Body;
use self::upload::Upload;

mod body;
mod download;
mod upload;

/// How an attempt ended that did not answer the client.
enum Stop {
    /// Another server may be tried.
    Failed(Failure),
    /// The client is not there any more, or must not be served.
    Aborted(Abort),
}

/// What all attempts of one request have in common.
struct Request<'a> {
    location: &'a Location,
    proxy: &'a Proxy,
    body: Body,
    /// When the first attempt began.
    began: Time,
}

impl Request<'_> {
    /// Tries left after a failed attempt, `None` when it was the last.
    fn tries_after(&self, exchange: &Exchange, failure: &Failure, left: u32) -> Option<u32> {
        let method = exchange.text(exchange.request.method);
        let attempt = policy::Attempt {
            class: failure.class,
            sent: failure.sent,
            is_non_idempotent: matches!(method, b"POST" | b"LOCK" | b"PATCH"),
            is_on_reused_connection: false,
            first_began: self.began,
        };
        self.proxy.retry.next(&attempt, left, clock::now())
    }

    /// Tries left before the present attempt.
    fn tries(&self, exchange: &Exchange) -> u32 {
        let all = self.proxy.retry.tries(self.proxy.upstream.usable_servers());
        let used = exchange.attempts.len().saturating_sub(1);
        all.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }
}

impl Connection<'_> {
    /// Has the request served by the upstream of a location.
    pub(super) async fn forward(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        proxy: &Proxy,
    ) -> After {
        let body = match self.take_body(exchange, location, proxy).await {
            Ok(body) => body,
            Err(abort) => return self.abort(exchange, location, abort).await,
        };
        // A body had to be waited for; without one no time has passed.
        let mut now = if let Body::None = body { exchange.started } else { clock::now() };
        let request = Request { location, proxy, body, began: now };
        let key = proxy.upstream.key.as_ref().map(|it| {
            let mut key = Vec::new();
            it.write(exchange, &mut key);
            key
        });
        loop {
            let mut asked = policy::Request::at(now);
            asked.key = key.as_deref();
            asked.client = self.client_address().map(|it| it.ip());
            let upstream = proxy.upstream_name.clone();
            let Some(lease) = proxy.upstream.pick(&asked, &exchange.tried) else {
                exchange.attempts.push(Attempt { upstream, status: 502, ..Attempt::default() });
                logs::note(Level::Error, exchange, "no live upstreams", "connecting to upstream");
                return self.answer(exchange, location, Action::Status(502)).await;
            };
            let backend = Some(lease.backend.clone());
            exchange.attempts.push(Attempt { backend, upstream, ..Attempt::default() });
            let failure = match self.attempt(exchange, &request, lease).await {
                Ok(after) => return after,
                Err(Stop::Aborted(abort)) => return self.abort(exchange, location, abort).await,
                Err(Stop::Failed(failure)) => failure,
            };
            let left = request.tries(exchange);
            if request.tries_after(exchange, &failure, left).is_none() {
                return self.answer(exchange, location, Action::Status(failure.status())).await;
            }
            add(&proxy.upstream.retries, 1);
            now = clock::now();
        }
    }

    /// One attempt on one server. Whatever comes of it, the lease has ended when it returns.
    async fn attempt(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        lease: Lease<'_>,
    ) -> Result<After, Stop> {
        let keepalive = &request.proxy.upstream.keepalive;
        let place = keepalive.local.then_some(request.proxy.location);
        let mut idle = (keepalive.idle > 0).then(|| pool::take(&lease.backend, place)).flatten();
        loop {
            let was_idle = idle.is_some();
            let peer = match idle.take() {
                Some(peer) => Ok(peer),
                None => self.connect(exchange, request.proxy, &lease).await,
            };
            let mut peer = match peer {
                Ok(peer) => peer,
                Err(stop) => return Err(end(exchange, stop, lease)),
            };
            peer.requests += 1;
            let mut upload = Upload::start(exchange, request);
            let stop = match self.await_head(exchange, request, &mut peer, &mut upload).await {
                Ok(()) => match failed_status(exchange, request, &upload) {
                    None => {
                        let peer = self.pass_on(exchange, request, peer, upload, lease).await;
                        let (after, peer) = peer;
                        if let Some(peer) = peer {
                            pool::put(peer, &request.proxy.upstream, place, exchange.ended);
                        }
                        return Ok(after);
                    }
                    Some(failure) => Stop::Failed(failure),
                },
                Err(stop) => stop,
            };
            exchange.out = upload.into_head();
            exchange.response.clear();
            exchange.reply.restart();
            exchange.input.at = exchange.input.head;
            match stop {
                // An idle connection that broke says nothing about its server: the same one is
                // asked again over a fresh connection, and is not charged.
                Stop::Failed(failure) if was_idle && failure.class == Class::Error => {
                    if request.tries_after(exchange, &failure, u32::MAX).is_none() {
                        let failure = Failure { charged: false, ..failure };
                        return Err(end(exchange, Stop::Failed(failure), lease));
                    }
                }
                stop => return Err(end(exchange, stop, lease)),
            }
        }
    }

    /// Opens a connection to the server of a lease.
    async fn connect(
        &mut self,
        exchange: &mut Exchange,
        proxy: &Proxy,
        lease: &Lease<'_>,
    ) -> Result<Peer, Stop> {
        self.deadline.arm(proxy.connect_timeout);
        let mut connecting = pin!(Peer::connect(&lease.backend));
        let peer = poll_fn(|context| {
            if let Poll::Ready(done) = connecting.as_mut().poll(context) {
                return Poll::Ready(done.map_err(|error| Stop::Failed(Failure::connect(&error))));
            }
            if !proxy.ignore_client_abort && self.client_is_gone(context, exchange) {
                return Poll::Ready(Err(Stop::Aborted(Abort::ClientGone)));
            }
            let late = Failure::timeout(Sent::Nothing, "connecting to upstream");
            self.deadline.poll(context).map(|()| Err(Stop::Failed(late)))
        })
        .await?;
        let took = clock::now().since(lease.began);
        lease.backend.counters.connect.observe(took);
        if let Some(attempt) = exchange.attempts.last_mut() {
            attempt.connect = Some(took);
        }
        Ok(peer)
    }

    /// Whether the client has closed its side; what it sends ahead is kept for later.
    fn client_is_gone(
        &mut self,
        context: &mut std::task::Context<'_>,
        exchange: &mut Exchange,
    ) -> bool {
        while exchange.input.has_room() {
            match exchange.input.poll_fill(context, &mut self.stream) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
            }
        }
        false
    }
}

/// Ends the lease of an attempt that got no answer, and charges the server if it is at fault.
fn end(exchange: &mut Exchange, stop: Stop, lease: Lease<'_>) -> Stop {
    let now = clock::now();
    let total = now.since(lease.began);
    let Stop::Failed(failure) = &stop else {
        lease.finish(Event::Abandoned { head: None, total }, now);
        return stop;
    };
    logs::note(Level::Error, exchange, failure.text, failure.action);
    let backend = lease.backend.clone();
    add(&backend.counters.failures[failure.reason as usize], 1);
    if let Some(attempt) = exchange.attempts.last_mut() {
        attempt.response = Some(total);
        if attempt.status == 0 {
            attempt.status = failure.status();
        }
    }
    let head = None;
    let event = if failure.charged && failure.class.is_charged() {
        Event::Failure { head, total }
    } else {
        Event::Abandoned { head, total }
    };
    if lease.finish(event, now) == Some(Transition::Down) {
        let text = "upstream server temporarily disabled";
        logs::note(Level::Warn, exchange, text, failure.action);
    }
    exchange.tried.add(&backend);
    stop
}

/// The failure an answer's status counts as, if the configuration says so and a try is left.
fn failed_status(exchange: &Exchange, request: &Request<'_>, upload: &Upload) -> Option<Failure> {
    let class = Class::of_status(exchange.response.status)?;
    if !request.proxy.retry.on.contains(class) {
        return None;
    }
    let failure = Failure {
        class,
        reason: Reason::Status,
        sent: upload.sent(&request.body),
        charged: true,
        text: "upstream answered with a status that counts as a failure",
        action: "reading response header from upstream",
    };
    request.tries_after(exchange, &failure, request.tries(exchange)).map(|_| failure)
}
