//! `allow`, `deny`, `set_real_ip_from`: which clients are served, and whose word is taken for it.
//!
//! Source: nginx `ngx_stream_access_module.c` and `ngx_stream_realip_module.c`.

use crate::client::{Rules, Trusted};
use crate::conf::{ConfError, Directive, Effect, Row};
use crate::stream::EVERYWHERE;

/// The lines of one block; without any, those of the enclosing block count.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `allow` and `deny`
    pub rules: Rules,
    /// `set_real_ip_from`
    pub trusted: Vec<Trusted>,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let trusted = if self.trusted.is_empty() { outer.trusted.clone() } else { self.trusted };
        Self { rules: self.rules.within(&outer.rules), trusted }
    }

    fn trust(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (who, warning) = Trusted::read(directive);
        self.trusted.push(who);
        warning.map_or(Ok(()), Err)
    }
}

const fn row(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// Directives of `stream` and its servers.
pub const ROWS: &[Row<Settings>] = &[
    row("allow", Effect::Add(|it, directive| it.rules.add(directive, true))),
    row("deny", Effect::Add(|it, directive| it.rules.add(directive, false))),
    row("set_real_ip_from", Effect::Add(Settings::trust)),
];
