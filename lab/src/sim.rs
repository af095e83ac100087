//! What would happen under this policy? A model of servers and arrivals, driven by the policy itself.
//!
//! The policy is the object that serves live traffic. Everything else is a model: requests carry a
//! demand, servers work it off, and nothing fails. Time is counted in nanoseconds and a second is the
//! mean demand, unless said otherwise. The same plan, seed and replication give the same run.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroU32, time::Duration};

use anyhow::{Context, Result, ensure};
use policy::{CATALOG, Candidate, Draw, Entry, Event, Identity, Policy, Request, SplitMix64, Time};

mod law;
mod server;
mod streams;

pub use law::Law;
pub use server::Discipline;
use server::Server;
use streams::{Stream, stream};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers, in the order the policy sees them.
    pub servers: Vec<Capacity>,
    /// How a server shares itself among its requests.
    pub discipline: Discipline,
    /// When requests come.
    pub arrivals: Arrivals,
    /// How much work a request is, in seconds on a server of speed 1.
    pub demand: Law,
    /// Different keys, for policies that hash; each is as frequent as the others.
    pub keys: u64,
    /// Requests in a run, those of the warm-up included.
    pub requests: usize,
    /// The first requests, which are not counted.
    pub warm_up: usize,
    /// The seed of all streams.
    pub seed: u64,
}

/// What one server can do, and what the policy is told of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Demand worked off per second.
    pub speed: f64,
    /// The weight the policy sees.
    pub weight: NonZeroU32,
}

/// When requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Open: independent of the answers, so many per second on average.
    Poisson(f64),
    /// Open: one after each equal interval, so many per second.
    Even(f64),
    /// Closed: each of so many users sends the next request after its answer and an exponential
    /// pause with this mean in seconds.
    Users(u32, f64),
}

/// What was seen in one replication, after the warm-up.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Seconds from arrival to the end of the service, in the order of arrival.
    pub response: Vec<f64>,
    /// Requests that each server got, in the order of the plan, warm-up included.
    pub placed: Vec<u64>,
    /// From the first arrival to the last end, in seconds.
    pub length: f64,
}

/// A policy by its id and its options, such as `nginx-least-conn` or `sq:d=2`.
#[derive(Clone, Debug)]
pub struct Subject {
    entry: &'static Entry,
    words: Vec<String>,
}

impl Subject {
    /// Reads `ID` or `ID:WORD,WORD`; ids are those of [`CATALOG`].
    pub fn parse(text: &str) -> Result<Self> {
        let (id, words) = text.split_once(':').unwrap_or((text, ""));
        let entry = CATALOG.iter().find(|it| it.id == id).with_context(|| {
            let known: Vec<_> = CATALOG.iter().map(|it| it.id).collect();
            format!("there is no policy \"{id}\": choose one of {}", known.join(", "))
        })?;
        let words = words.split(',').filter(|it| !it.is_empty()).map(ToOwned::to_owned).collect();
        let subject = Self { entry, words };
        subject.build()?;
        Ok(subject)
    }

    /// The id and the options, as they were typed.
    pub fn name(&self) -> String {
        let id = self.entry.id;
        if self.words.is_empty() { id.to_owned() } else { format!("{id}:{}", self.words.join(",")) }
    }

    fn build(&self) -> Result<Box<dyn Policy>> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        (self.entry.build)(&words).with_context(|| self.name())
    }
}

impl Plan {
    /// Runs one replication under a policy.
    ///
    /// The request with a given number has the same demand and key under every policy, and in an
    /// open plan the same arrival: runs of one seed and replication can be compared in pairs.
    pub fn run(&self, subject: &Subject, replication: u64) -> Result<Run> {
        ensure!(!self.servers.is_empty(), "a pool without servers serves nobody");
        ensure!(self.warm_up < self.requests, "the warm-up leaves no request to count");
        let mut model = Model::new(self, subject, replication)?;
        model.start();
        while let Some(Reverse(due)) = model.agenda.pop() {
            model.now = due.at;
            match due.what {
                What::Done { server, version } => model.finish(server, version)?,
                What::Arrival => model.arrive()?,
            }
        }
        Ok(model.into_run())
    }
}

/// Something that is due. Ends come before arrivals of the same instant, then the older entry.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Due {
    at: Time,
    what: What,
    number: u64,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum What {
    /// A server ends a request, unless it has planned anew since.
    Done { server: usize, version: u64 },
    /// The next request comes.
    Arrival,
}

/// One request from its arrival to its end.
#[derive(Clone, Copy, Debug)]
struct Placed {
    arrived: Time,
}

#[derive(Debug)]
struct Model<'a> {
    plan: &'a Plan,
    entry: &'static Entry,
    policy: Box<dyn Policy>,
    servers: Vec<Server>,
    candidates: Vec<Candidate>,
    agenda: BinaryHeap<Reverse<Due>>,
    entries: u64,
    now: Time,
    requests: Vec<Placed>,
    response: Vec<f64>,
    arrivals: SplitMix64,
    demands: SplitMix64,
    keys: SplitMix64,
    choices: SplitMix64,
    scheduled: usize,
    due: f64,
}

