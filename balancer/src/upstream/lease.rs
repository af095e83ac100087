//! A request that counts against the server it was placed on.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use policy::{Event, Hears, Needs, Terms, Time, Transition};

use super::group::Group;
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
    /// What the policy that chose it has to be told.
    pub(super) needs: Needs,
    pub(super) place: (usize, usize),
    /// When it was chosen.
    pub began: Time,
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
        let is_plain = matches!(event, Event::Success { .. });
        if Hears::Ends <= self.needs.hears || !is_plain {
            self.learn(event, now);
        }
        self.backend.observe(event, now, &self.terms)
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
    }
}
