//! Passes a request on: lease, connection, both bodies at once, and another server if that fails.

use std::sync::Arc;

use policy::{Class, Event, Time};

use crate::engine::connection::{Connection, Outcome};
use crate::engine::exchange::{Attempt, Exchange};
use crate::engine::failure::{Abort, Failure};
use crate::engine::h1::write;
use crate::engine::{clock, pool};
use crate::http::Action;
use crate::http::location::Location;
use crate::http::proxy_pass::{Goal, Proxy};
use crate::logs::{self, Level};
use crate::upstream::backend::add;
use crate::upstream::probe;
use crate::upstream::protection::Entrance;
use crate::upstream::sticky::Bound;
use crate::upstream::{Lease, Reason, Upstream};

use self::body::Body;
use self::upload::Upload;

mod aim;
mod body;
mod connect;
mod divert;
mod download;
mod part;
mod settle;
mod trailers;
mod tunnel;
mod upload;
mod wait;

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
    upstream: &'a Arc<Upstream>,
    body: Body,
    /// When the first attempt began.
    began: Time,
    /// Attempts of the request before it was led here.
    before: usize,
    /// What lets it in, and be tried again.
    entrance: &'a Entrance,
}

/// Which idle connections a location may use, `None` for those of its whole group.
fn place(request: &Request<'_>) -> Option<u32> {
    request.upstream.keepalive.local.then_some(request.proxy.location)
}

impl Request<'_> {
    /// Tries left after a failed attempt, `None` when it was the last.
    fn tries_after(&self, exchange: &Exchange, failure: &Failure, left: u32) -> Option<u32> {
        let method = exchange.method();
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
        let all = self.proxy.retry.tries(self.upstream.usable_servers());
        let used = exchange.attempts.len().saturating_sub(self.before + 1);
        all.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }
}

impl Connection<'_> {
    /// Has the request served by the upstream of a location.
    #[expect(clippy::too_many_lines, reason = "the whole of it is one loop")]
    pub(super) async fn forward<'s>(
        &mut self,
        exchange: &mut Exchange,
        location: &'s Location,
        proxy: &'s Proxy,
    ) -> Outcome<'s> {
        exchange.proxy_uri = None;
        // What the answer before it said is known until here, as in nginx.
        exchange.response.clear();
        exchange.reply.restart();
        // Whoever is one too many is told so before anything is done for it.
        let mut entrance = match &proxy.goal {
            Goal::Fixed(upstream, _) => match admit(exchange, upstream) {
                Ok(entrance) => entrance,
                Err(action) => return Outcome::Answer(action),
            },
            Goal::Dynamic(_) => Entrance::default(),
        };
        let body = if body::is_none(exchange, proxy) {
            Body::None
        } else {
            match self.take_body(exchange, location, proxy).await {
                Ok(body) => body,
                Err(abort) => return Self::abort(exchange, abort),
            }
        };
        // A body had to be waited for; without one no time has passed.
        let mut now = if let Body::None = body { exchange.started } else { clock::now() };
        let (aimed, name);
        let (upstream, upstream_name) = match &proxy.goal {
            Goal::Fixed(upstream, name) => {
                exchange.proxy_host.clear();
                exchange.proxy_host.extend_from_slice(&proxy.host);
                (upstream, name)
            }
            Goal::Dynamic(dynamic) => {
                aimed = match self.aim(exchange, proxy, dynamic).await {
                    Ok(upstream) => upstream,
                    Err(outcome) => return outcome,
                };
                entrance = match admit(exchange, &aimed) {
                    Ok(entrance) => entrance,
                    Err(action) => return Outcome::Answer(action),
                };
                now = clock::now();
                name = Arc::from(aimed.name.as_str());
                (&aimed, &name)
            }
        };
        let before = exchange.attempts.len();
        let entrance = &entrance;
        let request = Request { location, proxy, upstream, body, began: now, before, entrance };
        exchange.tried.clear();
        let key = upstream.key.load().as_ref().map(|it| {
            let mut key = Vec::new();
            it.write(exchange, &mut key);
            key
        });
        exchange.bound = match &upstream.sticky {
            Some(sticky) => sticky.bound(exchange, now),
            None => Bound::default(),
        };
        loop {
            let mut asked = policy::Request::at(now);
            asked.key = key.as_deref();
            asked.client = exchange.client.as_ref().and_then(|it| it.address).map(|it| it.ip());
            let name = Arc::clone(upstream_name);
            let begins_pass = exchange.attempts.len() == before;
            let (found, queued) = if upstream.protections.queue.is_none() {
                (wait::pick(exchange, &request, &asked), None)
            } else {
                match self.place(exchange, &request, &asked).await {
                    Ok(found) => found,
                    Err(abort) => return Self::abort(exchange, abort),
                }
            };
            let Some(mut lease) = found else {
                let base = Attempt { queued, ..Attempt::default() };
                let attempt = Attempt { upstream: name, status: 502, begins_pass, ..base };
                exchange.attempts.push(attempt);
                if queued.is_none() {
                    let text = "no live upstreams";
                    logs::note(Level::Error, exchange, text, "connecting to upstream");
                }
                return Outcome::Answer(Action::Status(502));
            };
            probe::send(upstream, lease.take_asked());
            if let (Some(sticky), Some(server)) = (&upstream.sticky, &lease.server) {
                exchange.binding_cookie = sticky.cookie(server, exchange).unwrap_or_default();
            }
            let attempt = Attempt::on(&lease, name);
            exchange.attempts.push(Attempt { queued, begins_pass, ..attempt });
            let failure = match self.attempt(exchange, &request, lease).await {
                Ok(outcome) => return outcome,
                Err(Stop::Aborted(abort)) => return Self::abort(exchange, abort),
                Err(Stop::Failed(failure)) => failure,
            };
            let left = request.tries(exchange);
            if request.tries_after(exchange, &failure, left).is_none() {
                if exchange.has_streamed {
                    exchange.drop_body();
                }
                return Outcome::Answer(Action::Status(failure.status()));
            }
            now = clock::now();
            // That of a status was asked for before its answer was thrown away.
            if failure.reason != Reason::Status && !request.entrance.permits_retry(now) {
                return Outcome::Answer(Action::Status(failure.status()));
            }
            add(&upstream.totals.retries, 1);
        }
    }

    /// One attempt on one server. Whatever comes of it, the lease has ended when it returns.
    async fn attempt<'s>(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        lease: Lease<'_>,
    ) -> Result<Outcome<'s>, Stop> {
        let keepalive = &request.upstream.keepalive;
        let take = || pool::take(&lease.backend, place(request));
        let mut idle = (keepalive.idle > 0).then(take).flatten();
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
                Ok(()) => match failed_status(exchange, request, &upload, lease.began) {
                    None => {
                        if let Some(action) = divert::divert(exchange, request, lease.began) {
                            divert::finish(exchange, request, lease);
                            if let Some(attempt) = exchange.attempts.last_mut() {
                                attempt.sent = upload.bytes();
                                attempt.received = exchange.reply.bytes.len() as u64;
                            }
                            let is_over = upload.is_done() && divert::is_whole(exchange);
                            exchange.out = upload.into_head();
                            if is_over {
                                pool::put(peer, request.upstream, place(request), clock::now());
                            }
                            exchange.input.at = exchange.input.head;
                            return Ok(Outcome::Answer(action));
                        }
                        let after = self.pass_on(exchange, request, peer, upload, lease).await;
                        return Ok(Outcome::Over(after));
                    }
                    Some(failure) => Stop::Failed(failure),
                },
                Err(stop) => stop,
            };
            if let Some(attempt) = exchange.attempts.last_mut() {
                attempt.sent = upload.bytes();
                attempt.received = exchange.reply.bytes.len() as u64;
            }
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
}

