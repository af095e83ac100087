//! The directives of `proxy_*` whose words mean more than a flag, a size or a time.

use policy::{Class, Classes};

use super::rows::{Settings, Target};
use crate::conf::address::{Address, Host, Purpose};
use crate::conf::{ConfError, Directive};
use crate::engine::h1::field::Name;

/// What `proxy_ignore_headers` knows.
const IGNORABLE: &[(&str, Name)] = &[
    ("X-Accel-Redirect", Name::XAccelRedirect),
    ("X-Accel-Expires", Name::XAccelExpires),
    ("X-Accel-Limit-Rate", Name::XAccelLimitRate),
    ("X-Accel-Buffering", Name::XAccelBuffering),
    ("X-Accel-Charset", Name::XAccelCharset),
    ("Expires", Name::Expires),
    ("Cache-Control", Name::CacheControl),
    ("Set-Cookie", Name::SetCookie),
    ("Vary", Name::Vary),
];

const SCHEME: &str = "http://";

impl Settings {
    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_pass`.
    pub(super) fn proxy_pass(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        if word.contains('$') {
            let address = Address { host: Host::Any, ports: None, uri: String::new() };
            let authority = String::new();
            self.target = Some(Target { address, authority, word: word.clone() });
            return Ok(());
        }
        let lower = word.to_ascii_lowercase();
        if lower.starts_with("https://") {
            let help = "TLS to servers is not part of this version: use `http://`";
            return Err(word.refuse("https protocol requires SSL support").with_help(help));
        }
        if !lower.starts_with("http://") {
            return Err(word.refuse("invalid URL prefix"));
        }
        let rest = &word[SCHEME.len()..];
        let address = Address::parse(rest, Purpose::Url)
            .map_err(|it| word.refuse(format!("{it} in upstream \"{rest}\"")))?;
        let authority = match &address.host {
            Host::Unix(_) => "localhost",
            _ => rest[..rest.len() - address.uri.len()].trim_end_matches(":80"),
        };
        self.target = Some(Target { authority: authority.to_owned(), address, word: word.clone() });
        Ok(())
    }

    pub(super) fn http_version(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        self.http_1_0 = Some(match word.as_str() {
            "1.0" => true,
            "1.1" => false,
            "2" => {
                let help = "HTTP/2 to servers is not part of this version: use 1.1";
                return Err(word.invalid_value().with_help(help));
            }
            _ => return Err(word.invalid_value()),
        });
        Ok(())
    }

    pub(super) fn next_upstream(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let mut on = Classes::default();
        let mut non_idempotent = false;
        let mut off = false;
        let mut warning = None;
        let mut seen: Vec<&str> = Vec::new();
        for word in directive.arguments() {
            match word.as_str() {
                "off" => off = true,
                // Means the use of a stale cache, and there is none.
                "updating" => {}
                "non_idempotent" => non_idempotent = true,
                other => on = on.with(Class::of_word(other).ok_or_else(|| word.invalid_value())?),
            }
            if seen.contains(&word.as_str()) {
                let text = format!("duplicate value \"{word}\"");
                warning.get_or_insert(word.refuse(text).warning());
            }
            seen.push(word);
        }
        self.next_upstream =
            Some(if off { (Classes::default(), false) } else { (on, non_idempotent) });
        warning.map_or(Ok(()), Err)
    }

    /// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_ignore_headers_masks`.
    pub(super) fn ignore_headers(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let mut ignored = 0;
        let mut warning = None;
        for word in directive.arguments() {
            let known = IGNORABLE.iter().find(|(it, _)| it.eq_ignore_ascii_case(word));
            let (_, name) = known.ok_or_else(|| word.invalid_value())?;
            if ignored & name.bit() != 0 {
                let text = format!("duplicate value \"{word}\"");
                warning.get_or_insert(word.refuse(text).warning());
            }
            ignored |= name.bit();
        }
        self.ignore_headers = Some(ignored);
        warning.map_or(Ok(()), Err)
    }
}
