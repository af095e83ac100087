//! `Connection`: which fields are for the receiver of a message alone, in both directions?
//!
//! Source: RFC 9110, section 7.6.1. nginx passes fields on that `Connection` names.

use super::field::{Field, Name, lists};

/// Words that name no field, or one that is never passed on.
const OPTIONS: [&str; 5] = ["close", "keep-alive", "proxy-connection", "te", ""];

/// What a value of `Connection` says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Options {
    /// The connection ends behind this message.
    pub(super) close: bool,
    /// It goes on.
    pub(super) keep_alive: bool,
    /// A field is named.
    pub(super) names_fields: bool,
}

impl Options {
    pub(super) fn of(value: &[u8]) -> Self {
        // Nearly all say one of these words and nothing else.
        if value.eq_ignore_ascii_case(b"keep-alive") {
            return Self { keep_alive: true, ..Self::default() };
        }
        if value.eq_ignore_ascii_case(b"close") {
            return Self { close: true, ..Self::default() };
        }
        let is_option = |it: &[u8]| OPTIONS.iter().any(|option| lists(it, option));
        Self {
            close: lists(value, "close"),
            keep_alive: lists(value, "keep-alive"),
            names_fields: value.split(|it| *it == b',').any(|it| !is_option(it)),
        }
    }
}

/// Whether a `Connection` line among the fields of a head names a field.
pub(super) fn is_named(fields: &[Field], buffer: &[u8], name: &[u8]) -> bool {
    let names = |value: &[u8]| {
        value.split(|it| *it == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(name))
    };
    let mut lines = fields.iter().filter(|it| it.known == Name::Connection);
    lines.any(|it| names(it.value.of(buffer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_alone_and_in_a_list() {
        let words = |value: &str| {
            let Options { close, keep_alive, .. } = Options::of(value.as_bytes());
            (close, keep_alive)
        };
        for (value, expected) in [
            ("Close", (true, false)),
            ("Keep-Alive", (false, true)),
            ("x, close", (true, false)),
            ("keep-alive, TE", (false, true)),
            ("keep-alive,close", (true, true)),
            ("closed", (false, false)),
        ] {
            assert_eq!(words(value), expected, "{value}");
        }
    }

    #[test]
    fn words_about_the_connection_itself_name_no_field() {
        for value in ["close", "Keep-Alive, TE", "", " , close"] {
            assert!(!Options::of(value.as_bytes()).names_fields, "{value}");
        }
        for value in ["upgrade", "close, X-Own", "x"] {
            assert!(Options::of(value.as_bytes()).names_fields, "{value}");
        }
    }
}
