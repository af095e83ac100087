//! `listen` of a `server` in `stream`.

use crate::conf::address::{Address, Host, Purpose};
use crate::conf::value::{number, size};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Reading, Row, Span, Word};
use crate::http::listen::ACCEPTED;
use crate::snapshot::ListenOptions;

/// One `listen` line.
#[derive(Clone, Debug)]
pub struct Listen {
    /// As it is written; names are looked up later.
    pub address: Address,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Whether its server serves whoever asks for no name.
    pub is_default: bool,
    /// Options of the socket, where any is given.
    pub options: Option<ListenOptions>,
    /// The address word.
    pub word: Word,
    /// The directive.
    pub span: Span,
}

/// The `listen` lines of a server.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In the order of the file.
    pub lines: Vec<Listen>,
}

/// Directives of a server.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "listen",
    within: &[Block::StreamServer],
    arguments: 1..=MANY,
    effect: Effect::Read(Settings::listen),
}];

const DATAGRAMS: &str = "this version passes TCP on, no datagrams: remove the line";
const LATER: &str = "data is not taken before the handshake is over";
const BOUND: &str = "every address has a socket of its own on every worker";

impl Settings {
    /// Source: nginx `ngx_stream_core_module.c`, `ngx_stream_core_listen`.
    fn listen(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        let word = directive.text();
        let refuse =
            |text: &str| word.refuse(format!("{text} in \"{word}\" of the \"listen\" directive"));
        let address =
            Address::parse(word, Purpose::Listen).map_err(|it| refuse(&it.to_string()))?;
        if address.ports.is_none() && matches!(address.host, Host::Any | Host::Ip(_)) {
            return Err(refuse("no port"));
        }
        let mut listen = Listen {
            address,
            proxy_protocol: false,
            is_default: false,
            options: None,
            word: word.clone(),
            span: directive.span.clone(),
        };
        let mut is_udp = None;
        for parameter in &directive.arguments()[1..] {
            if *parameter == "udp" {
                is_udp = Some(parameter);
            } else {
                listen.parameter(directive, parameter, reading)?;
            }
        }
        if let Some(word) = is_udp {
            return Err(word.invalid_parameter().with_help(DATAGRAMS));
        }
        self.lines.push(listen);
        Ok(())
    }
}

impl Listen {
    fn options(&mut self) -> &mut ListenOptions {
        self.options.get_or_insert_default()
    }

    fn parameter(
        &mut self,
        directive: &Directive,
        word: &Word,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        let (name, value) = word.split_once('=').map_or((&**word, None), |(a, b)| (a, Some(b)));
        let refuse = || word.refuse(format!("invalid {name} \"{word}\""));
        let bytes = |it| size(it).and_then(|it| usize::try_from(it).ok());
        match (name, value) {
            ("proxy_protocol", None) => self.proxy_protocol = true,
            ("backlog", Some(value)) => {
                let backlog = number(value).and_then(|it| i32::try_from(it).ok());
                self.options().backlog = backlog.filter(|it| *it > 0).ok_or_else(refuse)?;
            }
            ("rcvbuf", Some(value)) => {
                self.options().receive_buffer = Some(bytes(value).ok_or_else(refuse)?);
            }
            ("sndbuf", Some(value)) => {
                self.options().send_buffer = Some(bytes(value).ok_or_else(refuse)?);
            }
            ("ipv6only", Some("on")) => self.options().only_v6 = true,
            ("ipv6only", Some("off")) => self.options().only_v6 = false,
            ("ipv6only", Some(value)) if value.starts_with('o') => {
                return Err(word.refuse(format!("invalid ipv6only flags \"{value}\"")));
            }
            ("bind" | "reuseport", None) => {
                self.options();
                reading.without_effect(directive, Block::StreamServer, word, BOUND);
            }
            ("ssl", None) => {
                let help = "pass the TLS session on as it is, or end it before balancer";
                let text = "the \"ssl\" parameter requires ngx_stream_ssl_module";
                return Err(word.refuse(text).with_help(help));
            }
            ("default_server", None) => self.is_default = true,
            ("deferred", None) => {
                self.options();
                reading.without_effect(directive, Block::StreamServer, word, ACCEPTED);
            }
            ("fastopen", Some(value)) => {
                number(value).ok_or_else(refuse)?;
                self.options();
                reading.without_effect(directive, Block::StreamServer, word, LATER);
            }
            ("so_keepalive", Some(value))
                if !matches!(value, "on" | "off") && !value.contains(':') =>
            {
                return Err(word.refuse(format!("invalid so_keepalive value: \"{value}\"")));
            }
            ("so_keepalive", Some(_)) | ("multipath", None) => {
                let help = "this socket option is not set by this version: remove it";
                return Err(word.invalid_parameter().with_help(help));
            }
            _ => return Err(word.invalid_parameter()),
        }
        Ok(())
    }
}
