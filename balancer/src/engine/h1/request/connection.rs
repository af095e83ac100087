//! `Connection`: what the client asks of this connection, and which fields end here.

use super::Request;
use crate::engine::h1::field::lists;
use crate::engine::h1::hop;

impl Request {
    /// Takes the value of a line.
    pub(super) fn connection(&mut self, value: &[u8]) {
        // The last line that says something counts.
        if lists(value, "close") {
            (self.connection_close, self.connection_keep_alive) = (true, false);
        } else if lists(value, "keep-alive") {
            (self.connection_close, self.connection_keep_alive) = (false, true);
        }
        self.names_fields |= hop::names_some(value);
    }

    /// Whether a field is meant for us alone, because a `Connection` line names it.
    pub fn is_for_this_hop(&self, buffer: &[u8], name: &[u8]) -> bool {
        self.names_fields && hop::is_named(&self.fields, buffer, name)
    }
}
