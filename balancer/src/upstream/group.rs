//! Servers of equal rank, and what is known of them as a whole.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use policy::{Candidate, Draw, Policy, Request, Time};

use super::news::News;
use super::{Backend, Server, Tried, greet, sticky};

/// Groups of more servers are not looked at as a whole for each pick.
const LARGE: usize = 32;

/// Servers of equal rank and the policy that places requests on them.
#[derive(Debug)]
pub(super) struct Group {
    /// In the order of the file.
    pub(super) servers: Vec<Server>,
    /// Who each is to those bound to it; empty where nobody can be.
    pub(super) names: Vec<Arc<str>>,
    /// Whether one of them gets its share back slowly.
    pub(super) starts_slowly: bool,
    /// Remembers positions.
    pub(super) policy: Box<dyn Policy>,
    /// The servers as the policy last saw them.
    pub(super) candidates: Vec<Candidate>,
    following: Option<Following>,
}

/// For whom a server is chosen, and how.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// The request.
    pub(super) request: &'a Request<'a>,
    /// What it was tried on.
    pub(super) tried: &'a Tried,
    /// Whether so few servers are usable that all are taken for usable.
    pub(super) ignores_health: bool,
}

/// How a large group is kept up to date.
#[derive(Debug)]
struct Following {
    news: Arc<News>,
    /// The news before this number are known.
    seen: u64,
    /// Where each server stands, by its number.
    positions: HashMap<u32, usize>,
    /// When somebody's time out is over, of which there is no news; the next first.
    ends: BinaryHeap<Reverse<(Time, usize)>>,
    /// What of that is known of each.
    end_of: Vec<Time>,
    /// Room for positions that have changed.
    changed: Vec<usize>,
}

impl Following {
    fn place(&self, backend: &Backend) -> Option<usize> {
        self.positions.get(&backend.number()?).copied()
    }
}

/// A server as a policy sees it, whatever the request has tried.
fn candidate(server: &Server, now: Time) -> Candidate {
    let mut candidate = server.backend.candidate_at(now, &server.terms);
    candidate.eligible &= !server.binding.drain;
    candidate
}

impl Group {
    pub(super) fn new(policy: Box<dyn Policy>) -> Self {
        Self {
            servers: Vec::new(),
            names: Vec::new(),
            starts_slowly: false,
            policy,
            candidates: Vec::new(),
            following: None,
        }
    }

    /// Chooses a server: the one at `bound`, or by the policy.
    pub(super) fn pick(
        &mut self,
        ask: &Ask<'_>,
        bound: Option<usize>,
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let Ask { request, tried, .. } = *ask;
        if self.following.is_some() {
            self.catch_up(request.now);
            self.exclude(tried);
        } else {
            self.look(ask);
        }
        let picked = match bound {
            Some(position) => {
                self.policy.bind(position, request, &self.candidates);
                Some(position)
            }
            None => self.policy.pick(request, &self.candidates, draw),
        };
        if let Some(following) = self.following.as_ref().filter(|_| !tried.0.is_empty()) {
            let places = tried.0.iter().filter_map(|it| following.place(it));
            for position in places.collect::<Vec<_>>() {
                self.renew(position, request.now);
            }
        }
        picked
    }

    /// Looks at every server.
    fn look(&mut self, Ask { request, tried, ignores_health }: &Ask<'_>) {
        let now = request.now;
        let Self { servers, candidates, starts_slowly, .. } = self;
        candidates.clear();
        candidates.extend(servers.iter().map(|it| {
            let mut candidate = if *ignores_health {
                it.backend.candidate_in_panic(&it.terms)
            } else {
                candidate(it, now)
            };
            candidate.eligible &= !it.binding.drain && !tried.has(&it.backend);
            if *starts_slowly {
                candidate = candidate.scaled(it.backend.share_at(now, &it.terms));
            }
            candidate
        }));
    }

    /// Looks at what has changed.
    fn catch_up(&mut self, now: Time) {
        let Some(following) = &mut self.following else { return };
        let mut changed = std::mem::take(&mut following.changed);
        let Following { news, seen, positions, ends, end_of, .. } = following;
        while let Some(Reverse((end, position))) = ends.peek().copied().filter(|it| it.0.0 <= now) {
            ends.pop();
            if end_of[position] == end {
                end_of[position] = Time::ZERO;
                changed.push(position);
            }
        }
        if news.since(seen, |it| changed.extend(positions.get(&it).copied())) {
            for position in &changed {
                self.renew(*position, now);
            }
        } else {
            for position in 0..self.servers.len() {
                self.renew(position, now);
            }
        }
        changed.clear();
        if let Some(following) = &mut self.following {
            following.changed = changed;
        }
    }

