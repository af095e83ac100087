//! `stream {}`: TCP sessions, each passed to a server or answered here.
//!
//! Settings and variables; [`crate::engine::session`] moves the bytes.

use std::time::Duration;

use crate::client::{Rule, Who};
use crate::conf::Block;
use crate::logs::error::ErrorLogs;
use crate::stream::log::AccessLog;
use crate::stream::proxy::Proxy;
use crate::stream::variable::Template;

pub mod access;
pub mod core;
pub mod listen;
pub mod log;
pub mod proxy;
pub mod session;
pub mod variable;

/// The blocks in which most settings may stand.
pub(crate) const EVERYWHERE: &[Block] = &[Block::Stream, Block::StreamServer];

/// One `server` of `stream`.
#[derive(Debug)]
pub struct Server {
    /// How long a PROXY header may take.
    pub proxy_protocol_timeout: Duration,
    /// `allow` and `deny`, in the order of the file.
    pub rules: Vec<Rule>,
    /// `set_real_ip_from`
    pub trusted: Vec<Who>,
    /// What is done with a session.
    pub content: Content,
    /// Where sessions are logged.
    pub logs: Vec<AccessLog>,
    /// Where is told what goes wrong with them.
    pub error_logs: ErrorLogs,
}

/// What is done with a session.
#[derive(Debug)]
pub enum Content {
    /// It is passed on.
    Proxy(Box<Proxy>),
    /// A text is sent, and the session ends.
    Return(Template),
}
