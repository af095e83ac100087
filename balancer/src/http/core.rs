//! Settings of nginx's core HTTP module: limits and times of the client's side.

use std::sync::Arc;
use std::time::Duration;

use crate::conf::value::{self, Unit, time};
use crate::conf::{Block, ConfError, Directive, Effect, Reading, Row};
use crate::http::mime::Types;
use crate::http::{EVERYWHERE, WITH_IF, put};

/// `server_tokens build`.
const NGINX_BUILD: &str = concat!("nginx/1.31.4 (balancer ", env!("CARGO_PKG_VERSION"), ")");

/// What an answer of ours calls the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tokens {
    Off,
    On,
    Build,
}

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    client_max_body_size: Option<u64>,
    client_body_buffer_size: Option<u64>,
    client_body_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    keepalive_timeout: Option<Duration>,
    keepalive_header: Option<Duration>,
    keepalive_requests: Option<u64>,
    keepalive_time: Option<Duration>,
    server_tokens: Option<Tokens>,
    default_type: Option<String>,
    types: Option<Arc<Types>>,
    chunked: Option<bool>,
    tcp_nodelay: Option<bool>,
    log_subrequest: Option<bool>,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            client_max_body_size: self.client_max_body_size.or(outer.client_max_body_size),
            client_body_buffer_size: self.client_body_buffer_size.or(outer.client_body_buffer_size),
            client_body_timeout: self.client_body_timeout.or(outer.client_body_timeout),
            send_timeout: self.send_timeout.or(outer.send_timeout),
            keepalive_timeout: self.keepalive_timeout.or(outer.keepalive_timeout),
            keepalive_header: self.keepalive_header.or(outer.keepalive_header),
            keepalive_requests: self.keepalive_requests.or(outer.keepalive_requests),
            keepalive_time: self.keepalive_time.or(outer.keepalive_time),
            server_tokens: self.server_tokens.or(outer.server_tokens),
            default_type: self.default_type.or_else(|| outer.default_type.clone()),
            types: self.types.or_else(|| outer.types.clone()),
            chunked: self.chunked.or(outer.chunked),
            tcp_nodelay: self.tcp_nodelay.or(outer.tcp_nodelay),
            log_subrequest: self.log_subrequest.or(outer.log_subrequest),
        }
    }

    /// Whether bodies of unknown length are sent in chunks.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        self.chunked.unwrap_or(true)
    }

    /// What a request needs, with nginx's defaults.
    #[must_use]
    pub fn compile(&self) -> Core {
        let default = Core::default();
        Core {
            client_max_body_size: match self.client_max_body_size {
                Some(0) => None,
                Some(limit) => Some(limit),
                None => default.client_max_body_size,
            },
            client_body_buffer_size: self
                .client_body_buffer_size
                .map_or(default.client_body_buffer_size, as_size),
            client_body_timeout: self.client_body_timeout.unwrap_or(default.client_body_timeout),
            send_timeout: self.send_timeout.unwrap_or(default.send_timeout),
            keepalive_timeout: self
                .keepalive_timeout
                .map_or(default.keepalive_timeout, |it| (!it.is_zero()).then_some(it)),
            keepalive_header: self.keepalive_header.filter(|it| !it.is_zero()),
            keepalive_requests: self.keepalive_requests.unwrap_or(default.keepalive_requests),
            keepalive_time: self.keepalive_time.unwrap_or(default.keepalive_time),
            server: match self.server_tokens {
                Some(Tokens::Off) => "nginx",
                Some(Tokens::Build) => NGINX_BUILD,
                Some(Tokens::On) | None => crate::NGINX,
            },
            default_type: self.default_type.clone().unwrap_or(default.default_type),
            types: self.types.clone().unwrap_or(default.types),
            sends_at_once: self.tcp_nodelay.unwrap_or(default.sends_at_once),
            logs_within: self.log_subrequest.unwrap_or_default(),
        }
    }

    fn keepalive_timeout(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let idle = time(directive.text(), Unit::Milliseconds)
            .ok_or_else(|| directive.refuse("invalid value"))?;
        if let Some(word) = directive.arguments().get(1) {
            let refuse = || word.refuse("\"keepalive_timeout\" directive invalid value");
            // Of its own: a line without it leaves that of the block around.
            self.keepalive_header = Some(time(word, Unit::Seconds).ok_or_else(refuse)?);
        }
        self.keepalive_timeout = Some(idle);
        Ok(())
    }

    fn types(&mut self, directive: &Directive, reading: &mut Reading<'_>) -> Result<(), ConfError> {
        // A second block of the same level adds to the first.
        let types = self.types.get_or_insert_with(|| Arc::new(Types::none()));
        Arc::make_mut(types).read(directive, reading)
    }
}

