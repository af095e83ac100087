//! Virtual servers: which one a request's host belongs to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use nix::unistd::gethostname;

use crate::conf::{Block, ConfError, Directive, Effect, Reading, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::h1::request::Limits;
use crate::http::core::{HASH, MEMORY, number, pool_size};
use crate::http::location::{Location, Locations};
use crate::http::name_table::NameTable;
use crate::http::put;
use crate::http::rewrite::Op;
use crate::http::variable::Template;
use crate::regex::Regex;
use crate::upstream::backend::{Durations, add};
use crate::variable::{Definitions, Scratch};

/// The names of one server.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// As they are written.
    pub words: Vec<Word>,
    /// The expressions among them, by position.
    pub regexes: Vec<(usize, Regex)>,
}

impl Names {
    /// The name that stands for the server: the first, empty when there is none.
    pub fn first(&self) -> String {
        self.lower()
            .next()
            .map(|(name, _)| name.trim_start_matches('.').to_owned())
            .unwrap_or_default()
    }

    /// The names in lower case, each with its word; one that is empty when there is none.
    pub fn lower(&self) -> impl Iterator<Item = (String, Option<&Word>)> {
        let none = self.words.is_empty().then(|| (String::new(), None));
        let name = |it: &Word| match it.as_str() {
            "$hostname" => gethostname().map(|it| it.to_string_lossy().to_lowercase()),
            other => Ok(other.to_lowercase()),
        };
        none.into_iter()
            .chain(self.words.iter().map(move |it| (name(it).unwrap_or_default(), Some(it))))
    }

    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_server_name`.
    fn server_name(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        let mut suspicious = None;
        for word in directive.arguments() {
            let bytes = word.as_bytes();
            let bad_star = bytes.first() == Some(&b'*') && (bytes.len() < 3 || bytes[1] != b'.');
            if bad_star || bytes == b"." {
                return Err(word.refuse(format!("server name \"{word}\" is invalid")));
            }
            if bytes.first() == Some(&b'~') {
                if bytes.len() == 1 {
                    let text = format!("empty regex in server name \"{word}\"");
                    return Err(word.refuse(text));
                }
                let regex = Regex::new(&bytes[1..], true).map_err(|it| word.refuse(it))?;
                regex.names().for_each(|(_, it)| reading.define(it));
                self.regexes.push((self.words.len(), regex));
                self.words.push(word.clone());
                continue;
            }
            if bytes.contains(&b'/') {
                let text = format!("server name \"{word}\" has suspicious symbols");
                suspicious.get_or_insert(word.refuse(text).warning());
            }
            self.words.push(word.clone());
        }
        suspicious.map_or(Ok(()), Err)
    }
}

/// Directives of `server` about its names.
pub const NAME_ROWS: &[Row<Names>] = &[server_name(&[Block::Server])];

/// As [`NAME_ROWS`], of `stream`.
pub const STREAM_NAME_ROWS: &[Row<Names>] = &[server_name(&[Block::StreamServer])];

const fn server_name(within: &'static [Block]) -> Row<Names> {
    let effect = Effect::Read(Names::server_name);
    Row { name: "server_name", within, arguments: 1..=usize::MAX, effect }
}

/// How heads are read; what one block sets, `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct EntranceSettings {
    client_header_timeout: Option<Duration>,
    client_header_buffer_size: Option<u64>,
    large_client_header_buffers: Option<(u64, u64)>,
    /// It does nothing, but must fit `large_client_header_buffers`.
    connection_pool_size: Option<u64>,
    max_headers: Option<u64>,
    ignore_invalid_headers: Option<bool>,
    underscores_in_headers: Option<bool>,
    merge_slashes: Option<bool>,
}

impl EntranceSettings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let (small, large) = (outer.client_header_buffer_size, outer.large_client_header_buffers);
        Self {
            client_header_timeout: self.client_header_timeout.or(outer.client_header_timeout),
            client_header_buffer_size: self.client_header_buffer_size.or(small),
            large_client_header_buffers: self.large_client_header_buffers.or(large),
            connection_pool_size: self.connection_pool_size.or(outer.connection_pool_size),
            max_headers: self.max_headers.or(outer.max_headers),
            ignore_invalid_headers: self.ignore_invalid_headers.or(outer.ignore_invalid_headers),
            underscores_in_headers: self.underscores_in_headers.or(outer.underscores_in_headers),
            merge_slashes: self.merge_slashes.or(outer.merge_slashes),
        }
    }

    /// The check nginx makes of values that must fit together, at the end of `http`.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_merge_srv_conf`.
    pub fn check(&self) -> Result<(), &'static str> {
        let (_, each) = self.large_client_header_buffers.unwrap_or((4, 8192));
        if each < self.connection_pool_size.unwrap_or(512) {
            return Err(
                "the \"large_client_header_buffers\" size must be equal to or greater than \
                        \"connection_pool_size\"",
            );
        }
        Ok(())
    }

    /// What a connection needs, with nginx's defaults.
    #[must_use]
    pub fn compile(&self) -> Entrance {
        let as_size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let default = Entrance::default();
        let mut limits = default.limits;
        if let Some((count, each)) = self.large_client_header_buffers {
            limits.line = as_size(each);
            limits.buffers = as_size(count);
        }
        limits.first = self.client_header_buffer_size.map_or(limits.first, as_size);
        limits.fields = self.max_headers.map_or(limits.fields, as_size);
        limits.ignore_invalid = self.ignore_invalid_headers.unwrap_or(limits.ignore_invalid);
        limits.underscores = self.underscores_in_headers.unwrap_or(limits.underscores);
        Entrance {
            header_timeout: self.client_header_timeout.unwrap_or(default.header_timeout),
            limits,
            merge_slashes: self.merge_slashes.unwrap_or(default.merge_slashes),
        }
    }
}

