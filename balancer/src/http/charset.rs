//! `charset`: which charset is told with the type of an answer?

use crate::conf::{ConfError, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::mime::Kinds;
use crate::http::variable::{Template, compile};
use crate::http::{EVERYWHERE, WITH_IF, put};
use crate::logs::{self, Level};
use crate::variable::Names;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    charset: Option<Word>,
    types: Option<Kinds>,
    overrides: Option<bool>,
}

/// Types that are told with a charset unless `charset_types` says more.
const TYPES: &[&str] = &[
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
];

/// Directives of `http`, `server`, `location` and `if`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "charset",
        within: WITH_IF,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.charset, Ok(directive.text().clone()))),
    },
    Row {
        name: "charset_types",
        within: EVERYWHERE,
        arguments: 1..=MANY,
        effect: Effect::Read(|it, directive, reading| {
            Kinds::read(&mut it.types, directive, &TYPES[..1], reading);
            Ok(())
        }),
    },
    Row {
        name: "override_charset",
        within: WITH_IF,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.overrides, directive.flag())),
    },
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            charset: self.charset.or_else(|| outer.charset.clone()),
            types: self.types.or_else(|| outer.types.clone()),
            overrides: self.overrides.or(outer.overrides),
        }
    }

    /// Whether answers are told to be UTF-8.
    pub fn is_utf8(&self) -> bool {
        self.charset.as_ref().is_some_and(|it| it.eq_ignore_ascii_case("utf-8"))
    }

    /// What a request needs, `None` where no charset is told.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Option<Charset>, ConfError> {
        let Some(word) = self.charset.as_ref().filter(|it| **it != "off") else { return Ok(None) };
        Ok(Some(Charset {
            name: compile(word, names)?,
            types: self.types.clone().unwrap_or_else(|| Kinds::of(TYPES)),
            overrides: self.overrides.unwrap_or(false),
        }))
    }
}

/// A `charset` line.
#[derive(Debug)]
pub struct Charset {
    name: Template,
    types: Kinds,
    overrides: bool,
}

impl Charset {
    /// Tells the charset with the type of an answer.
    ///
    /// Source: nginx `ngx_http_charset_filter_module.c`, `ngx_http_destination_charset` and
    /// `ngx_http_set_charset`.
    pub fn apply(&self, exchange: &mut Exchange) {
        let head = &exchange.head;
        // `X-Accel-Charset` has said it already.
        if !head.charset.is_empty() {
            if !head.charset.eq_ignore_ascii_case(&self.name.value(exchange)) {
                refuse(exchange);
            }
            return;
        }
        let is_wanted =
            if head.names_charset() { self.overrides } else { self.types.has(head.kind()) };
        // Old browsers took the charset of a redirect for that of the page it leads to.
        if head.content_type.is_empty() || !is_wanted || matches!(head.status, 301 | 302) {
            return;
        }
        let name = self.name.value(exchange);
        let length = head.kind().len();
        let named = &head.content_type[length..];
        let is_same = named.len() >= name.len()
            && named[named.len() - name.len()..].eq_ignore_ascii_case(&name);
        if head.names_charset() && !is_same {
            // Only a `charset_map` could turn one into the other.
            let at = memchr::memchr(b'=', named).map_or(0, |it| it + 1);
            let text = format!(
                "no \"charset_map\" between the charsets \"{}\" and \"{}\"",
                String::from_utf8_lossy(&named[at..]),
                String::from_utf8_lossy(&name),
            );
            return logs::note(
                Level::Error,
                exchange,
                &text,
                "reading response header from upstream",
            );
        }
        let head = &mut exchange.head;
        head.content_type.truncate(length);
        head.charset = name;
    }
}

/// Forgets the charset that `X-Accel-Charset` asks for.
///
/// Source: nginx `ngx_http_charset_filter_module.c`, `ngx_http_destination_charset`; one is known
/// if a `charset` names it.
pub fn refuse(exchange: &mut Exchange) {
    let charset = std::mem::take(&mut exchange.head.charset);
    if !charset.is_empty() && !exchange.head.content_type.is_empty() {
        let text = format!("unknown charset \"{}\" to override", String::from_utf8_lossy(&charset));
        logs::note(Level::Error, exchange, &text, "reading response header from upstream");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(overrides: bool, status: u16, kind: &str, expected: &str) {
        let charset = Some(directive("charset utf-8;").text().clone());
        let settings = Settings { charset, overrides: Some(overrides), types: None };
        let charset = settings.compile(&Names::default()).unwrap().unwrap();
        let mut exchange = Exchange::default();
        exchange.head.status = status;
        exchange.head.content_type = kind.as_bytes().to_vec();
        charset.apply(&mut exchange);
        let mut out = Vec::new();
        exchange.head.value(b"content-type", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{kind}");
    }

    #[test]
    fn texts_without_a_charset_are_told_one() {
        check(false, 200, "text/html", "text/html; charset=utf-8");
        check(false, 404, "text/plain", "text/plain; charset=utf-8");
        check(false, 200, "image/png", "image/png");
        check(false, 301, "text/html", "text/html");
        check(false, 200, "text/html; charset=x", "text/html; charset=x");
        check(true, 200, "text/html; charset=x", "text/html; charset=x");
        check(true, 200, "text/html; charset=UTF-8", "text/html; charset=utf-8");
        check(false, 200, "", "");
    }
}
