//! Requests of our own that show a request to others, beside its answer.

use std::sync::Arc;

use crate::engine::WorkerStats;
use crate::engine::answer::body_framing;
use crate::engine::connection::{Connection, Outcome};
use crate::engine::exchange::Exchange;
use crate::engine::h1::body::Framing;
use crate::http::location::Location;

impl Connection<'_> {
    /// Shows a request to those that its location names.
    ///
    /// Source: nginx `ngx_http_mirror_module.c`, `ngx_http_mirror_handler`.
    pub(super) async fn mirror<'s>(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
    ) -> Result<(), Outcome<'s>> {
        let Some(mirror) = &location.mirror else { return Ok(()) };
        let framing = body_framing(exchange);
        let is_here = exchange.held.is_some() || exchange.has_streamed;
        if mirror.takes_body && !is_here && !matches!(framing, Framing::Empty) {
            self.invite(exchange, location).await;
            let held = self.hold(exchange, location, framing).await;
            held.map_err(|abort| Self::abort(exchange, abort))?;
        }
        for target in &mirror.targets {
            let mut shown = exchange.within(target);
            shown.args.clone_from(&exchange.args);
            shown.own_method = exchange.own_method;
            if mirror.takes_body {
                shown.take_body_of(exchange);
            }
            let (Some(server), Some(client)) = (shown.server.clone(), shown.client.clone()) else {
                continue;
            };
            let (bind, snapshot) = (self.bind_of_socket().clone(), self.snapshot());
            exchange.mirrors.get_or_insert_default().spawn(async move {
                // Nothing of it is counted.
                let stats = WorkerStats::default();
                let shared = Arc::clone(&client.shared);
                let mut nobody = Connection::of_nobody(&shared, &stats, &bind, client, snapshot);
                nobody.answered(&mut shown, &server).await;
            });
        }
        Ok(())
    }
}

/// Waits for those that were shown a request, as nginx does before it ends one; a client that went
/// takes them along.
pub(super) async fn wait(exchange: &mut Exchange) {
    let Some(mut mirrors) = exchange.mirrors.take() else { return };
    if exchange.status != 499 {
        while mirrors.join_next().await.is_some() {}
    }
}
