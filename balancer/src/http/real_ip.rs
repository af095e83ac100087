//! `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`: whose word is taken for who asks?
//!
//! Source: nginx `ngx_http_realip_module.c` and `ngx_http_core_module.c`.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::client::{Who, address};
use crate::conf::{ConfError, Directive, Effect, Row};
use crate::engine::exchange::{Client, Exchange};
use crate::engine::h1::field::hash;
use crate::http::{EVERYWHERE, put};

/// What one block sets; `None` and an empty list ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    trusted: Vec<Who>,
    header: Option<Vec<u8>>,
    is_recursive: Option<bool>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one("set_real_ip_from", Effect::Add(Settings::trust)),
    one("real_ip_header", Effect::Set(Settings::header)),
    one("real_ip_recursive", Effect::Set(|it, line| put(&mut it.is_recursive, line.flag()))),
];

impl Settings {
    fn trust(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (who, warning) = Who::trusted(directive)?;
        self.trusted.push(who);
        warning.map_or(Ok(()), Err)
    }

    fn header(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        if *word == "proxy_protocol" {
            let help = "PROXY headers are read by `stream` only in this version";
            return Err(word.invalid_value().with_help(help));
        }
        self.header = Some(word.as_bytes().to_ascii_lowercase());
        Ok(())
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
    pub fn compile(&self) -> Option<RealIp> {
        let header = self.header.clone().unwrap_or_else(|| b"x-real-ip".to_vec());
        (!self.trusted.is_empty()).then(|| RealIp {
            trusted: self.trusted.clone(),
            hash: hash(&header),
            header,
            is_recursive: self.is_recursive.unwrap_or_default(),
        })
    }
}

/// Where the client's address is found.
#[derive(Debug)]
pub struct RealIp {
    trusted: Vec<Who>,
    header: Vec<u8>,
    hash: u32,
    is_recursive: bool,
}

impl RealIp {
    /// Replaces the client by the one a trusted peer tells of, once for a request.
    pub fn apply(&self, exchange: &mut Exchange) {
        if exchange.peer.is_some() {
            return;
        }
        let Some(peer) = exchange.client.clone() else { return };
        let told = {
            let values = exchange.request.fields.iter().filter(|it| {
                it.hash == self.hash && exchange.text(it.name).eq_ignore_ascii_case(&self.header)
            });
            let values: Vec<&[u8]> = values.map(|it| exchange.text(it.value)).collect();
            self.find(peer.address, &values)
        };
        let Some(address) = told else { return };
        exchange.client = Some(Arc::new(Client {
            address: Some(address),
            name: address.ip().to_string(),
            local: peer.local,
            serial: peer.serial,
            accepted: peer.accepted,
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
        let real_ip = settings.compile().unwrap();
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
