//! An accepted stream → one session: nginx's phases, from the PROXY header to the log.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream as Hosted;
use pingora_core::server::ShutdownWatch;
use tokio::io::AsyncWrite;

use crate::client::allows;
use crate::engine::buffer::{self, Input};
use crate::engine::connection::{Closed, Early, HttpApp};
use crate::engine::timer::Deadline;
use crate::engine::{Ends, Shared, Stream, WorkerStats, clock};
use crate::logs::Level;
use crate::proxy_protocol::Header;
use crate::snapshot::{Bind, Snapshot, StreamListener};
use crate::stream::log::{access, note, tell};
use crate::stream::pass::{self, MOST_PASSES, Pass};
use crate::stream::session::Session;
use crate::stream::{Content, Server};
use crate::upstream::backend::add;
use crate::variable::Template;

mod preread;
mod proxy;
mod relay;

/// Serves the sessions of one listener on one worker.
#[derive(Debug)]
pub struct StreamApp {
    shared: Arc<Shared>,
    stats: Arc<WorkerStats>,
    bind: Bind,
}

impl StreamApp {
    /// An app for the listener of an address.
    pub fn new(shared: Arc<Shared>, stats: Arc<WorkerStats>, bind: Bind) -> Self {
        Self { shared, stats, bind }
    }
}

#[async_trait]
impl ServerApp for StreamApp {
    async fn process_new(self: &Arc<Self>, stream: Hosted, _: &ShutdownWatch) -> Option<Hosted> {
        let ends = Ends::of(&stream);
        self.serve(Stream::Hosted(stream), ends, self.shared.snapshot.load_full()).await;
        None
    }
}

impl StreamApp {
    /// Serves a session by a configuration, if that listens on its address.
    pub async fn serve(&self, stream: Stream, ends: Ends, snapshot: Arc<Snapshot>) {
        add(&self.stats.handled, 1);
        let _closed = Closed(&self.stats);
        let Ends { mut peer, mut local } = ends;
        let serial = self.shared.stats.next_serial();
        let mut bind = snapshot.address_of(&self.bind, local);
        let mut connection = Connection {
            shared: &self.shared,
            stream,
            session: Session::new(serial, bind.clone(), peer, local, clock::now()),
            input: Input { bytes: buffer::take(), ..Input::default() },
            deadline: Deadline::new(),
            generation: snapshot.generation,
        };
        // What a connection keeps wherever it is passed to: its client, a PROXY header, limits.
        let (mut passes, mut header, mut places) = (0, None, Vec::new());
        while let Some(listener) = snapshot.stream(&bind) {
            connection.session = Session::new(serial, bind.clone(), peer, local, clock::now());
            connection.session.header = header.take();
            match connection.run(listener, &snapshot, passes).await {
                End::Over(status) => {
                    connection.session.status = status;
                    let logs = connection.session.server.as_ref().map(|it| &it.logs);
                    access(&connection.session, logs.map_or(&[], Vec::as_slice));
                    connection.leave();
                    buffer::give(connection.input.bytes);
                    return;
                }
                End::Passed(to, target) => {
                    passes += 1;
                    bind = to;
                    local = target;
                    peer = connection.session.client;
                    header = connection.session.header.take();
                    places.append(&mut connection.session.places);
                }
            }
        }
        if passes > 0 {
            let Connection { stream, input, .. } = connection;
            let app = HttpApp::new(Arc::clone(&self.shared), Arc::clone(&self.stats), bind);
            let ends = Ends { peer, local };
            let early = Early { read: input.unread().to_vec(), header };
            // Boxed, so that a session keeps no room for what a request needs.
            Box::pin(app.take_over(stream, ends, snapshot, early)).await;
        }
    }
}

/// A client's connection.
struct Connection<'a> {
    shared: &'a Shared,
    stream: Stream,
    session: Session,
    /// What was read of it and belongs to the next phase.
    input: Input,
    deadline: Deadline,
    /// That of the configuration it is served by.
    generation: u64,
}

/// How a session ended, in nginx's codes.
type Status = u16;

/// What became of a session.
enum End {
    /// It is over.
    Over(Status),
    /// It belongs to this listener now, as if it had come to that address.
    Passed(Bind, Option<SocketAddr>),
}

/// What came of a wait for the client.
enum Arrived {
    Bytes,
    End,
    Late,
    Failed(io::Error),
}

