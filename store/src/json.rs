//! How does an answer look, byte for byte?
//!
//! As Flask writes it: keys sorted by code point, no spaces, non-ASCII escaped, one final newline.
//! The usual serializers do none of this, so every answer is written here.

use std::fmt::{Display, Write};

use bytes::Bytes;
use serde_json::Value;

/// A JSON text under construction.
#[derive(Debug, Default)]
pub struct Json(String);

impl Json {
    /// Starts an empty text with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(String::with_capacity(capacity))
    }

    /// Writes any value, its keys sorted.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let mut json = Self::default();
        push_value(&mut json.0, value);
        json
    }

    /// Writes an object; the closure adds its fields in ascending order of their names.
    #[must_use]
    pub fn object(mut self, fields: impl FnOnce(&mut Fields<'_>)) -> Self {
        self.push_object(fields);
        self
    }

    /// As [`Self::object`], in place.
    pub fn push_object(&mut self, fields: impl FnOnce(&mut Fields<'_>)) {
        self.0.push('{');
        fields(&mut Fields { out: &mut self.0, last: None });
        self.0.push('}');
    }

    /// Writes an array with one element per item.
    #[must_use]
    pub fn array<T>(
        mut self,
        items: impl IntoIterator<Item = T>,
        element: impl Fn(&mut Self, T),
    ) -> Self {
        self.0.push('[');
        for (index, item) in items.into_iter().enumerate() {
            if 0 < index {
                self.0.push(',');
            }
            element(&mut self, item);
        }
        self.0.push(']');
        self
    }

    /// Adds a character of structure; for arrays that are written in pieces.
    pub fn push(&mut self, structure: char) {
        self.0.push(structure);
    }

    /// The text with its final newline.
    pub fn finish(mut self) -> Bytes {
        self.0.push('\n');
        Bytes::from(self.0)
    }

    /// The text so far, without a newline; for a piece of a longer body, or a text inside a text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Adds the fields of one object.
#[derive(Debug)]
pub struct Fields<'a> {
    out: &'a mut String,
    last: Option<&'static str>,
}

impl Fields<'_> {
    /// A text, escaped.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        push_text(self.out, value);
    }

    /// A number or a word of JSON (`true`, `null`, finished JSON), written as it prints.
    pub fn plain(&mut self, name: &'static str, value: impl Display) {
        self.name(name);
        write!(self.out, "{value}").expect("a string takes any text");
    }

    /// Any value, its keys sorted.
    pub fn value(&mut self, name: &'static str, value: &Value) {
        self.name(name);
        push_value(self.out, value);
    }

    /// A nested object.
    pub fn object(&mut self, name: &'static str, fields: impl FnOnce(&mut Fields<'_>)) {
        self.name(name);
        self.out.push('{');
        fields(&mut Fields { out: self.out, last: None });
        self.out.push('}');
    }

    fn name(&mut self, name: &'static str) {
        debug_assert!(self.last < Some(name), "{name} must stand before {:?}", self.last);
        if self.last.is_some() {
            self.out.push(',');
        }
        self.last = Some(name);
        push_text(self.out, name);
        self.out.push(':');
    }
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Value::Number(it) => write!(out, "{it}").expect("a string takes any text"),
        Value::String(it) => push_text(out, it),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if 0 < index {
                    out.push(',');
                }
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.keys().collect();
            names.sort_unstable();
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if 0 < index {
                    out.push(',');
                }
                push_text(out, name);
                out.push(':');
                push_value(out, &fields[name]);
            }
            out.push('}');
        }
    }
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a string takes any text");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_flask_escapes_it() {
        let body = Json::default().object(|it| it.text("error", "é \"\\\n\u{1}\u{7f}😀/"));
        assert_eq!(
            body.finish(),
            "{\"error\":\"\\u00e9 \\\"\\\\\\n\\u0001\\u007f\\ud83d\\ude00/\"}\n"
        );
    }

    #[test]
    fn values_have_sorted_keys_at_every_level() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":null}],"a":1.5}"#).unwrap();
        let body = Json::default().object(|it| it.value("data", &value));
        assert_eq!(body.into_text(), r#"{"data":{"a":1.5,"b":[{"a":null,"z":1}]}}"#);
    }

    #[test]
    #[should_panic(expected = "must stand before")]
    fn unsorted_fields_are_a_mistake_in_the_program() {
        let _ = Json::default().object(|it| {
            it.plain("b", 1);
            it.plain("a", 1);
        });
    }
}
