//! Servers of equal rank, and what is known of them as a whole.

use std::sync::Arc;

use policy::{Policy, Request};

use super::{Server, Tried, sticky};

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
}

impl Group {
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
    use crate::upstream::{Address, Backend, Binding, Upstream};

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
}
