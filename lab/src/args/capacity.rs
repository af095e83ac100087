//! What may be asked of a capacity campaign on the command line.

use std::{io::Write, num::NonZeroU8, path::PathBuf};

use anyhow::Result;
use clap::Args;

use crate::{
    capacity::{self, Campaign},
    shop::Seed,
    signals::Signals,
};

/// Every combination of stages, replicas, scripts and users is run.
#[derive(Debug, Args)]
pub(super) struct Capacity {
    /// Stages of the lab, `1` to `5`, or `fixed`
    #[arg(long, value_delimiter = ',', default_value = "fixed", value_parser = ["1", "2", "3", "4", "5", "fixed"])]
    stages: Vec<String>,
    /// Replicas of the store
    #[arg(long, value_delimiter = ',', default_value = "1")]
    replicas: Vec<NonZeroU8>,
    /// Files of locust/, without their ending
    #[arg(long, value_delimiter = ',', default_value = "lab_2026")]
    scripts: Vec<String>,
    /// Users at the end of the ramp
    #[arg(long, value_delimiter = ',', default_value = "150")]
    users: Vec<u32>,
    /// Users started per second
    #[arg(long, default_value = "2")]
    rate: f64,
    /// Length of each run, the ramp included
    #[arg(long, default_value = "120")]
    seconds: u64,
    /// What the data are
    #[arg(long, value_enum, default_value = "lab")]
    seed: Seed,
    /// Keeps the table there
    #[arg(long)]
    csv: Option<PathBuf>,
}

impl Capacity {
    pub(super) fn run(self, out: &mut impl Write) -> Result<()> {
        let Self { stages, replicas, scripts, users, rate, seconds, seed, csv } = self;
        let signals = Signals::take()?;
        let campaign = Campaign { stages, replicas, scripts, users, rate, seconds, seed, csv };
        capacity::run(&campaign, &|| signals.go_on(), out)
    }
}
