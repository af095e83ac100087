//! `pass`: which listener is a session given to?
//!
//! Source: nginx `ngx_stream_pass_module.c`.

use std::net::SocketAddr;

use crate::conf::address::{Address, Host, Purpose};
use crate::conf::{ConfError, Directive, Word};
use crate::snapshot::{Bind, Snapshot};
use crate::stream::session::Session;
use crate::variable::{Names, Template, compile, has_variables};

/// How often a connection may be passed.
pub const MOST_PASSES: u32 = 10;

/// Where sessions go.
#[derive(Debug)]
pub enum Pass {
    /// Always there.
    Fixed(Bind),
    /// Where a text says.
    Variable(Template<Session>),
}

/// Checks what can be known of a line before its variables are.
pub(super) fn check(directive: &Directive) -> Result<(), ConfError> {
    let word = directive.text();
    if has_variables(word.as_bytes()) {
        return Ok(());
    }
    let address = Address::parse(word, Purpose::Peer)
        .map_err(|it| word.refuse(format!("{it} in \"{word}\" of the \"pass\" directive")))?;
    match bind(&address) {
        Ok(_) => Ok(()),
        Err(Lacking::Address) => Err(directive.refuse("has no addresses")),
        Err(Lacking::Port) => Err(directive.refuse("has no port")),
    }
}

enum Lacking {
    Address,
    Port,
}

fn bind(address: &Address) -> Result<Bind, Lacking> {
    match (&address.host, &address.ports) {
        (Host::Unix(path), _) => Ok(Bind::Unix(path.into())),
        (Host::Ip(ip), Some(ports)) => Ok(Bind::Inet(SocketAddr::new(*ip, *ports.start()))),
        (Host::Ip(_), None) => Err(Lacking::Port),
        (Host::Name(_) | Host::Any, _) => Err(Lacking::Address),
    }
}

/// The address of a text, or nginx's words for why there is none.
fn parse(text: &str) -> Result<Bind, String> {
    let address =
        Address::parse(text, Purpose::Peer).map_err(|it| format!("{it} in pass \"{text}\""))?;
    bind(&address).map_err(|it| match it {
        Lacking::Address => format!("no addresses in pass \"{text}\""),
        Lacking::Port => format!("no port in pass \"{text}\""),
    })
}

impl Pass {
    /// Looks the variables up.
    pub fn compile(word: &Word, names: &Names<Session>) -> Result<Self, ConfError> {
        if has_variables(word.as_bytes()) {
            return compile(word, names).map(Self::Variable);
        }
        parse(word).map(Self::Fixed).map_err(|it| word.refuse(it))
    }

    /// The address a session goes to.
    pub fn target(&self, session: &Session) -> Result<Bind, String> {
        match self {
            Self::Fixed(bind) => Ok(bind.clone()),
            Self::Variable(text) => parse(&String::from_utf8_lossy(&text.value(session))),
        }
    }
}

/// The address that is listened on for a target: itself, or all addresses of its family.
#[must_use]
pub fn listener(snapshot: &Snapshot, target: &Bind) -> Option<Bind> {
    let takes = |bind: &Bind| match (bind, target) {
        (Bind::Inet(bind), Bind::Inet(target)) => {
            bind.ip().is_unspecified()
                && bind.is_ipv4() == target.is_ipv4()
                && bind.port() == target.port()
        }
        _ => false,
    };
    let exact = snapshot.addresses().find(|it| *it == target);
    exact.or_else(|| snapshot.addresses().find(|it| takes(it))).cloned()
}
