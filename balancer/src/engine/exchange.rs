//! What one request carries from phase to phase, whatever protocol brought it.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use policy::Time;
use tokio::task::JoinSet;

use crate::engine::Shared;
use crate::engine::buffer::Input;
use crate::engine::h1::field::{Field, Name, Piece};
use crate::engine::h1::request::{Request, Version};
use crate::engine::h1::response::Response;
use crate::engine::h1::target::{self, BadPath};
use crate::engine::head::Head;
use crate::engine::spool::Spool;
use crate::http::autoindex::Listing;
use crate::http::limit_conn::Place;
use crate::http::location::Location;
use crate::http::server::Server;
use crate::proxy_protocol::Header;
use crate::upstream::sticky::Bound;
use crate::upstream::{Backend, Lease, Tried};
use crate::variable::Scratch;

/// nginx's `NGX_HTTP_MAX_URI_CHANGES`, and one.
pub const MOST_CHANGES: u8 = 11;

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
    /// Number of its socket in this process, for questions to the system; -1 for none.
    pub descriptor: RawFd,
    /// What a proxy in front of us has said of who asks.
    pub header: Option<Arc<Header>>,
    /// What all connections have in common.
    pub shared: Arc<Shared>,
}

/// One attempt to have the request served by an upstream.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The server, `None` when none could be picked and the group's name stands for it.
    pub backend: Option<Arc<Backend>>,
    /// Name of the group.
    pub upstream: Arc<str>,
    /// The policy that placed it there.
    pub policy: &'static str,
    /// Requests in progress on the server, this one included.
    pub in_flight: u32,
    /// Of its answer, 502 or 504 for a failure, 0 when there was none.
    pub status: u16,
    /// How long it waited in the queue of the group, `None` where it did not.
    pub queued: Option<Duration>,
    /// From the pick to the connection.
    pub connect: Option<Duration>,
    /// From the pick to the end of the answer's head.
    pub header: Option<Duration>,
    /// From the pick to the end of the answer.
    pub response: Option<Duration>,
    /// Bytes of the answer's body.
    pub length: u64,
    /// Bytes sent to the server.
    pub sent: u64,
    /// Bytes that came from it.
    pub received: u64,
    /// Whether the attempts before it were of another pass: the request was led here from within.
    pub begins_pass: bool,
}

impl Attempt {
    /// One on the server of a lease.
    pub fn on(lease: &Lease<'_>, upstream: Arc<str>) -> Self {
        Self {
            backend: Some(Arc::clone(&lease.backend)),
            upstream,
            policy: lease.policy,
            in_flight: lease.backend.in_flight(),
            ..Self::default()
        }
    }
}

