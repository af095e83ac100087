//! What does an `upstream` block say of its servers, and which servers does that come to?

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use policy::{Identity, Terms};

use super::dns::Resolver;
use super::resolve::Answers;
use super::rows::{DEFAULT_PORT, Line};
use super::{Address, Backend, Binding, Server};
use crate::conf::address::Host;
use crate::conf::{self, ConfError, Word};

/// One `server` line: what is asked of it, and where it leads.
#[derive(Clone, Debug)]
pub struct Member {
    /// Tells it from the others of its group.
    pub number: usize,
    /// The parameters of the line; the identity is that of each address.
    pub terms: Terms,
    /// Host and port as they are written, from which consistent hashing starts.
    pub line: String,
    /// All words of the line after `server`; none of one that was not read.
    pub words: Vec<String>,
    /// What binds requests to its servers.
    pub binding: Binding,
    /// Where it leads.
    pub place: Place,
}

impl Member {
    /// A line of one address and nothing more.
    pub fn fixed(number: usize, address: Address) -> Self {
        Self {
            number,
            terms: Terms::default(),
            line: address.to_string(),
            words: Vec::new(),
            binding: Binding::default(),
            place: Place::Fixed(address),
        }
    }

    /// A `server` line, whose name leads where `answers` say unless `lookup` follows it.
    pub fn of_line(
        line: &Line,
        lookup: Option<Arc<Lookup>>,
        answers: &Answers,
        is_stream: bool,
    ) -> Result<Self, ConfError> {
        let member = Self::of_address(&line.address, &line.word, lookup, answers, is_stream)?;
        let (terms, words, binding) = (line.terms, line.words.clone(), line.binding.clone());
        Ok(Self { terms, words, binding, ..member })
    }

    /// The address of a line, or of a `proxy_pass`; see [`Self::of_line`].
    pub fn of_address(
        address: &conf::address::Address,
        word: &Word,
        lookup: Option<Arc<Lookup>>,
        answers: &Answers,
        is_stream: bool,
    ) -> Result<Self, ConfError> {
        let has_port = address.ports.is_some() || matches!(address.host, Host::Unix(_));
        if is_stream && !has_port {
            return Err(word.refuse(format!("no port in upstream \"{word}\"")));
        }
        let port = address.port_or(DEFAULT_PORT);
        let place = match &address.host {
            Host::Any => return Err(word.refuse(format!("no host in upstream \"{word}\""))),
            Host::Unix(path) => Place::Fixed(Address::Unix(path.into())),
            Host::Ip(ip) => Place::Fixed(Address::Inet(SocketAddr::new(*ip, port))),
            Host::Name(name) => {
                let addresses = answers.get(name).filter(|_| lookup.is_none());
                let spots = addresses.into_iter().flatten().map(|it| Spot::plain(*it, port));
                Place::Named { name: name.clone(), port, spots: spots.collect(), lookup }
            }
        };
        let line = match &address.host {
            Host::Unix(path) => format!("unix:{path}"),
            _ => word.trim_start_matches("http://").trim_end_matches(&address.uri).to_owned(),
        };
        let (terms, binding) = (Terms::default(), Binding::default());
        Ok(Self { number: 0, terms, line, words: Vec::new(), binding, place })
    }
}

/// Where a `server` line leads.
#[derive(Clone, Debug)]
pub enum Place {
    /// To one address.
    Fixed(Address),
    /// To every address of a name; none until it is resolved.
    Named {
        /// The name.
        name: String,
        /// The port.
        port: u16,
        /// What it was resolved to.
        spots: Vec<Spot>,
        /// How it is followed, `None` where its first addresses are its last.
        lookup: Option<Arc<Lookup>>,
    },
}

/// How a name is followed: by `resolve`, and perhaps by `service`.
#[derive(Debug)]
pub struct Lookup {
    /// Whom to ask, `None` for the system.
    pub resolver: Option<Arc<Resolver>>,
    /// Longest wait for an answer.
    pub patience: Duration,
    /// The name of the service, `None` where the addresses of the name itself are meant.
    pub service: Option<String>,
}

/// One of the addresses of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spot {
    /// The address.
    pub address: SocketAddr,
    /// Takes the place of a weight of 1.
    pub weight: Option<NonZeroU32>,
    /// Whether it serves only when the others cannot.
    pub backup: bool,
}

impl Spot {
    /// An address of which no more is known.
    pub fn plain(ip: IpAddr, port: u16) -> Self {
        Self { address: SocketAddr::new(ip, port), weight: None, backup: false }
    }
}

