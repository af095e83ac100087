//! What is done for certain browsers, and how are they known?

use crate::conf::{ConfError, Directive, Effect, Row};
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::hash;
use crate::http::{EVERYWHERE, put};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    padding: Option<bool>,
    refresh: Option<bool>,
    keepalive_disable: Option<u8>,
}

/// The words of `keepalive_disable`.
const WORDS: [&str; 3] = ["none", "msie6", "safari"];
const MSIE6: u8 = 1 << 1;
const SAFARI: u8 = 1 << 2;

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "msie_padding",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.padding, directive.flag())),
    },
    Row {
        name: "msie_refresh",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.refresh, directive.flag())),
    },
    Row {
        name: "keepalive_disable",
        within: EVERYWHERE,
        arguments: 1..=2,
        effect: Effect::Set(Settings::keepalive_disable),
    },
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            padding: self.padding.or(outer.padding),
            refresh: self.refresh.or(outer.refresh),
            keepalive_disable: self.keepalive_disable.or(outer.keepalive_disable),
        }
    }

    /// Source: nginx `ngx_conf_file.c`, `ngx_conf_set_bitmask_slot`.
    fn keepalive_disable(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (mut all, mut warning) = (0, None);
        for word in directive.arguments() {
            let known = WORDS.iter().position(|it| it.eq_ignore_ascii_case(word));
            let bit = 1 << known.ok_or_else(|| word.invalid_value())?;
            if all & bit != 0 {
                let text = format!("duplicate value \"{word}\"");
                warning.get_or_insert(word.refuse(text).warning());
            }
            all |= bit;
        }
        self.keepalive_disable = Some(all);
        warning.map_or(Ok(()), Err)
    }

    /// What a request needs, with nginx's defaults.
    #[must_use]
    pub fn compile(&self) -> Browsers {
        Browsers {
            pads: self.padding.unwrap_or(true),
            refreshes: self.refresh.unwrap_or(false),
            keepalive_disable: self.keepalive_disable.unwrap_or(MSIE6),
        }
    }
}

/// What a location does for certain browsers.
#[derive(Clone, Copy, Debug)]
pub struct Browsers {
    pads: bool,
    refreshes: bool,
    keepalive_disable: u8,
}

impl Default for Browsers {
    fn default() -> Self {
        Settings::default().compile()
    }
}

impl Browsers {
    /// Whether the browser is one that replaces short error pages by its own.
    pub fn pads(&self, exchange: &Exchange) -> bool {
        self.pads && agent(exchange).is_some_and(|it| is_msie(it) || is_chrome(it))
    }

    /// Whether the browser is sent a page that leads on instead of a redirect.
    pub fn refreshes(&self, exchange: &Exchange) -> bool {
        self.refreshes && agent(exchange).is_some_and(is_msie)
    }

    /// Whether the browser cannot keep its connection.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_update_location_config`.
    pub fn closes(&self, exchange: &Exchange) -> bool {
        let msie6 = self.keepalive_disable & MSIE6 != 0 && exchange.method() == b"POST";
        let safari = self.keepalive_disable & SAFARI != 0;
        if !msie6 && !safari {
            return false;
        }
        let Some(agent) = agent(exchange) else { return false };
        (msie6 && is_msie6(agent)) || (safari && is_safari(agent))
    }
}

/// The page that leads to a target.
///
/// Source: nginx `ngx_http_special_response.c`, `ngx_http_send_refresh`.
pub fn refresh_page(target: &[u8]) -> Vec<u8> {
    let mut page = b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=".to_vec();
    for byte in target {
        if matches!(byte, 0..=b' ' | b'"' | b'\'' | 0x7f..=0xff) {
            page.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            page.push(*byte);
        }
    }
    page.extend_from_slice(b"\"></head><body></body></html>\r\n");
    page
}

fn agent(exchange: &Exchange) -> Option<&[u8]> {
    const NAME: &[u8] = b"user-agent";
    exchange.field(const { hash(NAME) }, NAME).map(|it| exchange.text(it.value))
}

fn has(agent: &[u8], word: &str) -> bool {
    memchr::memmem::find(agent, word.as_bytes()).is_some()
}

/// What follows the name of an Internet Explorer.
///
/// Source: nginx `ngx_http_request.c`, `ngx_http_process_user_agent`.
fn msie(agent: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(agent, b"MSIE ")?;
    let rest = &agent[at + 5..];
    (!rest.is_empty() && !has(agent, "Opera")).then_some(rest)
}

fn is_msie(agent: &[u8]) -> bool {
    msie(agent).is_some()
}

/// Whether the browser is an Internet Explorer that cannot do what it says.
pub fn is_msie6(agent: &[u8]) -> bool {
    let Some(rest) = msie(agent).filter(|it| it.get(1) == Some(&b'.')) else { return false };
    match rest[0] {
        b'4' | b'5' => true,
        b'6' => !has(rest, "SV1"),
        _ => false,
    }
}

fn is_other(agent: &[u8]) -> bool {
    !is_msie(agent) && !has(agent, "Opera") && !has(agent, "Gecko/")
}

fn is_chrome(agent: &[u8]) -> bool {
    is_other(agent) && has(agent, "Chrome/")
}

fn is_safari(agent: &[u8]) -> bool {
    is_other(agent) && !has(agent, "Chrome/") && has(agent, "Safari/") && has(agent, "Mac OS X")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn old_browsers_are_known_by_their_name() {
        let agent = |it: &str| is_msie6(format!("Mozilla/4.0 (compatible; {it})").as_bytes());
        assert!(agent("MSIE 6.0; Windows"));
        assert!(agent("MSIE 5.5"));
        assert!(!agent("MSIE 6.0; Windows; SV1"));
        assert!(!agent("MSIE 6.0; Opera"));
        assert!(!agent("MSIE 7.0"));
        assert!(!agent("MSIE 10.0"));
        assert!(is_safari(b"Mozilla/5.0 (Macintosh; Intel Mac OS X) (KHTML, like Gecko) Safari/1"));
        assert!(!is_safari(b"Mozilla/5.0 (Mac OS X) (KHTML, like Gecko) Chrome/1 Safari/1"));
        assert!(is_chrome(b"Mozilla/5.0 (Mac OS X) (KHTML, like Gecko) Chrome/1 Safari/1"));
    }

    #[test]
    fn browsers_are_named_in_a_list() {
        let mut settings = Settings::default();
        settings.keepalive_disable(&directive("keepalive_disable msie6 Safari;")).unwrap();
        assert_eq!(settings.keepalive_disable, Some(MSIE6 | SAFARI));
        let refusal = settings.keepalive_disable(&directive("keepalive_disable x;")).unwrap_err();
        assert_eq!(refusal.reason, "invalid value \"x\"");
    }

    #[test]
    fn a_target_cannot_leave_the_page_it_stands_in() {
        let page = String::from_utf8(refresh_page(b"/a\"><b 'c")).unwrap();
        assert!(page.contains("URL=/a%22><b%20%27c\""), "{page}");
    }
}
