//! What may be asked of the lab on the command line.

use std::{io::Write, num::NonZeroU8};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    shop::{Data, Plan, Seed},
    up,
};

/// Where the shop listens unless told otherwise.
pub const SHOP: &str = "127.0.0.1:8080";

/// Which policy, and when? Runs the shop behind the balancer and loads it.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
pub struct Args {
    #[command(subcommand)]
    command: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Starts the shop behind the balancer and prints where everything is
    Up {
        /// Replicas of the store
        #[arg(long, default_value = "2")]
        replicas: NonZeroU8,
        /// A file of configs/nginx, without its ending
        #[arg(long, default_value = "round_robin")]
        policy: String,
        /// Where the data are kept
        #[arg(long, value_enum, default_value = "embedded")]
        data: Data,
        /// What the data are
        #[arg(long, value_enum, default_value = "small")]
        seed: Seed,
        /// Port of the shop on 127.0.0.1, the admin listener takes the next one; 0 takes free ports
        #[arg(long, default_value = "8080")]
        port: u16,
    },
}

impl Args {
    /// Carries out what was asked, and prints its result to `out`.
    pub fn run(self, out: &mut impl Write) -> Result<()> {
        match self.command {
            Subject::Up { replicas, policy, data, seed, port } => {
                up::run(&Plan { replicas, policy, data, seed, port }, out)
            }
        }
    }
}
