//! Who is asking: clients told apart by their address.
//!
//! Source: nginx `ngx_http_access_module.c`, `ngx_stream_access_module.c` and `ngx_inet.c`.

use std::net::{IpAddr, SocketAddr};

use crate::conf::{ConfError, Directive, Word};

/// A client's address without its port, as text; `unix:` on a Unix socket.
///
/// Every connection needs it, so nearly all of them go without the formatter.
pub fn name(address: Option<SocketAddr>) -> String {
    let ip = match address.map(|it| it.ip().to_canonical()) {
        None => return "unix:".to_owned(),
        Some(IpAddr::V6(ip)) => return ip.to_string(),
        Some(IpAddr::V4(ip)) => ip,
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in ip.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
            if least <= octet {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text
}

/// Some clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// Everybody.
    All,
    /// Those of Unix sockets.
    Unix,
    /// A network: its address, and how many bits of it count.
    Network(IpAddr, u8),
}

impl Who {
    /// Whether a client is one of them; `None` is a Unix socket.
    pub fn has(self, client: Option<IpAddr>) -> bool {
        match (self, client.map(|it| it.to_canonical())) {
            (Self::All, _) | (Self::Unix, None) => true,
            (Self::Network(IpAddr::V4(network), bits), Some(IpAddr::V4(ip))) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                ip.to_bits() & mask == network.to_bits()
            }
            (Self::Network(IpAddr::V6(network), bits), Some(IpAddr::V6(ip))) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                ip.to_bits() & mask == network.to_bits()
            }
            _ => false,
        }
    }

    /// The clients of `set_real_ip_from`; the warning where bits beyond the mask are set.
    pub fn read(directive: &Directive) -> Result<(Self, Option<ConfError>), ConfError> {
        if *directive.text() == "unix:" {
            return Ok((Self::Unix, None));
        }
        Self::parse(directive)
    }

    /// An address or a network.
    fn parse(directive: &Directive) -> Result<(Self, Option<ConfError>), ConfError> {
        let word = directive.text();
        let refuse = || word.invalid_parameter();
        let (ip, bits) = match word.split_once('/') {
            None => (word.as_str(), None),
            Some((ip, bits)) => (ip, Some(bits.parse::<u8>().map_err(|_| refuse())?)),
        };
        let ip: IpAddr = ip.parse().map_err(|_| refuse())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if most < bits {
            return Err(refuse());
        }
        let network = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4((ip.to_bits() & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6((ip.to_bits() & mask).into())
            }
        };
        let text = format!("low address bits of {word} are meaningless");
        let warning = (network != ip).then(|| word.refuse(text).warning());
        Ok((Self::Network(network, bits), warning))
    }
}

/// Those of `set_real_ip_from`, whose word is taken.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// Told by their addresses.
    Known(Who),
    /// The addresses of a name, which is looked up once.
    Named(Word),
}

impl Trusted {
    /// Reads a line; the warning where bits beyond the mask are set.
    ///
    /// Source: nginx `ngx_http_realip_module.c`, `ngx_http_realip_from`.
    pub fn read(directive: &Directive) -> (Self, Option<ConfError>) {
        match Who::read(directive) {
            Ok((who, warning)) => (Self::Known(who), warning),
            Err(_) => (Self::Named(directive.text().clone()), None),
        }
    }

    /// The name that is to be looked up, if there is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Named(word) => Some(word),
        }
    }

    /// Who that is, by the answer that names got. An error is nginx's text.
    pub fn resolve(
        lines: &[Self],
        answer: &dyn Fn(&str) -> Vec<IpAddr>,
    ) -> Result<Vec<Who>, ConfError> {
        let mut all = Vec::new();
        for line in lines {
            match line {
                Self::Known(who) => all.push(*who),
                Self::Named(word) => {
                    let found = answer(word);
                    if found.is_empty() {
                        let text = format!("host not found in set_real_ip_from \"{word}\"");
                        return Err(word.refuse(text));
                    }
                    let bits = |it: &IpAddr| if it.is_ipv4() { 32 } else { 128 };
                    all.extend(found.iter().map(|it| Who::Network(*it, bits(it))));
                }
            }
        }
        Ok(all)
    }
}