/// One request and all that has become of it so far. Reused from request to request.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Exchange {
    /// Who asks; `None` only before the first request.
    pub client: Option<Arc<Client>>,
    /// Who is connected, where a header of theirs tells who asks.
    pub peer: Option<Arc<Client>>,
    /// `$limit_req_status`
    pub limit_req: Option<&'static str>,
    /// `$limit_conn_status`
    pub limit_conn: Option<&'static str>,
    /// Where the request counts for `limit_conn`.
    pub places: Vec<Place>,
    /// The virtual server that was chosen.
    pub server: Option<Arc<Server>>,
    /// The client's bytes: the head, then what follows it.
    pub input: Input,
    /// The head, as positions in `input`.
    pub request: Request,
    /// `$uri`: the path locations are matched with.
    pub path: Vec<u8>,
    /// `$args`: what follows the question mark of the target; empty when there is none.
    pub args: Vec<u8>,
    /// Whether path or query are not those of the request line any more.
    pub has_own_target: bool,
    /// Whether a `rewrite … break` or `break` after a change of the path has settled the path
    /// against the location's own.
    pub is_settled: bool,
    /// Whether `rewrite` has changed the path since the location was found.
    pub is_rewritten: bool,
    /// Whether the request was led here from within; `internal` locations serve only such ones.
    pub is_internal: bool,
    /// Whether it is a request of ours whose answer is for us alone.
    pub is_subrequest: bool,
    /// How often the path may still change.
    pub changes_left: u8,
    /// Whether its body was refused or lost: it has none from then on, and the connection ends.
    pub has_dropped_body: bool,
    /// Stands in for the client's method after an `error_page`.
    pub own_method: Option<&'static [u8]>,
    /// Status that `error_page` decided on, whatever the answer says.
    pub error_status: Option<u16>,
    /// Whether `error_page` has been followed.
    pub has_error_page: bool,
    /// Number of the location that serves it, `None` for the server itself.
    pub location: Option<usize>,
    /// Those that are shown the request, while they are.
    pub mirrors: Option<Box<JoinSet<()>>>,
    /// Where a redirect of ours leads.
    pub redirect: Option<Vec<u8>>,
    /// What is in the folder that was asked for.
    pub listing: Option<Listing>,
    /// Bytes of the request's body that stand behind its head, once it has been read whole.
    pub held: Option<u64>,
    /// The request's body, where it is too large for memory.
    pub spooled: Option<Spool>,
    /// Whether the request's body has been passed on as it arrived.
    pub has_streamed: bool,
    /// Header lines of an answer that outlive it: of one with `X-Accel-Redirect`, or of a file that
    /// does not have the bytes asked for.
    pub kept_fields: Vec<u8>,
    /// The value of the cookie that binds the client to the server of the last attempt; empty
    /// where none does.
    pub binding_cookie: Vec<u8>,
    /// What the request said it is bound to.
    pub bound: Bound,
    /// The type that an answer with `X-Accel-Redirect` has named; empty where none did.
    pub kept_type: String,
    /// What was being done with an upstream, for the error log; empty before one.
    pub doing: &'static str,
    /// What the error log says more of a failed attempt.
    pub detail: String,
    /// Early hints that were not sent yet.
    pub hints: Vec<u8>,
    /// Variables that the configuration defines.
    pub scratch: Scratch,
    /// What the last `proxy_pass` named; empty before one.
    pub proxy_host: Vec<u8>,
    /// What it asks for by the variables of that `proxy_pass`, `None` where they do not say.
    pub proxy_uri: Option<Vec<u8>>,
    /// `$request_id`, once it has been asked for.
    pub id: OnceCell<[u64; 2]>,
    /// Where it stands in its trace, once somebody has asked.
    pub trace: OnceCell<Box<crate::http::otel::Trace>>,
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
    /// The head of the answer.
    pub head: Head,
    /// `$limit_rate`, where the request or the upstream has set it.
    pub limit_rate: Option<u64>,
    /// Bytes into the compressor, and out of it.
    pub compressed: Option<(u64, u64)>,
    /// Lines that followed the body of the answer.
    pub trailers: Vec<u8>,
    /// Whether more of them may come with the answer than ours.
    pub expects_trailers: bool,
    /// Those that followed the body of the upstream's answer.
    pub reply_trailers: Vec<u8>,
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
        self.peer = None;
        self.limit_req = None;
        self.limit_conn = None;
        self.places.clear();
        self.request.clear();
        self.response.clear();
        [&mut self.path, &mut self.args, &mut self.host].into_iter().for_each(Vec::clear);
        self.has_own_target = false;
        self.is_settled = false;
        self.is_rewritten = false;
        self.is_internal = false;
        self.is_subrequest = false;
        self.has_dropped_body = false;
        self.own_method = None;
        self.error_status = None;
        self.has_error_page = false;
        self.redirect = None;
        self.listing = None;
        self.mirrors = None;
        self.location = None;
        self.held = None;
        self.spooled = None;
        self.has_streamed = false;
        self.kept_fields.clear();
        self.kept_type.clear();
        self.detail.clear();
        self.doing = "";
        self.binding_cookie.clear();
        self.hints.clear();
        self.bound = Bound::default();
        self.scratch.clear();
        self.proxy_host.clear();
        self.proxy_uri = None;
        self.id.take();
        self.trace.take();
        self.reply.restart();
        self.attempts.clear();
        self.tried.clear();
        self.head.clear();
        self.limit_rate = None;
        self.compressed = None;
        self.trailers.clear();
        self.expects_trailers = false;
        self.reply_trailers.clear();
        self.out.clear();
        self.status = 0;
        self.sent = 0;
        self.sent_head = 0;
        self.received = 0;
        self.pipelined = false;
        self.completed = false;
        self.server = None;
    }

    /// Finds path, query and host of a request whose line has been read; none of one with a bad path.
    pub fn split_path(&mut self, merge_slashes: bool) -> Result<(), BadPath> {
        let whole = self.request.path_and_query;
        let bytes = whole.of(&self.input.bytes);
        // A fragment belongs to neither path nor query.
        let bytes = &bytes[..memchr::memchr(b'#', bytes).unwrap_or(bytes.len())];
        let question = memchr::memchr(b'?', bytes);
        let path = &bytes[..question.unwrap_or(bytes.len())];
        [&mut self.path, &mut self.args, &mut self.host].into_iter().for_each(Vec::clear);
        if path.is_empty() {
            self.path.push(b'/');
        } else if target::is_plain(path) {
            self.path.extend_from_slice(path);
        } else {
            let plain = target::normalize(path, merge_slashes, &mut self.path);
            plain.inspect_err(|_| self.path.clear())?;
        }
        self.args.extend_from_slice(question.map_or(b"", |at| &bytes[at + 1..]));
        let name = self.request.host_name.of(&self.input.bytes);
        self.host.extend_from_slice(name);
        self.host.make_ascii_lowercase();
        Ok(())
    }

    /// Goes on without the request's body, which was refused or is lost.
    ///
    /// Source: nginx `ngx_http_request_body.c`, `ngx_http_discard_request_body`.
    pub fn drop_body(&mut self) {
        self.has_dropped_body = true;
        self.held = None;
        self.spooled = None;
        self.has_streamed = false;
        self.request.keep_alive = false;
        self.request.expects_continue = false;
        self.request.chunked = false;
        self.request.content_length = None;
        let tells = |it: &Field| matches!(it.known, Name::ContentLength | Name::TransferEncoding);
        self.request.fields.retain(|it| !tells(it));
    }

    /// Leads the request to another path, as from within; false when that was done too often.
    pub fn lead_to(&mut self, path: &[u8], args: &[u8]) -> bool {
        self.path.clear();
        self.path.extend_from_slice(path);
        self.args.clear();
        self.args.extend_from_slice(args);
        self.has_own_target = true;
        self.is_settled = false;
        self.lead_within()
    }

    /// Leads the request to another location with the same path; false when that was done too
    /// often.
    pub fn lead_within(&mut self) -> bool {
        self.is_internal = true;
        self.is_rewritten = false;
        self.changes_left -= 1;
        self.changes_left > 0
    }

    /// Whether the path of the request line had escapes in it.
    pub fn has_escapes(&self) -> bool {
        let whole = self.text(self.request.path_and_query);
        let path = whole.split(|it| *it == b'?').next().unwrap_or_default();
        memchr::memchr2(b'%', b'+', path).is_some()
    }

    /// The method: the client's, unless an `error_page` made it GET.
    pub fn method(&self) -> &[u8] {
        self.own_method.unwrap_or_else(|| self.text(self.request.method))
    }

    /// The location that serves it, the server itself before one is found.
    pub fn location(&self) -> Option<&Location> {
        let server = self.server.as_ref()?;
        let location = self.location.and_then(|it| server.locations.get(it));
        Some(location.unwrap_or(&server.fallback))
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
        self.method() == b"HEAD" && self.request.version != Version::Http09
    }

    /// Bytes of the body sent to the client.
    pub fn sent_body(&self) -> u64 {
        self.sent.saturating_sub(self.sent_head)
    }
}
