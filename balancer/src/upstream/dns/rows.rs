//! `resolver` and `resolver_timeout`.

use std::sync::Arc;
use std::time::Duration;

use crate::conf::address::{Address, Purpose};
use crate::conf::value::{Unit, time};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};

/// A `resolver` line as it is written.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its servers.
    pub servers: Vec<(Address, Word)>,
    /// How long an answer is kept.
    pub valid: Option<Duration>,
    /// Whether IPv4 addresses are asked for.
    pub ipv4: bool,
    /// Whether IPv6 addresses are asked for.
    pub ipv6: bool,
}

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Shared by all blocks that inherit it: they share what it knows.
    pub resolver: Option<Arc<Line>>,
    /// Longest wait for an answer.
    pub timeout: Option<Duration>,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            resolver: self.resolver.or_else(|| outer.resolver.clone()),
            timeout: self.timeout.or(outer.timeout),
        }
    }

    /// Longest wait for an answer, nginx's default included.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(30))
    }

    /// Source: nginx `ngx_resolver.c`, `ngx_resolver_create`.
    fn resolver(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let mut line = Line { servers: Vec::new(), valid: None, ipv4: true, ipv6: true };
        for word in directive.arguments() {
            let refuse = || word.refuse(format!("invalid parameter: {word}"));
            let flag = |value: &str| match value {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err(refuse()),
            };
            match word.split_once('=') {
                Some(("valid", value)) => {
                    line.valid = Some(time(value, Unit::Seconds).ok_or_else(refuse)?);
                }
                Some(("ipv4", value)) => line.ipv4 = flag(value)?,
                Some(("ipv6", value)) => line.ipv6 = flag(value)?,
                Some(("status_zone", name)) if !name.is_empty() => {}
                _ => {
                    let address = Address::parse(word, Purpose::Peer)
                        .map_err(|it| word.refuse(format!("{it} in resolver \"{word}\"")))?;
                    line.servers.push((address, word.clone()));
                }
            }
        }
        if !line.ipv4 && !line.ipv6 {
            let text = "\"ipv4\" and \"ipv6\" cannot both be \"off\"";
            return Err(directive.name().refuse(text));
        }
        if line.servers.is_empty() {
            return Err(directive.name().refuse("no name servers defined"));
        }
        self.resolver = Some(Arc::new(line));
        Ok(())
    }
}

const WITHIN: &[Block] = &[Block::Upstream, Block::Http, Block::Server, Block::Location];

/// Directives of `http` and the blocks within.
pub const ROWS: &[Row<Settings>] = &rows(WITHIN);

/// Directives of `stream` and its servers.
pub const STREAM_ROWS: &[Row<Settings>] = &rows(&[Block::Stream, Block::StreamServer]);

/// Directives of `upstream` in `stream`.
pub const STREAM_UPSTREAM_ROWS: &[Row<Settings>] = &rows(&[Block::StreamUpstream]);

const fn rows(within: &'static [Block]) -> [Row<Settings>; 2] {
    [
        Row {
            name: "resolver",
            within,
            arguments: 1..=MANY,
            effect: Effect::Set(Settings::resolver),
        },
        Row {
            name: "resolver_timeout",
            within,
            arguments: 1..=1,
            effect: Effect::Set(|it, directive| {
                it.timeout = Some(directive.milliseconds()?);
                Ok(())
            }),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, expected: Result<(usize, Option<u64>, bool, bool), &str>) {
        let mut settings = Settings::default();
        let read = settings.resolver(&directive(text)).map_err(|it| it.reason);
        let actual = read.map(|()| {
            let line = settings.resolver.unwrap();
            (line.servers.len(), line.valid.map(|it| it.as_secs()), line.ipv4, line.ipv6)
        });
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn servers_and_parameters_are_told_apart() {
        check("resolver 127.0.0.1;", Ok((1, None, true, true)));
        check("resolver 127.0.0.1:5353 [::1] valid=10s ipv6=off;", Ok((2, Some(10), true, false)));
        check("resolver 127.0.0.1 status_zone=z ipv4=off;", Ok((1, None, false, true)));
    }

    #[test]
    fn wrong_parameters_are_refused() {
        check("resolver 127.0.0.1 valid=x;", Err("invalid parameter: valid=x"));
        check("resolver 127.0.0.1 ipv6=no;", Err("invalid parameter: ipv6=no"));
        check("resolver 127.0.0.1:x;", Err("invalid port in resolver \"127.0.0.1:x\""));
        check(
            "resolver 127.0.0.1 ipv4=off ipv6=off;",
            Err("\"ipv4\" and \"ipv6\" cannot both be \"off\""),
        );
        check("resolver valid=1s;", Err("no name servers defined"));
    }
}
