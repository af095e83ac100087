//! `gzip`: which answers are compressed, and for whom?

use crate::conf::{ConfError, Directive, Effect, MANY, Row};
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::hash;
use crate::engine::h1::request::Version;
use crate::http::browser::is_msie6;
use crate::http::core::{flag, size};
use crate::http::mime::Kinds;
use crate::http::{EVERYWHERE, WITH_IF, put};
use crate::regex::Regex;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    gzip: Option<bool>,
    types: Option<Kinds>,
    min_length: Option<u64>,
    comp_level: Option<u32>,
    http_1_0: Option<bool>,
    proxied: Option<u16>,
    vary: Option<bool>,
    disable: Vec<Regex>,
    disable_msie6: Option<bool>,
}

/// The words of `gzip_proxied`, each with a bit of its own.
const PROXIED: [&str; 9] = [
    "off",
    "expired",
    "no-cache",
    "no-store",
    "private",
    "no_last_modified",
    "no_etag",
    "auth",
    "any",
];

/// The bit of a word of `gzip_proxied`.
const fn bit(of: usize) -> u16 {
    1 << of
}

const OFF: u16 = bit(0);
const EXPIRED: u16 = bit(1);
const NO_CACHE: u16 = bit(2);
const NO_STORE: u16 = bit(3);
const PRIVATE: u16 = bit(4);
const NO_LAST_MODIFIED: u16 = bit(5);
const NO_ETAG: u16 = bit(6);
const AUTH: u16 = bit(7);
const ANY: u16 = bit(8);

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

const fn many(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=MANY, effect }
}

const MEMORY: &str = "memory of a compressor is taken as needed";

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "gzip",
        within: WITH_IF,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.gzip, directive.flag())),
    },
    many(
        "gzip_types",
        Effect::Read(|it, directive, reading| {
            Kinds::read(&mut it.types, directive, HTML, reading);
            Ok(())
        }),
    ),
    one("gzip_min_length", Effect::Set(|it, directive| put(&mut it.min_length, directive.size()))),
    one("gzip_comp_level", Effect::Set(Settings::comp_level)),
    one(
        "gzip_http_version",
        Effect::Set(|it, directive| {
            put(&mut it.http_1_0, directive.choice(&[("1.0", true), ("1.1", false)]))
        }),
    ),
    many("gzip_proxied", Effect::Set(Settings::proxied)),
    one("gzip_vary", Effect::Set(|it, directive| put(&mut it.vary, directive.flag()))),
    many("gzip_disable", Effect::Add(Settings::disable)),
    Row {
        name: "gzip_buffers",
        within: EVERYWHERE,
        arguments: 2..=2,
        effect: Effect::Checked(|it| it.buffers().map(drop), MEMORY),
    },
    one("gzip_window", Effect::Checked(window, MEMORY)),
    one("gzip_hash", Effect::Checked(hash_size, MEMORY)),
    one("postpone_gzipping", Effect::Checked(size, "what is held back is let go in time")),
    one("gzip_no_buffer", Effect::Checked(flag, "what is held back is let go in time")),
];

