//! The blocks of `stream`, and which rows stand in them.

use super::once;
use crate::conf::{Block, Effect, Group, MANY, Row, Rows, Span, Table, Word};
use crate::http::proxy_pass::socket;
use crate::http::{limit_conn, limit_zone, server};
use crate::logs::rows as logs;
use crate::stream::{EVERYWHERE, access, core, listen, proxy, set, ssl_preread};
use crate::upstream::protection::rows as protection;
use crate::upstream::{check, dns, rows as upstream, state};
use crate::variable::rows as variable;

/// Settings that are handed on from `stream` to `server`.
#[derive(Clone, Debug, Default)]
pub struct StreamScope {
    /// `allow`, `deny`, `set_real_ip_from`
    pub access: access::Settings,
    /// `proxy_protocol_timeout`, prereading
    pub core: core::Settings,
    /// `limit_conn` and its relatives
    pub limit_conn: limit_conn::Settings,
    /// `access_log`, `error_log`
    pub logs: logs::Settings,
    /// `proxy_*`
    pub proxy: proxy::Settings,
    /// `resolver`, `resolver_timeout`
    pub resolver: dns::rows::Settings,
    /// `health_check_timeout`
    pub patience: check::rows::Patience,
}

impl StreamScope {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            access: self.access.within(&outer.access),
            core: self.core.within(&outer.core),
            limit_conn: self.limit_conn.within(&outer.limit_conn),
            logs: self.logs.within(&outer.logs),
            proxy: self.proxy.within(&outer.proxy),
            resolver: self.resolver.within(&outer.resolver),
            patience: self.patience.within(&outer.patience),
        }
    }
}

/// The `stream` block.
#[derive(Debug, Default)]
pub struct StreamBlock {
    /// Handed on.
    pub scope: StreamScope,
    /// `map`, `geo`, `split_clients`
    pub variables: variable::Settings,
    /// `limit_conn_zone`
    pub zones: limit_zone::Settings,
    /// `log_format`
    pub formats: logs::Formats,
    /// Its servers.
    pub servers: Vec<StreamServerBlock>,
    /// Its groups.
    pub upstreams: Vec<upstream::Settings>,
    /// `match` blocks by name.
    pub talks: Vec<(Word, check::talk::Talk)>,
}

/// A `server` block of `stream`.
#[derive(Debug)]
pub struct StreamServerBlock {
    /// Handed on.
    pub scope: StreamScope,
    /// Where it listens.
    pub listen: listen::Settings,
    /// Its names.
    pub names: server::Names,
    /// `set`
    pub set: set::Settings,
    /// What it does.
    pub own: core::Own,
    /// `health_check`
    pub checks: check::rows::Settings,
    /// The word `server`.
    pub span: Span,
}

const SCOPE: &[&dyn Rows<StreamScope>] = &[
    &Table::new(access::ROWS, |it: &mut StreamScope| &mut it.access),
    &Table::new(core::ROWS, |it: &mut StreamScope| &mut it.core),
    &Table::new(ssl_preread::ROWS, |it: &mut StreamScope| &mut it.core),
    &Table::new(limit_conn::STREAM_ROWS, |it: &mut StreamScope| &mut it.limit_conn),
    &Table::new(logs::STREAM_ROWS, |it: &mut StreamScope| &mut it.logs),
    &Table::new(proxy::ROWS, |it: &mut StreamScope| &mut it.proxy),
    &Table::new(socket::STREAM_ROWS, |it: &mut StreamScope| &mut it.proxy.sockets),
    &Table::new(dns::rows::STREAM_ROWS, |it: &mut StreamScope| &mut it.resolver),
    &Table::new(check::rows::PATIENCE_ROWS, |it: &mut StreamScope| &mut it.patience),
    &Table::new(REFUSED, |it: &mut StreamScope| it),
];

const fn refused(name: &'static str, help: &'static str) -> Row<StreamScope> {
    Row { name, within: EVERYWHERE, arguments: 0..=MANY, effect: Effect::Refused(help) }
}

const TLS: &str = "TLS sessions pass as they are, unread: remove the line, or end TLS elsewhere";
const DATAGRAMS: &str = "this version passes TCP on, no datagrams: remove the line";

