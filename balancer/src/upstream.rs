//! A group of servers: one of them is chosen and counted in one step.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::{Candidate, Event, Hears, Policy, Request, SplitMix64, Terms, Time, Transition};

use crate::http::variable::Template;

pub use self::backend::{Address, Backend, Reason};

pub mod backend;
pub mod resolve;
pub mod rows;

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
}

/// Servers of equal rank and the policy that places requests on them.
#[derive(Debug)]
struct Group {
    servers: Vec<Server>,
    policy: Box<dyn Policy>,
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
    /// Which ends of requests the policy learns from.
    pub hears: Hears,
    /// What requests are hashed by, where the policy hashes.
    pub key: Option<Template>,
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
    hears: Hears,
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
        let Plan { name, policy, hears, key, policies, servers, keepalive, idle, seed } = plan;
        let [primary, backup] = ranks(servers);
        let [first, second] = policies;
        let group = |servers: Vec<Server>, mut policy: Box<dyn Policy>| {
            policy.relist(&vec![None; servers.len()]);
            Group { servers, policy }
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
            hears,
            chooser: Mutex::new(chooser),
        }
    }

    /// Chooses a server and starts counting the request against it, in one step.
    ///
    /// `None` when no server may be picked, backup ones included.
    pub fn pick(&self, request: &Request<'_>, tried: &Tried) -> Option<Lease<'_>> {
        // The lock covers the lease too: otherwise a burst would see one idle backend many times.
        let mut chooser = self.lock();
        let Chooser { groups, draw, candidates } = &mut *chooser;
        for (rank, group) in groups.iter_mut().enumerate() {
            if group.servers.is_empty() {
                continue;
            }
            candidates.clear();
            candidates.extend(group.servers.iter().map(|it| {
                let mut candidate = it.backend.candidate_at(request.now, &it.terms);
                candidate.eligible &= !tried.has(&it.backend);
                candidate
            }));
            if let Some(position) = group.policy.pick(request, candidates, draw) {
                let server = &group.servers[position];
                server.backend.start(request.now, &server.terms);
                let backend = Arc::clone(&server.backend);
                return Some(Lease {
                    upstream: self,
                    backend,
                    terms: server.terms,
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
        }
    }

    fn learn(&self, lease: &Lease<'_>, event: Event, now: Time) {
        let mut chooser = self.lock();
        let (rank, position) = lease.place;
        let Group { servers, policy } = &mut chooser.groups[rank];
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

/// The servers without and with `backup`.
fn ranks(servers: Vec<Server>) -> [Vec<Server>; 2] {
    let (backup, mut primary): (Vec<_>, Vec<_>) =
        servers.into_iter().partition(|it| it.terms.backup);
    // nginx never takes a server out by failures when there is no other.
    if let ([only], []) = (primary.as_mut_slice(), backup.as_slice()) {
        only.terms.max_fails = None;
    }
    [primary, backup]
}

/// One request counted against a backend, until dropped.
#[derive(Debug)]
#[must_use = "the request stops counting as soon as the lease is dropped"]
pub struct Lease<'a> {
    upstream: &'a Upstream,
    /// The server that was chosen.
    pub backend: Arc<Backend>,
    terms: Terms,
    place: (usize, usize),
    /// When it was chosen.
    pub began: Time,
}

impl Lease<'_> {
    /// Tells a policy that listens for it that the head of the answer has come.
    pub fn head(&self, elapsed: Duration, now: Time) {
        if Hears::Heads <= self.upstream.hears {
            self.upstream.learn(self, Event::Head { elapsed }, now);
        }
    }

    /// Ends the request with what became of it, and says whether that changed the server's state.
    pub fn finish(self, event: Event, now: Time) -> Option<Transition> {
        let is_plain = matches!(event, Event::Success { .. });
        if Hears::Ends <= self.upstream.hears || !is_plain {
            self.upstream.learn(&self, event, now);
        }
        self.backend.observe(event, now, &self.terms)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.backend.stop();
    }
}

/// Takes one of `limit` places for idle connections, unless all are taken.
pub fn take_place(places: &AtomicU32, limit: u32) -> bool {
    // Relaxed: the count publishes no other memory.
    places
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| (it < limit).then_some(it + 1))
        .is_ok()
}
