//! Whom does a `proxy_pass` with variables mean, and where are they?

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::engine::connection::{Connection, Outcome};
use crate::engine::exchange::Exchange;
use crate::engine::failure::Abort;
use crate::http::Action;
use crate::http::proxy_pass::Proxy;
use crate::http::proxy_pass::dynamic::{Dynamic, Whom};
use crate::logs::{self, Level};
use crate::upstream::dns::Unresolved;
use crate::upstream::{Address, Upstream};

impl Connection<'_> {
    /// The group a request is for, its name looked up if need be.
    ///
    /// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_init_request` and
    /// `ngx_http_upstream_resolve_handler`.
    pub(super) async fn aim<'s>(
        &mut self,
        exchange: &mut Exchange,
        proxy: &Proxy,
        dynamic: &Dynamic,
    ) -> Result<Arc<Upstream>, Outcome<'s>> {
        let aim = match dynamic.aim(exchange) {
            Ok(aim) => aim,
            Err(text) => {
                logs::note(Level::Error, exchange, &text, "");
                return Err(Outcome::Answer(Action::Status(500)));
            }
        };
        exchange.proxy_host.clear();
        exchange.proxy_host.extend_from_slice(aim.host.as_bytes());
        exchange.proxy_uri = (!aim.uri.is_empty()).then(|| aim.uri.into_bytes());
        let (name, port) = match aim.whom {
            Whom::Group(group) => return Ok(group),
            Whom::Address(address) => {
                return Ok(Arc::new(Upstream::passing(&aim.host, &[address])));
            }
            Whom::Name(name, port) => (name, port),
        };
        let Some(resolver) = &dynamic.resolver else {
            let text = format!("no resolver defined to resolve {name}");
            logs::note(Level::Error, exchange, &text, "");
            return Err(Outcome::Answer(Action::Status(502)));
        };
        self.deadline.arm(dynamic.patience);
        let mut asking = pin!(resolver.addresses(&name));
        let found = poll_fn(|context| {
            if let Poll::Ready(found) = asking.as_mut().poll(context) {
                return Poll::Ready(Some(found));
            }
            if !proxy.ignore_client_abort && self.client_is_gone(context, exchange) {
                return Poll::Ready(None);
            }
            self.deadline.poll(context).map(|()| Some(Err(Unresolved::LATE)))
        })
        .await;
        match found {
            None => Err(Self::abort(exchange, Abort::ClientGone)),
            Some(Ok((addresses, _))) => {
                let address = |it: &_| Address::Inet(SocketAddr::new(*it, port));
                let addresses: Vec<_> = addresses.iter().map(address).collect();
                Ok(Arc::new(Upstream::passing(&aim.host, &addresses)))
            }
            Some(Err(failed)) => {
                let text = format!("{name} could not be resolved ({failed})");
                logs::note(Level::Error, exchange, &text, "");
                Err(Outcome::Answer(Action::Status(502)))
            }
        }
    }
}
