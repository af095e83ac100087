//! `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`: cookies the upstream sets.

use super::replace::{Lines, Pattern, Test, begin};
use crate::conf::{ConfError, Directive, Reading, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::variable::Names;

/// What a block says; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    domains: Lines<(Pattern, Word)>,
    paths: Lines<(Pattern, Word)>,
    flags: Lines<(Pattern, Vec<Word>)>,
}

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            domains: self.domains.or_else(|| outer.domains.clone()),
            paths: self.paths.or_else(|| outer.paths.clone()),
            flags: self.flags.or_else(|| outer.flags.clone()),
        }
    }

    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_cookie_domain`.
    pub fn domain(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        pair(&mut self.domains, true, directive, reading)
    }

    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_cookie_path`.
    pub fn path(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        pair(&mut self.paths, false, directive, reading)
    }

    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_cookie_flags`.
    pub fn flags(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        if !begin(&mut self.flags, directive)? {
            return Ok(());
        }
        let word = directive.text();
        let flags = directive.arguments()[1..].to_vec();
        if flags.is_empty() {
            return Err(word.invalid_parameter());
        }
        let cookie = Pattern::read(word, true, reading)?;
        self.flags.get_or_insert_default().push((cookie, flags));
        Ok(())
    }

    /// Looks the names up.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Rules, ConfError> {
        let pairs = |lines: &Lines<(Pattern, Word)>| -> Result<Vec<_>, ConfError> {
            let pair =
                |(from, to): &(Pattern, Word)| Ok((from.compile(names)?, compile(to, names)?));
            lines.iter().flatten().map(pair).collect()
        };
        let flags = |(cookie, flags): &(Pattern, Vec<Word>)| -> Result<_, ConfError> {
            let flags: Result<Vec<_>, _> = flags.iter().map(|it| compile(it, names)).collect();
            Ok((cookie.compile(names)?, flags?))
        };
        Ok(Rules {
            domains: pairs(&self.domains)?,
            paths: pairs(&self.paths)?,
            flags: self.flags.iter().flatten().map(flags).collect::<Result<_, _>>()?,
        })
    }
}

fn pair(
    lines: &mut Lines<(Pattern, Word)>,
    is_caseless: bool,
    directive: &Directive,
    reading: &mut Reading<'_>,
) -> Result<(), ConfError> {
    if !begin(lines, directive)? {
        return Ok(());
    }
    let word = directive.text();
    let Some(to) = directive.arguments().get(1) else { return Err(word.invalid_parameter()) };
    let line = (Pattern::read(word, is_caseless, reading)?, to.clone());
    lines.get_or_insert_default().push(line);
    Ok(())
}

/// The rules of a location.
#[derive(Debug, Default)]
pub struct Rules {
    domains: Vec<(Test, Template)>,
    paths: Vec<(Test, Template)>,
    flags: Vec<(Test, Vec<Template>)>,
}

/// A part of a cookie's line: a name, and a value where there is one.
type Attribute = (Vec<u8>, Option<Vec<u8>>);

impl Rules {
    /// The `Set-Cookie` that takes the place of the upstream's.
    ///
    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_rewrite_cookie`.
    pub fn apply(&self, exchange: &Exchange, line: &[u8]) -> Option<Vec<u8>> {
        if self.domains.is_empty() && self.paths.is_empty() && self.flags.is_empty() {
            return None;
        }
        let mut attributes: Vec<_> = line.split(|it| *it == b';').map(attribute).collect();
        // Without a value it is no cookie.
        attributes[0].1.as_ref()?;
        let mut is_changed = false;
        for (name, value) in &mut attributes[1..] {
            let Some(value) = value else { continue };
            let new = if name.eq_ignore_ascii_case(b"domain") {
                self.domains.iter().find_map(|(from, to)| domain(exchange, from, to, value))
            } else if name.eq_ignore_ascii_case(b"path") {
                self.paths.iter().find_map(|(from, to)| path(exchange, from, to, value))
            } else {
                None
            };
            if let Some(new) = new {
                *value = new;
                is_changed = true;
            }
        }
        let name = &attributes[0].0;
        let flags = self.flags.iter().find(|(cookie, _)| match cookie {
            Test::Text(text) => text.value(exchange).eq_ignore_ascii_case(name),
            Test::Regex(regex) => regex.exec(&exchange.scratch, name),
        });
        if let Some((_, flags)) = flags {
            let flags: Vec<_> = flags.iter().map(|it| it.value(exchange)).collect();
            // In this order, however they are written.
            for name in FLAGS {
                for it in &flags {
                    flag(name, it, &mut attributes);
                }
            }
            is_changed = true;
        }
        is_changed.then(|| joined(&attributes))
    }
}

fn attribute(text: &[u8]) -> Attribute {
    match memchr::memchr(b'=', text) {
        Some(at) => (text[..at].trim_ascii().to_vec(), Some(text[at + 1..].trim_ascii().to_vec())),
        None => (text.trim_ascii().to_vec(), None),
    }
}

