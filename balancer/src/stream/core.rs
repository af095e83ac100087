//! What holds for every session: PROXY headers, prereading, and what a server does itself.

use std::time::Duration;

use crate::conf::{Block, Directive, Effect, Row, Word};
use crate::http::core::{HASH, number};
use crate::http::put;
use crate::stream::EVERYWHERE;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    proxy_protocol_timeout: Option<Duration>,
    preread_buffer_size: Option<u64>,
    preread_timeout: Option<Duration>,
    tcp_nodelay: Option<bool>,
    /// `ssl_preread`
    pub(super) ssl_preread: Option<bool>,
}

/// How much is read of a session before its content is chosen, and how long that may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Preread {
    /// Most bytes.
    pub size: usize,
    /// Longest wait.
    pub timeout: Duration,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            proxy_protocol_timeout: self.proxy_protocol_timeout.or(outer.proxy_protocol_timeout),
            preread_buffer_size: self.preread_buffer_size.or(outer.preread_buffer_size),
            preread_timeout: self.preread_timeout.or(outer.preread_timeout),
            tcp_nodelay: self.tcp_nodelay.or(outer.tcp_nodelay),
            ssl_preread: self.ssl_preread.or(outer.ssl_preread),
        }
    }

    /// `proxy_protocol_timeout`
    pub fn proxy_protocol_timeout(&self) -> Duration {
        self.proxy_protocol_timeout.unwrap_or(Duration::from_secs(30))
    }

    /// Whether small packets of a session that is passed on wait for no other: `tcp_nodelay`.
    pub fn sends_at_once(&self) -> bool {
        self.tcp_nodelay.unwrap_or(true)
    }

    /// What is read ahead, `None` where nobody looks at it.
    pub fn preread(&self) -> Option<Preread> {
        let size = self.preread_buffer_size.unwrap_or(16 * 1024);
        let timeout = self.preread_timeout.unwrap_or(Duration::from_secs(30));
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.ssl_preread.unwrap_or_default().then_some(Preread { size, timeout })
    }
}

const fn hash(name: &'static str) -> Row<Settings> {
    Row { name, within: &[Block::Stream], arguments: 1..=1, effect: Effect::Checked(number, HASH) }
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `stream` and its servers.
pub const ROWS: &[Row<Settings>] = &[
    one("tcp_nodelay", Effect::Set(|it, directive| put(&mut it.tcp_nodelay, directive.flag()))),
    one(
        "proxy_protocol_timeout",
        Effect::Set(|it, directive| put(&mut it.proxy_protocol_timeout, directive.milliseconds())),
    ),
    one(
        "preread_buffer_size",
        Effect::Set(|it, directive| put(&mut it.preread_buffer_size, directive.size())),
    ),
    one(
        "preread_timeout",
        Effect::Set(|it, directive| put(&mut it.preread_timeout, directive.milliseconds())),
    ),
    hash("variables_hash_max_size"),
    hash("variables_hash_bucket_size"),
    hash("server_names_hash_max_size"),
    hash("server_names_hash_bucket_size"),
];

/// What a server does itself.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Of several lines that say what is done with a session the last counts.
    pub handler: Option<Handler>,
}

/// What is done with a session, as it is written.
#[derive(Clone, Debug)]
pub enum Handler {
    /// `proxy_pass`
    Proxy(Word),
    /// `pass`
    Pass(Word),
    /// `return`
    Return(Word),
}

const fn handler(name: &'static str, effect: Effect<Own>) -> Row<Own> {
    Row { name, within: &[Block::StreamServer], arguments: 1..=1, effect }
}

fn word(directive: &Directive) -> Word {
    directive.text().clone()
}

/// Directives of a server alone.
pub const OWN_ROWS: &[Row<Own>] = &[
    handler(
        "proxy_pass",
        Effect::Set(|it, directive| put(&mut it.handler, Ok(Handler::Proxy(word(directive))))),
    ),
    handler(
        "return",
        Effect::Set(|it, directive| put(&mut it.handler, Ok(Handler::Return(word(directive))))),
    ),
    handler(
        "pass",
        Effect::Set(|it, directive| {
            super::pass::check(directive)?;
            put(&mut it.handler, Ok(Handler::Pass(word(directive))))
        }),
    ),
];
