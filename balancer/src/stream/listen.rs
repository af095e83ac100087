//! `listen` of a `server` in `stream`.

use crate::conf::address::{Address, Host, Purpose};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Reading, Row, Span, Word};
use crate::http::listen::socket::{self, Became};
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
    fn parameter(
        &mut self,
        directive: &Directive,
        word: &Word,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        match socket::option(&mut self.options, word)? {
            Became::Foreign => {}
            Became::Set => return Ok(()),
            Became::Nothing(reason) => {
                reading.without_effect(directive, Block::StreamServer, word, reason);
                return Ok(());
            }
        }
        match word.as_str() {
            "proxy_protocol" => self.proxy_protocol = true,
            "default_server" => self.is_default = true,
            "ssl" => {
                let help = "pass the TLS session on as it is, or end it before balancer";
                let text = "the \"ssl\" parameter requires ngx_stream_ssl_module";
                return Err(word.refuse(text).with_help(help));
            }
            _ => return Err(word.invalid_parameter()),
        }
        Ok(())
    }
}
