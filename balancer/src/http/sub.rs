//! `sub_filter`: texts of an answer's body that are replaced as it passes.

use crate::conf::{ConfError, Directive, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::mime::Kinds;
use crate::http::variable::{Template, compile};
use crate::http::{EVERYWHERE, gzip, put};
use crate::variable::Names;

/// What one block sets; `None` and an empty list ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pairs: Vec<(Word, Word)>,
    types: Option<Kinds>,
    is_once: Option<bool>,
    keeps_date: Option<bool>,
}

/// The type that is always among `sub_filter_types`.
const TYPES: &[&str] = &["text/html"];

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "sub_filter",
        within: EVERYWHERE,
        arguments: 2..=2,
        effect: Effect::Add(Settings::pair),
    },
    Row {
        name: "sub_filter_types",
        within: EVERYWHERE,
        arguments: 1..=MANY,
        effect: Effect::Read(|it, directive, reading| {
            Kinds::read(&mut it.types, directive, TYPES, reading);
            Ok(())
        }),
    },
    Row {
        name: "sub_filter_once",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.is_once, directive.flag())),
    },
    Row {
        name: "sub_filter_last_modified",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.keeps_date, directive.flag())),
    },
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            pairs: if self.pairs.is_empty() { outer.pairs.clone() } else { self.pairs },
            types: self.types.or_else(|| outer.types.clone()),
            is_once: self.is_once.or(outer.is_once),
            keeps_date: self.keeps_date.or(outer.keeps_date),
        }
    }

    /// Source: nginx `ngx_http_sub_filter_module.c`, `ngx_http_sub_filter`.
    fn pair(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        if word.is_empty() {
            return Err(word.refuse("empty search pattern"));
        }
        self.pairs.push((word.clone(), directive.words[2].clone()));
        Ok(())
    }

    /// What a request needs, `None` where nothing is replaced.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Option<Sub>, ConfError> {
        if self.pairs.is_empty() {
            return Ok(None);
        }
        let pair = |(from, to): &(Word, Word)| Ok((compile(from, names)?, compile(to, names)?));
        Ok(Some(Sub {
            pairs: self.pairs.iter().map(pair).collect::<Result<_, ConfError>>()?,
            types: self.types.clone().unwrap_or_else(|| Kinds::of(TYPES)),
            is_once: self.is_once.unwrap_or(true),
            keeps_date: self.keeps_date.unwrap_or_default(),
        }))
    }
}

/// The `sub_filter` lines of a location.
#[derive(Debug)]
pub struct Sub {
    pairs: Vec<(Template, Template)>,
    types: Kinds,
    is_once: bool,
    keeps_date: bool,
}

impl Sub {
    /// What is done to the body of an answer, `None` for nothing; its head forgets what would not
    /// hold any more.
    ///
    /// Source: nginx `ngx_http_sub_filter_module.c`, `ngx_http_sub_header_filter`.
    pub fn apply(&self, exchange: &mut Exchange) -> Option<Substitution> {
        if exchange.head.content_length == Some(0) || !self.types.has(exchange.head.kind()) {
            return None;
        }
        let texts = self.pairs.iter().map(|(from, to)| (from.value(exchange), to.value(exchange)));
        let texts: Vec<_> = texts.filter(|(from, _)| !from.is_empty()).collect();
        if texts.is_empty() {
            return None;
        }
        let head = &mut exchange.head;
        head.content_length = None;
        if self.keeps_date {
            gzip::weaken(exchange);
        } else {
            head.last_modified = None;
            head.remove(b"Last-Modified");
            head.remove(b"ETag");
        }
        Some(Substitution::new(texts, self.is_once))
    }
}

/// A text that is looked for, and what stands in its place.
#[derive(Debug)]
struct Pair {
    /// In lower case.
    from: Vec<u8>,
    to: Vec<u8>,
    /// Whether it is not looked for any more.
    is_done: bool,
}

