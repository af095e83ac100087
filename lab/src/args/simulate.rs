//! What may be asked of the simulator on the command line.

use std::{io::Write, num::NonZeroU32, path::PathBuf};

use anyhow::Result;
use clap::Args;

use crate::{scenario::Scenario, simulate};

/// A scenario, and what is to be different from it.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// A file of configs/scenarios without its ending, or any TOML file like those
    #[arg(long)]
    scenario: Option<String>,
    /// Keeps the raw data in this folder, for `lab report`
    #[arg(long)]
    out: Option<PathBuf>,
    /// Policies by id, with options behind a colon: `sq:d=2`; all are compared with the first
    #[arg(long)]
    policy: Vec<String>,
    /// Servers of the pool [default: 10]
    #[arg(long)]
    servers: Option<usize>,
    /// Speeds in server order, such as `1.5x5,0.5x5`
    #[arg(long)]
    speeds: Option<String>,
    /// Weights in server order, such as `3x5,1x5`
    #[arg(long)]
    weights: Option<String>,
    /// Offered loads as shares of what the pool can do [default: 0.8]
    #[arg(long, conflicts_with_all = ["rate", "users"], value_delimiter = ',')]
    rho: Vec<f64>,
    /// Requests per second
    #[arg(long, conflicts_with = "users")]
    rate: Option<f64>,
    /// A closed loop with so many users
    #[arg(long)]
    users: Option<u32>,
    /// Mean pause of a user between answer and next request, in mean demands [default: 1]
    #[arg(long, requires = "users")]
    think: Option<f64>,
    /// Open arrivals: poisson, even, bursts:FACTOR:BURST:CALM or trace:FILE [default: poisson]
    #[arg(long)]
    arrivals: Option<String>,
    /// Law of the demand: det, exp, h2:C2, lognormal:C2, pareto:SHAPE, normal:MEAN:DEVIATION, trace:FILE
    /// or replay:FILE [default: exp]
    #[arg(long)]
    service: Option<String>,
    /// Order in which a server works: fcfs, ps or delay [default: fcfs]
    #[arg(long)]
    discipline: Option<String>,
    /// Requests that a server works on at a time (fcfs) [default: 1]
    #[arg(long)]
    slots: Option<NonZeroU32>,
    /// Different keys for policies that hash [default: 1000]
    #[arg(long)]
    keys: Option<u64>,
    /// Zipf's exponent of the keys' frequency [default: 0, equal]
    #[arg(long)]
    zipf: Option<f64>,
    /// Balancers, each with a policy of its own [default: 1]
    #[arg(long)]
    balancers: Option<u32>,
    /// Which balancer a request comes to: random, turns or client [default: random]
    #[arg(long)]
    split: Option<String>,
    /// What balancers see of the load: own, shared, periodic:T, individual:T, age:T, response [default: own]
    #[arg(long)]
    view: Option<String>,
    /// Seconds after which an attempt is given up
    #[arg(long)]
    timeout: Option<f64>,
    /// Further servers that are tried after a failure
    #[arg(long)]
    retries: Option<u8>,
    /// Requests of a replication, warm-up included [default: 300000]
    #[arg(long)]
    requests: Option<u64>,
    /// Requests that are not counted, or auto to find them by MSER [default: 30000]
    #[arg(long)]
    warmup: Option<String>,
    /// Replications [default: 10]
    #[arg(long)]
    reps: Option<u64>,
    /// Goes on until the half-width of each mean's interval is this share of it
    #[arg(long)]
    precision: Option<f64>,
    /// Seed of all streams [default: 430]
    #[arg(long)]
    seed: Option<u64>,
}

impl Simulate {
    /// Simulates and prints the comparison.
    pub(super) fn run(self, out: &mut impl Write) -> Result<()> {
        let folder = self.out.clone();
        simulate::run(&self.scenario()?, folder.as_deref(), out)
    }

    fn scenario(self) -> Result<Scenario> {
        let mut it = match &self.scenario {
            Some(name) => Scenario::read(name)?,
            None => Scenario::default(),
        };
        if !self.policy.is_empty() {
            it.policies = self.policy;
        }
        if !self.rho.is_empty() {
            (it.loads, it.rate, it.users) = (self.rho, None, None);
        }
        if self.servers.is_some() {
            (it.speeds, it.weights) = (None, None);
        }
        it.speeds = self.speeds.or(it.speeds);
        it.weights = self.weights.or(it.weights);
        it.rate = self.rate.or(it.rate);
        it.users = self.users.or(it.users);
        it.timeout = self.timeout.or(it.timeout);
        it.precision = self.precision.or(it.precision);
        replace(&mut it.servers, self.servers);
        replace(&mut it.think, self.think);
        replace(&mut it.arrivals, self.arrivals);
        replace(&mut it.service, self.service);
        replace(&mut it.discipline, self.discipline);
        replace(&mut it.slots, self.slots);
        replace(&mut it.keys, self.keys);
        replace(&mut it.zipf, self.zipf);
        replace(&mut it.balancers, self.balancers);
        replace(&mut it.split, self.split);
        replace(&mut it.view, self.view);
        replace(&mut it.retries, self.retries);
        replace(&mut it.requests, self.requests);
        replace(&mut it.warmup, self.warmup);
        replace(&mut it.reps, self.reps);
        replace(&mut it.seed, self.seed);
        Ok(it)
    }
}

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::sim::Arrivals;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        simulate: Simulate,
    }

    fn scenario(line: &str) -> Scenario {
        Line::parse_from(line.split(' ')).simulate.scenario().unwrap()
    }

    #[test]
    fn the_rate_follows_from_the_load_and_the_capacity() {
        let plans =
            scenario("simulate --policy jsq --speeds 1.5x2,1 --weights 3x2,2 --rho 0.5,0.25");
        let plans = plans.plans().unwrap();
        assert_eq!(plans[0].1.arrivals, Arrivals::Poisson(2.0));
        assert_eq!(plans[1].1.arrivals, Arrivals::Poisson(1.0));
        let weights: Vec<u32> = plans[0].1.servers.iter().map(|it| it.weight.get()).collect();
        assert_eq!(weights, [3, 3, 2]);
    }

    #[test]
    fn the_command_line_changes_a_scenario() {
        let found = scenario("simulate --scenario unequal --reps 3 --policy sed");
        assert_eq!((found.reps, found.policies), (3, vec!["sed".to_owned()]));
        assert!(found.speeds.is_some());
    }
}
