//! What may be asked of an experiment on the command line.

use std::{io::Write, num::NonZeroU8, path::PathBuf};

use anyhow::Result;
use clap::Args;

use crate::experiment::{self, Experiment, Pool};

/// A plan, and what is to be different from it.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// A file of configs/experiments without its ending, or any TOML file like those
    #[arg(default_value = "policies")]
    plan: String,
    /// Fewer repeats and seconds: for a lesson, not for a paper
    #[arg(long)]
    quick: bool,
    /// Files of configs/nginx, `nginx:POLICY`, `haproxy:ALGORITHM`; all are compared with the first
    #[arg(long)]
    policy: Vec<String>,
    /// How the replicas differ: `equal`, `one_slow`, `one_tenth`, `one_flapping`, `cpu_limits`
    #[arg(long, value_delimiter = ',', value_parser = pool)]
    pool: Vec<Pool>,
    /// Replicas of the store
    #[arg(long)]
    servers: Option<NonZeroU8>,
    /// Open loop: requests per second
    #[arg(long, value_delimiter = ',')]
    rate: Vec<f64>,
    /// Closed loop by Locust: users
    #[arg(long, value_delimiter = ',')]
    users: Vec<u32>,
    /// Repeats of each policy at each load
    #[arg(long)]
    reps: Option<u64>,
    /// Seconds of a run that are counted
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds before them
    #[arg(long)]
    warmup: Option<f64>,
    /// Seed of all requests and of the order of the runs
    #[arg(long)]
    seed: Option<u64>,
    /// Keeps what was measured in this folder [default: lab/runs/DATE-PLAN]
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(super) fn pool(word: &str) -> Result<Pool, String> {
    let all = [Pool::Equal, Pool::OneSlow, Pool::OneTenth, Pool::OneFlapping, Pool::CpuLimits];
    let names = all.map(Pool::name).join(", ");
    all.into_iter().find(|it| it.name() == word).ok_or_else(|| format!("choose one of {names}"))
}

impl Run {
    /// Runs it and prints a line for each run.
    pub(super) fn run(self, out: &mut impl Write) -> Result<()> {
        let name =
            self.plan.rsplit('/').next().unwrap_or_default().trim_end_matches(".toml").to_owned();
        let folder = self.out.clone();
        experiment::run(&self.plan()?, &name, folder, out)?;
        Ok(())
    }

    fn plan(self) -> Result<Experiment> {
        let mut it = Experiment::read(&self.plan)?;
        if self.quick {
            it = it.quick();
        }
        if !self.policy.is_empty() {
            it.policies = self.policy;
        }
        if !self.pool.is_empty() {
            it.pools = self.pool;
        }
        if !self.rate.is_empty() || !self.users.is_empty() {
            (it.rates, it.users) = (self.rate, self.users);
        }
        it.servers = self.servers.unwrap_or(it.servers);
        it.reps = self.reps.unwrap_or(it.reps);
        it.seconds = self.seconds.unwrap_or(it.seconds);
        it.warmup = self.warmup.unwrap_or(it.warmup);
        it.seed = self.seed.unwrap_or(it.seed);
        Ok(it)
    }
}
