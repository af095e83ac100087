//! What one session carries from phase to phase.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::Time;

use crate::client;
use crate::http::limit_conn::{Limited, Place};
use crate::logs::Level;
use crate::logs::error::ErrorLogs;
use crate::proxy_protocol::Header;
use crate::snapshot::Bind;
use crate::stream::ssl_preread::Hello;
use crate::stream::{Server, log};
use crate::upstream::Backend;
use crate::variable::Scratch;

/// One attempt to have the session served by an upstream.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The server, `None` when none could be picked and the group's name stands for it.
    pub backend: Option<Arc<Backend>>,
    /// Name of the group.
    pub upstream: String,
    /// From the pick to the connection.
    pub connect: Option<Duration>,
    /// From the pick to the server's first byte.
    pub first_byte: Option<Duration>,
    /// From the pick to the end.
    pub session: Option<Duration>,
    /// Bytes received from the server.
    pub received: u64,
    /// Bytes sent to the server.
    pub sent: u64,
}

/// A client's connection and all that has become of it so far.
#[derive(Debug)]
pub struct Session {
    /// Serial number of the connection.
    pub serial: u64,
    /// The address that is listened on.
    pub bind: Bind,
    /// Its server, `None` before one is known.
    pub server: Option<Arc<Server>>,
    /// What is being done, as log lines name it.
    pub action: Option<&'static str>,
    /// Whether it is, or was to be, passed on.
    pub is_proxied: bool,
    /// The client, `None` on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The client's address without port, as text; `unix:` on a Unix socket.
    pub name: String,
    /// Who is connected, whatever a trusted PROXY header says.
    pub peer: Option<SocketAddr>,
    /// The address they connected to, `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// What the PROXY header says.
    pub header: Option<Header>,
    /// What a TLS client says first, where that was asked for and could be read.
    pub hello: Option<Hello>,
    /// When it was accepted.
    pub started: Time,
    /// How it ended, in nginx's codes; 0 before that.
    pub status: u16,
    /// Bytes received from the client.
    pub received: u64,
    /// Bytes sent to the client.
    pub sent: u64,
    /// Attempts on servers, in order.
    pub attempts: Vec<Attempt>,
    /// `$limit_conn_status`
    pub limit_conn: Option<&'static str>,
    /// Where it counts for `limit_conn`.
    pub places: Vec<Place>,
    /// Values of variables the configuration defines.
    pub scratch: Scratch,
    /// Where its server tells of it.
    pub error_logs: ErrorLogs,
}

impl Default for Session {
    /// A session of nobody.
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            serial: 0,
            bind: Bind::Inet(nowhere),
            server: None,
            action: None,
            is_proxied: false,
            client: None,
            name: String::new(),
            peer: None,
            local: None,
            header: None,
            hello: None,
            started: Time::ZERO,
            status: 0,
            received: 0,
            sent: 0,
            attempts: Vec::new(),
            limit_conn: None,
            places: Vec::new(),
            scratch: Scratch::default(),
            error_logs: ErrorLogs::default(),
        }
    }
}

impl Session {
    /// A session that has just been accepted.
    pub fn new(
        serial: u64,
        bind: Bind,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        now: Time,
    ) -> Self {
        let mut session = Self { serial, bind, peer, local, started: now, ..Self::default() };
        session.set_client(peer);
        session
    }

    /// Says which server it is for.
    pub fn set_server(&mut self, server: &Arc<Server>) {
        self.error_logs = server.error_logs.clone();
        self.server = Some(Arc::clone(server));
    }

    /// Says who the client is.
    pub fn set_client(&mut self, client: Option<SocketAddr>) {
        self.client = client;
        self.name = client::name(client);
    }

    /// The counts, as nginx logs them.
    pub fn bytes(&self) -> String {
        let (from, to) = self.attempts.last().map_or((0, 0), |it| (it.received, it.sent));
        let (received, sent) = (self.received, self.sent);
        format!("bytes from/to client:{received}/{sent}, bytes from/to upstream:{from}/{to}")
    }
}

impl Limited for Session {
    fn counted(&mut self) -> (&mut Option<&'static str>, &mut Vec<Place>) {
        (&mut self.limit_conn, &mut self.places)
    }

    fn tell(&self, level: Level, text: &str) {
        log::note(level, self, text);
    }
}
