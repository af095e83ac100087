//! `stream {}`: TCP sessions, each passed to a server, to another listener, or answered here.
//!
//! Settings and variables; [`crate::engine::session`] has sessions go through the phases.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Rule, Who};
use crate::conf::Block;
use crate::http::limit_conn::LimitConn;
use crate::http::name_table::NameTable;
use crate::logs::AccessLog;
use crate::logs::error::ErrorLogs;
use crate::stream::core::Preread;
use crate::stream::pass::Pass;
use crate::stream::proxy::Proxy;
use crate::stream::session::Session;
use crate::stream::set::Assignment;
use crate::variable::{Definitions, Scratch, Template};

pub mod access;
pub mod core;
pub mod listen;
pub mod log;
pub mod pass;
pub mod proxy;
pub mod session;
pub mod set;
pub mod ssl_preread;
pub mod upstream;
pub mod variable;

/// The blocks in which most settings may stand.
pub(crate) const EVERYWHERE: &[Block] = &[Block::Stream, Block::StreamServer];

/// One `server` of `stream`, in the order of its phases.
#[derive(Debug)]
pub struct Server {
    /// Its first name, empty when it has none.
    pub name: String,
    /// How variables of the configuration are worked out.
    pub definitions: Arc<Definitions<Session>>,
    /// Where is told what goes wrong with sessions.
    pub error_logs: ErrorLogs,
    /// How long a PROXY header may take.
    pub proxy_protocol_timeout: Duration,
    /// Post-accept: `set_real_ip_from`
    pub trusted: Vec<Who>,
    /// Preaccess: `set`
    pub assignments: Vec<Assignment>,
    /// Preaccess: `limit_conn`
    pub limit_conn: Option<LimitConn<Session>>,
    /// Access: `allow` and `deny`, in the order of the file.
    pub rules: Vec<Rule>,
    /// Preread: `ssl_preread`, with its bounds.
    pub preread: Option<Preread>,
    /// Whether small packets of a session that is passed on wait for no other, on both sides.
    pub sends_at_once: bool,
    /// What is done with a session.
    pub content: Content,
    /// Where sessions are logged.
    pub logs: Vec<AccessLog<Session>>,
}

/// What is done with a session.
#[derive(Debug)]
pub enum Content {
    /// It is passed on to a server.
    Proxy(Box<Proxy>),
    /// It is given to another listener.
    Pass(Pass),
    /// A text is sent, and the session ends.
    Return(Template<Session>),
}

/// The servers that listen on one address.
#[derive(Debug)]
pub struct Servers {
    /// In the order of the file.
    pub servers: Vec<Arc<Server>>,
    /// Serves whoever asks for no name, and for a name that nobody has.
    pub default: usize,
    /// Positions by name.
    pub names: NameTable,
}

impl Servers {
    /// The one that serves before a name is known.
    pub fn first(&self) -> &Arc<Server> {
        &self.servers[self.default]
    }

    /// The one that has a name, in lower case.
    pub fn find(&self, host: &[u8], scratch: &Scratch) -> Option<&Arc<Server>> {
        if self.servers.len() == 1 && self.names.regexes.is_empty() {
            return None;
        }
        self.names.find(host, scratch).map(|it| &self.servers[it])
    }
}
