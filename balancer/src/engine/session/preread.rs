//! What is read of a session before its content: a PROXY header, the first words of TLS.

use std::sync::Arc;

use crate::conf::error::os_text;
use crate::engine::session::{Arrived, Connection, Status};
use crate::logs::Level;
use crate::proxy_protocol::{self, Progress};
use crate::stream::log::note;
use crate::stream::ssl_preread::{self, Hello};
use crate::stream::{Server, Servers};

impl Connection<'_> {
    /// Source: nginx `ngx_stream_handler.c`, `ngx_stream_proxy_protocol_handler`.
    pub(super) async fn read_header(&mut self, server: &Server) -> Result<(), Status> {
        self.session.action = Some("reading PROXY protocol");
        self.deadline.arm(server.proxy_protocol_timeout);
        loop {
            match proxy_protocol::parse(self.input.unread()) {
                Ok(Progress::Complete { length, header }) => {
                    self.input.at += length;
                    self.session.header = header;
                    return Ok(());
                }
                Ok(Progress::Partial) => {}
                Err(broken) => {
                    note(Level::Error, &self.session, &broken.0);
                    return Err(400);
                }
            }
            match self.fill().await {
                Arrived::Bytes => {}
                Arrived::Late => {
                    let text = "client timed out (110: Connection timed out)";
                    note(Level::Info, &self.session, text);
                    return Err(200);
                }
                Arrived::End => {
                    let shown = String::from_utf8_lossy(self.input.unread());
                    note(Level::Error, &self.session, &format!("broken header: \"{shown}\""));
                    return Err(400);
                }
                Arrived::Failed(error) => {
                    let text = format!("recv() failed {}", os_text(&error));
                    note(Level::Info, &self.session, &text);
                    return Err(200);
                }
            }
        }
    }

    /// Reads what a TLS client says first, and finds the server that has the name it asks for.
    ///
    /// Source: nginx `ngx_stream_core_module.c`, `ngx_stream_core_preread_phase`, and
    /// `ngx_stream_ssl_preread_module.c`.
    pub(super) async fn preread(
        &mut self,
        server: &Arc<Server>,
        servers: &Servers,
    ) -> Result<Arc<Server>, Status> {
        let Some(bounds) = server.preread else { return Ok(Arc::clone(server)) };
        self.session.action = Some("prereading client data");
        self.input.compact();
        let room = bounds.size.saturating_sub(self.input.bytes.len());
        self.input.bytes.reserve(room);
        self.deadline.arm(bounds.timeout);
        loop {
            match ssl_preread::parse(self.input.unread()) {
                ssl_preread::Progress::Complete(hello) => {
                    return Ok(self.named(hello, servers).unwrap_or_else(|| Arc::clone(server)));
                }
                ssl_preread::Progress::Foreign => return Ok(Arc::clone(server)),
                ssl_preread::Progress::Partial => {}
            }
            if bounds.size <= self.input.unread().len() {
                note(Level::Error, &self.session, "preread buffer full");
                return Err(400);
            }
            match self.fill().await {
                Arrived::Bytes => {}
                Arrived::Late | Arrived::End => return Err(200),
                Arrived::Failed(error) => {
                    let text = format!("recv() failed {}", os_text(&error));
                    note(Level::Info, &self.session, &text);
                    return Err(200);
                }
            }
        }
    }

    /// The server that has the name a client asks for.
    fn named(&mut self, hello: Hello, servers: &Servers) -> Option<Arc<Server>> {
        let host = ssl_preread::host(&hello.name);
        self.session.hello = Some(hello);
        let server = servers.find(&host?, &self.session.scratch)?;
        self.session.set_server(server);
        Some(Arc::clone(server))
    }
}
