//! What holds for every session: `tcp_nodelay`, `proxy_protocol_timeout`, and the text of `return`.

use std::time::Duration;

use crate::conf::{Block, ConfError, Directive, Effect, Row, Word};
use crate::http::put;
use crate::stream::EVERYWHERE;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    proxy_protocol_timeout: Option<Duration>,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            proxy_protocol_timeout: self.proxy_protocol_timeout.or(outer.proxy_protocol_timeout),
        }
    }

    /// `proxy_protocol_timeout`
    pub fn proxy_protocol_timeout(&self) -> Duration {
        self.proxy_protocol_timeout.unwrap_or(Duration::from_secs(30))
    }
}

const HASH: &str = "names are looked up in tables without a size limit";

fn number(directive: &Directive) -> Result<(), ConfError> {
    directive.number().map(drop)
}

const fn only(name: &'static str) -> Row<Settings> {
    Row { name, within: &[Block::Stream], arguments: 1..=1, effect: Effect::Checked(number, HASH) }
}

/// Directives of `stream` and its servers.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "tcp_nodelay",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Checked(|it| it.flag().map(drop), "small packets are always sent at once"),
    },
    Row {
        name: "proxy_protocol_timeout",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| {
            put(&mut it.proxy_protocol_timeout, directive.milliseconds())
        }),
    },
    only("variables_hash_max_size"),
    only("variables_hash_bucket_size"),
];

/// What a server does itself.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// `proxy_pass`
    pub target: Option<Word>,
    /// `return`
    pub answer: Option<Word>,
}

/// Directives of a server alone.
pub const OWN_ROWS: &[Row<Own>] = &[
    Row {
        name: "proxy_pass",
        within: &[Block::StreamServer],
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| {
            let word = directive.text();
            if word.contains('$') {
                let help = "name an address or an `upstream`: this version knows the target of a \
                            session before it begins";
                let text = "\"proxy_pass\" directive has variables";
                return Err(word.refuse(text).with_help(help));
            }
            it.target = Some(word.clone());
            Ok(())
        }),
    },
    Row {
        name: "return",
        within: &[Block::StreamServer],
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| {
            it.answer = Some(directive.text().clone());
            Ok(())
        }),
    },
];
