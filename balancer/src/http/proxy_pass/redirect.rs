//! `proxy_redirect`: where the upstream sends the client, in terms the client knows.

use super::replace::{Lines, Pattern, Test, begin};
use crate::conf::{ConfError, Directive, Reading, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::variable::{Names, has_variables};

/// A `proxy_redirect` as it is written.
#[derive(Clone, Debug)]
pub enum Line {
    /// `default`
    Default,
    /// A pattern and what takes its place.
    Pair(Pattern, Word),
}

/// Reads a `proxy_redirect`.
///
/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_redirect`.
pub fn read(
    lines: &mut Lines<Line>,
    target: Option<&Word>,
    directive: &Directive,
    reading: &mut Reading<'_>,
) -> Result<(), ConfError> {
    if !begin(lines, directive)? {
        return Ok(());
    }
    let word = directive.text();
    let line = match directive.arguments().get(1) {
        Some(to) => Line::Pair(Pattern::read(word, false, reading)?, to.clone()),
        None if *word != "default" => return Err(word.invalid_parameter()),
        None => match target {
            None => {
                let text = "\"proxy_redirect default\" should be placed after the \"proxy_pass\" \
                            directive";
                return Err(ConfError::new(text, directive.span.clone()));
            }
            Some(url) if has_variables(url.as_bytes()) => {
                let text = "\"proxy_redirect default\" cannot be used with \"proxy_pass\" \
                            directive with variables";
                return Err(ConfError::new(text, directive.span.clone()));
            }
            Some(_) => Line::Default,
        },
    };
    lines.get_or_insert_default().push(line);
    Ok(())
}

/// Looks the names of the lines up; without any, the default holds.
///
/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_merge_loc_conf`.
pub fn rules(
    lines: &Lines<Line>,
    url: &str,
    has_uri: bool,
    place: &[u8],
    names: &Names<Exchange>,
) -> Result<Vec<(Test, Template)>, ConfError> {
    let usual = || {
        let (from, to) = match has_uri {
            true => (Template::text(url.as_bytes()), Template::text(place)),
            false => (Template::text(format!("{url}/").as_bytes()), Template::text(b"/")),
        };
        (Test::Text(from), to)
    };
    let Some(lines) = lines else {
        return Ok(if has_variables(url.as_bytes()) { Vec::new() } else { vec![usual()] });
    };
    let rule = |line: &Line| match line {
        Line::Default => Ok(usual()),
        Line::Pair(from, to) => Ok((from.compile(names)?, compile(to, names)?)),
    };
    lines.iter().map(rule).collect()
}

/// What a target becomes by the first rule that fits.
///
/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_rewrite_redirect`.
fn apply(rules: &[(Test, Template)], exchange: &Exchange, target: &[u8]) -> Option<Vec<u8>> {
    rules.iter().find_map(|(from, to)| match from {
        Test::Text(from) => {
            let rest = target.strip_prefix(from.value(exchange).as_slice())?;
            let mut out = to.value(exchange);
            out.extend_from_slice(rest);
            Some(out)
        }
        Test::Regex(regex) => regex.exec(&exchange.scratch, target).then(|| to.value(exchange)),
    })
}

/// The `Location` that takes the place of the upstream's.
pub fn location(rules: &[(Test, Template)], exchange: &Exchange, target: &[u8]) -> Option<Vec<u8>> {
    apply(rules, exchange, target)
}

/// The `Refresh` that takes the place of the upstream's.
pub fn refresh(rules: &[(Test, Template)], exchange: &Exchange, value: &[u8]) -> Option<Vec<u8>> {
    let at = value.windows(4).position(|it| it.eq_ignore_ascii_case(b"url="))? + 4;
    let target = apply(rules, exchange, &value[at..])?;
    Some([&value[..at], &target].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, target: &str, expected: Option<&str>) {
        let directive = directive(text);
        let words = &directive.words;
        let from = match words[1].strip_prefix('~') {
            Some(text) => Pattern::Regex(crate::regex::Regex::new(text.as_bytes(), false).unwrap()),
            None => Pattern::Text(words[1].clone()),
        };
        let lines = Some(vec![Line::Pair(from, words[2].clone())]);
        let rules = rules(&lines, "", false, b"", &Names::default()).unwrap();
        let actual = location(&rules, &Exchange::default(), target.as_bytes());
        assert_eq!(actual.as_deref(), expected.map(str::as_bytes), "{text}");
    }

    #[test]
    fn a_text_replaces_its_beginning_and_an_expression_the_whole() {
        check("proxy_redirect http://a/ /b/;", "http://a/x", Some("/b/x"));
        check("proxy_redirect http://a/ /b/;", "HTTP://a/x", None);
        check("proxy_redirect ~^http://a/(.)/ /$1;", "http://a/x/y", Some("/x"));
        check("proxy_redirect ~^http://b/ /b/;", "http://a/x", None);
    }

    #[test]
    fn the_default_knows_the_url_and_the_location() {
        let exchange = Exchange::default();
        let of = |url, has_uri| rules(&None, url, has_uri, b"/a/", &Names::default()).unwrap();
        let with = location(&of("http://u/x/", true), &exchange, b"http://u/x/y").unwrap();
        assert_eq!(with, b"/a/y");
        let without = location(&of("http://u", false), &exchange, b"http://u/x/y").unwrap();
        assert_eq!(without, b"/x/y");
        let refreshed = refresh(&of("http://u", false), &exchange, b"3; URL=http://u/x").unwrap();
        assert_eq!(refreshed, b"3; URL=/x");
        assert_eq!(refresh(&of("http://u", false), &exchange, b"3"), None);
    }
}