const fn one(name: &'static str, effect: Effect<EntranceSettings>) -> Row<EntranceSettings> {
    Row { name, within: &[Block::Http, Block::Server], arguments: 1..=1, effect }
}

/// Directives of `http` and `server` that count before a location is known.
pub const ENTRANCE_ROWS: &[Row<EntranceSettings>] = &[
    one(
        "client_header_timeout",
        Effect::Set(|it, directive| put(&mut it.client_header_timeout, directive.milliseconds())),
    ),
    one(
        "client_header_buffer_size",
        Effect::Set(|it, directive| put(&mut it.client_header_buffer_size, directive.size())),
    ),
    Row {
        name: "large_client_header_buffers",
        within: &[Block::Http, Block::Server],
        arguments: 2..=2,
        effect: Effect::Set(|it, directive| {
            put(&mut it.large_client_header_buffers, directive.buffers())
        }),
    },
    one(
        "connection_pool_size",
        Effect::Compared(
            |it, directive| put(&mut it.connection_pool_size, pool_size(directive)),
            MEMORY,
        ),
    ),
    one("max_headers", Effect::Set(|it, directive| put(&mut it.max_headers, directive.number()))),
    one(
        "ignore_invalid_headers",
        Effect::Set(|it, directive| put(&mut it.ignore_invalid_headers, directive.flag())),
    ),
    one(
        "underscores_in_headers",
        Effect::Set(|it, directive| put(&mut it.underscores_in_headers, directive.flag())),
    ),
    one("merge_slashes", Effect::Set(|it, directive| put(&mut it.merge_slashes, directive.flag()))),
    Row {
        name: "server_names_hash_max_size",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Checked(number, HASH),
    },
    Row {
        name: "server_names_hash_bucket_size",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Checked(number, HASH),
    },
    Row {
        name: "variables_hash_max_size",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Checked(number, HASH),
    },
    Row {
        name: "variables_hash_bucket_size",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Checked(number, HASH),
    },
];

/// What is counted for one virtual server, since the program started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests by method, in the order of [`METHODS`], and class of status, 1xx to 5xx.
    pub requests: [[AtomicU64; 5]; METHODS.len() + 1],
    /// From the first byte of a request to the last of its answer.
    pub durations: Durations,
    /// Requests that ended without an answer: the client left before it, or was cut off.
    pub discarded: AtomicU64,
    /// Bytes of requests.
    pub received: AtomicU64,
    /// Bytes of answers, heads included.
    pub sent: AtomicU64,
}

/// The methods that are counted by name; every other is `other`.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

impl Counters {
    /// Counts a request that is over.
    pub fn observe(&self, exchange: &Exchange) {
        let (status, method) = (exchange.status, exchange.text(exchange.request.method));
        let method = METHODS.iter().position(|it| it.as_bytes() == method).unwrap_or(METHODS.len());
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if exchange.sent == 0 {
            add(&self.discarded, 1);
        }
        add(&self.received, exchange.received);
        add(&self.sent, exchange.sent);
        self.durations.observe(exchange.ended.since(exchange.started));
        // Last, so that whoever sees it finds the rest.
        add(&self.requests[method][class], 1);
    }
}

/// One `server` block.
#[derive(Debug)]
pub struct Server {
    /// Its first name, empty when it has none.
    pub name: String,
    /// Every location, found by number.
    pub locations: Vec<Location>,
    /// Which of them a path belongs to.
    pub tree: Locations,
    /// `location @name`, by name.
    pub named: HashMap<Vec<u8>, usize>,
    /// What is done where no location matches.
    pub fallback: Location,
    /// `client_body_early_read`: a body is read first where one of these is true.
    pub reads_early: Vec<Template>,
    /// `rewrite`, `set`, `if`, `return`, `break` of the server itself.
    pub rewrite: Vec<Op>,
    /// How variables of the configuration are worked out.
    pub definitions: Arc<Definitions<Exchange>>,
    /// What is counted, shared with the configuration before this one.
    pub counters: Arc<Counters>,
}

impl Server {
    /// The location that the path of a request belongs to.
    pub fn location(&self, exchange: &Exchange) -> &Location {
        let found = self.tree.find(&exchange.path, &exchange.scratch);
        found.map_or(&self.fallback, |it| &self.locations[it])
    }
}

/// What holds for a connection before its server is known; from the default server.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// From the first wait to the end of the head.
    pub header_timeout: Duration,
    /// Of the head.
    pub limits: Limits,
    /// Whether slashes in a row are one.
    pub merge_slashes: bool,
}

impl Default for Entrance {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_mins(1),
            limits: Limits::default(),
            merge_slashes: true,
        }
    }
}

/// The servers that listen on one address.
#[derive(Debug)]
pub struct Servers {
    /// Before a server is known.
    pub entrance: Entrance,
    /// In the order of the file; the numbers below are positions in it.
    pub servers: Vec<Arc<Server>>,
    /// Serves hosts that nobody names.
    pub default: usize,
    /// Positions by name.
    pub names: NameTable,
}

impl Servers {
    /// The server for a host in lower case, by nginx's order: exact, longest wildcard at the
    /// start, longest wildcard at the end, first expression, default.
    pub fn find(&self, host: &[u8], scratch: &Scratch) -> &Arc<Server> {
        &self.servers[self.position(host, scratch).unwrap_or(self.default)]
    }

    fn position(&self, host: &[u8], scratch: &Scratch) -> Option<usize> {
        if self.servers.len() == 1 && self.names.regexes.is_empty() {
            return None;
        }
        self.names.find(host, scratch)
    }
}
