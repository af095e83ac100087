//! What may be asked of overload on the command line.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    overload::{self, Overload as Plan},
    signals::Signals,
};

/// How much is asked of which server.
#[derive(Debug, Args)]
pub(super) struct Overload {
    /// Words of `concurrency_limit`, each in turn; `off` is always tried first
    #[arg(long = "limit", default_values = ["gradient"])]
    limits: Vec<String>,
    /// Requests that the server works on at once
    #[arg(long, default_value = "8")]
    places: u32,
    /// Milliseconds that it works on each
    #[arg(long, default_value = "20")]
    service: u64,
    /// How many times its capacity comes
    #[arg(long, default_value = "10")]
    times: f64,
    /// Seconds for which requests come
    #[arg(long, default_value = "30")]
    seconds: u64,
    /// Seconds of them that are left out
    #[arg(long, default_value = "5")]
    warmup: u64,
    /// Clients that may be there at once
    #[arg(long, default_value = "400")]
    clients: u32,
    /// Seed of the arrivals
    #[arg(long, default_value = "430")]
    seed: u64,
    /// Keeps the table there
    #[arg(long)]
    csv: Option<PathBuf>,
}

impl Overload {
    pub(super) fn run(self, out: &mut impl Write) -> Result<()> {
        ensure!(0 < self.places && 0.0 < self.times, "0 places or times are no load");
        ensure!(self.warmup < self.seconds, "the warm-up takes all of the time");
        let signals = Signals::take()?;
        let plan = Plan {
            places: self.places,
            service: Duration::from_millis(self.service),
            times: self.times,
            time: Duration::from_secs(self.seconds),
            warm_up: Duration::from_secs(self.warmup),
            clients: self.clients,
            seed: self.seed,
            csv: self.csv,
        };
        overload::run(&plan, &self.limits, &|| signals.go_on(), out)
    }
}
