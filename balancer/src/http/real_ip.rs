//! `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`: whose word is taken for who asks?
//!
//! Source: nginx `ngx_http_realip_module.c` and `ngx_http_core_module.c`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::client::{Trusted, Who, address};
use crate::conf::{ConfError, Directive, Effect, Row};
use crate::engine::exchange::{Client, Exchange};
use crate::engine::h1::field::hash;
use crate::http::{EVERYWHERE, put};

/// Where the client's address is found.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Source {
    /// A header of the request: its name in lower case, and the hash of that.
    Field(Vec<u8>, u32),
    /// The PROXY header of the connection.
    Proxy,
}

impl Source {
    fn field(name: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        let hash = hash(&name);
        Self::Field(name, hash)
    }
}

/// What one block sets; `None` and an empty list ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `set_real_ip_from`
    pub trusted: Vec<Trusted>,
    header: Option<Source>,
    is_recursive: Option<bool>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one("set_real_ip_from", Effect::Add(Settings::trust)),
    one(
        "real_ip_header",
        Effect::Set(|it, directive| {
            it.header = Some(match directive.text().as_str() {
                "proxy_protocol" => Source::Proxy,
                name => Source::field(name.as_bytes()),
            });
            Ok(())
        }),
    ),
    one("real_ip_recursive", Effect::Set(|it, line| put(&mut it.is_recursive, line.flag()))),
];

impl Settings {
    fn trust(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (who, warning) = Trusted::read(directive);
        self.trusted.push(who);
        warning.map_or(Ok(()), Err)
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            trusted: if self.trusted.is_empty() { outer.trusted.clone() } else { self.trusted },
            header: self.header.or_else(|| outer.header.clone()),
            is_recursive: self.is_recursive.or(outer.is_recursive),
        }
    }

    /// What a request needs; `None` where nobody is trusted.
    pub fn compile(
        &self,
        answer: &dyn Fn(&str) -> Vec<IpAddr>,
    ) -> Result<Option<RealIp>, ConfError> {
        let trusted = Trusted::resolve(&self.trusted, answer)?;
        Ok((!trusted.is_empty()).then(|| RealIp {
            trusted,
            source: self.header.clone().unwrap_or_else(|| Source::field(b"x-real-ip")),
            is_recursive: self.is_recursive.unwrap_or_default(),
        }))
    }
}

/// Whose word is taken for what.
#[derive(Debug)]
pub struct RealIp {
    trusted: Vec<Who>,
    source: Source,
    is_recursive: bool,
}

impl RealIp {
    /// Replaces the client by the one a trusted peer tells of, once for a request.
    pub fn apply(&self, exchange: &mut Exchange) {
        if exchange.peer.is_some() {
            return;
        }
        let Some(peer) = exchange.client.clone() else { return };
        let told = match (&self.source, &peer.header) {
            (Source::Field(name, hash), _) => {
                let lines = exchange.fields(*hash, name).map(|it| exchange.text(it.value));
                self.find(peer.address, &lines.collect::<Vec<_>>())
            }
            (Source::Proxy, Some(header)) => {
                let told = self.find(peer.address, &[header.source.as_bytes()]);
                told.map(|it| SocketAddr::new(it.ip(), header.source_port))
            }
            (Source::Proxy, None) => None,
        };
        let Some(address) = told else { return };
        exchange.client = Some(Arc::new(Client {
            address: Some(address),
            name: address.ip().to_string(),
            local: peer.local,
            serial: peer.serial,
            accepted: peer.accepted,
            descriptor: peer.descriptor,
            header: peer.header.clone(),
            shared: Arc::clone(&peer.shared),
        }));
        exchange.peer = Some(peer);
    }

    /// The address the lines tell of, the last line being the nearest.
    fn find(&self, peer: Option<SocketAddr>, lines: &[&[u8]]) -> Option<SocketAddr> {
        let (mut at, mut found) = (peer, None);
        for line in lines.iter().rev() {
            let mut rest = *line;
            loop {
                if !self.trusted.iter().any(|it| it.has(at.map(|it| it.ip()))) {
                    return found;
                }
                let Some((outer, last)) = last(rest) else { break };
                let Some(told) = address(last) else { return found };
                (at, found, rest) = (Some(told), Some(told), outer);
                if !self.is_recursive {
                    return found;
                }
            }
        }
        found
    }
}

/// The last of a list of addresses, and what stands before it.
fn last(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_between = |it: &u8| matches!(it, b' ' | b',');
    let end = list.iter().rposition(|it| !is_between(it))? + 1;
    let start = list[..end].iter().rposition(is_between).map_or(0, |it| it + 1);
    Some((&list[..start], &list[start..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(is_recursive: bool, lines: &[&str], expected: Option<&str>) {
        let mut settings = Settings { is_recursive: Some(is_recursive), ..Settings::default() };
        settings.trust(&directive("set_real_ip_from 10.0.0.0/8;")).unwrap();
        let real_ip = settings.compile(&|_| Vec::new()).unwrap().unwrap();
        let lines: Vec<_> = lines.iter().map(|it| it.as_bytes()).collect();
        let found = real_ip.find("10.0.0.1:5".parse().ok(), &lines);
        assert_eq!(found.map(|it| it.to_string()).as_deref(), expected, "{lines:?}");
    }

    #[test]
    fn the_last_address_counts_and_recursively_the_last_that_is_not_trusted() {
        check(false, &["1.1.1.1, 2.2.2.2"], Some("2.2.2.2:0"));
        check(false, &["1.1.1.1,10.0.0.2 , "], Some("10.0.0.2:0"));
        check(true, &["1.1.1.1, 2.2.2.2, 10.0.0.2"], Some("2.2.2.2:0"));
        check(true, &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3:0"));
        check(true, &["1.1.1.1", "10.0.0.2"], Some("1.1.1.1:0"));
        check(true, &["unknown, 10.0.0.2"], Some("10.0.0.2:0"));
        check(false, &["2.2.2.2:77"], Some("2.2.2.2:77"));
        check(false, &["unknown"], None);
        check(false, &[], None);
    }
}
