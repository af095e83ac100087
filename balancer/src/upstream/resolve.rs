//! Names → addresses, in the background; what the difference means is a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policy::{Identity, Terms};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::dns::message::Service;
use super::dns::{Resolver, Unresolved};
use super::{Address, Backend, Binding, Server, Upstream};
use crate::engine::Shared;

/// One `server` line: what is asked of it, and where it leads.
#[derive(Clone, Debug)]
pub struct Member {
    /// The parameters of the line; the identity is that of each address.
    pub terms: Terms,
    /// Host and port as they are written, from which consistent hashing starts.
    pub line: String,
    /// What binds requests to its servers.
    pub binding: Binding,
    /// Where it leads.
    pub place: Place,
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

/// A group and its lines, some of which have no address yet, or not for ever.
#[derive(Debug)]
pub struct Roster {
    /// The group.
    pub upstream: Arc<Upstream>,
    /// Its lines, in the order of the file, as they stand now.
    pub members: Mutex<Vec<Member>>,
}

/// What became of each name: its addresses, none when it could not be resolved.
pub type Answers = BTreeMap<String, Vec<IpAddr>>;

/// The servers that lines come to. Each address is one server, and those that are `known` stay.
pub fn servers(
    members: &[Member],
    known: &dyn Fn(&Address) -> Option<Arc<Backend>>,
) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
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
            let listed = servers.iter().find(|it| it.backend.address == address);
            let backend = match listed {
                Some(server) => Arc::clone(&server.backend),
                None => known(&address).unwrap_or_else(|| Arc::new(Backend::new(address))),
            };
            servers.push(Server { terms, backend, binding: member.binding.clone() });
        }
    }
    servers
}

/// The services that come first serve, the others when those cannot.
///
/// Source: nginx `ngx_http_upstream_zone_module.c`, `ngx_http_upstream_zone_resolve_handler`.
fn spots(services: &[(Service, Vec<IpAddr>)]) -> Vec<Spot> {
    let first = services.iter().map(|(it, _)| it.priority).min().unwrap_or_default();
    let spots = services.iter().flat_map(|(service, addresses)| {
        let weight = NonZeroU32::new(service.weight.into());
        let backup = service.priority != first;
        let address = |it: &IpAddr| SocketAddr::new(*it, service.port);
        addresses.iter().map(move |it| Spot { address: address(it), weight, backup })
    });
    spots.collect()
}

/// How long the start waits for names.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the system for names, all at once and off the threads that serve.
///
/// A name that is not answered in five seconds has no addresses yet.
pub fn look_up_now(names: BTreeSet<String>) -> Answers {
    if names.is_empty() {
        return Answers::new();
    }
    // The caller may be within a runtime, where no other can be waited for.
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answers = runtime.map(|runtime| {
            let answers = runtime.block_on(look_up(names));
            // A resolver that hangs must not hold the start back.
            runtime.shutdown_background();
            answers
        });
        answers.unwrap_or_default()
    });
    asking.join().unwrap_or_default()
}

async fn look_up(names: BTreeSet<String>) -> Answers {
    let mut asked = JoinSet::new();
    let mut answers: Answers = names.iter().map(|it| (it.clone(), Vec::new())).collect();
    for name in names {
        asked.spawn(async move {
            let found = timeout(PATIENCE, tokio::net::lookup_host((name.as_str(), 0))).await;
            let found = found.ok().and_then(Result::ok);
            let addresses = found.map(|it| sorted(it.map(|it| it.ip()))).unwrap_or_default();
            (name, addresses)
        });
    }
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer);
    }
    answers
}

/// Each address once, IPv4 first, as nginx lists them.
fn sorted(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut sorted: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if !sorted.contains(&address) {
            sorted.push(address);
        }
    }
    sorted.sort_by_key(IpAddr::is_ipv6);
    sorted
}

/// How often the task looks for a new configuration, and the first pause between two attempts.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(10);

/// Resolves the names that could not be resolved when their configuration was read, and those that
/// are followed; never ends.
pub async fn follow(shared: Arc<Shared>) {
    loop {
        let snapshot = shared.snapshot.load_full();
        // Those of the configuration before end when this is dropped.
        let mut names = JoinSet::new();
        for roster in &snapshot.rosters {
            let members = roster.members.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for (at, member) in members.into_iter().enumerate() {
                names.spawn(keep(Arc::clone(roster), at, member));
            }
        }
        while shared.snapshot.load().generation == snapshot.generation {
            sleep(SHORTEST).await;
        }
    }
}

