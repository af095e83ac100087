//! `proxy_*` of `stream`: how long and how fast a session is passed on, and who is tried next.

use std::sync::Arc;
use std::time::Duration;

use crate::conf::{ConfError, Directive, Effect, Row};
use crate::http::put;
use crate::stream::EVERYWHERE;
use crate::stream::variable::Template;
use crate::upstream::Upstream;

/// The PROXY header that a server is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Greeting {
    /// None.
    #[default]
    Off,
    /// A line.
    V1,
    /// Bytes.
    V2,
}

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    connect_timeout: Option<Duration>,
    timeout: Option<Duration>,
    buffer_size: Option<u64>,
    upload_rate: Option<u64>,
    download_rate: Option<u64>,
    next_upstream: Option<bool>,
    next_upstream_tries: Option<u64>,
    next_upstream_timeout: Option<Duration>,
    protocol: Option<Greeting>,
    half_close: Option<bool>,
}

/// How sessions of one server are passed on.
#[derive(Debug)]
pub struct Proxy {
    /// To whom.
    pub upstream: Arc<Upstream>,
    /// What sessions are hashed by, where the group hashes.
    pub key: Option<Arc<Template>>,
    /// Most time for one connection to a server.
    pub connect_timeout: Duration,
    /// How long both sides may be silent.
    pub timeout: Duration,
    /// Bytes held for each direction.
    pub buffer_size: usize,
    /// Bytes per second from the client, 0 for no limit.
    pub upload_rate: u64,
    /// Bytes per second from the server, 0 for no limit.
    pub download_rate: u64,
    /// Whether another server is tried when one cannot be connected to.
    pub next_upstream: bool,
    /// Most servers tried, `None` for all.
    pub next_upstream_tries: Option<u32>,
    /// Since the first try, after which none follows; `None` for no limit.
    pub next_upstream_timeout: Option<Duration>,
    /// What the server is told first.
    pub protocol: Greeting,
    /// Whether the end of one side leaves the other open.
    pub half_close: bool,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
            timeout: self.timeout.or(outer.timeout),
            buffer_size: self.buffer_size.or(outer.buffer_size),
            upload_rate: self.upload_rate.or(outer.upload_rate),
            download_rate: self.download_rate.or(outer.download_rate),
            next_upstream: self.next_upstream.or(outer.next_upstream),
            next_upstream_tries: self.next_upstream_tries.or(outer.next_upstream_tries),
            next_upstream_timeout: self.next_upstream_timeout.or(outer.next_upstream_timeout),
            protocol: self.protocol.or(outer.protocol),
            half_close: self.half_close.or(outer.half_close),
        }
    }

    /// What a session needs, with nginx's defaults.
    pub fn compile(&self, upstream: Arc<Upstream>, key: Option<Arc<Template>>) -> Proxy {
        let size = self.buffer_size.unwrap_or(16 * 1024).max(1);
        let tries = self.next_upstream_tries.filter(|it| *it > 0);
        Proxy {
            upstream,
            key,
            connect_timeout: self.connect_timeout.unwrap_or(Duration::from_mins(1)),
            timeout: self.timeout.unwrap_or(Duration::from_mins(10)),
            buffer_size: usize::try_from(size).unwrap_or(usize::MAX),
            upload_rate: self.upload_rate.unwrap_or(0),
            download_rate: self.download_rate.unwrap_or(0),
            next_upstream: self.next_upstream.unwrap_or(true),
            next_upstream_tries: tries.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
            next_upstream_timeout: self.next_upstream_timeout.filter(|it| !it.is_zero()),
            protocol: self.protocol.unwrap_or_default(),
            half_close: self.half_close.unwrap_or(false),
        }
    }
}

const fn row(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

fn rate(directive: &Directive) -> Result<u64, ConfError> {
    let word = directive.text();
    if word.contains('$') {
        let help = "this version knows rates before a session begins: write a number";
        return Err(word.refuse(format!("invalid value \"{word}\"")).with_help(help));
    }
    directive.size()
}

/// Directives of `stream` and its servers.
pub const ROWS: &[Row<Settings>] = &[
    row(
        "proxy_connect_timeout",
        Effect::Set(|it, directive| put(&mut it.connect_timeout, directive.milliseconds())),
    ),
    row(
        "proxy_timeout",
        Effect::Set(|it, directive| put(&mut it.timeout, directive.milliseconds())),
    ),
    row(
        "proxy_buffer_size",
        Effect::Set(|it, directive| put(&mut it.buffer_size, directive.size())),
    ),
    row(
        "proxy_upload_rate",
        Effect::Set(|it, directive| put(&mut it.upload_rate, rate(directive))),
    ),
    row(
        "proxy_download_rate",
        Effect::Set(|it, directive| put(&mut it.download_rate, rate(directive))),
    ),
    row(
        "proxy_next_upstream",
        Effect::Set(|it, directive| put(&mut it.next_upstream, directive.flag())),
    ),
    row(
        "proxy_next_upstream_tries",
        Effect::Set(|it, directive| put(&mut it.next_upstream_tries, directive.number())),
    ),
    row(
        "proxy_next_upstream_timeout",
        Effect::Set(|it, directive| put(&mut it.next_upstream_timeout, directive.milliseconds())),
    ),
    row(
        "proxy_protocol",
        Effect::Set(|it, directive| {
            let greetings = [("off", Greeting::Off), ("on", Greeting::V1), ("v2", Greeting::V2)];
            put(&mut it.protocol, directive.choice(&greetings))
        }),
    ),
    row("proxy_half_close", Effect::Set(|it, directive| put(&mut it.half_close, directive.flag()))),
];