impl Connection<'_> {
    /// Has the session go through all phases but the log.
    async fn run(&mut self, listener: &StreamListener, snapshot: &Snapshot, passes: u32) -> End {
        self.session.set_server(listener.servers.first());
        let peer = self.session.peer;
        let from = peer.map_or_else(|| self.session.name.clone(), |it| it.to_string());
        let text = format!("client {from} connected to {}", self.session.bind);
        tell(Level::Info, &self.session, &text);
        let server = match self.before_content(listener).await {
            Ok(server) => server,
            Err(status) => return End::Over(status),
        };
        self.session.action = None;
        match &server.content {
            Content::Proxy(proxy) => {
                if !server.sends_at_once {
                    // A socket that refuses it is broken, as its use will tell.
                    let _ = self.stream.send_at_once(false);
                }
                End::Over(self.pass_on(proxy, server.sends_at_once).await)
            }
            Content::Return(text) => End::Over(self.answer(text).await),
            Content::Pass(pass) => self.pass(pass, snapshot, passes),
        }
    }

    /// Everything before the content is known.
    async fn before_content(&mut self, listener: &StreamListener) -> Result<Arc<Server>, Status> {
        let server = listener.servers.first();
        if listener.proxy_protocol {
            self.read_header(server).await?;
        }
        self.session.action = Some("initializing session");
        self.post_accept(server);
        self.preaccess(server)?;
        self.access(server)?;
        self.preread(server, &listener.servers).await
    }

    /// Believes the PROXY header of a trusted proxy.
    fn post_accept(&mut self, server: &Server) {
        let peer = self.session.peer.map(|it| it.ip());
        let client = self.session.header.as_ref().and_then(Header::client);
        if client.is_some() && server.trusted.iter().any(|it| it.has(peer)) {
            self.session.set_client(client);
        }
    }

    fn preaccess(&mut self, server: &Server) -> Result<(), Status> {
        server.assignments.iter().for_each(|it| it.run(&self.session));
        let refused = server.limit_conn.as_ref().and_then(|it| it.judge(&mut self.session));
        refused.map_or(Ok(()), Err)
    }

    fn access(&mut self, server: &Server) -> Result<(), Status> {
        if allows(&server.rules, self.session.client.map(|it| it.ip())) {
            return Ok(());
        }
        note(Level::Error, &self.session, "access forbidden by rule");
        Err(403)
    }

    /// Finds the listener that a session is given to.
    ///
    /// Source: nginx `ngx_stream_pass_module.c`, `ngx_stream_pass_handler`.
    fn pass(&mut self, pass: &Pass, snapshot: &Snapshot, passes: u32) -> End {
        self.session.action = Some("passing connection to port");
        let target = match pass.target(&self.session) {
            Ok(target) if passes < MOST_PASSES => target,
            Ok(_) => {
                note(Level::Error, &self.session, "stream pass cycle");
                return End::Over(500);
            }
            Err(text) => {
                note(Level::Error, &self.session, &text);
                return End::Over(500);
            }
        };
        let Some(bind) = pass::listener(snapshot, &target) else {
            note(Level::Error, &self.session, &format!("port not found for \"{target}\""));
            return End::Over(200);
        };
        match target {
            Bind::Inet(address) => End::Passed(bind, Some(address)),
            Bind::Unix(_) => End::Passed(bind, None),
        }
    }

    /// Sends a text and ends the session.
    ///
    /// Source: nginx `ngx_stream_return_module.c`.
    async fn answer(&mut self, text: &Template<Session>) -> Status {
        const PATIENCE: Duration = Duration::from_secs(5);
        self.session.action = Some("returning text");
        let bytes = text.value(&self.session);
        let mut left = bytes.as_slice();
        self.deadline.arm(PATIENCE);
        while !left.is_empty() {
            let stream = &mut self.stream;
            let deadline = &self.deadline;
            let sent = poll_fn(|context| match Pin::new(&mut *stream).poll_write(context, left) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => deadline.poll(context).map(|()| None),
            });
            match sent.await {
                Some(Ok(sent)) if sent > 0 => {
                    self.session.sent += sent as u64;
                    left = &left[sent..];
                }
                Some(_) => return 500,
                None => {
                    let text = "connection timed out (110: Connection timed out)";
                    note(Level::Info, &self.session, text);
                    return 200;
                }
            }
        }
        200
    }

    /// Closes a connection as nginx does, which only looks at bytes before it knows the content:
    /// those that nobody has read reset it.
    fn leave(&self) {
        if self.session.sent == 0 && !self.session.is_proxied && !self.input.unread().is_empty() {
            // A connection that cannot be reset is closed as any other.
            let _ = self.stream.reset_on_close();
        }
    }

    /// Waits for the client's next bytes, as long as the deadline allows.
    async fn fill(&mut self) -> Arrived {
        let Self { input, stream, deadline, shared, generation, .. } = self;
        poll_fn(|context| match input.poll_fill(context, stream) {
            Poll::Pending if shared.is_cut(*generation) => Poll::Ready(Arrived::Late),
            Poll::Pending => deadline.poll(context).map(|()| Arrived::Late),
            Poll::Ready(Ok(0)) => Poll::Ready(Arrived::End),
            Poll::Ready(Ok(_)) => Poll::Ready(Arrived::Bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Arrived::Failed(error)),
        })
        .await
    }
}