/// Directives of nginx's `stream` that this version refuses there.
const REFUSED: &[Row<StreamScope>] = &[
    refused("proxy_requests", DATAGRAMS),
    refused("proxy_responses", DATAGRAMS),
    refused("proxy_ssl", TLS),
    refused("proxy_ssl_alpn", TLS),
    refused("proxy_ssl_certificate", TLS),
    refused("proxy_ssl_certificate_cache", TLS),
    refused("proxy_ssl_certificate_key", TLS),
    refused("proxy_ssl_ciphers", TLS),
    refused("proxy_ssl_conf_command", TLS),
    refused("proxy_ssl_crl", TLS),
    refused("proxy_ssl_name", TLS),
    refused("proxy_ssl_password_file", TLS),
    refused("proxy_ssl_protocols", TLS),
    refused("proxy_ssl_server_name", TLS),
    refused("proxy_ssl_session_reuse", TLS),
    refused("proxy_ssl_trusted_certificate", TLS),
    refused("proxy_ssl_verify", TLS),
    refused("proxy_ssl_verify_depth", TLS),
    refused("ssl_alpn", TLS),
    refused("ssl_certificate", TLS),
    refused("ssl_certificate_cache", TLS),
    refused("ssl_certificate_key", TLS),
    refused("ssl_ciphers", TLS),
    refused("ssl_client_certificate", TLS),
    refused("ssl_conf_command", TLS),
    refused("ssl_crl", TLS),
    refused("ssl_dhparam", TLS),
    refused("ssl_ecdh_curve", TLS),
    refused("ssl_handshake_timeout", TLS),
    refused("ssl_ocsp", TLS),
    refused("ssl_ocsp_cache", TLS),
    refused("ssl_ocsp_responder", TLS),
    refused("ssl_password_file", TLS),
    refused("ssl_prefer_server_ciphers", TLS),
    refused("ssl_protocols", TLS),
    refused("ssl_reject_handshake", TLS),
    refused("ssl_session_cache", TLS),
    refused("ssl_session_ticket_key", TLS),
    refused("ssl_session_tickets", TLS),
    refused("ssl_session_timeout", TLS),
    refused("ssl_stapling", TLS),
    refused("ssl_stapling_file", TLS),
    refused("ssl_stapling_responder", TLS),
    refused("ssl_stapling_verify", TLS),
    refused("ssl_trusted_certificate", TLS),
    refused("ssl_verify_client", TLS),
    refused("ssl_verify_depth", TLS),
];

/// Within `stream`.
pub(super) const STREAM: &[&dyn Rows<StreamBlock>] = &[
    &Table::new(STREAM_ROWS, |it: &mut StreamBlock| it),
    &Group::new(SCOPE, |it: &mut StreamBlock| &mut it.scope),
    &Table::new(variable::STREAM_ROWS, |it: &mut StreamBlock| &mut it.variables),
    &Table::new(limit_zone::STREAM_ROWS, |it: &mut StreamBlock| &mut it.zones),
    &Table::new(logs::STREAM_FORMAT_ROWS, |it: &mut StreamBlock| &mut it.formats),
];

/// Within a `server` of `stream`.
pub(super) const SERVER: &[&dyn Rows<StreamServerBlock>] = &[
    &Table::new(listen::ROWS, |it: &mut StreamServerBlock| &mut it.listen),
    &Table::new(server::STREAM_NAME_ROWS, |it: &mut StreamServerBlock| &mut it.names),
    &Table::new(set::ROWS, |it: &mut StreamServerBlock| &mut it.set),
    &Table::new(core::OWN_ROWS, |it: &mut StreamServerBlock| &mut it.own),
    &Table::new(check::rows::STREAM_ROWS, |it: &mut StreamServerBlock| &mut it.checks),
    &Group::new(SCOPE, |it: &mut StreamServerBlock| &mut it.scope),
];

/// Within an `upstream` of `stream`.
pub(super) const UPSTREAM: &[&dyn Rows<upstream::Settings>] = &[
    &Table::new(upstream::STREAM_SERVER_ROWS, |it| it),
    &Table::new(state::rows::STREAM_ROWS, |it| it),
    &Table::new(upstream::STREAM_ROWS, |it| it),
    &Table::extension(protection::STREAM_ROWS, |it: &mut upstream::Settings| &mut it.protection),
    &Table::new(dns::rows::STREAM_UPSTREAM_ROWS, |it: &mut upstream::Settings| &mut it.resolver),
];

/// Within a `match` of `stream`.
pub(super) const MATCH: &[&dyn Rows<check::talk::Talk>] =
    &[&Table::new(check::talk::ROWS, |it: &mut check::talk::Talk| it)];

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
                names: server::Names::default(),
                set: set::Settings::default(),
                own: core::Own::default(),
                checks: check::rows::Settings::default(),
                span: directive.span.clone(),
            };
            let found = reading.problems.len();
            reading.apply(Block::StreamServer, directive.children(), SERVER, &mut server);
            let name = directive.name();
            if found == reading.problems.len() && server.listen.lines.is_empty() {
                return Err(name.refuse("no \"listen\" is defined for server"));
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
    Row {
        name: "match",
        within: &[Block::Stream],
        arguments: 1..=1,
        effect: Effect::Open(|stream, directive, reading| {
            let name = directive.text().clone();
            if stream.talks.iter().any(|(it, _)| **it == *name) {
                return Err(name.refuse(format!("duplicate match \"{name}\"")));
            }
            let mut talk = check::talk::Talk::default();
            reading.apply(Block::StreamMatch, directive.children(), MATCH, &mut talk);
            stream.talks.push((name, talk));
            Ok(())
        }),
    },
];
