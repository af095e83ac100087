//! Finds a server for a request, and waits for one where the group has a queue.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::failure::Abort;
use crate::engine::forward::Request;
use crate::logs::{self, Level};
use crate::upstream::Lease;

/// How often the first of a queue looks for a server that has come back without a word: one whose
/// time-out is over, or that passes its checks again.
const LOOK: Duration = Duration::from_millis(50);

/// A server, if there is one, and how long it was waited for.
pub(super) type Found<'a> = (Option<Lease<'a>>, Option<Duration>);

/// Places a request at once, if a server may be picked.
pub(super) fn pick<'a>(
    exchange: &Exchange,
    request: &Request<'a>,
    asked: &policy::Request<'_>,
) -> Option<Lease<'a>> {
    request.upstream.pick(asked, &exchange.tried, exchange.bound.server.as_deref())
}

impl Connection<'_> {
    /// Places a request; at once, or as soon as it is its turn.
    pub(super) async fn place<'a>(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'a>,
        asked: &policy::Request<'_>,
    ) -> Result<Found<'a>, Abort> {
        let upstream = request.upstream;
        let protections = &upstream.protections;
        let (Some(queue), Some(rules)) = (&protections.queue, protections.asked.queue) else {
            return Ok((pick(exchange, request, asked), None));
        };
        if queue.is_empty()
            && let Some(lease) = pick(exchange, request, asked)
        {
            return Ok((Some(lease), None));
        }
        if !upstream.may_wait(&exchange.tried) {
            return Ok((None, None));
        }
        let began = clock::now();
        let Some(ticket) = queue.join(rules.limit) else {
            logs::note(Level::Error, exchange, "upstream queue is full", "connecting to upstream");
            return Ok((None, Some(Duration::ZERO)));
        };
        let found = poll_fn(|context| {
            // Before the look: whoever ends after it has to see the waker.
            let is_first = ticket.is_first(context.waker());
            let now = clock::now();
            if is_first {
                let mut asked = *asked;
                asked.now = now;
                if let Some(lease) = pick(exchange, request, &asked) {
                    return Poll::Ready(Ok(Some(lease)));
                }
            }
            if !request.proxy.ignore_client_abort && self.client_is_gone(context, exchange) {
                return Poll::Ready(Err(Abort::ClientGone));
            }
            let left = rules.timeout.saturating_sub(now.since(began));
            if left.is_zero() {
                return Poll::Ready(Ok(None));
            }
            self.deadline.arm(if is_first { left.min(LOOK) } else { left });
            self.deadline.poll(context).map(|()| Ok(None))
        });
        let lease = found.await?;
        let waited = clock::now().since(began);
        if lease.is_some() {
            queue.waits.observe(waited);
        } else {
            logs::note(
                Level::Error,
                exchange,
                "upstream queue timed out",
                "connecting to upstream",
            );
        }
        Ok((lease, Some(waited)))
    }
}