fn joined(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, (name, value)) in attributes.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_rewrite_domain_handler`.
fn domain(exchange: &Exchange, from: &Test, to: &Template, value: &[u8]) -> Option<Vec<u8>> {
    fn bare(it: &[u8]) -> &[u8] {
        it.strip_prefix(b".").unwrap_or(it)
    }
    match from {
        Test::Text(from) => {
            let is_same = bare(&from.value(exchange)).eq_ignore_ascii_case(bare(value));
            is_same.then(|| {
                let dot: &[u8] = if value.starts_with(b".") { b"." } else { b"" };
                [dot, bare(&to.value(exchange))].concat()
            })
        }
        Test::Regex(regex) => regex.exec(&exchange.scratch, value).then(|| to.value(exchange)),
    }
}

/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_rewrite_complex_handler`.
fn path(exchange: &Exchange, from: &Test, to: &Template, value: &[u8]) -> Option<Vec<u8>> {
    match from {
        Test::Text(from) => {
            let rest = value.strip_prefix(from.value(exchange).as_slice())?;
            Some([&to.value(exchange), rest].concat())
        }
        Test::Regex(regex) => regex.exec(&exchange.scratch, value).then(|| to.value(exchange)),
    }
}

/// What flags change, in the order new ones are added.
const FLAGS: [&str; 3] = ["Secure", "HttpOnly", "SameSite"];

/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_edit_cookie_flags`.
fn flag(wanted: &str, flag: &[u8], attributes: &mut Vec<Attribute>) {
    let (name, value): (&str, Option<&str>) = match flag.to_ascii_lowercase().as_slice() {
        b"secure" | b"nosecure" => ("Secure", None),
        b"httponly" | b"nohttponly" => ("HttpOnly", None),
        b"nosamesite" => ("SameSite", None),
        b"samesite=strict" => ("SameSite", Some("Strict")),
        b"samesite=lax" => ("SameSite", Some("Lax")),
        b"samesite=none" => ("SameSite", Some("None")),
        // A variable may leave anything.
        _ => return,
    };
    if name != wanted {
        return;
    }
    let is_it = |it: &Attribute| it.0.eq_ignore_ascii_case(name.as_bytes());
    if flag[..2].eq_ignore_ascii_case(b"no") {
        let mut at = 0;
        attributes.retain(|it| {
            at += 1;
            at == 1 || !is_it(it)
        });
        return;
    }
    let value = value.map(|it| it.as_bytes().to_vec());
    match attributes[1..].iter_mut().find(|it| is_it(it)) {
        Some(found) if value.is_some() => *found = (name.as_bytes().to_vec(), value),
        Some(_) => {}
        None => attributes.push((name.as_bytes().to_vec(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    const LINE: &str = "a=1; Domain=.Example.org;  PATH=/p/q;Secure; samesite=Lax; HttpOnly";

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let directive = directive(text);
        let words = &directive.words;
        let from = match words[1].strip_prefix('~') {
            Some(text) => Pattern::Regex(crate::regex::Regex::new(text.as_bytes(), true).unwrap()),
            None => Pattern::Text(words[1].clone()),
        };
        let mut settings = Settings::default();
        match words[0].as_str() {
            "proxy_cookie_domain" => settings.domains = Some(vec![(from, words[2].clone())]),
            "proxy_cookie_path" => settings.paths = Some(vec![(from, words[2].clone())]),
            _ => settings.flags = Some(vec![(from, words[2..].to_vec())]),
        }
        let rules = settings.compile(&Names::default()).unwrap();
        let actual = rules.apply(&Exchange::default(), LINE.as_bytes());
        let actual = actual.map(|it| String::from_utf8(it).unwrap());
        assert_eq!(actual.as_deref(), expected, "{text}");
    }

    // What nginx 1.22.1 makes of this line.
    #[test]
    fn attributes_are_rewritten_and_joined_anew() {
        let rest = "PATH=/p/q; Secure; samesite=Lax; HttpOnly";
        let with = |domain: &str| format!("a=1; Domain={domain}; {rest}");
        check("proxy_cookie_domain example.org new.com;", Some(&with(".new.com")));
        check("proxy_cookie_domain .example.org .new.org;", Some(&with(".new.org")));
        check("proxy_cookie_domain ~^\\.?example\\.(.*)$ .x.$1;", Some(&with(".x.org")));
        check("proxy_cookie_domain ample.org new.com;", None);
        let path = "a=1; Domain=.Example.org; PATH=/new/q; Secure; samesite=Lax; HttpOnly";
        check("proxy_cookie_path /p /new;", Some(path));
        check("proxy_cookie_path /q /new;", None);
    }

    #[test]
    fn flags_are_added_changed_and_taken_away() {
        let with = |flags: &str| format!("a=1; Domain=.Example.org; PATH=/p/q; {flags}");
        let strict = with("SameSite=Strict; HttpOnly");
        check("proxy_cookie_flags a nosecure samesite=strict;", Some(&strict));
        check("proxy_cookie_flags ~. nohttponly nosamesite;", Some(&with("Secure")));
        check("proxy_cookie_flags a secure;", Some(&with("Secure; samesite=Lax; HttpOnly")));
        check("proxy_cookie_flags b secure;", None);
    }
}
