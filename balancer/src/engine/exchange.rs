//! What one request carries from phase to phase, whatever protocol brought it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::Time;

use crate::engine::buffer::Input;
use crate::engine::h1::field::{Field, Piece};
use crate::engine::h1::request::Request;
use crate::engine::h1::response::Response;
use crate::engine::h1::target::{self, BadPath};
use crate::http::server::Server;
use crate::upstream::{Backend, Tried};

/// Who sits at the other end of a client connection.
#[derive(Debug)]
pub struct Client {
    /// Their address, `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// The address of it without port, as text; `unix:` on a Unix socket.
    pub name: String,
    /// The address they connected to, `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// Serial number of the connection.
    pub serial: u64,
    /// When it was accepted.
    pub accepted: Time,
}

/// One attempt to have the request served by an upstream.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The server, `None` when none could be picked and the group's name stands for it.
    pub backend: Option<Arc<Backend>>,
    /// Name of the group.
    pub upstream: Arc<str>,
    /// Of its answer, 502 or 504 for a failure, 0 when there was none.
    pub status: u16,
    /// From the pick to the connection.
    pub connect: Option<Duration>,
    /// From the pick to the end of the answer's head.
    pub header: Option<Duration>,
    /// From the pick to the end of the answer.
    pub response: Option<Duration>,
    /// Bytes of the answer's body.
    pub length: u64,
}

/// One request and all that has become of it so far. Reused from request to request.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Who asks; `None` only before the first request.
    pub client: Option<Arc<Client>>,
    /// The virtual server that was chosen.
    pub server: Option<Arc<Server>>,
    /// The client's bytes: the head, then what follows it.
    pub input: Input,
    /// The head, as positions in `input`.
    pub request: Request,
    /// `$uri`: the path locations are matched with.
    pub path: Vec<u8>,
    /// Query of the target, a piece of `input`; empty when there is none.
    pub args: Piece,
    /// `$host`: lower case, without port.
    pub host: Vec<u8>,
    /// When its first byte was read.
    pub started: Time,
    /// When its answer was sent to the end, or it was given up.
    pub ended: Time,
    /// Requests on this connection so far, this one included.
    pub serial: u64,
    /// The upstream's bytes: the head of its answer, then what follows it.
    pub reply: Input,
    /// The head of the upstream's answer, as positions in `reply`.
    pub response: Response,
    /// Attempts on servers, in order.
    pub attempts: Vec<Attempt>,
    /// Servers that are not picked again.
    pub tried: Tried,
    /// Heads are written here.
    pub out: Vec<u8>,
    /// Status of the answer, as logged; 0 before there is one.
    pub status: u16,
    /// Bytes sent to the client, head included.
    pub sent: u64,
    /// Bytes of the head sent to the client.
    pub sent_head: u64,
    /// Bytes of the request read, body included.
    pub received: u64,
    /// Whether the request had arrived before the answer to the one before it was sent.
    pub pipelined: bool,
    /// Whether the whole answer was sent.
    pub completed: bool,
}

impl Exchange {
    /// Makes ready for the next request of the connection; bytes that follow this one stay.
    pub fn next_request(&mut self) {
        self.input.next_message();
        self.request.clear();
        self.response.clear();
        self.path.clear();
        self.host.clear();
        self.args = Piece::default();
        self.reply.restart();
        self.attempts.clear();
        self.tried.clear();
        self.out.clear();
        self.status = 0;
        self.sent = 0;
        self.sent_head = 0;
        self.received = 0;
        self.pipelined = false;
        self.completed = false;
        self.server = None;
    }

    /// Finds path, query and host of a request whose head is complete.
    pub fn split_path(&mut self, merge_slashes: bool) -> Result<(), BadPath> {
        let whole = self.request.path_and_query;
        let bytes = whole.of(&self.input.bytes);
        let question = memchr::memchr(b'?', bytes);
        let path = &bytes[..question.unwrap_or(bytes.len())];
        self.args = match question {
            Some(at) => Piece::new(whole.start() + at + 1, whole.end()),
            None => Piece::new(whole.end(), whole.end()),
        };
        self.path.clear();
        if path.is_empty() {
            self.path.push(b'/');
        } else if target::is_plain(path) {
            self.path.extend_from_slice(path);
        } else {
            target::normalize(path, merge_slashes, &mut self.path)?;
        }
        let name = self.request.host_name.of(&self.input.bytes);
        self.host.clear();
        self.host.extend(name.iter().map(u8::to_ascii_lowercase));
        Ok(())
    }

    /// The client's address as text.
    pub fn client_name(&self) -> &str {
        self.client.as_ref().map_or("", |it| &it.name)
    }

    /// Serial number of the client's connection.
    pub fn client_serial(&self) -> u64 {
        self.client.as_ref().map_or(0, |it| it.serial)
    }

    /// The bytes of a piece of the request.
    pub fn text(&self, piece: Piece) -> &[u8] {
        piece.of(&self.input.bytes)
    }

    /// The first header line of the request whose name has this hash and text, ignoring case.
    pub fn field<'a>(&'a self, hash: u32, name: &'a [u8]) -> Option<&'a Field> {
        self.fields(hash, name).next()
    }

    /// Every header line of the request of that name.
    pub fn fields<'a>(&'a self, hash: u32, name: &'a [u8]) -> impl Iterator<Item = &'a Field> {
        self.request
            .fields
            .iter()
            .filter(move |it| it.hash == hash && self.text(it.name).eq_ignore_ascii_case(name))
    }

    /// Whether the answer must not have a body.
    pub fn is_head(&self) -> bool {
        self.text(self.request.method) == b"HEAD"
    }

    /// Bytes of the body sent to the client.
    pub fn sent_body(&self) -> u64 {
        self.sent.saturating_sub(self.sent_head)
    }
}
