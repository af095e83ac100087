//! `add_header`: lines at the end of an answer's head.

use crate::http::variable::Template;

/// One `add_header` line.
#[derive(Debug)]
pub struct AddHeader {
    /// As written.
    pub name: Vec<u8>,
    /// Not sent where it comes out empty.
    pub value: Template,
    /// Whether it is sent with every status.
    pub always: bool,
}

impl AddHeader {
    /// Whether it is sent with this status.
    pub fn applies_to(&self, status: u16) -> bool {
        self.always || matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
    }
}
