//! Where connections to servers come from, and options of their sockets: `proxy_bind` and
//! `proxy_socket_*`.

use std::net::{IpAddr, SocketAddr};

use crate::conf::{Block, ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::peer::Outgoing;
use crate::http::variable::{Template, compile};
use crate::http::{EVERYWHERE, put};
use crate::stream;
use crate::variable::{Names, Subject, has_variables};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    bind: Option<Bind<Word>>,
    keepalive: Option<bool>,
    rcvbuf: Option<u64>,
    sndbuf: Option<u64>,
}

/// An address to connect from.
#[derive(Clone, Debug)]
enum Bind<V> {
    /// The system's choice.
    Off,
    Fixed {
        address: SocketAddr,
        is_transparent: bool,
    },
    Variable {
        value: V,
        is_transparent: bool,
    },
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            bind: self.bind.or_else(|| outer.bind.clone()),
            keepalive: self.keepalive.or(outer.keepalive),
            rcvbuf: self.rcvbuf.or(outer.rcvbuf),
            sndbuf: self.sndbuf.or(outer.sndbuf),
        }
    }

    /// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_bind_set_slot`.
    fn bind(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let is_transparent = match directive.arguments().get(1) {
            None => false,
            Some(flag) if *flag == "transparent" => true,
            Some(flag) => return Err(flag.invalid_parameter()),
        };
        self.bind = Some(match word.as_str() {
            "off" if directive.arguments().len() == 1 => Bind::Off,
            text if has_variables(text.as_bytes()) => {
                Bind::Variable { value: word.clone(), is_transparent }
            }
            text => {
                let refuse = || word.refuse(format!("invalid address \"{word}\""));
                Bind::Fixed { address: address(text).ok_or_else(refuse)?, is_transparent }
            }
        });
        Ok(())
    }

    /// Looks the variables up.
    pub fn compile<S: Subject>(&self, names: &Names<S>) -> Result<Sockets<S>, ConfError> {
        let bind = match self.bind.as_ref().unwrap_or(&Bind::Off) {
            Bind::Off => Bind::Off,
            Bind::Fixed { address, is_transparent } => {
                Bind::Fixed { address: *address, is_transparent: *is_transparent }
            }
            Bind::Variable { value, is_transparent } => {
                Bind::Variable { value: compile(value, names)?, is_transparent: *is_transparent }
            }
        };
        let bytes = |it: Option<u64>| it.filter(|it| 0 < *it).and_then(|it| u32::try_from(it).ok());
        let (rcvbuf, sndbuf) = (bytes(self.rcvbuf), bytes(self.sndbuf));
        Ok(Sockets { bind, keepalive: self.keepalive.unwrap_or_default(), rcvbuf, sndbuf })
    }
}

/// An address, with or without port.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().ok().map(|it| SocketAddr::new(it, 0));
    ip.or_else(|| text.parse().ok())
}

/// What a location, or a server of `stream`, says of its connections to servers.
#[derive(Debug)]
pub struct Sockets<S = Exchange> {
    bind: Bind<Template<S>>,
    keepalive: bool,
    rcvbuf: Option<u32>,
    sndbuf: Option<u32>,
}

impl<S: Subject> Sockets<S> {
    /// What holds for a request or session.
    ///
    /// # Errors
    ///
    /// What a variable names instead of an address; then the system chooses, as in nginx.
    pub fn of(&self, subject: &S) -> Result<Outgoing, (Outgoing, String)> {
        let Self { keepalive, rcvbuf, sndbuf, .. } = *self;
        let plain = Outgoing { keepalive, rcvbuf, sndbuf, ..Outgoing::default() };
        let from = |address, is_transparent| Outgoing {
            local: Some(address),
            is_transparent,
            ..plain.clone()
        };
        match &self.bind {
            Bind::Off => Ok(plain),
            Bind::Fixed { address, is_transparent } => Ok(from(*address, *is_transparent)),
            Bind::Variable { value, is_transparent } => {
                let value = value.value(subject);
                if value.is_empty() {
                    return Ok(plain);
                }
                let value = String::from_utf8_lossy(&value);
                match address(&value) {
                    Some(address) => Ok(from(address, *is_transparent)),
                    None => Err((plain, format!("invalid local address \"{value}\""))),
                }
            }
        }
    }
}

const fn bind(within: &'static [Block]) -> Row<Settings> {
    Row { name: "proxy_bind", within, arguments: 1..=2, effect: Effect::Set(Settings::bind) }
}

const fn keepalive(within: &'static [Block]) -> Row<Settings> {
    let effect =
        Effect::Set(|it: &mut Settings, directive| put(&mut it.keepalive, directive.flag()));
    Row { name: "proxy_socket_keepalive", within, arguments: 1..=1, effect }
}

/// Directives of `stream` and its servers.
pub const STREAM_ROWS: &[Row<Settings>] =
    &[bind(stream::EVERYWHERE), keepalive(stream::EVERYWHERE)];

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    bind(EVERYWHERE),
    keepalive(EVERYWHERE),
    Row {
        name: "proxy_socket_rcvbuf",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.rcvbuf, directive.size())),
    },
    Row {
        name: "proxy_socket_sndbuf",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.sndbuf, directive.size())),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, &str>) {
        let mut settings = Settings::default();
        let read = settings.bind(&directive(text)).map_err(|it| it.reason);
        let actual = read.map(|()| {
            let sockets = settings.compile(&Names::<Exchange>::default()).unwrap();
            let of = sockets.of(&Exchange::default());
            of.unwrap_or_else(|(plain, _)| plain).local.map(|it| it.to_string())
        });
        let expected = expected.map(|it| it.map(str::to_owned)).map_err(str::to_owned);
        assert_eq!(actual, expected, "{text}");
    }

    #[test]
    fn an_address_may_have_a_port_and_be_variable() {
        check("proxy_bind 127.0.0.1;", Ok(Some("127.0.0.1:0")));
        check("proxy_bind 127.0.0.1:80 transparent;", Ok(Some("127.0.0.1:80")));
        check("proxy_bind [::1];", Ok(Some("[::1]:0")));
        check("proxy_bind [::1]:80;", Ok(Some("[::1]:80")));
        check("proxy_bind off;", Ok(None));
        check("proxy_bind $arg_x;", Ok(None));
        check("proxy_bind name;", Err("invalid address \"name\""));
        check("proxy_bind 127.0.0.1 other;", Err("invalid parameter \"other\""));
    }
}
