//! What would happen under this policy? A model of servers and arrivals, driven by the policy itself.
//!
//! The policy is the object that serves live traffic. Everything else is a model: requests carry a
//! demand, servers work it off or fail as the plan says, clients give up and balancers try again.
//! Time is counted in nanoseconds and a second is the mean demand, unless said otherwise. The same
//! plan, seed and replication give the same run.

use std::num::NonZeroU32;

use anyhow::{Result, ensure};
use policy::RetryBudget;

mod aftermath;
mod agenda;
mod arrivals;
mod balancer;
mod clock;
mod keys;
mod law;
mod model;
mod server;
mod streams;
mod subject;
mod tables;
mod tally;

pub use aftermath::Aftermath;
pub use arrivals::Arrivals;
pub use keys::Keys;
pub use law::Law;
pub use server::Discipline;
pub use subject::Subject;
pub use tables::Tables;
pub use tally::{End, Run};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers, in the order the policy sees them.
    pub servers: Vec<Capacity>,
    /// How a server shares itself among its requests.
    pub discipline: Discipline,
    /// Requests that may wait on a server before it refuses more, `None` for no limit.
    pub server_queue: Option<usize>,
    /// When requests come.
    pub arrivals: Arrivals,
    /// How much work a request is, in seconds on a server of speed 1.
    pub demand: Law,
    /// What demands mean on each server, if they are ranks; then speeds are 1.
    pub tables: Option<Tables>,
    /// What policies hash.
    pub keys: Keys,
    /// The balancers in front of the servers.
    pub balancers: Balancers,
    /// What happens to requests that are not answered.
    pub patience: Patience,
    /// What happens to servers, in any order.
    pub changes: Vec<Change>,
    /// Requests in a run, those of the warm-up included.
    pub requests: u64,
    /// The first requests, which are not counted.
    pub warm_up: u64,
    /// The seed of all streams.
    pub seed: u64,
    /// Whether a run keeps the time of each request: for tests and small runs, since memory grows.
    pub keeps_all: bool,
}

/// What one server can do, and what the policy is told of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Demand worked off per second.
    pub speed: f64,
    /// The weight the policy sees.
    pub weight: NonZeroU32,
}

/// How many balancers there are and what each knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balancers {
    /// Balancers, each with a policy of its own.
    pub count: u32,
    /// Which of them a request comes to.
    pub split: Split,
    /// What they see of the servers' load.
    pub view: View,
    /// Requests in progress of one balancer at which a server gets no more from it.
    pub max_conns: Option<NonZeroU32>,
    /// Requests that may wait in a balancer while no server may be picked; others are refused.
    pub queue: usize,
    /// Failures that take a server out, as nginx's `max_fails`; `None` for never.
    pub max_fails: Option<NonZeroU32>,
    /// Seconds for which it is out.
    pub fail_timeout: f64,
}

/// Which balancer a request comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Split {
    /// Any, at random.
    Random,
    /// Each in turn.
    Turns,
    /// The one that belongs to the request's key.
    Client,
}

/// What balancers see of the servers' load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    /// Each counts its own requests, at once.
    Own,
    /// All count all requests, at once.
    Shared,
    /// All see the counts that were right at the last multiple of so many seconds.
    Periodic(f64),
    /// The same, but each server has a phase of its own.
    Individual(f64),
    /// All see the counts of so many seconds ago.
    Age(f64),
    /// Each sees what a server had in progress when it last answered this balancer.
    Response,
}

/// What clients and balancers do about requests that are not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Patience {
    /// Seconds after which an attempt is given up; the server goes on working for nobody.
    pub timeout: Option<f64>,
    /// Further servers that are tried after a failure, at most 7.
    pub retries: u8,
    /// What share of the requests in progress may be retries.
    pub budget: Option<RetryBudget>,
}

/// Something that happens to servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Seconds from the start.
    pub at: f64,
    /// Positions of the servers.
    pub servers: Vec<usize>,
    /// What happens.
    pub what: Fate,
}

/// What can happen to a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It loses its requests and refuses connections.
    Down,
    /// It works again and, if it was down, gets from a tenth of its speed to all of it in so many
    /// seconds.
    Up(f64),
    /// It works at this speed.
    Speed(f64),
    /// This share of its requests is answered with an error after so many seconds.
    Errors(f64, f64),
    /// It takes requests and never answers.
    Silent,
    /// Balancers are told to send it nothing new.
    Leave,
    /// Balancers are told that it serves.
    Join,
    /// Policies see another weight.
    Weight(NonZeroU32),
}

impl Default for Plan {
    /// One server with exponential demands at a load of 0.8.
    fn default() -> Self {
        Self {
            servers: vec![Capacity::default()],
            discipline: Discipline::Fcfs(NonZeroU32::MIN),
            server_queue: None,
            arrivals: Arrivals::Poisson(0.8),
            demand: Law::Exp,
            tables: None,
            keys: Keys::uniform(1000),
            balancers: Balancers::default(),
            patience: Patience::default(),
            changes: Vec::new(),
            requests: 300_000,
            warm_up: 30_000,
            seed: 430,
            keeps_all: false,
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self { speed: 1.0, weight: NonZeroU32::MIN }
    }
}

impl Default for Balancers {
    /// One, which counts for itself, with nginx's limits of failures.
    fn default() -> Self {
        Self {
            count: 1,
            split: Split::Random,
            view: View::Own,
            max_conns: None,
            queue: 0,
            max_fails: NonZeroU32::new(1),
            fail_timeout: 10.0,
        }
    }
}

impl Plan {
    /// Runs one replication under a policy.
    ///
    /// The request with a given number has the same demand and key under every policy, and in an
    /// open plan the same arrival: runs of one seed and replication can be compared in pairs.
    pub fn run(&self, subject: &Subject, replication: u64) -> Result<Run> {
        self.check()?;
        model::run(self, subject, replication)
    }

    /// What the servers work off per second when all are busy; endless for [`Discipline::Delay`].
    pub fn capacity(&self) -> f64 {
        let slots = match self.discipline {
            Discipline::Fcfs(slots) => f64::from(slots.get()),
            Discipline::Sharing => 1.0,
            Discipline::Delay => f64::INFINITY,
        };
        slots * self.servers.iter().map(|it| it.speed).sum::<f64>()
    }

    fn check(&self) -> Result<()> {
        let known = |it: &Change| it.servers.iter().all(|it| *it < self.servers.len());
        ensure!(!self.servers.is_empty(), "a pool without servers serves nobody");
        ensure!(self.servers.iter().all(|it| 0.0 < it.speed), "a speed must be above 0");
        ensure!(self.warm_up < self.requests, "the warm-up leaves no request to count");
        ensure!(0 < self.balancers.count, "without a balancer nobody is served");
        ensure!(self.patience.retries <= 7, "at most 7 retries");
        ensure!(self.changes.iter().all(known), "a change names a server that there is not");
        let positive = |it: &Change| !matches!(it.what, Fate::Speed(it) if it <= 0.0);
        ensure!(self.changes.iter().all(positive), "a speed must be above 0");
        Ok(())
    }
}
