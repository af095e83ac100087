//! The blocks of `stream`, and which rows stand in them.

use super::once;
use crate::conf::{Block, Effect, Group, MANY, Row, Rows, Span, Table};
use crate::logs::rows as logs;
use crate::stream::{EVERYWHERE, access, core, listen, proxy};
use crate::upstream::rows as upstream;

/// Settings that are handed on from `stream` to `server`.
#[derive(Clone, Debug, Default)]
pub struct StreamScope {
    /// `allow`, `deny`, `set_real_ip_from`
    pub access: access::Settings,
    /// `proxy_protocol_timeout`
    pub core: core::Settings,
    /// `access_log`, `error_log`
    pub logs: logs::Settings,
    /// `proxy_*`
    pub proxy: proxy::Settings,
}

impl StreamScope {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            access: self.access.within(&outer.access),
            core: self.core.within(&outer.core),
            logs: self.logs.within(&outer.logs),
            proxy: self.proxy.within(&outer.proxy),
        }
    }
}

/// The `stream` block.
#[derive(Debug, Default)]
pub struct StreamBlock {
    /// Handed on.
    pub scope: StreamScope,
    /// `log_format`
    pub formats: logs::Formats,
    /// Its servers.
    pub servers: Vec<StreamServerBlock>,
    /// Its groups.
    pub upstreams: Vec<upstream::Settings>,
}

/// A `server` block of `stream`.
#[derive(Debug)]
pub struct StreamServerBlock {
    /// Handed on.
    pub scope: StreamScope,
    /// Where it listens.
    pub listen: listen::Settings,
    /// What it does.
    pub own: core::Own,
    /// The word `server`.
    pub span: Span,
}

const SCOPE: &[&dyn Rows<StreamScope>] = &[
    &Table::new(access::ROWS, |it: &mut StreamScope| &mut it.access),
    &Table::new(core::ROWS, |it: &mut StreamScope| &mut it.core),
    &Table::new(logs::STREAM_ROWS, |it: &mut StreamScope| &mut it.logs),
    &Table::new(proxy::ROWS, |it: &mut StreamScope| &mut it.proxy),
    &Table::new(REFUSED, |it: &mut StreamScope| it),
];

const fn refused(name: &'static str, help: &'static str) -> Row<StreamScope> {
    Row { name, within: EVERYWHERE, arguments: 0..=MANY, effect: Effect::Refused(help) }
}

const TLS: &str = "TLS sessions pass as they are, unread: remove the line, or end TLS elsewhere";
const DATAGRAMS: &str = "this version passes TCP on, no datagrams: remove the line";
const KNOWN: &str = "a session's server is known before it begins: write its address";
const RESOLVER: &str = "names are looked up by the system's resolver: remove the line";

/// Directives of nginx's `stream` that this version refuses there.
const REFUSED: &[Row<StreamScope>] = &[
    refused("pass", "name the address with `proxy_pass`"),
    refused("set", KNOWN),
    refused("map", KNOWN),
    refused("geo", KNOWN),
    refused("split_clients", "spread sessions over an `upstream`, with `weight` where needed"),
    refused("limit_conn", "limit sessions per server with `max_conns`"),
    refused("limit_conn_zone", "limit sessions per server with `max_conns`"),
    refused("limit_conn_dry_run", "limit sessions per server with `max_conns`"),
    refused("limit_conn_log_level", "limit sessions per server with `max_conns`"),
    refused("proxy_bind", "connections come from the address the system chooses"),
    refused("proxy_socket_keepalive", "remove the line: `proxy_timeout` ends silent sessions"),
    refused("resolver", RESOLVER),
    refused("resolver_timeout", RESOLVER),
    refused("server_name", "servers are told apart by their `listen` addresses"),
    refused("proxy_requests", DATAGRAMS),
    refused("proxy_responses", DATAGRAMS),
    refused("ssl_preread", TLS),
    refused("preread_buffer_size", TLS),
    refused("preread_timeout", TLS),
    refused("proxy_ssl", TLS),
    refused("ssl_alpn", TLS),
    refused("ssl_certificate", TLS),
    refused("ssl_certificate_key", TLS),
    refused("ssl_handshake_timeout", TLS),
];

/// Within `stream`.
pub(super) const STREAM: &[&dyn Rows<StreamBlock>] = &[
    &Table::new(STREAM_ROWS, |it: &mut StreamBlock| it),
    &Group::new(SCOPE, |it: &mut StreamBlock| &mut it.scope),
    &Table::new(logs::STREAM_FORMAT_ROWS, |it: &mut StreamBlock| &mut it.formats),
];

/// Within a `server` of `stream`.
pub(super) const SERVER: &[&dyn Rows<StreamServerBlock>] = &[
    &Table::new(listen::ROWS, |it: &mut StreamServerBlock| &mut it.listen),
    &Table::new(core::OWN_ROWS, |it: &mut StreamServerBlock| &mut it.own),
    &Group::new(SCOPE, |it: &mut StreamServerBlock| &mut it.scope),
];

/// Within an `upstream` of `stream`.
pub(super) const UPSTREAM: &[&dyn Rows<upstream::Settings>] =
    &[&Table::new(upstream::STREAM_ROWS, |it| it)];

/// The block itself.
pub(super) const MAIN_ROWS: &[Row<super::MainBlock>] = &[Row {
    name: "stream",
    within: &[Block::Main],
    arguments: 0..=0,
    effect: Effect::Open(|main, directive, reading| {
        once(main.stream.is_some(), directive)?;
        let stream = main.stream.get_or_insert_default();
        reading.apply(Block::Stream, directive.children(), STREAM, stream);
        Ok(())
    }),
}];

const STREAM_ROWS: &[Row<StreamBlock>] = &[
    Row {
        name: "server",
        within: &[Block::Stream],
        arguments: 0..=0,
        effect: Effect::Open(|stream, directive, reading| {
            let mut server = StreamServerBlock {
                scope: StreamScope::default(),
                listen: listen::Settings::default(),
                own: core::Own::default(),
                span: directive.span.clone(),
            };
            let found = reading.problems.len();
            reading.apply(Block::StreamServer, directive.children(), SERVER, &mut server);
            let name = directive.name();
            if found == reading.problems.len() {
                if server.listen.lines.is_empty() {
                    return Err(name.refuse("no \"listen\" is defined for server"));
                }
                if server.own.target.is_none() && server.own.answer.is_none() {
                    return Err(name.refuse("no handler for server"));
                }
            }
            stream.servers.push(server);
            Ok(())
        }),
    },
    Row {
        name: "upstream",
        within: &[Block::Stream],
        arguments: 1..=1,
        effect: Effect::Open(|stream, directive, reading| {
            let name = directive.text().clone();
            let is_taken = |it: &upstream::Settings| it.name.eq_ignore_ascii_case(&name);
            if stream.upstreams.iter().any(is_taken) {
                return Err(name.refuse(format!("duplicate upstream \"{name}\"")));
            }
            let mut upstream = upstream::Settings::new(name, directive.close.clone());
            let found = reading.problems.len();
            reading.apply(Block::StreamUpstream, directive.children(), UPSTREAM, &mut upstream);
            // A line that was refused may be the one whose absence would be told.
            if found == reading.problems.len() {
                upstream.check()?;
            }
            stream.upstreams.push(upstream);
            Ok(())
        }),
    },
];
