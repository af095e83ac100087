//! `Connection`: what the client asks of this connection, and which fields end here.

use super::Request;
use crate::engine::h1::hop;

impl Request {
    /// Takes the value of a line.
    pub(super) fn connection(&mut self, value: &[u8]) {
        let options = hop::Options::of(value);
        // The last line that says something counts.
        if options.close || options.keep_alive {
            self.connection_close = options.close;
            self.connection_keep_alive = !options.close;
        }
        self.names_fields |= options.names_fields;
    }

    /// Whether a field is meant for us alone, because a `Connection` line names it.
    pub fn is_for_this_hop(&self, buffer: &[u8], name: &[u8]) -> bool {
        self.names_fields && hop::is_named(&self.fields, buffer, name)
    }
}