    fn renew(&mut self, position: usize, now: Time) {
        let server = &self.servers[position];
        let end = server.backend.usable_from();
        self.set(position, candidate(server, now));
        if let Some(following) = &mut self.following
            && now < end
            && end < Time::MAX
            && following.end_of[position] != end
        {
            following.end_of[position] = end;
            following.ends.push(Reverse((end, position)));
        }
    }

    fn set(&mut self, position: usize, after: Candidate) {
        let before = std::mem::replace(&mut self.candidates[position], after);
        if before != after {
            self.policy.changed(position, &before, &after);
        }
    }

    /// Makes those the request has tried not eligible.
    fn exclude(&mut self, tried: &Tried) {
        for backend in &tried.0 {
            let Some(following) = &self.following else { return };
            if let Some(position) = following.place(backend) {
                let mut out = self.candidates[position];
                out.eligible = false;
                self.set(position, out);
            }
        }
    }

    /// Begins to follow the servers, which are numbered, if they are many. `news` are those of the
    /// upstream.
    pub(super) fn follow(&mut self, news: impl FnOnce() -> Arc<News>, now: Time) {
        self.following = None;
        if self.servers.len() <= LARGE || self.starts_slowly {
            return;
        }
        let news = news();
        let mut positions = HashMap::with_capacity(self.servers.len());
        for (position, server) in self.servers.iter().enumerate() {
            server.backend.tell_by(&news);
            let tells = server.backend.news().is_some_and(|it| Arc::ptr_eq(it, &news));
            let is_known = positions.insert(server.backend.id(), position).is_some();
            if !tells || is_known {
                return;
            }
        }
        let seen = news.next();
        let (request, tried) = (&Request::at(now), &Tried::default());
        self.look(&Ask { request, tried, ignores_health: false });
        self.policy.follow(&self.candidates);
        let end_of = vec![Time::ZERO; self.servers.len()];
        let (ends, changed) = (BinaryHeap::new(), Vec::new());
        self.following = Some(Following { news, seen, positions, ends, end_of, changed });
        for position in 0..self.servers.len() {
            self.renew(position, now);
        }
    }

    /// Has another policy place requests from now on.
    pub(super) fn replace_policy(&mut self, policy: Box<dyn Policy>, now: Time) {
        self.policy = policy;
        self.policy.relist(&vec![None; self.servers.len()]);
        greet(&self.servers, |_| true, self.policy.as_mut());
        if let Some(following) = self.following.take() {
            self.follow(|| following.news, now);
        }
    }

    /// The server of a name, if it may be picked.
    pub(super) fn usable(&self, name: &str, request: &Request<'_>, tried: &Tried) -> Option<usize> {
        let at = self.names.iter().position(|it| **it == *name)?;
        let Server { terms, backend, .. } = &self.servers[at];
        let is_usable = backend.candidate_at(request.now, terms).eligible;
        (is_usable && !tried.has(backend)).then_some(at)
    }
}

/// Whether one of several servers gets its share back slowly; a single one needs no share.
pub(super) fn starts_slowly(servers: &[Server]) -> bool {
    1 < servers.len() && servers.iter().any(|it| it.terms.slow_start.is_some())
}

/// Who each server is to those bound to it.
pub(super) fn names(servers: &[Server]) -> Vec<Arc<str>> {
    let name = |it: &Server| match &it.binding.route {
        Some(route) => Arc::clone(route),
        None => sticky::name_of(&it.backend.name),
    };
    servers.iter().map(name).collect()
}

