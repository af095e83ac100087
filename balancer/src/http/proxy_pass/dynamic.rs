//! A `proxy_pass` with variables: where does a request lead?

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::conf::address::{Address, Host, Purpose};
use crate::engine::exchange::Exchange;
use crate::http::variable::Template;
use crate::upstream::dns::Resolver;
use crate::upstream::{self, Upstream};

/// The port of `http`.
const PORT: u16 = 80;

/// A URL that is known when a request comes.
#[derive(Debug)]
pub struct Dynamic {
    /// The URL.
    pub url: Template,
    /// The groups that its host may name.
    pub directory: Arc<Directory>,
    /// Who knows the addresses of other names.
    pub resolver: Option<Arc<Resolver>>,
    /// Longest wait for those.
    pub patience: Duration,
}

/// Every group of a configuration, by name; filled when all are known.
#[derive(Debug, Default)]
pub struct Directory {
    groups: OnceLock<HashMap<String, Arc<Upstream>>>,
}

impl Directory {
    /// Enters the groups: those with a block by name, the others by host and port.
    pub fn fill(&self, explicit: &[Arc<Upstream>], implicit: &[Arc<Upstream>]) {
        let explicit = explicit.iter().map(|it| (it.name.to_ascii_lowercase(), it));
        let implicit = implicit.iter().map(|it| (with_port(&it.name), it));
        // The first of a name holds, and a name with a port is never that of a block.
        let mut groups = HashMap::new();
        for (name, group) in explicit.chain(implicit) {
            groups.entry(name).or_insert_with(|| Arc::clone(group));
        }
        // It is filled once.
        let _ = self.groups.set(groups);
    }

    /// The group of a name in lower case, as it was entered.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Upstream>> {
        self.groups.get()?.get(name).cloned()
    }
}

/// A host in lower case, with its port.
fn with_port(authority: &str) -> String {
    let lower = authority.to_ascii_lowercase();
    let has_port = lower.rfind(':').is_some_and(|at| !lower[at..].contains(']'));
    if has_port { lower } else { format!("{lower}:{PORT}") }
}

/// Whom a URL names.
#[derive(Debug)]
pub enum Whom {
    /// A group.
    Group(Arc<Upstream>),
    /// One address.
    Address(upstream::Address),
    /// A name, which has to be looked up, and a port.
    Name(String, u16),
}

/// What a URL comes to.
#[derive(Debug)]
pub struct Aim {
    /// Whom it names.
    pub whom: Whom,
    /// Host, and port unless it is that of the scheme: `$proxy_host`.
    pub host: String,
    /// What follows; empty when there is nothing.
    pub uri: String,
}

impl Dynamic {
    /// Where a request leads.
    ///
    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_eval`, and `ngx_http_upstream.c`,
    /// `ngx_http_upstream_init_request`.
    ///
    /// # Errors
    ///
    /// nginx's words for what is wrong with the URL.
    pub fn aim(&self, exchange: &Exchange) -> Result<Aim, String> {
        let url = self.url.value(exchange);
        let url = String::from_utf8_lossy(&url);
        let is = |scheme: &str| {
            url.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme))
        };
        if is("https://") {
            return Err("https protocol requires SSL support".to_owned());
        }
        if !is("http://") || url.len() == "http://".len() {
            return Err(format!("invalid URL prefix in \"{url}\""));
        }
        // nginx sends these as they are, and one request becomes two.
        if url.contains(['\0', '\r', '\n']) {
            return Err(format!("invalid URL \"{}\"", url.escape_debug()));
        }
        let rest = &url["http://".len()..];
        let address = Address::parse(rest, Purpose::Url)
            .map_err(|it| format!("{it} in upstream \"{rest}\""))?;
        let mut uri = address.uri.clone();
        let authority = &rest[..rest.len() - uri.len()];
        if uri.starts_with('?') {
            uri.insert(0, '/');
        }
        let port = address.port_or(PORT);
        let group = match (&address.host, &address.ports) {
            (Host::Unix(path), _) => self.directory.find(&format!("unix:{path}:{PORT}")),
            (Host::Name(_), None) => self.directory.find(&authority.to_ascii_lowercase()),
            _ => None,
        };
        let group = group.or_else(|| self.directory.find(&with_port(authority)));
        let whom = match (group, address.host) {
            (Some(group), _) => Whom::Group(group),
            (None, Host::Unix(path)) => Whom::Address(upstream::Address::Unix(path.into())),
            (None, Host::Ip(ip)) => {
                Whom::Address(upstream::Address::Inet(SocketAddr::new(ip, port)))
            }
            (None, Host::Name(name)) => Whom::Name(name, port),
            (None, Host::Any) => return Err(format!("no host in upstream \"{rest}\"")),
        };
        let host = match whom {
            _ if authority.starts_with("unix:") => "localhost",
            _ => authority.trim_end_matches(":80"),
        };
        Ok(Aim { whom, host: host.to_owned(), uri })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(&str, &str, &str), &str>) {
        let directory = Directory::default();
        let group = |name| Arc::new(Upstream::passing(name, &[]));
        directory.fill(&[group("Store")], &[group("a"), group("b:81")]);
        let url = Template::text(url.as_bytes());
        let (directory, patience) = (Arc::new(directory), Duration::ZERO);
        let dynamic = Dynamic { url, directory, resolver: None, patience };
        let actual = dynamic.aim(&Exchange::default()).map(|it| {
            let whom = match it.whom {
                Whom::Group(group) => format!("group {}", group.name),
                Whom::Address(address) => address.to_string(),
                Whom::Name(name, port) => format!("name {name} {port}"),
            };
            (whom, it.host, it.uri)
        });
        let owned = |(a, b, c): (&str, &str, &str)| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(actual, expected.map(owned).map_err(str::to_owned));
    }

    #[test]
    fn groups_come_first_then_addresses_then_names() {
        check("http://store/x", Ok(("group Store", "store", "/x")));
        check("http://STORE", Ok(("group Store", "STORE", "")));
        check("http://store:80", Ok(("name store 80", "store", "")));
        check("http://a:80/", Ok(("group a", "a", "/")));
        check("http://a", Ok(("group a", "a", "")));
        check("http://b", Ok(("name b 80", "b", "")));
        check("http://b:81?x", Ok(("group b:81", "b:81", "/?x")));
        check("http://127.0.0.1:90", Ok(("127.0.0.1:90", "127.0.0.1:90", "")));
        check("http://[::1]", Ok(("[::1]:80", "[::1]", "")));
        check("http://unix:/run/a:/b", Ok(("unix:/run/a", "localhost", "/b")));
    }

    #[test]
    fn what_is_no_url_is_told_in_nginxs_words() {
        check("ftp://a", Err("invalid URL prefix in \"ftp://a\""));
        check("", Err("invalid URL prefix in \"\""));
        check("http:///a", Err("no host in upstream \"/a\""));
        check("http://a:x", Err("invalid port in upstream \"a:x\""));
    }
}
