//! `listen`: on which addresses a server is reached.

use std::net::{Ipv4Addr, SocketAddr};

use crate::conf::address::{Address, Host, Purpose};
use crate::conf::{Block, ConfError, Directive, Effect, Reading, Row, Span, Word};
use crate::snapshot::{Bind, ListenOptions};

pub mod socket;

use self::socket::Became;

/// One `listen` line.
#[derive(Clone, Debug)]
pub struct Listen {
    /// As it is written; names are looked up later.
    pub address: Address,
    /// Whether this server answers unknown names there.
    pub is_default: bool,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Options of the socket, `None` when the line gives none.
    pub options: Option<ListenOptions>,
    /// The address word.
    pub word: Word,
    /// The directive.
    pub span: Span,
}

/// The port of a `listen` that names none.
pub const DEFAULT_PORT: u16 = 80;

/// The `listen` lines of a server.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In the order of the file; without any, one that depends on who runs the program.
    pub lines: Vec<Listen>,
}

/// Directives of `server`.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "listen",
    within: &[Block::Server],
    arguments: 1..=usize::MAX,
    effect: Effect::Read(Settings::listen),
}];

const TLS: &str =
    "TLS is not part of this version: end it before balancer, or listen without `ssl`";

impl Settings {
    fn listen(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        let word = directive.text();
        let address = Address::parse(word, Purpose::Listen)
            .map_err(|it| word.refuse(format!("{it} in \"{word}\" of the \"listen\" directive")))?;
        let mut listen = Listen {
            address,
            is_default: false,
            proxy_protocol: false,
            options: None,
            word: word.clone(),
            span: directive.span.clone(),
        };
        for parameter in &directive.arguments()[1..] {
            listen.parameter(directive, parameter, reading)?;
        }
        // Names may be the same address, too; that is seen once they are looked up.
        let is_same = |it: &Listen| {
            let (a, b) = (&it.address, &listen.address);
            let port = |it: &Address| it.ports.clone().unwrap_or(DEFAULT_PORT..=DEFAULT_PORT);
            a.host == b.host && port(a) == port(b)
        };
        if self.lines.iter().any(is_same)
            && let Some(at) = listen.shown()
        {
            return Err(ConfError::new(format!("a duplicate listen {at}"), listen.span));
        }
        self.lines.push(listen);
        Ok(())
    }
}

impl Listen {
    /// The first address as nginx shows it, unless names or rights decide what it is.
    fn shown(&self) -> Option<Bind> {
        let ip = match &self.address.host {
            Host::Unix(path) => return Some(Bind::Unix(path.into())),
            Host::Any => Ipv4Addr::UNSPECIFIED.into(),
            Host::Ip(ip) => *ip,
            Host::Name(_) => return None,
        };
        let port = self.address.ports.as_ref().map_or(DEFAULT_PORT, |it| *it.start());
        Some(Bind::Inet(SocketAddr::new(ip, port)))
    }

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
                reading.without_effect(directive, Block::Server, word, reason);
                return Ok(());
            }
        }
        match word.as_str() {
            "default_server" | "default" => self.is_default = true,
            "proxy_protocol" => self.proxy_protocol = true,
            "ssl" => {
                let text = "the \"ssl\" parameter requires ngx_http_ssl_module";
                return Err(word.refuse(text).with_help(TLS));
            }
            "http2" => {
                let text = "the \"http2\" parameter requires ngx_http_v2_module";
                return Err(word.refuse(text).with_help("listen without `http2`"));
            }
            "quic" => {
                let text = "the \"quic\" parameter requires ngx_http_v3_module";
                return Err(word.refuse(text).with_help("HTTP/3 is not part of balancer"));
            }
            _ => return Err(word.invalid_parameter()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;
    use crate::conf::{Catalog, Dialect};

    #[track_caller]
    fn check(text: &str, expected: Result<(bool, Option<i32>), &str>) {
        let catalog = Catalog::default();
        let mut reading = Reading::new(&catalog, Dialect::Extended);
        let mut settings = Settings::default();
        let actual = settings.listen(&directive(text), &mut reading).map(|()| {
            let line = &settings.lines[0];
            (line.is_default, line.options.map(|it| it.backlog))
        });
        assert_eq!(actual.map_err(|it| it.reason), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn parameters_are_read_as_nginx_reads_them() {
        check("listen 80;", Ok((false, None)));
        check("listen 80 default_server;", Ok((true, None)));
        check("listen *:80 default reuseport;", Ok((true, Some(511))));
        check("listen [::]:80 ipv6only=off backlog=7;", Ok((false, Some(7))));
        check("listen 80 backlog=0;", Err("invalid backlog \"backlog=0\""));
        check("listen 80 ipv6only=ox;", Err("invalid ipv6only flags \"ox\""));
        check("listen 80 ipv6only=x;", Err("invalid parameter \"ipv6only=x\""));
        check("listen 80 nope;", Err("invalid parameter \"nope\""));
        check("listen 0;", Err("invalid port in \"0\" of the \"listen\" directive"));
        check("listen 443 ssl;", Err("the \"ssl\" parameter requires ngx_http_ssl_module"));
    }
}
