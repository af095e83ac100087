//! `Connection`: which fields are for the receiver of a message alone, in both directions?
//!
//! Source: RFC 9110, section 7.6.1. nginx passes fields on that `Connection` names.

use super::field::{Field, Name, lists};

/// Words that name no field, or one that is never passed on.
const OPTIONS: [&str; 5] = ["close", "keep-alive", "proxy-connection", "te", ""];

/// Whether a value of `Connection` names a field at all.
pub(super) fn names_some(value: &[u8]) -> bool {
    let is_option = |it: &[u8]| OPTIONS.iter().any(|option| lists(it, option));
    value.split(|it| *it == b',').any(|it| !is_option(it))
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
    fn words_about_the_connection_itself_name_no_field() {
        for value in ["close", "Keep-Alive, TE", "", " , close"] {
            assert!(!names_some(value.as_bytes()), "{value}");
        }
        for value in ["upgrade", "close, X-Own", "x"] {
            assert!(names_some(value.as_bytes()), "{value}");
        }
    }
}