/// Sizes are kept by nginx in 63 bits.
fn as_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

const RUNTIME: &str = "the runtime owns how files are read and sockets written";
pub(super) const MEMORY: &str = "memory is not set aside per connection";

/// Directives that may stand in `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one(
        "client_max_body_size",
        Effect::Set(|it, directive| put(&mut it.client_max_body_size, directive.offset())),
    ),
    one(
        "client_body_buffer_size",
        Effect::Set(|it, directive| put(&mut it.client_body_buffer_size, directive.size())),
    ),
    one(
        "client_body_timeout",
        Effect::Set(|it, directive| put(&mut it.client_body_timeout, directive.milliseconds())),
    ),
    one(
        "send_timeout",
        Effect::Set(|it, directive| put(&mut it.send_timeout, directive.milliseconds())),
    ),
    Row {
        name: "keepalive_timeout",
        within: EVERYWHERE,
        arguments: 1..=2,
        effect: Effect::Set(Settings::keepalive_timeout),
    },
    one(
        "keepalive_requests",
        Effect::Set(|it, directive| put(&mut it.keepalive_requests, directive.number())),
    ),
    one(
        "keepalive_time",
        Effect::Set(|it, directive| put(&mut it.keepalive_time, directive.milliseconds())),
    ),
    one(
        "server_tokens",
        Effect::Set(|it, directive| {
            let choices = [("off", Tokens::Off), ("on", Tokens::On), ("build", Tokens::Build)];
            put(&mut it.server_tokens, directive.choice(&choices))
        }),
    ),
    one(
        "chunked_transfer_encoding",
        Effect::Set(|it, directive| put(&mut it.chunked, directive.flag())),
    ),
    one(
        "default_type",
        Effect::Set(|it, directive| {
            put(&mut it.default_type, Ok(directive.text().as_str().to_owned()))
        }),
    ),
    Row {
        name: "types",
        within: EVERYWHERE,
        arguments: 0..=0,
        effect: Effect::Open(Settings::types),
    },
    one("tcp_nodelay", Effect::Set(|it, directive| put(&mut it.tcp_nodelay, directive.flag()))),
    one(
        "log_subrequest",
        Effect::Set(|it, directive| put(&mut it.log_subrequest, directive.flag())),
    ),
    one("tcp_nopush", Effect::Checked(flag, RUNTIME)),
    Row {
        name: "sendfile",
        within: WITH_IF,
        arguments: 1..=1,
        effect: Effect::Checked(flag, RUNTIME),
    },
    one("sendfile_max_chunk", Effect::Checked(size, RUNTIME)),
    one("aio", Effect::Checked(aio, RUNTIME)),
    one("aio_write", Effect::Checked(flag, RUNTIME)),
    one("directio", Effect::Checked(directio, RUNTIME)),
    one("directio_alignment", Effect::Checked(offset, RUNTIME)),
    Row {
        name: "output_buffers",
        within: EVERYWHERE,
        arguments: 2..=2,
        effect: Effect::Checked(|it| it.buffers().map(drop), RUNTIME),
    },
    one("postpone_output", Effect::Checked(size, RUNTIME)),
    one("read_ahead", Effect::Checked(size, RUNTIME)),
    Row {
        name: "open_file_cache",
        within: EVERYWHERE,
        arguments: 1..=2,
        effect: Effect::Checked(open_file_cache, "files are opened anew for each request"),
    },
    one("open_file_cache_valid", Effect::Checked(seconds, "no open files are cached")),
    one("open_file_cache_min_uses", Effect::Checked(number, "no open files are cached")),
    one("open_file_cache_errors", Effect::Checked(flag, "no open files are cached")),
    one("client_body_in_single_buffer", Effect::Checked(flag, MEMORY)),
    one("send_lowat", Effect::Checked(low_water, RUNTIME)),
    one("proxy_send_lowat", Effect::Checked(low_water, RUNTIME)),
    Row {
        name: "request_pool_size",
        within: &[Block::Http, Block::Server],
        arguments: 1..=1,
        effect: Effect::Checked(|it| pool_size(it).map(drop), MEMORY),
    },
    one("subrequest_output_buffer_size", Effect::Checked(size, MEMORY)),
    one("types_hash_max_size", Effect::Checked(number, HASH)),
    one("types_hash_bucket_size", Effect::Checked(number, HASH)),
];

/// Why the size of a hash table does nothing.
pub const HASH: &str = "hash tables grow as needed";

