//! What do balancers learn of the servers, and when?

use std::time::Duration;

use policy::{Draw, Event, Report, Time};

use super::{Model, REPORT_EVERY};
use crate::sim::{View, agenda::What, clock};

impl Model<'_> {
    pub(super) fn see(&mut self, balancer: u32, server: usize, up: bool) {
        let own = balancer as usize;
        match self.plan.balancers.view {
            View::Own => self.balancers[own].see(server, up),
            View::Shared => self.balancers.iter_mut().for_each(|it| it.see(server, up)),
            View::Age(age) => {
                let at = self.now + clock::nanos(age);
                self.agenda.plan(at, What::See { server, up });
            }
            View::Response if !up => self.balancers[own].show(server, self.present[server]),
            View::Response | View::Periodic(_) | View::Individual(_) => (),
        }
    }

    pub(super) fn judge_later(&mut self, balancer: u32, server: usize, at: Option<Time>) {
        if let Some(at) = at {
            let balancer = balancer as usize;
            self.agenda.plan(at.as_nanos().max(self.now), What::Usable { balancer, server });
        }
    }

    /// Tells one balancer, any, that a server has nothing to do, if the policy listens.
    pub(super) fn report_idle(&mut self, server: usize) {
        if !self.subject.entry.needs.idle {
            return;
        }
        let count = self.balancers.len() as u64;
        let balancer = if count == 1 { 0 } else { self.network.below(count) };
        let now = self.time();
        if let Some(it) = usize::try_from(balancer).ok().and_then(|it| self.balancers.get_mut(it)) {
            it.learn(server, Event::Idle, now);
        }
    }

    pub(super) fn report(&mut self) {
        let now = self.time();
        for (server, state) in self.states.iter_mut().enumerate() {
            let works = 0 < self.servers[server].present();
            let busy = self.tally.busy_until(server, self.now, works);
            let event = Event::Report(Report {
                requests: clock::seconds(state.served * 1_000_000_000) / REPORT_EVERY,
                errors: clock::seconds(state.failed * 1_000_000_000) / REPORT_EVERY,
                utilization: clock::seconds(busy - state.reported) / REPORT_EVERY,
            });
            (state.served, state.failed, state.reported) = (0, 0, busy);
            for it in &mut self.balancers {
                it.learn(server, event, now);
            }
        }
        if self.arrived < self.plan.requests {
            self.agenda.plan(self.now + clock::nanos(REPORT_EVERY), What::Report);
        }
    }

    /// Answers at once: probes cost no time in this model.
    pub(super) fn answer_probes(&mut self, balancer: usize) {
        while let Some(server) = self.balancers[balancer].probe(&mut self.choices) {
            let in_flight = self.present[server];
            let latency = f64::from(in_flight + 1) / self.servers[server].speed();
            let latency = Duration::from_secs_f64(latency);
            let now = self.time();
            self.balancers[balancer].learn(server, Event::Probe { in_flight, latency }, now);
        }
    }
}
