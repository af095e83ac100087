//! `match` of `http`: which answers to a check are good ones?

use std::ops::RangeInclusive;

use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::regex::Regex;
use crate::variable::Names;

/// A `match` block as it is written.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    status: Option<Status>,
    headers: Vec<Header>,
    bodies: Vec<(Regex, bool)>,
    required: Vec<Word>,
}

/// Statuses; where it is the others that are meant: true.
#[derive(Clone, Debug)]
struct Status(Vec<RangeInclusive<u16>>, bool);

#[derive(Clone, Debug)]
struct Header {
    name: Vec<u8>,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    /// There is such a line, or none: `!`.
    Is(bool),
    /// It is this, or something else: `!=`.
    Equal(Vec<u8>, bool),
    /// It matches, or it does not: `!~`.
    Match(Regex, bool),
}

const fn row(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: &[Block::Match], arguments: 1..=MANY, effect }
}

/// What stands within a `match` of `http`.
pub const ROWS: &[Row<Settings>] = &[
    row(
        "status",
        Effect::Set(|it, directive| {
            it.status = Some(Status::read(directive)?);
            Ok(())
        }),
    ),
    row(
        "header",
        Effect::Add(|it, directive| {
            it.headers.push(Header::read(directive)?);
            Ok(())
        }),
    ),
    row(
        "body",
        Effect::Add(|it, directive| {
            let words = directive.arguments();
            let [operator, text] = words else { return Err(words[0].invalid_parameter()) };
            let is_not = match operator.as_str() {
                "~" => false,
                "!~" => true,
                _ => return Err(operator.invalid_parameter()),
            };
            it.bodies.push((expression(text)?, is_not));
            Ok(())
        }),
    ),
    row(
        "require",
        Effect::Add(|it, directive| {
            let words = directive.arguments();
            match words.iter().find(|it| !it.starts_with('$')) {
                Some(word) => Err(word.invalid_parameter()),
                None => {
                    it.required.extend_from_slice(words);
                    Ok(())
                }
            }
        }),
    ),
];

fn expression(word: &Word) -> Result<Regex, ConfError> {
    Regex::new(word.as_bytes(), false).map_err(|it| word.refuse(it))
}

impl Status {
    fn read(directive: &Directive) -> Result<Self, ConfError> {
        let words = directive.arguments();
        let is_not = *words[0] == *"!";
        let words = if is_not { &words[1..] } else { words };
        if words.is_empty() {
            return Err(directive.refuse("names no status"));
        }
        let range = |word: &Word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let code = |it: &str| it.parse().ok().filter(|it| (100..=999).contains(it));
            let range = code(first).zip(code(last)).filter(|(first, last)| first <= last);
            range.map(|(first, last)| first..=last).ok_or_else(|| word.invalid_parameter())
        };
        Ok(Self(words.iter().map(range).collect::<Result<_, _>>()?, is_not))
    }

    fn has(&self, status: u16) -> bool {
        self.0.iter().any(|it| it.contains(&status)) != self.1
    }
}

impl Header {
    fn read(directive: &Directive) -> Result<Self, ConfError> {
        let words = directive.arguments();
        let (name, value) = match words {
            [name] => (name, Value::Is(true)),
            [not, name] if **not == *"!" => (name, Value::Is(false)),
            [name, operator, text] => {
                let bytes = || text.as_bytes().to_vec();
                let value = match operator.as_str() {
                    "=" => Value::Equal(bytes(), false),
                    "!=" => Value::Equal(bytes(), true),
                    "~" => Value::Match(expression(text)?, false),
                    "!~" => Value::Match(expression(text)?, true),
                    _ => return Err(operator.invalid_parameter()),
                };
                (name, value)
            }
            _ => return Err(words[0].invalid_parameter()),
        };
        Ok(Self { name: name.as_bytes().to_vec(), value })
    }

    fn holds(&self, exchange: &Exchange) -> bool {
        let bytes = &exchange.reply.bytes;
        let mut lines = exchange.response.fields.iter();
        let line = lines.find(|it| it.name.of(bytes).eq_ignore_ascii_case(&self.name));
        match (line.map(|it| it.value.of(bytes)), &self.value) {
            (line, Value::Is(is_there)) => line.is_some() == *is_there,
            (Some(line), Value::Equal(text, is_not)) => (line == text) != *is_not,
            (Some(line), Value::Match(regex, is_not)) => regex.is_match(line) != *is_not,
            (None, _) => false,
        }
    }
}