const HTML: &[&str] = &["text/html"];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let is_silent = self.disable.is_empty() && self.disable_msie6.is_none();
        let disabled = if is_silent { outer } else { &self };
        Self {
            disable: disabled.disable.clone(),
            disable_msie6: disabled.disable_msie6,
            gzip: self.gzip.or(outer.gzip),
            types: self.types.clone().or_else(|| outer.types.clone()),
            min_length: self.min_length.or(outer.min_length),
            comp_level: self.comp_level.or(outer.comp_level),
            http_1_0: self.http_1_0.or(outer.http_1_0),
            proxied: self.proxied.or(outer.proxied),
            vary: self.vary.or(outer.vary),
        }
    }

    fn comp_level(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let level = directive.number()?;
        if !(1..=9).contains(&level) {
            return Err(directive.text().refuse("value must be between 1 and 9"));
        }
        self.comp_level = u32::try_from(level).ok();
        Ok(())
    }

    /// Source: nginx `ngx_conf_file.c`, `ngx_conf_set_bitmask_slot`.
    fn proxied(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (mut all, mut warning) = (0, None);
        for word in directive.arguments() {
            let known = PROXIED.iter().position(|it| it.eq_ignore_ascii_case(word));
            let bit = bit(known.ok_or_else(|| word.invalid_value())?);
            if all & bit != 0 {
                let text = format!("duplicate value \"{word}\"");
                warning.get_or_insert(word.refuse(text).warning());
            }
            all |= bit;
        }
        self.proxied = Some(all);
        warning.map_or(Ok(()), Err)
    }

    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_gzip_disable`.
    fn disable(&mut self, directive: &Directive) -> Result<(), ConfError> {
        for word in directive.arguments() {
            if *word == "msie6" {
                self.disable_msie6 = Some(true);
            } else {
                let regex = Regex::new(word.as_bytes(), true).map_err(|it| word.refuse(it))?;
                self.disable.push(regex);
            }
        }
        Ok(())
    }

    /// What a request needs, with nginx's defaults; `None` where nothing is compressed.
    #[must_use]
    pub fn compile(&self) -> Option<Gzip> {
        self.gzip.filter(|it| *it)?;
        Some(Gzip {
            types: self.types.clone().unwrap_or_else(|| Kinds::of(HTML)),
            min_length: self.min_length.unwrap_or(20),
            level: self.comp_level.unwrap_or(1),
            rules: self.rules(),
        })
    }

    /// Who may be sent compressed answers.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            http_1_0: self.http_1_0.unwrap_or(false),
            proxied: self.proxied.unwrap_or(OFF),
            vary: self.vary.unwrap_or(false),
            disable: self.disable.clone(),
            disable_msie6: self.disable_msie6.unwrap_or(false),
        }
    }
}

fn window(directive: &Directive) -> Result<(), ConfError> {
    let size = directive.size()?;
    let is_known = (9..=15).any(|it| size == 1 << it);
    let text = "must be 512, 1k, 2k, 4k, 8k, 16k, or 32k";
    if is_known { Ok(()) } else { Err(directive.refuse(text)) }
}

fn hash_size(directive: &Directive) -> Result<(), ConfError> {
    let size = directive.size()?;
    let is_known = (9..=17).any(|it| size == 1 << it);
    let text = "must be 512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k";
    if is_known { Ok(()) } else { Err(directive.refuse(text)) }
}

/// What a location compresses.
#[derive(Debug)]
pub struct Gzip {
    types: Kinds,
    min_length: u64,
    /// From 1, fast, to 9, small.
    pub level: u32,
    /// For whom.
    pub rules: Rules,
}

/// Who may be sent compressed answers.
#[derive(Clone, Debug)]
pub struct Rules {
    http_1_0: bool,
    proxied: u16,
    /// Whether caches are told that answers differ.
    pub vary: bool,
    disable: Vec<Regex>,
    disable_msie6: bool,
}

impl Gzip {
    /// Whether an answer with this head could be compressed for somebody.
    ///
    /// Source: nginx `ngx_http_gzip_filter_module.c`, `ngx_http_gzip_header_filter`.
    pub fn suits(&self, exchange: &Exchange) -> bool {
        let head = &exchange.head;
        let is_encoded = head.first(b"content-encoding").is_some_and(|it| !it.is_empty());
        matches!(head.status, 200 | 403 | 404)
            && !is_encoded
            && head.content_length.is_none_or(|it| self.min_length <= it)
            && self.types.has(head.kind())
    }
}

impl Rules {
    /// Whether this client takes it compressed.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_gzip_ok`.
    pub fn allow(&self, exchange: &Exchange) -> bool {
        let line = |name: &'static [u8]| {
            exchange.field(hash(name), name).map(|it| exchange.text(it.value))
        };
        let is_accepted = line(b"accept-encoding").is_some_and(accepts);
        let version = exchange.request.version;
        let is_old = match version {
            Version::Http11 => false,
            Version::Http10 => !self.http_1_0,
            Version::Http09 => true,
        };
        if !is_accepted || is_old {
            return false;
        }
        let agent = line(b"user-agent");
        if self.disable_msie6 && agent.is_some_and(is_msie6) {
            return false;
        }
        if line(b"via").is_some() && !self.allow_proxied(exchange, line(b"authorization").is_some())
        {
            return false;
        }
        !agent.is_some_and(|it| self.disable.iter().any(|regex| regex.is_match(it)))
    }

    fn allow_proxied(&self, exchange: &Exchange, is_authorized: bool) -> bool {
        let p = self.proxied;
        if p & OFF != 0 {
            return false;
        }
        if p & ANY != 0 || (p & AUTH != 0 && is_authorized) {
            return true;
        }
        let head = &exchange.head;
        if let Some(expires) = head.first(b"expires") {
            let parse = |it| httpdate::parse_http_date(str::from_utf8(it).ok()?).ok();
            let date = match head.first(b"date") {
                Some(date) => parse(date),
                None => Some(std::time::SystemTime::now()),
            };
            let is_past = parse(expires).zip(date).is_some_and(|(expires, date)| expires < date);
            return p & EXPIRED != 0 && is_past;
        }
        if head.first(b"cache-control").is_some() {
            let says = |flag: u16, word: &str| {
                p & flag != 0 && head.values(b"cache-control").any(|it| lists(it, word))
            };
            return says(NO_CACHE, "no-cache")
                || says(NO_STORE, "no-store")
                || says(PRIVATE, "private");
        }
        let has_date = head.last_modified.is_some() || head.first(b"last-modified").is_some();
        let lacks_date = p & NO_LAST_MODIFIED == 0 || !has_date;
        lacks_date && (p & NO_ETAG == 0 || head.first(b"etag").is_none())
    }
}

