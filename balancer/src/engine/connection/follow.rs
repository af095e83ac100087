//! Which configuration serves a connection.

use std::sync::Arc;

use crate::engine::connection::Connection;

impl Connection<'_> {
    /// Follows a reload, unless the address is not listened on any more; whether it still is.
    pub(super) fn follow(&mut self) -> bool {
        if self.shared.generation() == self.snapshot.generation {
            return true;
        }
        let newest = self.shared.snapshot.load();
        let is_served = newest.listener(&self.address).is_some();
        if is_served {
            self.snapshot = Arc::clone(&newest);
        }
        is_served
    }

    /// Whether the connection takes no request after the one it serves: the program ends, or
    /// serves by another configuration than when the connection was accepted.
    pub(in crate::engine) fn is_leaving(&self) -> bool {
        self.shared.is_stopping() || self.shared.generation() != self.generation
    }
}
