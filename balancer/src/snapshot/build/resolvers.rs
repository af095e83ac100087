//! Resolvers: one for each `resolver` line, shared by all blocks that inherit it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::conf::ConfError;
use crate::conf::address::Host;
use crate::upstream::dns::rows::{Line, Settings};
use crate::upstream::dns::{Plan, Resolver};
use crate::upstream::resolve::Answers;

/// The port of a name server.
const PORT: u16 = 53;

/// The resolvers asked for so far.
pub(super) struct Resolvers<'a> {
    answers: &'a Answers,
    made: Vec<(Arc<Line>, Arc<Resolver>)>,
}

impl<'a> Resolvers<'a> {
    pub(super) fn new(answers: &'a Answers) -> Self {
        Self { answers, made: Vec::new() }
    }

    /// The one that holds for a block, `None` when there is none.
    pub(super) fn of(&mut self, settings: &Settings) -> Result<Option<Arc<Resolver>>, ConfError> {
        let Some(line) = &settings.resolver else { return Ok(None) };
        if let Some((_, made)) = self.made.iter().find(|(it, _)| Arc::ptr_eq(it, line)) {
            return Ok(Some(Arc::clone(made)));
        }
        let mut servers = Vec::new();
        for (address, word) in &line.servers {
            let port = address.port_or(PORT);
            let unknown = || word.refuse(format!("host not found in resolver \"{word}\""));
            match &address.host {
                Host::Ip(ip) => servers.push(SocketAddr::new(*ip, port)),
                Host::Name(name) => {
                    let found = self.answers.get(name).filter(|it| !it.is_empty());
                    let found = found.ok_or_else(unknown)?;
                    servers.extend(found.iter().map(|it| SocketAddr::new(*it, port)));
                }
                Host::Any | Host::Unix(_) => return Err(unknown()),
            }
        }
        let Line { valid, ipv4, ipv6, .. } = **line;
        let resolver = Arc::new(Resolver::new(Plan { servers, valid, ipv4, ipv6 }));
        self.made.push((Arc::clone(line), Arc::clone(&resolver)));
        Ok(Some(resolver))
    }
}
