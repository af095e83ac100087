//! A group of servers: one of them is chosen and counted in one step.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use policy::{Entry, Event, Policy, Request, SplitMix64, Terms, Time};

use crate::engine::clock;
use crate::http::variable::Template;

pub use self::backend::{Address, Backend, Reason};
pub use self::lease::Lease;
pub(crate) use self::plan::default_choices;
pub use self::plan::{Keepalive, Plan, Totals};
pub use self::roster::{Edit, Refused};

use self::group::{Ask, Group, names, ranks, starts_slowly};
use self::member::Member;
use self::news::News;
use self::probe::Probe;
use self::protection::Protections;
use self::roster::Roster;
use self::standing::Watched;
use self::state::State;
use self::sticky::Sticky;

pub mod backend;
pub mod check;
pub mod dns;
pub mod ejection;
pub mod extensions;
mod group;
mod lease;
pub mod limiter;
pub mod member;
mod method;
mod news;
mod plan;
pub mod probe;
pub mod protection;
pub mod queue;
pub mod report;
pub mod resolve;
mod roster;
pub mod rows;
pub mod standing;
pub mod state;
pub mod sticky;

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
    /// Those that belong to neither any more, and have requests in progress.
    leaving: Vec<Server>,
    /// The policy in force.
    entry: &'static Entry,
}

