//! A group of servers: one of them is chosen and counted in one step.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::{
    Candidate, Choice, Event, Hears, Needs, Policy, Request, SplitMix64, Terms, Time, Transition,
};

use crate::engine::clock;
use crate::http::variable::Template;

pub use self::backend::{Address, Backend, Reason};
use self::group::{Group, names, ranks, starts_slowly};
use self::sticky::Sticky;

pub mod backend;
pub mod dns;
pub mod extensions;
mod group;
pub mod resolve;
pub mod rows;
pub mod sticky;

/// How many idle connections a group keeps, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// Most idle connections over all cores; 0 closes each after its answer.
    pub idle: u32,
    /// Requests after which a connection is closed.
    pub requests: u64,
    /// Age after which a connection is closed at the end of its request.
    pub time: Duration,
    /// How long a connection may be idle.
    pub timeout: Duration,
    /// Whether a connection serves again only the location it was opened for.
    pub local: bool,
}

impl Keepalive {
    /// What an `upstream` block has unless it says otherwise.
    pub const DEFAULT: Self = Self {
        idle: 32,
        requests: 1000,
        time: Duration::from_hours(1),
        timeout: Duration::from_mins(1),
        local: true,
    };

    /// What a `proxy_pass` to a plain address has: each connection serves one request.
    pub const NONE: Self = Self { idle: 0, ..Self::DEFAULT };
}

/// One `server` line and one of its addresses: what is asked of it, and who it is.
#[derive(Clone, Debug)]
pub struct Server {
    /// The parameters of the line.
    pub terms: Terms,
    /// The facts, shared with the snapshot before this one.
    pub backend: Arc<Backend>,
    /// What binds requests to it.
    pub binding: Binding,
}

/// What binds requests to a server, and whether it serves others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Binding {
    /// `route`, `None` for the digest of its address.
    pub route: Option<Arc<str>>,
    /// Whether it serves only requests that are bound to it.
    pub drain: bool,
}

/// All that a choice reads and changes.
#[derive(Debug)]
struct Chooser {
    /// Those without `backup` first; the second serves only when the first cannot.
    groups: [Group; 2],
    draw: SplitMix64,
    candidates: Vec<Candidate>,
}

/// What the rows of an `upstream` block come to.
#[derive(Debug)]
pub struct Plan {
    /// The group's name, or host and port of a plain `proxy_pass`.
    pub name: String,
    /// Id of the policy in [`policy::CATALOG`].
    pub policy: &'static str,
    /// What the policy has to be told.
    pub needs: Needs,
    /// What requests are hashed by, where the policy hashes.
    pub key: Option<Template>,
    /// How clients are bound to servers.
    pub sticky: Option<Sticky>,
    /// Makes the policy, once for the primary and once for the backup servers.
    pub policies: [Box<dyn Policy>; 2],
    /// Every server, backup ones included, in the order of the file.
    pub servers: Vec<Server>,
    /// Of idle connections.
    pub keepalive: Keepalive,
    /// Idle connections of all workers, carried over from the configuration before this one.
    pub idle: Arc<AtomicU32>,
    /// Where the policy's chance begins.
    pub seed: u64,
}

/// A group of servers that requests are placed on.
#[derive(Debug)]
pub struct Upstream {
    /// As the configuration names it.
    pub name: String,
    /// Id of the policy in [`policy::CATALOG`].
    pub policy: &'static str,
    /// Of idle connections.
    pub keepalive: Keepalive,
    /// Idle connections of all workers.
    pub idle: Arc<AtomicU32>,
    /// Attempts beyond the first of their request.
    pub retries: AtomicU64,
    /// What requests are hashed by, `None` where the policy hashes nothing of them.
    pub key: Option<Template>,
    /// How clients are bound to servers, `None` where they are not.
    pub sticky: Option<Sticky>,
    needs: Needs,
    chooser: Mutex<Chooser>,
}

/// Servers a request has been tried on; they are not picked again for it.
#[derive(Debug, Default)]
pub struct Tried(Vec<Arc<Backend>>);