/// Sixteen bytes are the unit of nginx's pools, and eight units the least.
pub(super) fn pool_size(directive: &Directive) -> Result<u64, ConfError> {
    let word = directive.text();
    match directive.size()? {
        ..=127 => Err(word.refuse("the pool size must be no less than 128")),
        bytes if bytes % 16 != 0 => Err(word.refuse("the pool size must be a multiple of 16")),
        bytes => Ok(bytes),
    }
}

/// Linux has no such option, and nginx says so.
fn low_water(directive: &Directive) -> Result<(), ConfError> {
    directive.size()?;
    let name = directive.name();
    Err(directive.text().refuse(format!("\"{name}\" is not supported, ignored")).warning())
}

fn aio(directive: &Directive) -> Result<(), ConfError> {
    match directive.text().as_str() {
        "on" | "off" | "threads" => Ok(()),
        pool if pool.starts_with("threads=") => Ok(()),
        _ => Err(directive.refuse("invalid value")),
    }
}

fn directio(directive: &Directive) -> Result<(), ConfError> {
    if *directive.text() == "off" { Ok(()) } else { offset(directive) }
}

fn open_file_cache(directive: &Directive) -> Result<(), ConfError> {
    for word in directive.arguments() {
        let is_known = match word.split_once('=') {
            None => *word == "off",
            Some(("max", value)) => value::number(value).is_some_and(|it| it != 0),
            Some(("inactive", value)) => time(value, Unit::Seconds).is_some(),
            Some(_) => false,
        };
        if !is_known {
            return Err(word.refuse(format!("invalid \"open_file_cache\" parameter \"{word}\"")));
        }
    }
    Ok(())
}

/// A value nobody uses.
pub fn flag(directive: &Directive) -> Result<(), ConfError> {
    directive.flag().map(drop)
}

/// A decimal number nobody uses.
pub fn number(directive: &Directive) -> Result<(), ConfError> {
    directive.number().map(drop)
}

/// A value nobody uses.
pub fn size(directive: &Directive) -> Result<(), ConfError> {
    directive.size().map(drop)
}

fn offset(directive: &Directive) -> Result<(), ConfError> {
    directive.offset().map(drop)
}

/// A time in seconds.
pub fn seconds(directive: &Directive) -> Result<(), ConfError> {
    directive.seconds().map(drop)
}

/// Settings of the core module that matter while a request is served.
#[derive(Clone, Debug)]
pub struct Core {
    /// Largest body in bytes, `None` for no limit.
    pub client_max_body_size: Option<u64>,
    /// Bytes of a body held in memory before it is passed on.
    pub client_body_buffer_size: usize,
    /// Longest wait for the next bytes of a body.
    pub client_body_timeout: Duration,
    /// Longest wait for room to send.
    pub send_timeout: Duration,
    /// How long a connection may be idle; `None` closes it after the answer.
    pub keepalive_timeout: Option<Duration>,
    /// Value of the `Keep-Alive` header, `None` to send none.
    pub keepalive_header: Option<Duration>,
    /// Requests after which a connection is closed.
    pub keepalive_requests: u64,
    /// Age after which a connection is closed.
    pub keepalive_time: Duration,
    /// What the `Server` header and error pages call us.
    pub server: &'static str,
    /// Type of an answer whose name has no known ending.
    pub default_type: String,
    /// Types by ending of the name.
    pub types: Arc<Types>,
    /// Whether small packets to the client wait for no other: `tcp_nodelay`.
    pub sends_at_once: bool,
    /// Whether requests of ours are logged like those of clients: `log_subrequest`.
    pub logs_within: bool,
}

impl Core {
    /// The longest body that is not refused, `None` where any is served.
    pub fn largest_body(&self) -> Option<u64> {
        self.client_max_body_size
    }

    /// Whether a body of this announced length is refused.
    pub fn refuses_body(&self, length: u64) -> bool {
        self.client_max_body_size.is_some_and(|limit| limit < length)
    }

    /// The type of an answer to a request for this path.
    pub fn content_type(&self, path: &[u8]) -> &str {
        self.types.of_path(path).unwrap_or(&self.default_type)
    }
}

impl Default for Core {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            client_max_body_size: Some(1 << 20),
            client_body_buffer_size: 16 * 1024,
            client_body_timeout: Duration::from_mins(1),
            send_timeout: Duration::from_mins(1),
            keepalive_timeout: Some(Duration::from_secs(75)),
            keepalive_header: None,
            keepalive_requests: 1000,
            keepalive_time: Duration::from_hours(1),
            server: crate::NGINX,
            default_type: "text/plain".to_owned(),
            types: Arc::default(),
            sends_at_once: true,
            logs_within: false,
        }
    }
}
