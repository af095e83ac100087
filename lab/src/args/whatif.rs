//! What may be asked of a prediction on the command line.

use std::{io::Write, num::NonZeroU8, path::PathBuf};

use anyhow::Result;
use clap::Args;

use super::experiment::pool;
use crate::{
    experiment::Pool,
    whatif::{self, WhatIf},
};

/// What to record, and what to predict from it.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Names of configs/nginx; the first is recorded [default: `round_robin`, `least_conn`, p2c, random]
    #[arg(long)]
    policy: Vec<String>,
    /// A log of the balancer or of nginx with `log_format x '$msec $request_time $upstream_addr
    /// $upstream_response_time $status $request_method $uri'`; predicts from it and runs nothing
    #[arg(long)]
    log: Option<PathBuf>,
    /// How the replicas differ, a scenario each [default: `equal`, `one_slow`, `cpu_limits`]
    #[arg(long, value_delimiter = ',', value_parser = pool)]
    pool: Vec<Pool>,
    /// Replicas of the store
    #[arg(long)]
    servers: Option<NonZeroU8>,
    /// Requests per second
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of each run
    #[arg(long)]
    seconds: Option<f64>,
    /// Seed of the requests
    #[arg(long)]
    seed: Option<u64>,
    /// Keeps predicted and measured figures in this folder, for `lab report`
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Asked {
    /// Predicts, tries and prints.
    pub(super) fn run(self, out: &mut impl Write) -> Result<()> {
        let usual = WhatIf::default();
        let or = |given: Vec<_>, usual: Vec<_>| if given.is_empty() { usual } else { given };
        let asked = WhatIf {
            policies: or(self.policy, usual.policies),
            log: self.log,
            pools: if self.pool.is_empty() { usual.pools } else { self.pool },
            servers: self.servers.unwrap_or(usual.servers),
            rate: self.rate.unwrap_or(usual.rate),
            seconds: self.seconds.unwrap_or(usual.seconds),
            seed: self.seed.unwrap_or(usual.seed),
            out: self.out,
        };
        whatif::run(&asked, out)
    }
}
