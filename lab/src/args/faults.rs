//! What may be asked of faults on the command line.

use std::{io::Write, num::NonZeroU8, path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{
    faults::{self, Fault, Trial},
    signals::Signals,
};

/// Which parts fail, for how long, under how many orders.
#[derive(Debug, Args)]
pub(super) struct Faults {
    /// Which faults, one after another [default: all]
    #[arg(value_enum)]
    faults: Vec<Fault>,
    /// Orders per second
    #[arg(long, default_value = "200")]
    rate: f64,
    /// Seconds for which orders come; the fault happens after a third of them
    #[arg(long, default_value = "30")]
    seconds: u64,
    /// Seconds for which the part is away
    #[arg(long, default_value = "5")]
    outage: u64,
    /// Replicas of the store
    #[arg(long, default_value = "2")]
    replicas: NonZeroU8,
    /// Keeps the table there
    #[arg(long)]
    csv: Option<PathBuf>,
}

impl Faults {
    pub(super) fn run(self, out: &mut impl Write) -> Result<()> {
        let signals = Signals::take()?;
        let all = || Fault::value_variants().to_vec();
        let trial = Trial {
            faults: if self.faults.is_empty() { all() } else { self.faults },
            rate: self.rate,
            time: Duration::from_secs(self.seconds),
            outage: Duration::from_secs(self.outage),
            replicas: self.replicas,
            csv: self.csv,
        };
        faults::run(&trial, &|| signals.go_on(), out)
    }
}
