//! Where does a redirect of ours lead: to a path, or to a path of which host?

use crate::conf::{Effect, Row};
use crate::engine::exchange::Exchange;
use crate::engine::h1::write;
use crate::http::{EVERYWHERE, put};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    absolute: Option<bool>,
    port: Option<bool>,
    server_name: Option<bool>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one("absolute_redirect", Effect::Set(|it, directive| put(&mut it.absolute, directive.flag()))),
    one("port_in_redirect", Effect::Set(|it, directive| put(&mut it.port, directive.flag()))),
    one(
        "server_name_in_redirect",
        Effect::Set(|it, directive| put(&mut it.server_name, directive.flag())),
    ),
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            absolute: self.absolute.or(outer.absolute),
            port: self.port.or(outer.port),
            server_name: self.server_name.or(outer.server_name),
        }
    }

    /// What a request needs, with nginx's defaults.
    #[must_use]
    pub fn compile(&self) -> Redirects {
        Redirects {
            is_absolute: self.absolute.unwrap_or(true),
            has_port: self.port.unwrap_or(true),
            has_server_name: self.server_name.unwrap_or(false),
        }
    }
}

/// How a location writes the targets of its redirects.
#[derive(Clone, Copy, Debug)]
pub struct Redirects {
    is_absolute: bool,
    has_port: bool,
    has_server_name: bool,
}

impl Default for Redirects {
    fn default() -> Self {
        Settings::default().compile()
    }
}

impl Redirects {
    /// Puts the target of a redirect into the head of the answer.
    ///
    /// Source: nginx `ngx_http_header_filter_module.c`, `ngx_http_header_filter`.
    pub fn tell(&self, exchange: &mut Exchange, target: &[u8]) {
        if target.first() != Some(&b'/') || !self.is_absolute {
            exchange.head.add(b"Location", target);
            return;
        }
        let local = exchange.client.as_ref().and_then(|it| it.local);
        let mut out = b"http://".to_vec();
        if self.has_server_name {
            let name = exchange.server.as_ref().map_or("", |it| it.name.as_str());
            out.extend_from_slice(name.as_bytes());
        } else if exchange.host.is_empty() {
            let name = local.map(|it| match it.ip().to_canonical() {
                std::net::IpAddr::V6(ip) => format!("[{ip}]"),
                std::net::IpAddr::V4(ip) => ip.to_string(),
            });
            out.extend_from_slice(name.unwrap_or_default().as_bytes());
        } else {
            out.extend_from_slice(&exchange.host);
        }
        if let Some(port) = local.map(|it| it.port()).filter(|it| self.has_port && *it != 80) {
            out.push(b':');
            write::decimal(&mut out, u64::from(port));
        }
        out.extend_from_slice(target);
        exchange.head.location = out;
    }
}