/// One `allow` or `deny`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// For whom it is.
    pub who: Who,
    /// Whether they are served.
    pub allows: bool,
}

/// Whether a client is served: by the first rule that is for it, `None` when there is none.
pub fn verdict(rules: &[Rule], client: Option<IpAddr>) -> Option<bool> {
    rules.iter().find(|it| it.who.has(client)).map(|it| it.allows)
}

/// As [`verdict`]; whom no rule is for is served.
pub fn allows(rules: &[Rule], client: Option<IpAddr>) -> bool {
    verdict(rules, client).unwrap_or(true)
}

/// `allow` and `deny` lines; without any, those of the enclosing block count.
#[derive(Clone, Debug, Default)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// Adds a line.
    pub fn add(&mut self, directive: &Directive, allows: bool) -> Result<(), ConfError> {
        let (who, warning) = match *directive.text() == "all" {
            true => (Who::All, None),
            false => Who::read(directive)?,
        };
        self.0.push(Rule { who, allows });
        warning.map_or(Ok(()), Err)
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        if self.0.is_empty() { outer.clone() } else { self }
    }
}

/// An address as `X-Forwarded-For` has it, with or without a port; 0 stands for none.
pub fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0));
    }
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match bare {
        Some(ip) => ip.parse().ok().map(|ip| SocketAddr::new(IpAddr::V6(ip), 0)),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(lines: &[&str], client: &str, expected: bool) {
        let mut rules = Rules::default();
        for line in lines {
            let line = directive(line);
            rules.add(&line, *line.name() == "allow").unwrap();
        }
        assert_eq!(allows(&rules.0, client.parse().ok()), expected, "{lines:?} {client}");
    }

    #[test]
    fn an_address_is_named_as_the_formatter_would() {
        for ip in ["0.0.0.0", "127.0.0.1", "10.20.30.40", "255.100.99.9", "2001:db8::7"] {
            assert_eq!(name(Some(SocketAddr::new(ip.parse().unwrap(), 1))), ip);
        }
        assert_eq!(name(Some("[::ffff:1.2.3.4]:5".parse().unwrap())), "1.2.3.4");
        assert_eq!(name(None), "unix:");
    }

    #[test]
    fn the_first_rule_that_is_for_a_client_decides() {
        let lines = ["deny 10.0.0.1;", "allow 10.0.0.0/8;", "allow 2001:db8::/32;", "deny all;"];
        check(&lines, "10.0.0.1", false);
        check(&lines, "10.0.0.2", true);
        check(&lines, "::ffff:10.0.0.2", true);
        check(&lines, "11.0.0.2", false);
        check(&lines, "2001:db8::7", true);
        check(&lines, "unix", false);
        check(&["allow unix:;", "deny all;"], "unix", true);
        check(&["deny 0.0.0.0/0;"], "1.2.3.4", false);
        check(&[], "1.2.3.4", true);
    }

    #[test]
    fn addresses_are_checked_as_nginx_checks_them() {
        let reason = |text| Rules::default().add(&directive(text), true).unwrap_err().reason;
        assert_eq!(reason("allow x;"), "invalid parameter \"x\"");
        assert_eq!(reason("allow 10.0.0.0/33;"), "invalid parameter \"10.0.0.0/33\"");
        assert_eq!(reason("allow 10.0.0.1/8;"), "low address bits of 10.0.0.1/8 are meaningless");
    }

    #[test]
    fn an_address_may_have_a_port() {
        let text = |it: &[u8]| address(it).map(|it| it.to_string());
        assert_eq!(text(b"10.0.0.1").as_deref(), Some("10.0.0.1:0"));
        assert_eq!(text(b"10.0.0.1:80").as_deref(), Some("10.0.0.1:80"));
        assert_eq!(text(b"::1").as_deref(), Some("[::1]:0"));
        assert_eq!(text(b"[::1]").as_deref(), Some("[::1]:0"));
        assert_eq!(text(b"[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(text(b"name"), None);
        assert_eq!(text(b""), None);
    }
}
