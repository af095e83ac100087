//! All that a request may look up: one value, swapped whole by a reload.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::conf::ConfError;
use crate::http::limit_zone::Zone;
use crate::http::server::Servers;
use crate::logs::error::ErrorLogs;
use crate::otel::Exporter;
use crate::stream;
use crate::stream::session::Session;
use crate::upstream::Upstream;
use crate::upstream::check::Check;

pub mod build;
pub mod listen;

pub use listen::{Bind, ListenOptions};

/// What listens on one address.
#[derive(Debug)]
pub struct Listener {
    /// The address as the configuration means it.
    pub bind: Bind,
    /// Options of its socket, `None` where the one for all addresses of the port takes its
    /// connections.
    pub options: Option<ListenOptions>,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The servers behind it.
    pub servers: Servers,
}

/// What listens on one address of `stream`.
#[derive(Debug)]
pub struct StreamListener {
    /// The address as the configuration means it.
    pub bind: Bind,
    /// As that of a [`Listener`].
    pub options: Option<ListenOptions>,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The servers behind it.
    pub servers: stream::Servers,
}

/// One configuration, ready to serve.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts up with each reload.
    pub generation: u64,
    /// Every address that is listened on.
    pub listeners: Vec<Listener>,
    /// Every group, implicit ones included.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Every address of `stream` that is listened on.
    pub streams: Vec<StreamListener>,
    /// Every group of `stream`, implicit ones included.
    pub stream_upstreams: Vec<Arc<Upstream>>,
    /// The health checks of all groups.
    pub checks: Vec<Arc<Check>>,
    /// Error logs of `http` and `stream`, open even where every server has its own.
    pub error_logs: [ErrorLogs; 2],
    /// Who takes the spans of requests, where they leave any.
    pub exporter: Option<Arc<Exporter>>,
    /// Zones of `limit_req` and `limit_conn`.
    pub zones: Vec<Arc<Zone>>,
    /// Zones of `limit_conn` in `stream`.
    pub stream_zones: Vec<Arc<Zone<Session>>>,
    /// What the operator is told of this configuration beside what reading it told.
    pub warnings: Vec<ConfError>,
}

impl Snapshot {
    /// The listener of an address, `None` when this configuration has none.
    pub fn listener(&self, bind: &Bind) -> Option<&Listener> {
        self.listeners.iter().find(|it| it.bind == *bind)
    }

    /// The listener of an address of `stream`, `None` when this configuration has none.
    pub fn stream(&self, bind: &Bind) -> Option<&StreamListener> {
        self.streams.iter().find(|it| it.bind == *bind)
    }

    /// Every address that has a socket, and how it is opened.
    pub fn binds(&self) -> impl Iterator<Item = (&Bind, &ListenOptions)> {
        let http = self.listeners.iter().map(|it| (&it.bind, &it.options));
        let all = http.chain(self.streams.iter().map(|it| (&it.bind, &it.options)));
        all.filter_map(|(bind, options)| Some((bind, options.as_ref()?)))
    }

    /// Every address that the configuration names, those without a socket of their own too.
    pub fn addresses(&self) -> impl Iterator<Item = &Bind> {
        let http = self.listeners.iter().map(|it| &it.bind);
        http.chain(self.streams.iter().map(|it| &it.bind))
    }

    /// Which address a connection is for that the socket of `bind` has taken, and that has come to
    /// `local`: that of the socket, or one that has none of its own.
    ///
    /// Source: nginx `ngx_http_request.c`, `ngx_http_init_connection`.
    #[must_use]
    pub fn address_of(&self, bind: &Bind, local: Option<SocketAddr>) -> Bind {
        let exact = local.map(|it| Bind::Inet(SocketAddr::new(it.ip(), it.port())));
        let exact = exact.filter(|it| it.wildcard().as_ref() == Some(bind));
        let has = |it: &Bind| {
            self.listener(it).is_some_and(|it| it.options.is_none())
                || self.stream(it).is_some_and(|it| it.options.is_none())
        };
        exact.filter(has).unwrap_or_else(|| bind.clone())
    }
}