impl Settings {
    /// Looks the variables up.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Test, ConfError> {
        let required = self.required.iter().map(|it| compile(it, names));
        let required = required.collect::<Result<_, _>>()?;
        Ok(Test { settings: self.clone(), required })
    }
}

/// A `match` block, ready to judge.
#[derive(Debug)]
pub struct Test {
    settings: Settings,
    required: Vec<Template>,
}

impl Test {
    /// Whether the body of the answer is looked at.
    pub fn reads_body(&self) -> bool {
        !self.settings.bodies.is_empty()
    }

    /// What about the answer is not good, `None` when all is.
    pub fn objection(&self, exchange: &Exchange, body: &[u8]) -> Option<&'static str> {
        let it = &self.settings;
        let has = |it: &Status| it.has(exchange.response.status);
        match () {
            () if !it.status.as_ref().is_none_or(has) => Some("checking status code"),
            () if !it.headers.iter().all(|it| it.holds(exchange)) => Some("checking headers"),
            () if !it.bodies.iter().all(|(it, is_not)| it.is_match(body) != *is_not) => {
                Some("checking body")
            }
            () if !self.required.iter().all(|it| it.is_true(exchange)) => {
                Some("checking variables")
            }
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::conf::testing::directive;

    fn read(text: &str) -> Result<Test, String> {
        let block = directive(&format!("match m {{ {text} }}"));
        let mut settings = Settings::default();
        for line in block.children() {
            let row = ROWS.iter().find(|it| *line.name() == *it.name).unwrap();
            let (Effect::Set(set) | Effect::Add(set)) = &row.effect else { unreachable!() };
            set(&mut settings, line).map_err(|it| it.reason)?;
        }
        settings.compile(&Names::new(&BTreeSet::new())).map_err(|it| it.reason)
    }

    #[track_caller]
    fn check(text: &str, head: &str, body: &str, expected: Option<&str>) {
        let mut exchange = Exchange::default();
        let head = format!("HTTP/1.1 {head}\r\n\r\n");
        exchange.reply.bytes.extend_from_slice(head.as_bytes());
        exchange.response.parse(&exchange.reply.bytes).unwrap();
        let judge = read(text).unwrap();
        assert_eq!(judge.objection(&exchange, body.as_bytes()), expected, "{text}: {head}");
    }

    #[test]
    fn statuses_are_listed_or_excluded() {
        let wrong = Some("checking status code");
        check("status 200;", "200 OK", "", None);
        check("status 200;", "204 No", "", wrong);
        check("status 200 300-399;", "302 Found", "", None);
        check("status ! 500;", "500 No", "", wrong);
        check("status ! 400-599;", "302 Found", "", None);
    }

    #[test]
    fn headers_are_there_or_not_and_have_values() {
        let wrong = Some("checking headers");
        let head = "200 OK\r\nContent-Type: text/html\r\nA: b";
        check("header content-type = text/html;", head, "", None);
        check("header Content-Type != text/html;", head, "", wrong);
        check("header Content-Type ~ html$;", head, "", None);
        check("header A !~ b;", head, "", wrong);
        check("header A;", head, "", None);
        check("header ! A;", head, "", wrong);
        check("header ! Refresh;", head, "", None);
        check("header Refresh != 1;", head, "", wrong);
    }

    #[test]
    fn bodies_match_or_do_not_and_variables_have_values() {
        check("body ~ \"Welcome\";", "200 OK", "so Welcome", None);
        check("body ~ Welcome;", "200 OK", "no", Some("checking body"));
        check("body !~ error;", "200 OK", "an error", Some("checking body"));
        check("require $upstream_http_a;", "200 OK\r\nA: 1", "", None);
        check("require $upstream_http_a;", "200 OK\r\nA: 0", "", Some("checking variables"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |text| read(text).unwrap_err();
        assert_eq!(refused("status abc;"), "invalid parameter \"abc\"");
        assert_eq!(refused("status 300-200;"), "invalid parameter \"300-200\"");
        assert_eq!(refused("status !;"), "\"status\" directive names no status");
        assert_eq!(refused("body = a;"), "invalid parameter \"=\"");
        assert_eq!(refused("require a;"), "invalid parameter \"a\"");
        assert!(read("require $nothing_of_the_sort;").is_err());
    }
}
