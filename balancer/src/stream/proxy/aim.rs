//! Whom does a `proxy_pass` of `stream` name?

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::conf::address::{Address, Host, Purpose};
use crate::http::proxy_pass::dynamic::Directory;
use crate::stream::session::Session;
use crate::upstream::dns::Resolver;
use crate::upstream::{self, Upstream};
use crate::variable::Template;

/// To whom sessions are passed on.
#[derive(Debug)]
pub enum Target {
    /// Always to the same group.
    Group(Arc<Upstream>),
    /// To whom a text names.
    Variable(Dynamic),
}

/// A target that is known when a session comes.
#[derive(Debug)]
pub struct Dynamic {
    /// Its name or address.
    pub text: Template<Session>,
    /// The groups that it may name.
    pub directory: Arc<Directory>,
    /// Who knows the addresses of other names.
    pub resolver: Option<Arc<Resolver>>,
    /// Longest wait for those.
    pub patience: Duration,
}

/// Whom a text names.
#[derive(Debug)]
pub enum Whom {
    /// A group.
    Group(Arc<Upstream>),
    /// One address.
    Address(upstream::Address),
    /// A name, which has to be looked up, and a port.
    Name(String, u16),
}

impl Dynamic {
    /// Where a session leads, and the text that says so.
    ///
    /// Source: nginx `ngx_stream_proxy_module.c`, `ngx_stream_proxy_handler` and
    /// `ngx_stream_proxy_eval`.
    ///
    /// # Errors
    ///
    /// nginx's words for what is wrong with the text.
    pub fn aim(&self, session: &Session) -> Result<(Whom, String), String> {
        let text = self.text.value(session);
        let text = String::from_utf8_lossy(&text).into_owned();
        let address = Address::parse(&text, Purpose::Peer)
            .map_err(|it| format!("{it} in upstream \"{text}\""))?;
        if let Some(group) = self.directory.find(&text.to_ascii_lowercase()) {
            return Ok((Whom::Group(group), text));
        }
        let port = address.ports.as_ref().map(|it| *it.start());
        let whom = match (address.host, port) {
            (Host::Unix(path), _) => Whom::Address(upstream::Address::Unix(path.into())),
            (Host::Ip(ip), Some(port)) => {
                Whom::Address(upstream::Address::Inet(SocketAddr::new(ip, port)))
            }
            (Host::Name(name), Some(port)) => Whom::Name(name, port),
            _ => return Err(format!("no port in upstream \"{text}\"")),
        };
        Ok((whom, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let directory = Directory::default();
        let group = |name| Arc::new(Upstream::passing(name, &[]));
        directory.fill(&[group("Store")], &[group("a:1"), group("unix:/s")]);
        let text = Template::text(text.as_bytes());
        let (directory, patience) = (Arc::new(directory), Duration::ZERO);
        let dynamic = Dynamic { text, directory, resolver: None, patience };
        let actual = dynamic.aim(&Session::default()).map(|(whom, _)| match whom {
            Whom::Group(group) => format!("group {}", group.name),
            Whom::Address(address) => address.to_string(),
            Whom::Name(name, port) => format!("name {name} {port}"),
        });
        assert_eq!(actual, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn groups_come_first_then_addresses_then_names() {
        check("STORE", Ok("group Store"));
        check("store:1", Ok("name store 1"));
        check("a:1", Ok("group a:1"));
        check("a:2", Ok("name a 2"));
        check("127.0.0.1:90", Ok("127.0.0.1:90"));
        check("[::1]:90", Ok("[::1]:90"));
        check("unix:/s", Ok("group unix:/s"));
        check("unix:/t", Ok("unix:/t"));
    }

    #[test]
    fn what_names_nobody_is_told_in_nginxs_words() {
        check("", Err("no host in upstream \"\""));
        check("a", Err("no port in upstream \"a\""));
        check("127.0.0.1", Err("no port in upstream \"127.0.0.1\""));
        check("a:x", Err("invalid port in upstream \"a:x\""));
    }
}