/// Servers that are there already, by their addresses: those of several lines may have the same.
#[derive(Debug, Default)]
pub struct Known(HashMap<Address, Vec<Server>>);

impl FromIterator<Server> for Known {
    fn from_iter<T: IntoIterator<Item = Server>>(servers: T) -> Self {
        let mut known = HashMap::<_, Vec<_>>::new();
        for server in servers {
            known.entry(server.backend.address.clone()).or_default().push(server);
        }
        Self(known)
    }
}

impl Known {
    /// The first of an address that no line has taken yet, rather one that serves as it will.
    fn take(&mut self, address: &Address, backup: bool) -> Option<Arc<Backend>> {
        let servers = self.0.get_mut(address).filter(|it| !it.is_empty())?;
        let at = servers.iter().position(|it| it.terms.backup == backup).unwrap_or(0);
        Some(servers.remove(at).backend)
    }
}

impl Known {
    /// Whether one of an address that no line has taken yet has this number among them.
    fn has(&self, address: &Address, ordinal: u32) -> bool {
        let mut servers = self.0.get(address).into_iter().flatten();
        servers.any(|it| it.backend.ordinal == ordinal)
    }
}

/// The servers that lines come to. Each address of each line is one, and those that are `known`
/// stay.
pub fn servers(members: &[Member], mut known: Known) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    let mut used: HashMap<Address, Vec<u32>> = HashMap::new();
    for member in members {
        let own = member.terms;
        let addresses = match &member.place {
            Place::Fixed(address) => vec![(address.clone(), own.weight, own.backup)],
            Place::Named { spots, .. } => {
                let weight = |it: &Spot| match it.weight {
                    Some(weight) if own.weight == NonZeroU32::MIN => weight,
                    _ => own.weight,
                };
                let spot =
                    |it: &Spot| (Address::Inet(it.address), weight(it), own.backup || it.backup);
                spots.iter().map(spot).collect()
            }
        };
        for (address, weight, backup) in addresses {
            let identity = Identity::new(&member.line, &address.to_string());
            let terms = Terms { identity, weight, backup, ..own };
            let used = used.entry(address.clone()).or_default();
            let backend = known.take(&address, backup).unwrap_or_else(|| {
                let is_free = |it: &u32| !used.contains(it) && !known.has(&address, *it);
                let ordinal = (0..=u32::MAX).find(is_free).unwrap_or_default();
                Arc::new(Backend::nth(address, ordinal))
            });
            used.push(backend.ordinal);
            servers.push(Server { terms, backend, binding: member.binding.clone() });
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, addresses: &[&str]) -> Member {
        let spots = addresses.iter().map(|it| Spot::plain(it.parse().unwrap(), 80)).collect();
        let place = Place::Named { name: name.to_owned(), port: 80, spots, lookup: None };
        let (terms, binding) = (Terms::default(), Binding::default());
        let (line, words) = (format!("{name}:80"), Vec::new());
        Member { number: 0, terms, line, words, binding, place }
    }

    fn names(servers: &[Server]) -> Vec<&str> {
        servers.iter().map(|it| it.backend.name.as_str()).collect()
    }

    #[test]
    fn every_address_of_a_name_is_a_server() {
        let found = servers(&[named("a", &["10.0.0.1", "::1"]), named("b", &[])], Known::default());
        assert_eq!(names(&found), ["10.0.0.1:80", "[::1]:80"]);
    }

    #[test]
    fn a_server_that_is_known_stays_the_same() {
        let old = servers(&[named("a", &["10.0.0.1"])], Known::default());
        let known = old.iter().cloned().collect();
        let new = servers(&[named("a", &["10.0.0.2", "10.0.0.1"])], known);
        assert!(Arc::ptr_eq(&new[1].backend, &old[0].backend));
        assert!(!Arc::ptr_eq(&new[0].backend, &old[0].backend));
    }

    #[test]
    fn lines_of_one_address_are_servers_of_their_own_and_stay_so() {
        let mut lines = [named("a", &["10.0.0.1"]), named("b", &["10.0.0.1"])];
        lines[0].terms.backup = true;
        let old = servers(&lines, Known::default());
        assert!(!Arc::ptr_eq(&old[0].backend, &old[1].backend));
        // A group lists its backup servers last.
        let new = servers(&lines, old.iter().rev().cloned().collect());
        for (new, old) in new.iter().zip(&old) {
            assert!(Arc::ptr_eq(&new.backend, &old.backend));
        }
    }
}