impl Tried {
    /// Adds a server.
    pub fn add(&mut self, backend: &Arc<Backend>) {
        self.0.push(Arc::clone(backend));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn has(&self, backend: &Arc<Backend>) -> bool {
        self.0.iter().any(|it| Arc::ptr_eq(it, backend))
    }
}

impl Upstream {
    /// Puts a group together. Its servers may be in use already.
    pub fn new(plan: Plan) -> Self {
        let Plan { name, policy, needs, key, sticky, policies, servers, keepalive, idle, seed } =
            plan;
        let [primary, backup] = ranks(servers);
        let [first, second] = policies;
        let group = |servers: Vec<Server>, mut policy: Box<dyn Policy>| {
            policy.relist(&vec![None; servers.len()]);
            greet(&servers, |_| true, policy.as_mut());
            let names = if sticky.is_some() { names(&servers) } else { Vec::new() };
            Group { starts_slowly: starts_slowly(&servers), servers, names, policy }
        };
        let groups = [group(primary, first), group(backup, second)];
        let chooser = Chooser { groups, draw: SplitMix64::new(seed), candidates: Vec::new() };
        Self {
            name,
            policy,
            keepalive,
            idle,
            retries: AtomicU64::new(0),
            key,
            sticky,
            needs,
            chooser: Mutex::new(chooser),
        }
    }

    /// A group for one request: these addresses in turn, and nothing is kept of them.
    pub fn passing(name: &str, addresses: &[Address]) -> Self {
        let choice = || Choice::of_directive(&[]).expect("the default policy is in the catalog");
        let server = |it: &Address| Server {
            terms: Terms::default(),
            backend: Arc::new(Backend::new(it.clone())),
            binding: Binding::default(),
        };
        Self::new(Plan {
            name: name.to_owned(),
            policy: choice().entry.id,
            needs: choice().entry.needs,
            key: None,
            sticky: None,
            policies: [choice().policy, choice().policy],
            servers: addresses.iter().map(server).collect(),
            keepalive: Keepalive::NONE,
            idle: Arc::default(),
            seed: 0,
        })
    }

    /// Chooses a server and starts counting the request against it, in one step.
    ///
    /// `None` when no server may be picked, backup ones included. The server that the request is
    /// `bound` to comes first.
    pub fn pick(
        &self,
        request: &Request<'_>,
        tried: &Tried,
        bound: Option<&str>,
    ) -> Option<Lease<'_>> {
        // The lock covers the lease too: otherwise a burst would see one idle backend many times.
        let mut chooser = self.lock();
        let Chooser { groups, draw, candidates } = &mut *chooser;
        for (rank, group) in groups.iter_mut().enumerate() {
            if group.servers.is_empty() {
                continue;
            }
            let bound_to = bound.and_then(|name| group.usable(name, request, tried));
            let starts_slowly = group.starts_slowly;
            candidates.clear();
            candidates.extend(group.servers.iter().map(|it| {
                let mut candidate = it.backend.candidate_at(request.now, &it.terms);
                candidate.eligible &= !it.binding.drain && !tried.has(&it.backend);
                if starts_slowly {
                    candidate = candidate.scaled(it.backend.share_at(request.now, &it.terms));
                }
                candidate
            }));
            let picked = match bound_to {
                Some(position) => {
                    group.policy.bind(position, request, candidates);
                    Some(position)
                }
                None => group.policy.pick(request, candidates, draw),
            };
            if let Some(position) = picked {
                let server = &group.servers[position];
                server.backend.start(request.now, &server.terms);
                let backend = Arc::clone(&server.backend);
                return Some(Lease {
                    upstream: self,
                    backend,
                    terms: server.terms,
                    server: group.names.get(position).cloned(),
                    place: (rank, position),
                    began: request.now,
                });
            }
        }
        None
    }

    /// Servers that are not `down`, backup ones included: how many attempts a request has.
    pub fn usable_servers(&self) -> u32 {
        let chooser = self.lock();
        let up = chooser.groups.iter().flat_map(|it| &it.servers).filter(|it| !it.terms.down);
        u32::try_from(up.count()).unwrap_or(u32::MAX)
    }

    /// Every server, backup ones last.
    pub fn servers(&self) -> Vec<Server> {
        self.lock().groups.iter().flat_map(|it| it.servers.iter().cloned()).collect()
    }

