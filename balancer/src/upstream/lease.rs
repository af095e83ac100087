//! A request that counts against the server it was placed on.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use policy::{Event, Hears, Needs, Terms, Time, Transition};

use super::group::Group;
use super::report::Load;
use super::{Backend, Chooser, Server, Upstream};
use crate::engine::clock;

/// One request counted against a backend, until dropped.
#[derive(Debug)]
#[must_use = "the request stops counting as soon as the lease is dropped"]
pub struct Lease<'a> {
    pub(super) upstream: &'a Upstream,
    /// The server that was chosen.
    pub backend: Arc<Backend>,
    /// Who it is to those bound to it, `None` where nobody can be.
    pub server: Option<Arc<str>>,
    pub(super) terms: Terms,
    /// The policy that chose it.
    pub policy: &'static str,
    /// What that has to be told.
    pub(super) needs: Needs,
    pub(super) place: (usize, usize),
    /// When it was chosen.
    pub began: Time,
    /// Requests in progress on the server then, this one included.
    pub(super) in_flight: u32,
    /// Servers that the policy wants to know the load of.
    pub(super) asked: Vec<Arc<Backend>>,
}

impl Lease<'_> {
    /// Tells a policy that listens for it that the head of the answer has come.
    pub fn head(&self, elapsed: Duration, now: Time) {
        if Hears::Heads <= self.needs.hears {
            self.learn(Event::Head { elapsed }, now);
        }
    }

    /// Failures that take the server out, `None` where none do.
    pub fn max_fails(&self) -> Option<NonZeroU32> {
        self.terms.max_fails
    }

    /// Ends the request with what became of it, and says whether that changed the server's state.
    pub fn finish(self, event: Event, now: Time) -> Option<Transition> {
        self.protect(event, now);
        let is_plain = matches!(event, Event::Success { .. });
        if Hears::Ends <= self.needs.hears || !is_plain {
            self.learn(event, now);
        }
        self.backend.observe(event, now, &self.terms)
    }

    /// Servers that the policy wants to know the load of; asked for once.
    pub(crate) fn take_asked(&mut self) -> Vec<Arc<Backend>> {
        std::mem::take(&mut self.asked)
    }

    /// Tells a policy that lives on them what the server reports with an answer.
    pub(crate) fn report(&self, line: impl FnOnce() -> Option<Load>, now: Time) {
        if self.needs.reports
            && let Some(load) = line()
        {
            self.learn(Event::Report(load.report()), now);
        }
    }

    /// Tells those who protect the group.
    fn protect(&self, event: Event, now: Time) {
        if self.needs.probes {
            self.backend.latencies.learn(self.in_flight, event);
        }
        let protections = &self.upstream.protections;
        if let Some(limiter) = &protections.limiter {
            limiter.learn(event, now);
        }
        if let Some(ejector) = &protections.ejector
            && let Some(until) = ejector.learn(&self.backend, event, now)
        {
            self.backend.eject(until, now);
            let (server, upstream) = (&self.backend.name, &self.upstream.name);
            let seconds = until.since(now).as_secs();
            tracing::warn!("server {server} in upstream \"{upstream}\" is ejected for {seconds}s");
        }
    }

    fn learn(&self, event: Event, now: Time) {
        self.tell(&mut self.upstream.lock(), event, now);
    }

    fn tell(&self, chooser: &mut Chooser, event: Event, now: Time) {
        let (rank, position) = self.place;
        let Group { servers, policy, .. } = &mut chooser.groups[rank];
        let is_here = |it: &Server| Arc::ptr_eq(&it.backend, &self.backend);
        // The list may have changed while the request ran.
        let position = match servers.get(position) {
            Some(server) if is_here(server) => Some(position),
            _ => servers.iter().position(is_here),
        };
        if let Some(position) = position {
            policy.learn(position, event, now);
        }
    }

    /// Ends the count of a request and tells the policy of a server that has nothing left to do.
    fn stop(&self) {
        // One step, as the pick is: else a server could be told idle that has just been picked.
        let mut chooser = self.upstream.lock();
        self.backend.stop();
        if self.backend.in_flight() == 0 {
            self.tell(&mut chooser, Event::Idle, clock::now());
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.needs.idle {
            self.stop();
        } else {
            self.backend.stop();
        }
        if let Some(queue) = &self.upstream.protections.queue {
            queue.wake();
        }
    }
}