/// A group of servers that requests are placed on.
#[derive(Debug)]
pub struct Upstream {
    /// As the configuration names it.
    pub name: String,
    /// Of idle connections.
    pub keepalive: Keepalive,
    /// Idle connections of all workers.
    pub idle: Arc<AtomicU32>,
    /// Counts of the group as a whole.
    pub totals: Arc<Totals>,
    /// What requests are hashed by, `None` where the policy hashes nothing of them.
    pub key: ArcSwapOption<Template>,
    /// How clients are bound to servers, `None` where they are not.
    pub sticky: Option<Sticky>,
    /// What keeps it serving.
    pub protections: Protections,
    /// The file that its servers stand in, `None` where that is the configuration.
    pub(crate) state: Option<State>,
    /// How servers are asked for their load, `None` where the balancer answers for them.
    pub(crate) probe: ArcSwapOption<Probe>,
    /// Whether so few servers are usable that health is ignored.
    is_panicking: AtomicBool,
    /// Whether it is one of `stream`.
    pub is_stream: bool,
    chooser: Mutex<Chooser>,
    roster: Mutex<Roster>,
    /// The health checks of its servers; set once, when its configuration comes into force.
    watched: OnceLock<Vec<Watched>>,
    /// Counts up with each change of its servers.
    revision: AtomicU64,
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
        let [first, second] = plan.choices;
        let entry = first.entry;
        let chooser = Chooser {
            groups: [Group::new(first.policy), Group::new(second.policy)],
            draw: SplitMix64::new(plan.seed),
            leaving: Vec::new(),
            entry,
        };
        let roster = Roster::new(plan.members);
        let servers = roster.servers(plan.before.iter().cloned().collect());
        let upstream = Self {
            name: plan.name,
            keepalive: plan.keepalive,
            idle: plan.idle,
            totals: plan.totals,
            key: ArcSwapOption::new(plan.key.map(Arc::new)),
            sticky: plan.sticky,
            protections: plan.protections,
            state: plan.state,
            probe: ArcSwapOption::new(plan.probe.map(Arc::new)),
            is_panicking: AtomicBool::new(false),
            is_stream: plan.is_stream,
            chooser: Mutex::new(chooser),
            roster: Mutex::new(roster),
            watched: OnceLock::new(),
            revision: AtomicU64::new(0),
        };
        upstream.lock().leaving = plan.before;
        upstream.relist(servers);
        upstream
    }

    /// A group for one request: these addresses in turn, and nothing is kept of them.
    pub fn passing(name: &str, addresses: &[Address]) -> Self {
        let member = |(number, it): (usize, &Address)| Member::fixed(number, it.clone());
        Self::new(Plan {
            name: name.to_owned(),
            choices: default_choices(),
            key: None,
            sticky: None,
            members: addresses.iter().enumerate().map(member).collect(),
            is_stream: false,
            keepalive: Keepalive::NONE,
            idle: Arc::default(),
            totals: Arc::default(),
            before: Vec::new(),
            protections: Protections::default(),
            state: None,
            probe: None,
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
        let Chooser { groups, draw, entry, .. } = &mut *chooser;
        let ignores_health = self.ignores_health(groups, request.now);
        let ask = Ask { request, tried, ignores_health };
        for (rank, group) in groups.iter_mut().enumerate() {
            if group.servers.is_empty() {
                continue;
            }
            let bound_to = bound.and_then(|name| group.usable(name, request, tried));
            let picked = group.pick(&ask, bound_to, draw);
            if let Some(position) = picked {
                let server = &group.servers[position];
                server.backend.start(request.now, &server.terms);
                let backend = Arc::clone(&server.backend);
                let in_flight = backend.in_flight();
                let asked = match entry.needs.probes {
                    true => self.probes(group, draw, request.now),
                    false => Vec::new(),
                };
                let server = &group.servers[position];
                return Some(Lease {
                    upstream: self,
                    backend,
                    terms: server.terms,
                    policy: entry.id,
                    needs: entry.needs,
                    server: group.names.get(position).cloned(),
                    place: (rank, position),
                    began: request.now,
                    in_flight,
                    asked,
                });
            }
        }
        None
    }

    /// Whether a request that was placed nowhere may still be, when something changes.
    pub fn may_wait(&self, tried: &Tried) -> bool {
        let chooser = self.lock();
        let mut servers = chooser.groups.iter().flat_map(|it| &it.servers);
        servers.any(|it| !it.terms.down && !it.binding.drain && !tried.has(&it.backend))
    }

    /// Servers that are not `down`, backup ones included: how many attempts a request has.
    pub fn usable_servers(&self) -> u32 {
        let chooser = self.lock();
        let up = chooser.groups.iter().flat_map(|it| &it.servers).filter(|it| !it.terms.down);
        u32::try_from(up.count()).unwrap_or(u32::MAX)
    }

    /// Every server, backup ones last, and then those that are leaving, as `drain` ones.
    pub fn servers(&self) -> Vec<Server> {
        let mut chooser = self.lock();
        let Chooser { groups, leaving, .. } = &mut *chooser;
        leaving.retain(|it| 0 < it.backend.in_flight());
        groups.iter().flat_map(|it| &it.servers).chain(&*leaving).cloned().collect()
    }

    /// The servers in force, backup ones last; none of those that are leaving.
    pub fn members(&self) -> Vec<Server> {
        self.lock().groups.iter().flat_map(|it| &it.servers).cloned().collect()
    }

    /// Counts up with each change of the servers.
    pub fn revision(&self) -> u64 {
        // Acquire: whoever sees the number finds the servers that made it.
        self.revision.load(Ordering::Acquire)
    }

    /// From now on its servers, and those to come, are watched by these checks.
    pub(crate) fn watch(&self, checks: Vec<Watched>) {
        let now = clock::now();
        let checks = self.watched.get_or_init(|| checks);
        for server in self.members() {
            server.backend.watch(checks, now);
            if self.protections.ejector.is_none() {
                server.backend.eject(Time::ZERO, now);
            }
        }
    }

    /// Replaces the servers; those that stay keep their place in the rotation.
    pub fn relist(&self, servers: Vec<Server>) {
        let ranks = ranks(servers);
        let mut chooser = self.lock();
        let Chooser { groups, leaving, .. } = &mut *chooser;
        let place = |it: &Server| Arc::as_ptr(&it.backend).addr();
        for (group, servers) in groups.iter_mut().zip(ranks) {
            let old = std::mem::replace(&mut group.servers, servers);
            let stood: HashMap<usize, usize> =
                old.iter().enumerate().rev().map(|(at, it)| (place(it), at)).collect();
            let from: Vec<_> =
                group.servers.iter().map(|it| stood.get(&place(it)).copied()).collect();
            group.policy.relist(&from);
            greet(&group.servers, |it| from[it].is_none(), group.policy.as_mut());
            group.starts_slowly = starts_slowly(&group.servers);
            // Who was not there before is new, unless nobody was.
            let is_new = |at: &usize| from[*at].is_none() && !old.is_empty();
            let new = (0..group.servers.len()).filter(is_new).map(|at| &group.servers[at]);
            for server in new.filter(|it| it.terms.slow_start.is_some()) {
                server.backend.recover(clock::now());
            }
            if let Some(checks) = self.watched.get() {
                let new = (0..group.servers.len()).filter(|it| from[*it].is_none());
                new.for_each(|it| group.servers[it].backend.watch(checks, clock::now()));
            }
            if self.sticky.is_some() {
                group.names = names(&group.servers);
            }
            leaving.extend(old);
        }
        let all = || groups.iter().flat_map(|it| &it.servers);
        leaving.retain(|it| 0 < it.backend.in_flight());
        if !leaving.is_empty() {
            let present: HashSet<usize> = all().map(place).collect();
            leaving.retain(|it| !present.contains(&place(it)));
            for server in leaving.iter_mut() {
                server.binding.drain = true;
            }
        }
        // Numbers go on from the highest, so that none means another server.
        let numbers = all().chain(&*leaving).filter_map(|it| it.backend.number());
        let free = numbers.max().map_or(0, |it| it + 1)..;
        let new = all().filter(|it| it.backend.number().is_none());
        free.zip(new).for_each(|(number, it)| it.backend.set_number(number));
        if let Some(ejector) = &self.protections.ejector {
            ejector.relist(all());
        }
        let known = all().find_map(|it| it.backend.news().cloned());
        let news = LazyCell::new(|| known.unwrap_or_else(|| Arc::new(News::new())));
        // Where health is ignored at times, every server may change at once.
        if self.protections.asked.panic_threshold <= 0.0 {
            for group in groups {
                group.follow(|| Arc::clone(&news), clock::now());
            }
        }
        self.revision.fetch_add(1, Ordering::Release);
        drop(chooser);
        if let Some(queue) = &self.protections.queue {
            queue.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Chooser> {
        // One panicking request must not stop the rest.
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
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