impl<'a> Model<'a> {
    fn new(plan: &'a Plan, subject: &Subject, replication: u64) -> Result<Self> {
        let of = |it| stream(plan.seed, replication, it);
        let candidates = plan.servers.iter().enumerate().map(|(i, it)| {
            let name = format!("server-{i}");
            let mut candidate = Candidate::new(it.weight, 0);
            candidate.identity = Identity::new(&name, &name);
            candidate
        });
        let mut policy = subject.build()?;
        policy.relist(&vec![None; plan.servers.len()]);
        Ok(Self {
            plan,
            entry: subject.entry,
            policy,
            servers: plan.servers.iter().map(|it| Server::new(plan.discipline, it.speed)).collect(),
            candidates: candidates.collect(),
            agenda: BinaryHeap::new(),
            entries: 0,
            now: Time::ZERO,
            requests: Vec::with_capacity(plan.requests),
            response: vec![0.0; plan.requests],
            arrivals: of(Stream::Arrivals),
            demands: of(Stream::Demands),
            keys: of(Stream::Keys),
            choices: of(Stream::Choices),
            scheduled: 0,
            due: 0.0,
        })
    }

    fn start(&mut self) {
        for server in 0..self.servers.len() {
            self.policy.learn(server, Event::Idle, Time::ZERO);
        }
        match self.plan.arrivals {
            Arrivals::Users(users, _) => (0..users).for_each(|_| self.schedule_arrival()),
            Arrivals::Poisson(_) | Arrivals::Even(_) => self.schedule_arrival(),
        }
    }

    fn schedule_arrival(&mut self) {
        if self.scheduled == self.plan.requests {
            return;
        }
        self.scheduled += 1;
        let at = match self.plan.arrivals {
            Arrivals::Poisson(rate) => {
                // Kept as a sum of its own, so that rounding to nanoseconds does not add up.
                self.due += law::exponential(&mut self.arrivals) / rate;
                self.due
            }
            Arrivals::Even(rate) => {
                self.due += 1.0 / rate;
                self.due
            }
            Arrivals::Users(_, pause) => {
                seconds(self.now) + pause * law::exponential(&mut self.arrivals)
            }
        };
        self.plan_event(at, What::Arrival);
    }

    fn plan_event(&mut self, at: f64, what: What) {
        let at = time(at).max(self.now);
        self.entries += 1;
        self.agenda.push(Reverse(Due { at, what, number: self.entries }));
    }

    fn arrive(&mut self) -> Result<()> {
        let demand = self.plan.demand.draw(&mut self.demands);
        let key = self.keys.below(self.plan.keys).to_be_bytes();
        let mut request = Request::at(self.now);
        if self.entry.needs.key {
            request = request.with_key(&key);
        }
        let server = self
            .policy
            .pick(&request, &self.candidates, &mut self.choices)
            .context("the policy picks nobody, although all are eligible")?;
        self.candidates[server].in_flight += 1;
        self.requests.push(Placed { arrived: self.now });
        self.servers[server].take(seconds(self.now), self.requests.len() - 1, demand);
        self.plan_end(server);
        if self.entry.needs.probes {
            self.answer_probes();
        }
        if !matches!(self.plan.arrivals, Arrivals::Users(..)) {
            self.schedule_arrival();
        }
        Ok(())
    }

    /// Answers at once: probes cost no time in this model.
    fn answer_probes(&mut self) {
        while let Some(server) = self.policy.probe(&self.candidates, &mut self.choices) {
            let in_flight = self.candidates[server].in_flight;
            let latency = f64::from(in_flight + 1) / self.plan.servers[server].speed;
            let latency = Duration::from_secs_f64(latency);
            self.policy.learn(server, Event::Probe { in_flight, latency }, self.now);
        }
    }

    fn finish(&mut self, server: usize, version: u64) -> Result<()> {
        if self.servers[server].version() != version {
            return Ok(());
        }
        let request = self.servers[server].end(seconds(self.now)).context("an idle server ends")?;
        self.candidates[server].in_flight -= 1;
        let taken = self.now.since(self.requests[request].arrived);
        self.response[request] = taken.as_secs_f64();
        self.policy.learn(server, Event::Head { elapsed: taken }, self.now);
        self.policy.learn(server, Event::success(taken), self.now);
        if self.candidates[server].in_flight == 0 {
            self.policy.learn(server, Event::Idle, self.now);
        }
        self.plan_end(server);
        if matches!(self.plan.arrivals, Arrivals::Users(..)) {
            self.schedule_arrival();
        }
        Ok(())
    }

    fn plan_end(&mut self, server: usize) {
        if let Some(at) = self.servers[server].next_end() {
            let version = self.servers[server].version();
            self.plan_event(at, What::Done { server, version });
        }
    }

    fn into_run(mut self) -> Run {
        let length = seconds(self.now);
        let placed = self.servers.iter().map(Server::taken).collect();
        Run { response: self.response.split_off(self.plan.warm_up), placed, length }
    }
}

fn seconds(time: Time) -> f64 {
    time.since(Time::ZERO).as_secs_f64()
}

fn time(seconds: f64) -> Time {
    Time::ZERO + Duration::from_secs_f64(seconds)
}
