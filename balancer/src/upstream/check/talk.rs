//! `match` of `stream`: what is said to a server, and what does it have to say?

use crate::conf::{Block, ConfError, Effect, Row, Word};
use crate::http::put;
use crate::regex::Regex;

/// A `match` block of `stream`.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    send: Option<Vec<u8>>,
    expect: Option<Expected>,
}

#[derive(Clone, Debug)]
enum Expected {
    Text(Vec<u8>),
    Match(Regex),
}

/// What stands within a `match` of `stream`.
pub const ROWS: &[Row<Talk>] = &[
    Row {
        name: "send",
        within: &[Block::StreamMatch],
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.send, unescaped(directive.text()))),
    },
    Row {
        name: "expect",
        within: &[Block::StreamMatch],
        arguments: 1..=2,
        effect: Effect::Set(|it, directive| {
            let expected = match directive.arguments() {
                [operator, text] if **operator == *"~" => {
                    let regex = Regex::new(text.as_bytes(), false);
                    Expected::Match(regex.map_err(|it| text.refuse(it))?)
                }
                [text] => Expected::Text(unescaped(text)?),
                words => return Err(words[0].invalid_parameter()),
            };
            it.expect = Some(expected);
            Ok(())
        }),
    },
];

/// A text in which `\xHH` stands for a byte.
fn unescaped(word: &Word) -> Result<Vec<u8>, ConfError> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some(at) = rest.windows(2).position(|it| it == b"\\x") {
        let digits = rest.get(at + 2..at + 4).and_then(|it| str::from_utf8(it).ok());
        let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        bytes.extend_from_slice(&rest[..at]);
        bytes.push(byte.ok_or_else(|| word.invalid_value())?);
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

impl Talk {
    /// What is said first; may be empty.
    pub fn opening(&self) -> &[u8] {
        self.send.as_deref().unwrap_or_default()
    }

    /// Whether the server has to say anything.
    pub fn is_answered(&self) -> bool {
        self.expect.is_some()
    }

    /// Whether what it has said so far is enough.
    pub fn accepts(&self, said: &[u8]) -> bool {
        match &self.expect {
            None => true,
            Some(Expected::Match(regex)) => regex.is_match(said),
            Some(Expected::Text(text)) => memchr::memmem::find(said, text).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    fn read(text: &str) -> Result<Talk, String> {
        let block = directive(&format!("match m {{ {text} }}"));
        let mut talk = Talk::default();
        for line in block.children() {
            let row = ROWS.iter().find(|it| *line.name() == *it.name).unwrap();
            let Effect::Set(set) = &row.effect else { unreachable!() };
            set(&mut talk, line).map_err(|it| it.reason)?;
        }
        Ok(talk)
    }

    #[test]
    fn bytes_are_written_in_hexadecimal() {
        let talk = read(r#"send "a\x00\xffb\r\n"; expect "\x01c";"#).unwrap();
        assert_eq!(talk.opening(), b"a\x00\xffb\r\n");
        assert!(talk.is_answered() && talk.accepts(b"\x00\x01c\x02") && !talk.accepts(b"\x01"));
        assert_eq!(read(r#"send "\xg0";"#).unwrap_err(), "invalid value \"\\xg0\"");
    }

    #[test]
    fn an_answer_may_be_an_expression_or_nothing() {
        let talk = read("expect ~ \"200 OK\";").unwrap();
        assert!(talk.accepts(b"HTTP/1.1 200 OK\r\n") && !talk.accepts(b"HTTP/1.1 503 No"));
        assert!(read("").unwrap().accepts(b""));
        assert_eq!(read("expect = a;").unwrap_err(), "invalid parameter \"=\"");
    }
}