/// Keeps one line up to date.
async fn keep(roster: Arc<Roster>, at: usize, member: Member) {
    let Place::Named { name, port, spots, lookup } = member.place else { return };
    let mut spots = spots;
    let mut pause = SHORTEST;
    if lookup.is_none() && spots.is_empty() {
        // The system has just said that it does not know the name.
        sleep(pause).await;
    }
    loop {
        let (found, until) = match &lookup {
            Some(lookup) => match lookup.find(&name, port).await {
                Ok((found, until)) => (Some(found), Some(until)),
                Err(failed) => {
                    let name = lookup.service.as_ref().unwrap_or(&name);
                    tracing::warn!(%name, "{name} could not be resolved ({failed})");
                    // Who is not there any more is told from who was not asked.
                    (matches!(failed.0, 1 | 3).then(Vec::new), None)
                }
            },
            None if !spots.is_empty() => return,
            None => {
                let mut answers = look_up(BTreeSet::from([name.clone()])).await;
                let addresses = answers.remove(&name).unwrap_or_default();
                let spot = |it: IpAddr| Spot::plain(it, port);
                (Some(addresses.into_iter().map(spot).collect()), None)
            }
        };
        if let Some(found) = found.filter(|it| *it != spots) {
            spots = found;
            roster.enter(at, &spots);
        }
        match until {
            Some(until) => {
                pause = SHORTEST;
                sleep(until.saturating_duration_since(Instant::now()).max(SHORTEST)).await;
            }
            None => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}

impl Lookup {
    async fn find(&self, name: &str, port: u16) -> Result<(Vec<Spot>, Instant), Unresolved> {
        let found = timeout(self.patience, async {
            let Some(resolver) = &self.resolver else {
                let mut answers = look_up(BTreeSet::from([name.to_owned()])).await;
                let found = answers.remove(name).filter(|it| !it.is_empty());
                let found = found.ok_or(Unresolved::NOT_FOUND)?;
                // The system does not say for how long that holds.
                let until = Instant::now() + LONGEST;
                return Ok((found.iter().map(|it| Spot::plain(*it, port)).collect(), until));
            };
            let Some(service) = &self.service else {
                let (addresses, until) = resolver.addresses(name).await?;
                return Ok((addresses.iter().map(|it| Spot::plain(*it, port)).collect(), until));
            };
            let (services, mut until) = resolver.services(service).await?;
            let mut found = Vec::new();
            for service in services {
                if let Ok((addresses, end)) = resolver.addresses(&service.target).await {
                    until = until.min(end);
                    found.push((service, addresses));
                }
            }
            let found = spots(&found);
            if found.is_empty() { Err(Unresolved::NOT_FOUND) } else { Ok((found, until)) }
        });
        let (mut found, until) = found.await.unwrap_or(Err(Unresolved::LATE))?;
        // Servers answer in another order each time; that is no difference.
        found.sort_by_key(|it| (it.backup, it.address));
        Ok((found, until))
    }
}

impl Roster {
    /// Enters what a line leads to now.
    fn enter(&self, at: usize, found: &[Spot]) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Member { place: Place::Named { spots, .. }, .. }) = members.get_mut(at) {
            *spots = found.to_vec();
        }
        relist(&self.upstream, &members);
    }

    /// What a line like this one leads to now.
    pub fn spots(&self, line: &str) -> Vec<Spot> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let same = members.iter().filter(|it| it.line == line);
        let spots = same.filter_map(|it| match &it.place {
            Place::Named { spots, .. } => Some(spots.clone()),
            Place::Fixed(_) => None,
        });
        spots.into_iter().next().unwrap_or_default()
    }
}

fn relist(upstream: &Upstream, members: &[Member]) {
    let present = upstream.servers();
    let known = |address: &Address| {
        let found = present.iter().find(|it| it.backend.address == *address);
        found.map(|it| Arc::clone(&it.backend))
    };
    let servers = servers(members, &known);
    let (name, count) = (&upstream.name, servers.len());
    tracing::info!(upstream = %name, count, "Upstream {name} has {count} servers now");
    upstream.relist(servers);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, addresses: &[&str]) -> Member {
        let spots = addresses.iter().map(|it| Spot::plain(it.parse().unwrap(), 80)).collect();
        let place = Place::Named { name: name.to_owned(), port: 80, spots, lookup: None };
        let (terms, binding) = (Terms::default(), Binding::default());
        Member { terms, line: format!("{name}:80"), binding, place }
    }

    fn names(servers: &[Server]) -> Vec<&str> {
        servers.iter().map(|it| it.backend.name.as_str()).collect()
    }

    #[test]
    fn every_address_of_a_name_is_a_server() {
        let found = servers(&[named("a", &["10.0.0.1", "::1"]), named("b", &[])], &|_| None);
        assert_eq!(names(&found), ["10.0.0.1:80", "[::1]:80"]);
    }

    #[test]
    fn a_server_that_is_known_stays_the_same() {
        let old = servers(&[named("a", &["10.0.0.1"])], &|_| None);
        let known = |address: &Address| {
            let found = old.iter().find(|it| it.backend.address == *address);
            found.map(|it| Arc::clone(&it.backend))
        };
        let new = servers(&[named("a", &["10.0.0.2", "10.0.0.1"])], &known);
        assert!(Arc::ptr_eq(&new[1].backend, &old[0].backend));
        assert!(!Arc::ptr_eq(&new[0].backend, &old[0].backend));
    }

    #[test]
    fn services_of_the_lowest_number_come_first() {
        let service =
            |priority, weight, port| Service { priority, weight, port, target: String::new() };
        let ip: IpAddr = [10, 0, 0, 1].into();
        let found = spots(&[(service(2, 0, 81), vec![ip]), (service(1, 5, 80), vec![ip])]);
        let member = Member {
            terms: Terms::default(),
            line: String::new(),
            binding: Binding::default(),
            place: Place::Named { name: String::new(), port: 0, spots: found, lookup: None },
        };
        let servers = servers(&[member], &|_| None);
        assert_eq!(names(&servers), ["10.0.0.1:81", "10.0.0.1:80"]);
        let terms = servers.iter().map(|it| (it.terms.weight.get(), it.terms.backup));
        assert_eq!(terms.collect::<Vec<_>>(), [(1, true), (5, false)]);
    }

    #[test]
    fn ipv4_comes_first_and_each_address_once() {
        let all = ["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"].map(|it| it.parse().unwrap());
        let expected: Vec<IpAddr> =
            ["10.0.0.2", "10.0.0.1", "::1"].map(|it| it.parse().unwrap()).into();
        assert_eq!(sorted(all.into_iter()), expected);
    }

    #[test]
    fn names_of_this_machine_are_resolved() {
        let answers = look_up_now(["localhost", "no.such.name.invalid"].map(str::to_owned).into());
        assert!(answers["localhost"].iter().all(IpAddr::is_loopback));
        assert!(!answers["localhost"].is_empty());
        assert!(answers["no.such.name.invalid"].is_empty());
    }
}