    /// Replaces the servers; those that stay keep their place in the rotation.
    pub fn relist(&self, servers: Vec<Server>) {
        let ranks = ranks(servers);
        let mut chooser = self.lock();
        for (group, servers) in chooser.groups.iter_mut().zip(ranks) {
            let old = std::mem::replace(&mut group.servers, servers);
            let stood =
                |it: &Server| old.iter().position(|was| Arc::ptr_eq(&was.backend, &it.backend));
            let from: Vec<_> = group.servers.iter().map(stood).collect();
            group.policy.relist(&from);
            greet(&group.servers, |it| from[it].is_none(), group.policy.as_mut());
            group.starts_slowly = starts_slowly(&group.servers);
            // Who was not there before is new, unless nobody was.
            let is_new = |at: &usize| from[*at].is_none() && !old.is_empty();
            let new = (0..group.servers.len()).filter(is_new).map(|at| &group.servers[at]);
            for server in new.filter(|it| it.terms.slow_start.is_some()) {
                server.backend.recover(clock::now());
            }
            if self.sticky.is_some() {
                group.names = names(&group.servers);
            }
        }
    }

    fn learn(&self, lease: &Lease<'_>, event: Event, now: Time) {
        Self::tell(&mut self.lock(), lease, event, now);
    }

    /// Ends the count of a request and tells the policy of a server that has nothing left to do.
    fn stop(&self, lease: &Lease<'_>) {
        // One step, as the pick is: else a server could be told idle that has just been picked.
        let mut chooser = self.lock();
        lease.backend.stop();
        if lease.backend.in_flight() == 0 {
            Self::tell(&mut chooser, lease, Event::Idle, clock::now());
        }
    }

    fn tell(chooser: &mut Chooser, lease: &Lease<'_>, event: Event, now: Time) {
        let (rank, position) = lease.place;
        let Group { servers, policy, .. } = &mut chooser.groups[rank];
        let is_here = |it: &Server| Arc::ptr_eq(&it.backend, &lease.backend);
        // The list may have changed while the request ran.
        let position = match servers.get(position) {
            Some(server) if is_here(server) => Some(position),
            _ => servers.iter().position(is_here),
        };
        if let Some(position) = position {
            policy.learn(position, event, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Chooser> {
        // One panicking request must not stop the rest.
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request counted against a backend, until dropped.
#[derive(Debug)]
#[must_use = "the request stops counting as soon as the lease is dropped"]
pub struct Lease<'a> {
    upstream: &'a Upstream,
    /// The server that was chosen.
    pub backend: Arc<Backend>,
    /// Who it is to those bound to it, `None` where nobody can be.
    pub server: Option<Arc<str>>,
    terms: Terms,
    place: (usize, usize),
    /// When it was chosen.
    pub began: Time,
}

impl Lease<'_> {
    /// Tells a policy that listens for it that the head of the answer has come.
    pub fn head(&self, elapsed: Duration, now: Time) {
        if Hears::Heads <= self.upstream.needs.hears {
            self.upstream.learn(self, Event::Head { elapsed }, now);
        }
    }

    /// Failures that take the server out, `None` where none do.
    pub fn max_fails(&self) -> Option<NonZeroU32> {
        self.terms.max_fails
    }

    /// Ends the request with what became of it, and says whether that changed the server's state.
    pub fn finish(self, event: Event, now: Time) -> Option<Transition> {
        let is_plain = matches!(event, Event::Success { .. });
        if Hears::Ends <= self.upstream.needs.hears || !is_plain {
            self.upstream.learn(&self, event, now);
        }
        self.backend.observe(event, now, &self.terms)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.upstream.needs.idle {
            self.upstream.stop(self);
        } else {
            self.backend.stop();
        }
    }
}

/// Tells a policy which of the new servers have nothing to do.
fn greet(servers: &[Server], is_new: impl Fn(usize) -> bool, policy: &mut dyn Policy) {
    let now = clock::now();
    for (position, server) in servers.iter().enumerate() {
        if is_new(position) && server.backend.in_flight() == 0 {
            policy.learn(position, Event::Idle, now);
        }
    }
}

/// Takes one of `limit` places for idle connections, unless all are taken.
pub fn take_place(places: &AtomicU32, limit: u32) -> bool {
    // Relaxed: the count publishes no other memory.
    places
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| (it < limit).then_some(it + 1))
        .is_ok()
}
