//! What may be asked of a validation on the command line.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    signals::Signals,
    validate::{self, Validation},
};

/// Which pools, loads and policies.
#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Speeds of the servers of a pool, such as `1x3,0.5`; each is a pool of its own
    #[arg(long = "pool", default_values = ["1x2", "1x3", "1x3,0.5"])]
    pools: Vec<String>,
    /// Loads, as parts of what the pool can do
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.8")]
    load: Vec<f64>,
    /// Ids of policies, or their names in nginx.conf
    #[arg(
        long = "policy",
        default_values = ["round_robin", "least_conn", "p2c", "random", "peak_ewma"]
    )]
    policies: Vec<String>,
    /// How much work a request is, as in `lab simulate`
    #[arg(long, default_value = "exp")]
    service: String,
    /// Milliseconds of work of a request on average, on a server of speed 1
    #[arg(long, default_value = "40")]
    mean: u64,
    /// Seconds of a run
    #[arg(long, default_value = "30")]
    seconds: u64,
    /// Seconds of it that are left out
    #[arg(long, default_value = "3")]
    warmup: u64,
    /// Repeats, each with work of its own
    #[arg(long, default_value = "3")]
    reps: u64,
    /// Seed of arrivals and work
    #[arg(long, default_value = "430")]
    seed: u64,
    /// Keeps both in this folder, for `lab report`
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Validate {
    pub(super) fn run(self, out: &mut impl Write) -> Result<()> {
        ensure!(self.warmup < self.seconds, "the warm-up takes all of the time");
        let signals = Signals::take()?;
        let plan = Validation {
            pools: self.pools,
            loads: self.load,
            policies: self.policies,
            law: self.service,
            mean: Duration::from_millis(self.mean),
            time: Duration::from_secs(self.seconds),
            warm_up: Duration::from_secs(self.warmup),
            reps: self.reps,
            seed: self.seed,
        };
        validate::run(&plan, self.out.as_deref(), &|| signals.go_on(), out)
    }
}
