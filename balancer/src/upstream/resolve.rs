//! Names → addresses, in the background; what the difference means is a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use policy::{Identity, Terms};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Address, Backend, Server, Upstream};
use crate::engine::Shared;

/// One `server` line: what is asked of it, and where it leads.
#[derive(Clone, Debug)]
pub struct Member {
    /// The parameters of the line; the identity is that of each address.
    pub terms: Terms,
    /// Host and port as they are written, from which consistent hashing starts.
    pub line: String,
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
        addresses: Vec<IpAddr>,
    },
}

/// A group and its lines, some of which have no address yet.
#[derive(Debug)]
pub struct Roster {
    /// The group.
    pub upstream: Arc<Upstream>,
    /// Its lines, in the order of the file.
    pub members: Vec<Member>,
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
        let addresses = match &member.place {
            Place::Fixed(address) => vec![address.clone()],
            Place::Named { port, addresses, .. } => {
                addresses.iter().map(|it| Address::Inet(SocketAddr::new(*it, *port))).collect()
            }
        };
        for address in addresses {
            let identity = Identity::new(&member.line, &address.to_string());
            let terms = Terms { identity, ..member.terms };
            let listed = servers.iter().find(|it| it.backend.address == address);
            let backend = match listed {
                Some(server) => Arc::clone(&server.backend),
                None => known(&address).unwrap_or_else(|| Arc::new(Backend::new(address))),
            };
            servers.push(Server { terms, backend });
        }
    }
    servers
}

/// The names that have no address yet.
fn waiting(members: &[Member]) -> impl Iterator<Item = &str> {
    members.iter().filter_map(|it| match &it.place {
        Place::Named { name, addresses, .. } if addresses.is_empty() => Some(name.as_str()),
        _ => None,
    })
}

/// Enters the answers for names that had no address; false when there are none.
fn fill(members: &mut [Member], answers: &Answers) -> bool {
    let mut any = false;
    for member in members {
        if let Place::Named { name, addresses, .. } = &mut member.place
            && addresses.is_empty()
            && let Some(found) = answers.get(name).filter(|it| !it.is_empty())
        {
            addresses.clone_from(found);
            any = true;
        }
    }
    any
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

/// How often the task looks for a new configuration, and its first pause between two attempts.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(10);

/// Resolves the names that could not be resolved when their configuration was read; never ends.
pub async fn follow(shared: Arc<Shared>) {
    loop {
        let generation = shared.snapshot.load().generation;
        let rosters = shared.snapshot.load().unresolved.clone();
        let mut groups: Vec<_> =
            rosters.iter().map(|it| (Arc::clone(&it.upstream), it.members.clone())).collect();
        let mut pause = SHORTEST;
        let mut due = Instant::now() + pause;
        while shared.snapshot.load().generation == generation {
            sleep(SHORTEST).await;
            let names: BTreeSet<String> =
                groups.iter().flat_map(|(_, it)| waiting(it)).map(str::to_owned).collect();
            if names.is_empty() || Instant::now() < due {
                continue;
            }
            let answers = look_up(names).await;
            for (upstream, members) in &mut groups {
                if fill(members, &answers) {
                    relist(upstream, members);
                }
            }
            pause = (pause * 2).min(LONGEST);
            due = Instant::now() + pause;
        }
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
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let place = Place::Named { name: name.to_owned(), port: 80, addresses };
        Member { terms: Terms::default(), line: format!("{name}:80"), place }
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
    fn answers_fill_only_what_is_open() {
        let mut members = [named("a", &["10.0.0.1"]), named("b", &[]), named("c", &[])];
        assert_eq!(waiting(&members).collect::<Vec<_>>(), ["b", "c"]);
        let answer = |name: &str, ip: &str| (name.to_owned(), vec![ip.parse().unwrap()]);
        let answers =
            Answers::from([answer("a", "10.0.0.9"), answer("b", "10.0.0.2"), ("c".into(), vec![])]);
        assert!(fill(&mut members, &answers));
        assert_eq!(names(&servers(&members, &|_| None)), ["10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(waiting(&members).collect::<Vec<_>>(), ["c"]);
        assert!(!fill(&mut members, &answers));
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
