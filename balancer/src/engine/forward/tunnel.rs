//! What follows a switch of protocols.

use std::future::poll_fn;
use std::task::Poll;

use crate::engine::ahead::Source;
use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::forward::Request;
use crate::engine::forward::download::{Download, Passed};
use crate::engine::h1::body::Framing;
use crate::engine::peer::Peer;
use crate::engine::relay::Relay;

impl Connection<'_> {
    /// Bytes both ways after a switch of protocols, until either side ends.
    pub(super) async fn tunnel(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        peer: &mut Peer,
        down: &mut Download,
    ) -> Passed {
        let Download { relay: down, inflow, .. } = down;
        let mut up = Relay::new(Vec::new(), Framing::UntilClose, false);
        let mut mark = None;
        poll_fn(|context| {
            let from_client =
                up.poll(context, &mut self.stream, &mut exchange.input, &mut peer.stream);
            let mut source = Source { inflow, stream: Some(&mut peer.stream) };
            let from_upstream =
                down.poll(context, &mut source, &mut exchange.reply, &mut self.stream);
            if from_client.is_ready() || from_upstream.is_ready() {
                return Poll::Ready(Passed::Whole);
            }
            let now = Some((down.sent, up.sent));
            if mark != now {
                mark = now;
                self.deadline.arm(request.proxy.read_timeout);
            }
            self.deadline.poll(context).map(|()| Passed::Late)
        })
        .await
    }
}