/// The servers without and with `backup`.
pub(super) fn ranks(servers: Vec<Server>) -> [Vec<Server>; 2] {
    let (backup, mut primary): (Vec<_>, Vec<_>) =
        servers.into_iter().partition(|it| it.terms.backup);
    // nginx never takes a server out by failures when there is no other.
    if let ([only], []) = (primary.as_mut_slice(), backup.as_slice()) {
        only.terms.max_fails = None;
    }
    [primary, backup]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use policy::{Event, Terms, Time};

    use super::*;
    use crate::upstream::{Address, Binding, Upstream};

    /// How many of 100 requests the first of two equal servers gets.
    fn share_of_first(upstream: &Upstream, second: u64) -> usize {
        let request = Request::at(Time::from_secs(second));
        let leases = (0..100).map(|_| upstream.pick(&request, &Tried::default(), None).unwrap());
        leases.filter(|it| it.backend.name == "10.0.0.1:1").count()
    }

    #[test]
    fn a_server_gets_its_share_back_slowly_after_an_outage() {
        let slow_start = Some(Duration::from_secs(100));
        let server = |port| {
            let address = Address::Inet(SocketAddr::from(([10, 0, 0, 1], port)));
            let terms = Terms { slow_start, ..Terms::default() };
            let backend = Arc::new(Backend::new(address));
            Server { terms, backend, binding: Binding::default() }
        };
        let upstream = Upstream::passing("u", &[]);
        upstream.relist(vec![server(1), server(2)]);
        assert_eq!(share_of_first(&upstream, 100), 50);
        let pick = |second| {
            let request = Request::at(Time::from_secs(second));
            (0..4)
                .map(|_| upstream.pick(&request, &Tried::default(), None).unwrap())
                .find(|it| it.backend.name == "10.0.0.1:1")
                .unwrap()
        };
        pick(100).finish(Event::FAILURE, Time::from_secs(100));
        assert_eq!(share_of_first(&upstream, 105), 0);
        pick(111).finish(Event::success(Duration::ZERO), Time::from_secs(111));
        let shares = [121, 161, 211].map(|second| share_of_first(&upstream, second));
        assert!((5..=15).contains(&shares[0]), "{shares:?}");
        assert!((28..=38).contains(&shares[1]), "{shares:?}");
        assert_eq!(shares[2], 50);
    }

    /// A hundred servers in turn.
    fn large() -> Upstream {
        let server = |port| {
            let backend = Arc::new(Backend::new(Address::Inet(([10, 0, 0, 1], port).into())));
            Server { terms: Terms::default(), backend, binding: Binding::default() }
        };
        let upstream = Upstream::passing("u", &[]);
        upstream.relist((1..=100).map(server).collect());
        upstream
    }

    #[track_caller]
    fn port(lease: &crate::upstream::Lease<'_>) -> u16 {
        let Address::Inet(address) = &lease.backend.address else { panic!("it has a port") };
        address.port()
    }

    #[test]
    fn a_large_group_goes_round_as_a_small_one_does() {
        let (upstream, request) = (large(), Request::at(Time::from_secs(100)));
        let mut tried = Tried::default();
        let pick = |tried: &Tried| upstream.pick(&request, tried, None).unwrap();
        let first = pick(&tried);
        assert_eq!(port(&first), 1);
        assert_eq!(port(&pick(&tried)), 2);
        tried.add(&pick(&tried).backend);
        let rest = (0..98).map(|_| port(&pick(&tried))).collect::<Vec<_>>();
        // Those who have had a turn among a hundred wait longer than those among ninety-nine.
        assert_eq!(rest[..97], (4..=100).collect::<Vec<_>>());
        assert_eq!((rest[97], port(&pick(&Tried::default()))), (4, 5));
    }

    #[test]
    fn a_large_group_leaves_out_who_has_failed_until_its_time_is_over() {
        let upstream = large();
        let served = |second: u64| {
            let request = Request::at(Time::from_secs(second));
            let pick = |_| port(&upstream.pick(&request, &Tried::default(), None).unwrap());
            (0..300).map(pick).collect::<Vec<_>>()
        };
        let failing = upstream.pick(&Request::at(Time::from_secs(100)), &Tried::default(), None);
        failing.unwrap().finish(Event::FAILURE, Time::from_secs(100));
        assert!(!served(105).contains(&1));
        assert!(served(111).contains(&1));
    }

    #[test]
    fn another_policy_follows_a_large_group_too() {
        let (upstream, request) = (large(), Request::at(Time::from_secs(100)));
        upstream.set_policy(&["least_conn"]).unwrap();
        let pick = |()| upstream.pick(&request, &Tried::default(), None).unwrap();
        let mut leases = Vec::from([(); 100].map(pick));
        drop(leases.remove(41));
        assert_eq!(port(&pick(())), 42);
    }

    #[test]
    fn whoever_looks_after_many_changes_sees_all_of_them() {
        let upstream = large();
        let request = Request::at(Time::from_secs(100));
        drop(upstream.pick(&request, &Tried::default(), None));
        let terms = Terms::default();
        let servers = upstream.servers();
        // More than is kept, past the group.
        for it in (0..40).flat_map(|_| &servers) {
            it.backend.start(request.now, &terms);
            it.backend.stop();
        }
        let failed = &servers[50].backend;
        failed.observe(Event::FAILURE, request.now, &terms);
        let pick = |_| upstream.pick(&request, &Tried::default(), None).unwrap();
        assert!((0..200).map(pick).all(|it| !Arc::ptr_eq(&it.backend, failed)));
    }
}
