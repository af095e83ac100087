//! `valid_referers`: does the request come from where it may come from?

use crate::conf::{Block, ConfError, Directive, Effect, MANY, Reading, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::hash;
use crate::http::server;
use crate::regex::Regex;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Option<Lines>,
}

/// The `valid_referers` of a block.
#[derive(Clone, Debug, Default)]
struct Lines {
    none: bool,
    blocked: bool,
    server_names: bool,
    /// Names, each with the beginning of a path, empty for any.
    names: Vec<(String, Vec<u8>)>,
    regexes: Vec<Regex>,
    /// The directive's name, to say where it stands.
    word: Option<Word>,
}

/// Directives of `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "valid_referers",
    within: &[Block::Server, Block::Location],
    arguments: 1..=MANY,
    effect: Effect::Read(Settings::valid_referers),
}];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self { lines: self.lines.or_else(|| outer.lines.clone()) }
    }

    /// Source: nginx `ngx_http_referer_module.c`, `ngx_http_valid_referers`.
    fn valid_referers(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        let lines = self.lines.get_or_insert_default();
        lines.word = Some(directive.name().clone());
        for word in directive.arguments() {
            match word.as_str() {
                "none" => lines.none = true,
                "blocked" => lines.blocked = true,
                "server_names" => lines.server_names = true,
                "" => return Err(word.refuse("invalid referer \"\"")),
                "~" => return Err(word.refuse(format!("empty regex in \"{word}\""))),
                text if text.starts_with('~') => {
                    let regex = Regex::new(&text.as_bytes()[1..], true);
                    let regex = regex.map_err(|it| word.refuse(it))?;
                    regex.names().for_each(|(_, it)| reading.define(it));
                    lines.regexes.push(regex);
                }
                text => {
                    let (name, path) = text.split_at(text.find('/').unwrap_or(text.len()));
                    let inner = name.strip_prefix("*.").or_else(|| name.strip_suffix(".*"));
                    if inner.unwrap_or(name).contains('*') {
                        let text = format!("invalid hostname or wildcard \"{name}\"");
                        return Err(word.refuse(text));
                    }
                    lines.names.push((name.to_ascii_lowercase(), path.as_bytes().to_vec()));
                }
            }
        }
        Ok(())
    }

    /// What a request needs; `names` are those of the server.
    ///
    /// Source: nginx `ngx_http_referer_module.c`, `ngx_http_referer_merge_conf`.
    pub fn compile(&self, names: &server::Names) -> Result<Option<Box<Referers>>, ConfError> {
        let Some(lines) = &self.lines else { return Ok(None) };
        let mut referers = Referers {
            none: lines.none,
            blocked: lines.blocked,
            names: lines.names.clone(),
            regexes: lines.regexes.clone(),
            host_regexes: Vec::new(),
        };
        if lines.server_names {
            let is_name = |it: &String| !it.is_empty() && !it.starts_with('~');
            let own = names.lower().map(|(name, _)| name).filter(is_name);
            referers.names.extend(own.map(|it| (it, Vec::new())));
            referers.host_regexes.extend(names.regexes.iter().map(|(_, it)| it.clone()));
        }
        let is_empty = referers.names.is_empty()
            && referers.regexes.is_empty()
            && referers.host_regexes.is_empty();
        if is_empty && (lines.none || lines.blocked) {
            let text = "the \"none\" or \"blocked\" referers are specified in the \
                        \"valid_referers\" directive without any valid referer";
            return Err(lines.word.as_ref().map_or_else(
                || ConfError::unplaced(text),
                |it| ConfError::unplaced(text).with_help(format!("it stands in {}", it.span)),
            ));
        }
        Ok((!is_empty).then(|| Box::new(referers)))
    }
}

/// Whom a location lets send requests to it.
#[derive(Debug)]
pub struct Referers {
    none: bool,
    blocked: bool,
    names: Vec<(String, Vec<u8>)>,
    regexes: Vec<Regex>,
    /// Those that the host alone is compared with.
    host_regexes: Vec<Regex>,
}

const REFERER: u32 = hash(b"referer");

impl Referers {
    /// Whether a request comes from elsewhere.
    ///
    /// Source: nginx `ngx_http_referer_module.c`, `ngx_http_referer_variable`.
    fn refuses(&self, exchange: &Exchange) -> bool {
        let Some(field) = exchange.field(REFERER, b"referer") else { return !self.none };
        let text = exchange.text(field.value);
        let scheme = |it: &[u8]| {
            let (begin, rest) = text.split_at_checked(it.len())?;
            (begin.eq_ignore_ascii_case(it) && text.len() >= b"http://i.ru".len()).then_some(rest)
        };
        let Some(rest) = scheme(b"http://").or_else(|| scheme(b"https://")) else {
            return !self.blocked;
        };
        let end = rest.iter().position(|it| matches!(it, b'/' | b':')).unwrap_or(rest.len());
        if end > 256 {
            return true;
        }
        let host = rest[..end].to_ascii_lowercase();
        if let Some(path) = self.path_of(&host) {
            let from = memchr::memchr(b'/', &rest[end..]).map_or(rest.len(), |at| end + at);
            return !rest[from..].starts_with(path);
        }
        !self.host_regexes.iter().any(|it| it.is_match(&host))
            && !self.regexes.iter().any(|it| it.is_match(rest))
    }

    /// The path that goes with a host: of its name, of the longest end of it, of the longest
    /// beginning.
    fn path_of(&self, host: &[u8]) -> Option<&[u8]> {
        let rank = |name: &str| {
            if name.as_bytes() == host {
                return Some((3, 0));
            }
            if let Some(end) = name.strip_prefix('*') {
                let fits = host.len() > end.len() && host.ends_with(end.as_bytes());
                return fits.then_some((2, end.len()));
            }
            if name.starts_with('.') {
                let fits = host.ends_with(name.as_bytes()) || host == &name.as_bytes()[1..];
                return fits.then_some((2, name.len()));
            }
            let begin = name.strip_suffix('*')?;
            let fits = host.len() > begin.len() && host.starts_with(begin.as_bytes());
            fits.then_some((1, begin.len()))
        };
        let fitting = self.names.iter().filter_map(|(name, path)| Some((rank(name)?, path)));
        fitting.max_by_key(|it| it.0).map(|it| it.1.as_slice())
    }
}

/// `$invalid_referer`
pub fn write(exchange: &Exchange, out: &mut Vec<u8>) -> bool {
    let referers = exchange.location().and_then(|it| it.referers.as_ref());
    if referers.is_some_and(|it| it.refuses(exchange)) {
        out.push(b'1');
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_decides() {
        let name = |name: &str, path: &str| (name.to_owned(), path.as_bytes().to_vec());
        let referers = Referers {
            none: false,
            blocked: false,
            names: vec![
                name("*.a.example", "/1"),
                name("www.a.example", "/2"),
                name(".b.example", "/3"),
                name("c.*", "/4"),
            ],
            regexes: Vec::new(),
            host_regexes: Vec::new(),
        };
        for (host, expected) in [
            ("x.a.example", Some("/1")),
            ("www.a.example", Some("/2")),
            ("a.example", None),
            ("b.example", Some("/3")),
            ("x.b.example", Some("/3")),
            ("xb.example", None),
            ("c.org", Some("/4")),
            ("c.", None),
        ] {
            let found = referers.path_of(host.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{host}");
        }
    }
}
