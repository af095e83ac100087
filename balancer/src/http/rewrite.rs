//! `return`.

use crate::http::variable::Template;

/// A `return` directive.
#[derive(Debug)]
pub struct Return {
    /// What is sent, 444 for nothing at all.
    pub status: u16,
    /// The body, or where to go for a redirect; `None` sends nginx's page for the status.
    pub text: Option<Template>,
}

impl Return {
    /// Whether the text is where to go.
    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}
