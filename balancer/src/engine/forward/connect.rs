//! Opens the connection to a server, while the client is looked after.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use policy::Sent;

use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::failure::{Abort, Failure};
use crate::engine::forward::Stop;
use crate::engine::peer::Peer;
use crate::engine::timer::Deadline;
use crate::http::proxy_pass::Proxy;
use crate::logs::{self, Level};
use crate::upstream::Lease;

impl Connection<'_> {
    /// Opens a connection to the server of a lease.
    pub(super) async fn connect(
        &mut self,
        exchange: &mut Exchange,
        proxy: &Proxy,
        lease: &Lease<'_>,
    ) -> Result<Peer, Stop> {
        self.deadline.arm(proxy.connect_timeout);
        let way = proxy.sockets.of(exchange).unwrap_or_else(|(plain, text)| {
            logs::note(Level::Error, exchange, &text, "connecting to upstream");
            plain
        });
        let mut connecting = pin!(Peer::connect_from(&lease.backend, &way));
        let peer = poll_fn(|context| {
            if let Poll::Ready(done) = connecting.as_mut().poll(context) {
                return Poll::Ready(done.map_err(|error| match Failure::lack(&error) {
                    Some(text) => {
                        logs::note(Level::Error, exchange, text, "connecting to upstream");
                        Stop::Aborted(Abort::Own)
                    }
                    None => Stop::Failed(Failure::connect(&error)),
                }));
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
    pub(in crate::engine) fn client_is_gone(
        &mut self,
        context: &mut std::task::Context<'_>,
        exchange: &mut Exchange,
    ) -> bool {
        if self.stream.is_fresh() {
            // Most have their answer before it is worth while to watch the connection for its end.
            let due = self.unwatched.get_or_insert_with(|| {
                let deadline = Deadline::new();
                deadline.arm(Duration::ZERO);
                deadline
            });
            if due.poll(context).is_pending() {
                return false;
            }
            self.unwatched = None;
        }
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
