//! How loaded is a server now, when a policy asks ahead of need?
//!
//! Where `uri=` names a path, the server itself is asked, in the background of the worker whose
//! request the policy was asked for. Without it the balancer answers from what it has seen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policy::{Event, SplitMix64, Time};
use tokio::time::timeout;

use super::check::http::{Answer, Kept};
use super::group::Group;
use super::report::{self, Load};
use super::{Backend, Upstream};
use crate::engine::clock;
use crate::engine::peer::{self, Outgoing};

/// A path that tells the load of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// The request, as it is sent.
    request: Vec<u8>,
}

/// How long an answer is waited for; a late one is worth nothing.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a request that failed counts as at least: a server that fails fast is not a fast server.
const FAILURE: Duration = Duration::from_secs(5);

impl Probe {
    /// Asks for a path of the group.
    pub fn new(upstream: &str, uri: &str) -> Self {
        let request = format!(
            "GET {uri} HTTP/1.1\r\nHost: {upstream}\r\nUser-Agent: balancer (probe)\r\n\
             Connection: close\r\n\r\n"
        );
        Self { request: request.into_bytes() }
    }

    /// The answer to a probe, `None` where none came in time.
    async fn ask(&self, backend: &Backend) -> Option<Event> {
        let began = clock::now();
        let asking = async {
            let stream = peer::open(&backend.address, &Outgoing::default()).await.ok()?;
            let kept = Kept { stream, opened: began };
            let patience = [PATIENCE; 2];
            Answer::ask(kept, &self.request, patience).await.ok()
        };
        let answer = timeout(PATIENCE, asking).await.ok().flatten()?;
        if !(200..300).contains(&answer.response.status) {
            return None;
        }
        let mut fields = answer.response.fields.iter();
        let line = fields.find(|it| it.name.of(&answer.bytes).eq_ignore_ascii_case(report::NAME));
        let load = line.and_then(|it| Load::parse(it.value.of(&answer.bytes))).unwrap_or_default();
        let (in_flight, latency) = load.probed();
        Some(Event::Probe {
            in_flight: in_flight.unwrap_or_else(|| backend.in_flight()),
            latency: latency.unwrap_or_else(|| clock::now().since(began)),
        })
    }
}

/// Asks servers, and tells the policy of the group what they say. Whoever asks does not wait.
pub(crate) fn send(upstream: &Arc<Upstream>, asked: Vec<Arc<Backend>>) {
    for backend in asked {
        let upstream = Arc::clone(upstream);
        tokio::spawn(async move {
            // Another policy may be in force since.
            let Some(probe) = upstream.probe.load_full() else { return };
            if let Some(event) = probe.ask(&backend).await {
                upstream.tell(&backend, event, clock::now());
            }
        });
    }
}

/// How long the latest requests took on a server, and among how many.
#[derive(Debug, Default)]
pub(super) struct Latencies(Mutex<VecDeque<(u32, Duration)>>);

impl Latencies {
    /// Requests that are remembered.
    const KEPT: usize = 64;
    /// Of those, how many that ran among a like number count.
    const NEAR: usize = 9;

    /// Learns a request that ended and had begun as one of `in_flight`.
    pub(super) fn learn(&self, in_flight: u32, event: Event) {
        let took = match event {
            Event::Success { total, status, .. } if status < 500 && status != 429 => total,
            Event::Success { total, .. } | Event::Failure { total, .. } => total.max(FAILURE),
            _ => return,
        };
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() == Self::KEPT {
            latest.pop_front();
        }
        latest.push_back((in_flight, took));
    }

    /// The median of those that ran among about as many, zero where nothing is known.
    pub(super) fn at(&self, in_flight: u32) -> Duration {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut near: Vec<_> =
            latest.iter().map(|(it, took)| (it.abs_diff(in_flight), *took)).collect();
        near.sort_unstable();
        near.truncate(Self::NEAR);
        near.sort_unstable_by_key(|it| it.1);
        near.get(near.len() / 2).map_or(Duration::ZERO, |it| it.1)
    }
}

impl Upstream {
    /// Servers that the policy wants to know the load of, as far as we do not know it ourselves.
    pub(super) fn probes(
        &self,
        group: &mut Group,
        draw: &mut SplitMix64,
        now: Time,
    ) -> Vec<Arc<Backend>> {
        let (mut asked, answers) = (Vec::new(), self.probe.load().is_some());
        while let Some(at) = group.policy.probe(&group.candidates, draw) {
            let backend = &group.servers[at].backend;
            if answers {
                asked.push(Arc::clone(backend));
            } else {
                let in_flight = backend.in_flight();
                let latency = backend.latencies.at(in_flight);
                group.policy.learn(at, Event::Probe { in_flight, latency }, now);
            }
        }
        asked
    }

    /// Tells the policy what a server said of itself.
    pub(crate) fn tell(&self, backend: &Arc<Backend>, event: Event, now: Time) {
        let mut chooser = self.lock();
        for group in &mut chooser.groups {
            if let Some(at) = group.servers.iter().position(|it| Arc::ptr_eq(&it.backend, backend))
            {
                group.policy.learn(at, event, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn latency_is_the_median_of_those_that_ran_among_as_many() {
        let latencies = Latencies::default();
        assert_eq!(latencies.at(3), Duration::ZERO);
        for _ in 0..Latencies::NEAR {
            latencies.learn(1, Event::success(10 * MS));
            latencies.learn(8, Event::success(80 * MS));
        }
        assert_eq!([latencies.at(1), latencies.at(9)], [10 * MS, 80 * MS]);
    }

    #[test]
    fn a_server_that_fails_fast_is_slow() {
        let latencies = Latencies::default();
        latencies.learn(1, Event::FAILURE);
        assert_eq!(latencies.at(1), FAILURE);
        latencies.learn(1, Event::Success { head: MS, total: MS, status: 503 });
        assert_eq!(latencies.at(1), FAILURE);
        latencies.learn(1, Event::Abandoned { head: None, total: MS });
        assert_eq!(latencies.at(1), FAILURE);
    }
}
