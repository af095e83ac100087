//! `Connection`: what the client asks of this connection, and which fields end here.

use super::Request;
use crate::engine::h1::field::{Name, lists};

/// Words that name no field, or one that is never passed on.
const OPTIONS: [&str; 5] = ["close", "keep-alive", "upgrade", "te", ""];

impl Request {
    /// Takes the value of a line.
    pub(super) fn connection(&mut self, value: &[u8]) {
        // The last line that says something counts.
        if lists(value, "close") {
            (self.connection_close, self.connection_keep_alive) = (true, false);
        } else if lists(value, "keep-alive") {
            (self.connection_close, self.connection_keep_alive) = (false, true);
        }
        let is_option = |it: &[u8]| OPTIONS.iter().any(|option| lists(it, option));
        self.names_fields |= value.split(|it| *it == b',').any(|it| !is_option(it));
    }

    /// Whether a field is meant for us alone, because a `Connection` line names it.
    ///
    /// Source: RFC 9110, section 7.6.1. nginx passes such fields on.
    pub fn is_for_this_hop(&self, buffer: &[u8], name: &[u8]) -> bool {
        let is_named = |value: &[u8]| {
            value.split(|it| *it == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(name))
        };
        self.names_fields
            && self
                .fields
                .iter()
                .filter(|it| it.known == Name::Connection)
                .any(|it| is_named(it.value.of(buffer)))
    }
}
