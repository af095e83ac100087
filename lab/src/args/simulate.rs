//! What may be asked of the simulator on the command line.

use std::{io::Write, num::NonZeroU32, str::FromStr};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    sim::{Arrivals, Capacity, Discipline, Law, Plan, Subject},
    simulate,
};

/// A pool, a load, and the policies to compare under it.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Policies by id, with options behind a colon: `sq:d=2`; all are compared with the first
    #[arg(long, required = true)]
    policy: Vec<String>,
    /// Servers of the pool
    #[arg(long, default_value = "10")]
    servers: usize,
    /// Speeds in server order, such as `1.5x5,0.5x5`
    #[arg(long)]
    speeds: Option<String>,
    /// Weights in server order, such as `3x5,1x5`
    #[arg(long)]
    weights: Option<String>,
    /// Offered load as a share of what the pool can do
    #[arg(long, default_value = "0.8", conflicts_with_all = ["rate", "users"])]
    rho: f64,
    /// Requests per second
    #[arg(long, conflicts_with = "users")]
    rate: Option<f64>,
    /// A closed loop with so many users
    #[arg(long)]
    users: Option<u32>,
    /// Mean pause of a user between answer and next request, in mean demands
    #[arg(long, default_value = "1", requires = "users")]
    think: f64,
    /// Open arrivals: poisson or det
    #[arg(long, default_value = "poisson", value_parser = ["poisson", "det"])]
    arrivals: String,
    /// Law of the demand: exp, det or h2:C2
    #[arg(long, default_value = "exp")]
    service: String,
    /// Order in which a server works
    #[arg(long, default_value = "fcfs", value_parser = ["fcfs", "ps"])]
    discipline: String,
    /// Requests that a server works on at a time (fcfs)
    #[arg(long, default_value = "1")]
    slots: NonZeroU32,
    /// Different keys for policies that hash
    #[arg(long, default_value = "1000")]
    keys: u64,
    /// Requests of a replication, warm-up included
    #[arg(long, default_value = "300000")]
    requests: usize,
    /// Requests that are not counted
    #[arg(long, default_value = "30000")]
    warmup: usize,
    /// Replications
    #[arg(long, default_value = "10")]
    reps: u64,
    /// Seed of all streams
    #[arg(long, default_value = "430")]
    seed: u64,
}

impl Simulate {
    /// Simulates and prints the comparison.
    pub(super) fn run(&self, out: &mut impl Write) -> Result<()> {
        let policies: Vec<_> =
            self.policy.iter().map(|it| Subject::parse(it)).collect::<Result<_>>()?;
        simulate::run(&self.plan()?, &policies, self.reps, out)
    }

    fn plan(&self) -> Result<Plan> {
        let speeds = self.speeds.as_deref().map_or_else(|| Ok(vec![1.0; self.servers]), list)?;
        let weights = self
            .weights
            .as_deref()
            .map_or_else(|| Ok(vec![NonZeroU32::MIN; speeds.len()]), list)?;
        ensure!(speeds.iter().all(|it: &f64| 0.0 < *it), "a speed must be above 0");
        ensure!(speeds.len() == weights.len(), "there are not as many weights as speeds");
        let slots = f64::from(self.slots.get());
        let capacity = slots * speeds.iter().sum::<f64>();
        let rate = self.rate.unwrap_or(self.rho * capacity);
        ensure!(0.0 < rate, "the rate must be above 0");
        let arrivals = match self.users {
            Some(users) => Arrivals::Users(users, self.think),
            None if self.arrivals == "det" => Arrivals::Even(rate),
            None => Arrivals::Poisson(rate),
        };
        let discipline = match self.discipline.as_str() {
            "ps" => Discipline::Sharing,
            _ => Discipline::Fcfs(self.slots),
        };
        let servers = speeds.into_iter().zip(weights);
        Ok(Plan {
            servers: servers.map(|(speed, weight)| Capacity { speed, weight }).collect(),
            discipline,
            arrivals,
            demand: Law::parse(&self.service)?,
            keys: self.keys,
            requests: self.requests,
            warm_up: self.warmup,
            seed: self.seed,
        })
    }
}

/// Reads `1.5x5,0.5` as five times 1.5 and once 0.5.
fn list<T: Clone + FromStr>(text: &str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    for part in text.split(',') {
        let (value, times) = part.split_once('x').unwrap_or((part, "1"));
        let refuse = || format!("\"{part}\" is not VALUE or VALUExTIMES");
        let value: T = value.parse().ok().with_context(refuse)?;
        let times: usize = times.parse().ok().with_context(refuse)?;
        values.extend(vec![value; times]);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn lists_repeat_their_values() {
        assert_eq!(list::<f64>("1.5x2,0.5").unwrap(), [1.5, 1.5, 0.5]);
        assert_eq!(list::<u32>("3").unwrap(), [3]);
        for text in ["", "x", "1x", "ax2", "1,,2"] {
            assert!(list::<f64>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_rate_follows_from_the_load_and_the_capacity() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            simulate: Simulate,
        }
        let line = "simulate --policy jsq --speeds 1.5x2,1 --weights 3x2,2 --rho 0.5";
        let plan = Line::parse_from(line.split(' ')).simulate.plan().unwrap();
        assert_eq!(plan.arrivals, Arrivals::Poisson(2.0));
        let weights: Vec<u32> = plan.servers.iter().map(|it| it.weight.get()).collect();
        assert_eq!(weights, [3, 3, 2]);
    }
}
