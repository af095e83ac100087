//! What happens next in a run, and what follows from it?

mod change;
mod ending;
mod knowledge;

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use policy::{Draw, Event, Request, SplitMix64, Time};

use super::{
    Arrivals, Plan, Run, Split, Subject,
    agenda::{Agenda, Ends, NEVER, What},
    arrivals::Source,
    balancer::Balancer,
    clock, law,
    server::Server,
    streams::{Stream, stream},
    tally::{End, Tally},
};

/// Seconds between reports of a server's load.
const REPORT_EVERY: f64 = 1.0;

/// Steps in which a server warms up.
const WARM_STEPS: u32 = 10;

/// One attempt to have a request served.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    number: u64,
    arrived: u64,
    picked: u64,
    demand: f64,
    key: u64,
    balancer: u32,
    server: u32,
    tries: u8,
    /// Somebody waits for it.
    live: bool,
    /// A server works on it or will.
    on_server: bool,
    /// Differs between the attempts that use a slot one after the other.
    generation: u32,
}

/// What a server does beside working.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    down: bool,
    silent: bool,
    errors: Option<(f64, f64)>,
    served: u64,
    failed: u64,
    reported: u64,
}

#[derive(Debug)]
struct Model<'a> {
    plan: &'a Plan,
    subject: &'a Subject,
    balancers: Vec<Balancer>,
    servers: Vec<Server>,
    states: Vec<State>,
    ends: Ends,
    agenda: Agenda,
    source: Source,
    next_arrival: u64,
    now: u64,
    attempts: Vec<Attempt>,
    /// The servers that each attempt and those before it were placed on, where there may be others.
    tried: Vec<[u32; 8]>,
    free: Vec<u32>,
    /// Attempts in progress by server, from all balancers.
    present: Vec<u32>,
    tally: Tally,
    retrying: u32,
    arrived: u64,
    scheduled: u64,
    arrivals: SplitMix64,
    demands: SplitMix64,
    keys: SplitMix64,
    choices: SplitMix64,
    faults: SplitMix64,
    network: SplitMix64,
    routes: SplitMix64,
}

/// Runs one replication.
pub(super) fn run(plan: &Plan, subject: &Subject, replication: u64) -> Result<Run> {
    let of = |it| stream(plan.seed, replication, it);
    let servers = plan.servers.len();
    let balancers = (0..plan.balancers.count).map(|it| Balancer::new(plan, subject, it));
    let mut model = Model {
        plan,
        subject,
        balancers: balancers.collect::<Result<_>>()?,
        servers: plan.servers.iter().map(|it| Server::new(plan.discipline, it.speed)).collect(),
        states: vec![State::default(); servers],
        ends: Ends::new(u32::try_from(servers).context("far too many servers")?),
        agenda: Agenda::default(),
        source: Source::new(),
        next_arrival: NEVER,
        now: 0,
        attempts: Vec::new(),
        tried: Vec::new(),
        free: Vec::new(),
        present: vec![0; servers],
        tally: Tally::new(servers, plan, subject.looks_at_keys()),
        retrying: 0,
        arrived: 0,
        scheduled: 0,
        arrivals: of(Stream::Arrivals),
        demands: of(Stream::Demands),
        keys: of(Stream::Keys),
        choices: of(Stream::Choices),
        faults: of(Stream::Faults),
        network: of(Stream::Network),
        routes: of(Stream::Balancers),
    };
    model.start();
    while model.step() {}
    let works = model.servers.iter().map(|it| 0 < it.present());
    Ok(model.tally.into_run(model.now, works))
}