/// One body in which texts are replaced, portion by portion.
#[derive(Debug)]
pub struct Substitution {
    pairs: Vec<Pair>,
    is_once: bool,
    /// Which bytes a text begins with.
    begins: Box<[bool; 256]>,
    /// What may be the beginning of a text.
    held: Vec<u8>,
}

/// What stands at a place.
enum Found {
    Nothing,
    /// This pair's text.
    Pair(usize),
    /// What may be a text when more has come.
    Open,
}

impl Substitution {
    fn new(texts: Vec<(Vec<u8>, Vec<u8>)>, is_once: bool) -> Self {
        let mut begins = Box::new([false; 256]);
        let pair = |(from, to): (Vec<u8>, Vec<u8>)| {
            let from = from.to_ascii_lowercase();
            for byte in [from[0], from[0].to_ascii_uppercase()] {
                begins[usize::from(byte)] = true;
            }
            Pair { from, to, is_done: false }
        };
        Self { pairs: texts.into_iter().map(pair).collect(), is_once, begins, held: Vec::new() }
    }

    /// Appends what becomes of some bytes; `is_end` says that none follow.
    ///
    /// The text that begins first is replaced, of two that begin at one place the one written
    /// first.
    pub fn replace(&mut self, data: &[u8], is_end: bool, out: &mut Vec<u8>) {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(data);
        let (mut from, mut at) = (0, 0);
        while at < all.len() {
            if !self.begins[usize::from(all[at])] {
                at += 1;
                continue;
            }
            match self.find(&all[at..], is_end) {
                Found::Nothing => at += 1,
                Found::Pair(number) => {
                    let pair = &mut self.pairs[number];
                    out.extend_from_slice(&all[from..at]);
                    out.extend_from_slice(&pair.to);
                    pair.is_done = self.is_once;
                    at += pair.from.len();
                    from = at;
                }
                Found::Open => {
                    self.held.extend_from_slice(&all[at..]);
                    all.truncate(at);
                }
            }
        }
        out.extend_from_slice(&all[from..]);
    }

    fn find(&self, rest: &[u8], is_end: bool) -> Found {
        for (number, pair) in self.pairs.iter().enumerate().filter(|(_, it)| !it.is_done) {
            let shared = pair.from.len().min(rest.len());
            if !rest[..shared].eq_ignore_ascii_case(&pair.from[..shared]) {
                continue;
            }
            if shared == pair.from.len() {
                return Found::Pair(number);
            }
            if !is_end {
                return Found::Open;
            }
        }
        Found::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], is_once: bool, body: &str, expected: &str) {
        // Whatever the portions it comes in.
        for portion in 1..=body.len() {
            let texts = pairs.iter().map(|(a, b)| (a.as_bytes().to_vec(), b.as_bytes().to_vec()));
            let mut substitution = Substitution::new(texts.collect(), is_once);
            let mut out = Vec::new();
            for part in body.as_bytes().chunks(portion) {
                substitution.replace(part, false, &mut out);
            }
            substitution.replace(b"", true, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "by {portion}");
        }
    }

    #[test]
    fn each_text_is_replaced_once_or_always() {
        check(&[("foo", "bar")], true, "a foo b foo", "a bar b foo");
        check(&[("foo", "bar")], false, "FOOfoo fo", "barbar fo");
        check(&[("foo", "bar"), ("bar", "baz")], true, "foo bar foo bar", "bar baz foo bar");
        check(&[("foo", "")], false, "foo", "");
    }

    #[test]
    fn the_text_that_begins_first_wins_and_then_the_one_written_first() {
        check(&[("aab", "X")], false, "aaab aaaab ab", "aX aaX ab");
        check(&[("longer", "l"), ("long", "L")], false, "long longer longest", "L l Lest");
        check(&[("long", "L"), ("longer", "l")], false, "long longer longest", "L Ler Lest");
        check(&[("cd", "2"), ("bcx", "1")], false, "abcd", "ab2");
    }
}