/// Lets a request in; whoever is one too many may ask again later.
fn admit<'s>(exchange: &mut Exchange, upstream: &Upstream) -> Result<Entrance, Action<'s>> {
    upstream.protections.admit(exchange.started).map_err(|seconds| {
        let seconds = seconds.to_string();
        write::field(&mut exchange.kept_fields, b"Retry-After", seconds.as_bytes());
        let text = "too many requests in progress";
        logs::note(Level::Warn, exchange, text, "connecting to upstream");
        Action::Status(503)
    })
}

/// Ends the lease of an attempt that got no answer, and charges the server if it is at fault.
fn end(exchange: &mut Exchange, stop: Stop, lease: Lease<'_>) -> Stop {
    let now = clock::now();
    let total = now.since(lease.began);
    let Stop::Failed(failure) = &stop else {
        if let Some(attempt) = exchange.attempts.last_mut() {
            attempt.response = Some(total);
        }
        lease.finish(Event::Abandoned { head: None, total }, now);
        return stop;
    };
    exchange.doing = failure.action;
    // An answer whose status is a failure is nothing to write about.
    if failure.reason != Reason::Status {
        let detail = std::mem::take(&mut exchange.detail);
        let text = match detail.as_str() {
            "" => failure.text,
            _ => &format!("{}: \"{detail}\"", failure.text),
        };
        logs::note(Level::Error, exchange, text, failure.action);
    }
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
    let limit = lease.max_fails().filter(|_| matches!(event, Event::Failure { .. }));
    lease.finish(event, now);
    if limit.is_some_and(|it| it.get() <= backend.record().fails()) {
        let text = "upstream server temporarily disabled";
        logs::note(Level::Warn, exchange, text, failure.action);
    }
    exchange.tried.add(&backend);
    stop
}

/// The failure an answer's status counts as, if the configuration says so and a try is left.
fn failed_status(
    exchange: &mut Exchange,
    request: &Request<'_>,
    upload: &Upload,
    began: Time,
) -> Option<Failure> {
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
    request.tries_after(exchange, &failure, request.tries(exchange))?;
    if !request.entrance.permits_retry(clock::now()) {
        return None;
    }
    let status = exchange.response.status;
    if let Some(attempt) = exchange.attempts.last_mut() {
        attempt.status = status;
        attempt.header = Some(clock::now().since(began));
    }
    Some(failure)
}