/// Whether a line lists a word, with or without a value.
///
/// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_multi_header_lines`.
fn lists(value: &[u8], word: &str) -> bool {
    let mut words = value.split(|it| matches!(it, b',' | b';')).map(<[u8]>::trim_ascii);
    words.any(|it| it.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether `Accept-Encoding` allows gzip.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_gzip_accept_encoding`.
fn accepts(value: &[u8]) -> bool {
    let is_gzip = |at: &usize| {
        let free = *at == 0 || matches!(value[at - 1], b',' | b' ');
        free && value[*at..*at + 4].eq_ignore_ascii_case(b"gzip")
    };
    let Some(at) = (0..value.len().saturating_sub(3)).find(is_gzip) else { return false };
    let rest = value[at + 4..].trim_ascii_start();
    match rest.first() {
        None | Some(b',') => return true,
        Some(b';') => {}
        Some(_) => return false,
    }
    match rest[1..].trim_ascii_start() {
        [] => true,
        [b'q' | b'Q', b'=', quality @ ..] => has_weight(quality),
        _ => false,
    }
}

/// Whether a quality is one, and more than nothing.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_gzip_quantity`.
fn has_weight(text: &[u8]) -> bool {
    let end = text.iter().position(|it| matches!(it, b',' | b' ')).unwrap_or(text.len());
    match &text[..end] {
        [b'1'] => true,
        [b'1', b'.', zeros @ ..] => zeros.len() <= 3 && zeros.iter().all(|it| *it == b'0'),
        [b'0', b'.', digits @ ..] => {
            digits.len() <= 3
                && digits.iter().all(u8::is_ascii_digit)
                && digits.iter().any(|it| *it != b'0')
        }
        _ => false,
    }
}

/// Makes an entity tag one that stands for what it means, not for its bytes.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_weak_etag`.
pub fn weaken(exchange: &mut Exchange) {
    let head = &mut exchange.head;
    let Some(etag) = head.first(b"etag") else { return };
    if etag.starts_with(b"W/") {
        return;
    }
    let weak = [b"W/", etag].concat();
    if etag.starts_with(b"\"") {
        head.replace(b"ETag", &weak);
    } else {
        head.remove(b"ETag");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn gzip_is_accepted_unless_its_quality_is_nothing() {
        for (value, expected) in [
            ("gzip", true),
            ("gzip, deflate", true),
            ("deflate, GZIP", true),
            ("deflate,gzip;q=0.1", true),
            ("gzip ; q=1.000", true),
            ("gzip;", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip;q=1.1", false),
            ("gzip;q=0.1234", false),
            ("gzip;x", false),
            ("xgzip", false),
            ("gzipx", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(accepts(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_level_is_between_one_and_nine() {
        let mut settings = Settings::default();
        assert!(settings.comp_level(&directive("gzip_comp_level 9;")).is_ok());
        let refusal = settings.comp_level(&directive("gzip_comp_level 10;")).unwrap_err();
        assert_eq!(refusal.reason, "value must be between 1 and 9");
    }

    #[test]
    fn words_are_those_of_nginx() {
        let mut settings = Settings::default();
        settings.proxied(&directive("gzip_proxied no-cache Private;")).unwrap();
        assert_eq!(settings.proxied, Some(NO_CACHE | PRIVATE));
        let refusal = settings.proxied(&directive("gzip_proxied ever;")).unwrap_err();
        assert_eq!(refusal.reason, "invalid value \"ever\"");
        assert!(window(&directive("gzip_window 32k;")).is_ok());
        assert!(window(&directive("gzip_window 64k;")).is_err());
        assert!(hash_size(&directive("gzip_hash 64k;")).is_ok());
    }
}
