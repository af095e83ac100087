//! Names → addresses, in the background; what the difference means is a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Upstream;
use super::dns::Unresolved;
use super::dns::message::Service;
use super::member::{Lookup, Member, Place, Spot};
use crate::engine::Shared;

/// What became of each name: its addresses, none when it could not be resolved.
pub type Answers = BTreeMap<String, Vec<IpAddr>>;

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

pub(super) async fn look_up(names: BTreeSet<String>) -> Answers {
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
        for upstream in snapshot.upstreams.iter().chain(&snapshot.stream_upstreams) {
            for member in upstream.open_members() {
                names.spawn(keep(Arc::clone(upstream), member));
            }
        }
        while shared.snapshot.load().generation == snapshot.generation {
            sleep(SHORTEST).await;
        }
    }
}

/// Keeps one line up to date.
async fn keep(upstream: Arc<Upstream>, member: Member) {
    let number = member.number;
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
                    (failed.says_no().then(Vec::new), None)
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
            upstream.enter(number, &spots);
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
                match resolver.addresses(&service.target).await {
                    Ok((addresses, end)) => {
                        until = until.min(end);
                        found.push((service, addresses));
                    }
                    Err(failed) if failed.says_no() => {}
                    // Who is meant is not known for now; those that were stay.
                    Err(failed) => return Err(failed),
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

#[cfg(test)]
mod tests {
    use policy::Terms;

    use super::*;
    use crate::upstream::Binding;
    use crate::upstream::member::{Known, servers};

    #[test]
    fn services_of_the_lowest_number_come_first() {
        let service =
            |priority, weight, port| Service { priority, weight, port, target: String::new() };
        let ip: IpAddr = [10, 0, 0, 1].into();
        let found = spots(&[(service(2, 0, 81), vec![ip]), (service(1, 5, 80), vec![ip])]);
        let member = Member {
            number: 0,
            terms: Terms::default(),
            line: String::new(),
            words: Vec::new(),
            binding: Binding::default(),
            place: Place::Named { name: String::new(), port: 0, spots: found, lookup: None },
        };
        let servers = servers(&[member], Known::default());
        let names = servers.iter().map(|it| it.backend.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["10.0.0.1:81", "10.0.0.1:80"]);
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