impl Model<'_> {
    fn start(&mut self) {
        (0..self.servers.len()).for_each(|it| self.report_idle(it));
        for (position, change) in self.plan.changes.iter().enumerate() {
            self.agenda.plan(clock::nanos(change.at), What::Change(position));
        }
        if self.subject.entry.needs.reports {
            self.agenda.plan(clock::nanos(REPORT_EVERY), What::Report);
        }
        match self.plan.arrivals {
            Arrivals::Users(users, _) => (0..users).for_each(|_| self.wake_user()),
            _ => self.schedule_arrival(),
        }
    }

    /// Lets the next thing happen, `false` when there is none: ends of service come before what is
    /// planned, and that before arrivals of the same instant.
    fn step(&mut self) -> bool {
        let ((end, server), planned) = (self.ends.first(), self.agenda.first());
        let at = end.min(planned).min(self.next_arrival);
        let over = self.tally.live == 0 && self.arrived == self.plan.requests;
        if at == NEVER || over {
            return false;
        }
        self.now = at;
        self.tally.advance(at);
        if self.tally.next_sample <= at {
            self.tally.sample(at, self.servers.iter().map(Server::present));
        }
        if end == at {
            self.finish(server);
        } else if planned == at {
            self.happen();
        } else {
            self.arrive();
            self.schedule_arrival();
        }
        true
    }

    fn time(&self) -> Time {
        Time::from_nanos(self.now)
    }

    fn schedule_arrival(&mut self) {
        self.next_arrival = NEVER;
        if self.scheduled < self.plan.requests
            && let Some(due) = self.source.next(&self.plan.arrivals, &mut self.arrivals)
        {
            self.scheduled += 1;
            self.next_arrival = clock::nanos(due).max(self.now);
        }
    }

    fn wake_user(&mut self) {
        if let Arrivals::Users(_, pause) = self.plan.arrivals
            && self.scheduled < self.plan.requests
        {
            self.scheduled += 1;
            let pause = pause * law::exponential(&mut self.arrivals);
            self.agenda.plan(self.now + clock::nanos(pause), What::Wake);
        }
    }

    fn arrive(&mut self) {
        let number = self.arrived;
        self.arrived += 1;
        self.tally.live += 1;
        let demand = self.plan.demand.draw(number, &mut self.demands);
        let key = self.plan.keys.draw(&mut self.keys);
        let count = self.balancers.len();
        let balancer = match self.plan.balancers.split {
            _ if count == 1 => 0,
            Split::Random => self.routes.below(count as u64),
            Split::Turns => number % count as u64,
            Split::Client => key % count as u64,
        };
        let balancer = u32::try_from(balancer).unwrap_or(0);
        let first =
            Attempt { number, arrived: self.now, demand, key, balancer, ..Attempt::default() };
        let slot = self.seat(first);
        self.dispatch(slot);
    }

    /// Gives an attempt a slot.
    fn seat(&mut self, attempt: Attempt) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.attempts.push(Attempt::default());
            if 0 < self.plan.patience.retries {
                self.tried.push([0; 8]);
            }
            u32::try_from(self.attempts.len() - 1).unwrap_or(u32::MAX)
        });
        let place = &mut self.attempts[slot as usize];
        *place = Attempt { live: true, generation: place.generation + 1, ..attempt };
        slot
    }

    fn dispatch(&mut self, slot: u32) {
        let now = self.time();
        let Attempt { key, balancer: own, tries, .. } = self.attempts[slot as usize];
        let tries = usize::from(tries);
        let key = key.to_be_bytes();
        let needs = self.subject.entry.needs;
        let mut request = Request::at(now);
        if needs.key {
            request = request.with_key(&key);
        }
        if needs.client {
            request = request.from_client(Ipv4Addr::from([10, key[5], key[6], key[7]]).into());
        }
        let balancer = &mut self.balancers[own as usize];
        balancer.read_boards(self.plan.balancers.view, &self.present, self.now);
        let tried = self.tried.get(slot as usize).map_or(&[][..], |it| &it[..tries]);
        let Some(server) = balancer.pick(&request, tried, &mut self.choices) else {
            if tries == 0 && balancer.waiting.len() < self.plan.balancers.queue {
                balancer.waiting.push_back(slot);
            } else {
                self.give_up(slot, End::Refused);
            }
            return;
        };
        let again = balancer.place(server, now);
        self.judge_later(own, server, again);
        let place = u32::try_from(server).unwrap_or(u32::MAX);
        if let Some(tried) = self.tried.get_mut(slot as usize) {
            tried[tries] = place;
        }
        let it = &mut self.attempts[slot as usize];
        it.tries += 1;
        it.server = place;
        it.picked = self.now;
        if tries == 0 {
            self.tally.placed(it.key, place);
        }
        let generation = it.generation;
        self.tally.run.placed[server] += 1;
        self.present[server] += 1;
        self.see(own, server, true);
        if let Some(timeout) = self.plan.patience.timeout {
            let at = self.now + clock::nanos(timeout);
            self.agenda.plan(at, What::TimeOut { slot, generation });
        }
        if needs.probes {
            self.answer_probes(own as usize);
        }
        self.offer(slot, server);
    }

    /// The server takes the attempt, or does not.
    fn offer(&mut self, slot: u32, server: usize) {
        let state = self.states[server];
        let Attempt { demand, generation, .. } = self.attempts[slot as usize];
        let full = self.plan.server_queue.is_some_and(|it| {
            self.servers[server].is_full() && it <= self.servers[server].waiting()
        });
        if state.down || full {
            self.fail(slot, End::Refused);
        } else if state.silent {
            // Nothing more happens to it before its time is over.
        } else if let Some((share, after)) = state.errors
            && self.faults.unit() < share
        {
            let at = self.now + clock::nanos(after);
            self.agenda.plan(at, What::Error { slot, generation });
        } else {
            self.attempts[slot as usize].on_server = true;
            let before = 0 < self.servers[server].present();
            let tables = self.plan.tables.as_ref();
            let demand = tables.map_or(demand, |it| it.seconds(server, demand));
            self.servers[server].take(self.now, slot, demand);
            self.tally.works(server, self.now, before, true);
            self.ends.set(server, self.servers[server].next_end());
        }
    }

    /// A server ends a request, whether or not somebody waits for it.
    fn finish(&mut self, server: usize) {
        let Some(slot) = self.servers[server].end(self.now) else { return };
        self.ends.set(server, self.servers[server].next_end());
        self.states[server].served += 1;
        let attempt = &mut self.attempts[slot as usize];
        attempt.on_server = false;
        let Attempt { live, picked, .. } = *attempt;
        let idle = self.servers[server].present() == 0;
        self.tally.works(server, self.now, true, !idle);
        if live {
            let total = Duration::from_nanos(self.now - picked);
            self.release(slot, Event::success(total));
        }
        if idle {
            self.report_idle(server);
        }
        if live {
            self.give_up(slot, End::Answered);
        } else {
            self.free.push(slot);
        }
    }

    fn happen(&mut self) {
        let now = self.time();
        match self.agenda.pop() {
            Some(What::Change(position)) => self.change(position),
            Some(What::Warm { server, step }) => self.warm(server, step),
            Some(What::Usable { balancer, server }) => {
                self.balancers[balancer].judge(server, now);
                self.serve_waiting(balancer);
            }
            Some(What::See { server, up }) => {
                self.balancers.iter_mut().for_each(|it| it.see(server, up));
            }
            Some(What::Report) => self.report(),
            Some(What::Error { slot, generation }) if self.is_live(slot, generation) => {
                let Attempt { picked, server, .. } = self.attempts[slot as usize];
                let total = Duration::from_nanos(self.now - picked);
                self.states[server as usize].failed += 1;
                self.release(slot, Event::Success { head: total, total, status: 500 });
                self.give_up(slot, End::Error);
            }
            Some(What::TimeOut { slot, generation }) if self.is_live(slot, generation) => {
                self.fail(slot, End::TimedOut);
            }
            Some(What::Wake) => self.arrive(),
            Some(What::Error { .. } | What::TimeOut { .. }) | None => (),
        }
    }

    fn is_live(&self, slot: u32, generation: u32) -> bool {
        let attempt = &self.attempts[slot as usize];
        attempt.live && attempt.generation == generation
    }
}
