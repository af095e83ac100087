//! `proxy_*` of `stream`: how long and how fast a session is passed on, and who is tried next.

use std::sync::Arc;
use std::time::Duration;

use crate::conf::{ConfError, Directive, Effect, Row, Word};
use crate::http::proxy_pass::socket::{self, Sockets};
use crate::http::put;
use crate::stream::EVERYWHERE;
use crate::stream::proxy::aim::Target;
use crate::stream::session::Session;
use crate::stream::upstream::Habits;
use crate::variable::{Names, Template, compile, has_variables};

pub mod aim;

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
    upload_rate: Option<Word>,
    download_rate: Option<Word>,
    next_upstream: Option<bool>,
    next_upstream_tries: Option<u64>,
    next_upstream_timeout: Option<Duration>,
    protocol: Option<Greeting>,
    half_close: Option<bool>,
    /// `proxy_bind`, `proxy_socket_keepalive`
    pub sockets: socket::Settings,
}

/// How sessions of one server are passed on.
#[derive(Debug)]
pub struct Proxy {
    /// To whom.
    pub target: Target,
    /// What the groups know beside.
    pub habits: Arc<Habits>,
    /// Most time for one connection to a server.
    pub connect_timeout: Duration,
    /// How long both sides may be silent.
    pub timeout: Duration,
    /// Bytes held for each direction.
    pub buffer_size: usize,
    /// Bytes per second from the client, 0 for no limit.
    pub upload_rate: Template<Session>,
    /// Bytes per second from the server, 0 for no limit.
    pub download_rate: Template<Session>,
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
    /// Where connections to servers come from.
    pub sockets: Sockets<Session>,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
            timeout: self.timeout.or(outer.timeout),
            buffer_size: self.buffer_size.or(outer.buffer_size),
            upload_rate: self.upload_rate.or_else(|| outer.upload_rate.clone()),
            download_rate: self.download_rate.or_else(|| outer.download_rate.clone()),
            next_upstream: self.next_upstream.or(outer.next_upstream),
            next_upstream_tries: self.next_upstream_tries.or(outer.next_upstream_tries),
            next_upstream_timeout: self.next_upstream_timeout.or(outer.next_upstream_timeout),
            protocol: self.protocol.or(outer.protocol),
            half_close: self.half_close.or(outer.half_close),
            sockets: self.sockets.within(&outer.sockets),
        }
    }

    /// What a session needs, with nginx's defaults.
    pub fn compile(
        &self,
        target: Target,
        habits: &Arc<Habits>,
        names: &Names<Session>,
    ) -> Result<Proxy, ConfError> {
        let size = self.buffer_size.unwrap_or(16 * 1024).max(1);
        let tries = self.next_upstream_tries.filter(|it| *it > 0);
        let rate = |word: &Option<Word>| match word {
            Some(word) => compile(word, names),
            None => Ok(Template::text(b"0")),
        };
        Ok(Proxy {
            target,
            habits: Arc::clone(habits),
            connect_timeout: self.connect_timeout.unwrap_or(Duration::from_mins(1)),
            timeout: self.timeout.unwrap_or(Duration::from_mins(10)),
            buffer_size: usize::try_from(size).unwrap_or(usize::MAX),
            upload_rate: rate(&self.upload_rate)?,
            download_rate: rate(&self.download_rate)?,
            next_upstream: self.next_upstream.unwrap_or(true),
            next_upstream_tries: tries.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
            next_upstream_timeout: self.next_upstream_timeout.filter(|it| !it.is_zero()),
            protocol: self.protocol.unwrap_or_default(),
            half_close: self.half_close.unwrap_or(false),
            sockets: self.sockets.compile(names)?,
        })
    }
}

const fn row(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// `proxy_buffer_size` by one of its old names.
fn old_buffer_size(settings: &mut Settings, directive: &Directive) -> Result<(), ConfError> {
    if settings.buffer_size.is_some() {
        return Err(directive.refuse("is duplicate"));
    }
    settings.buffer_size = Some(directive.size()?);
    let name = directive.name();
    let text = format!(
        "the \"{name}\" directive is deprecated, use the \"proxy_buffer_size\" directive instead"
    );
    Err(name.refuse(text).warning())
}

/// A size, or a text that comes to one.
fn rate(directive: &Directive) -> Result<Word, ConfError> {
    let word = directive.text();
    if !has_variables(word.as_bytes()) {
        directive.size()?;
    }
    Ok(word.clone())
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
    row("proxy_downstream_buffer", Effect::Set(old_buffer_size)),
    row("proxy_upstream_buffer", Effect::Set(old_buffer_size)),
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
            let greeting = match directive.text().as_str() {
                "v2" => Greeting::V2,
                _ if directive.flag()? => Greeting::V1,
                _ => Greeting::Off,
            };
            put(&mut it.protocol, Ok(greeting))
        }),
    ),
    row("proxy_half_close", Effect::Set(|it, directive| put(&mut it.half_close, directive.flag()))),
];
