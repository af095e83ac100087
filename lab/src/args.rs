//! What may be asked of the lab on the command line.

use std::{
    ffi::OsString, io::Write, net::SocketAddr, num::NonZeroU8, path::PathBuf, time::Duration,
};

use anyhow::Result;
use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    cost::{self, Cost},
    load::{self, Load},
    questions::{self, Lang, Questions},
    report,
    shop::{self, Data, Seed},
    up,
    whatif::agreement,
    with_data,
};

mod capacity;
mod describe;
mod experiment;
mod faults;
mod overload;
mod simulate;
mod validate;
mod whatif;

/// Where the shop listens unless told otherwise.
pub const SHOP: &str = "127.0.0.1:8080";

/// Where its balancer's admin listener answers unless told otherwise.
pub const ADMIN: &str = "127.0.0.1:8081";

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
        #[arg(long, value_enum, default_value = "lab")]
        seed: Seed,
        /// Port of the shop on 127.0.0.1, the admin listener takes the next one; 0 takes free ports
        #[arg(long, default_value = "8080")]
        port: u16,
        /// As slow as this step of the lab: fixed, 1, 2, 3, 4, 5
        #[arg(long, default_value = "fixed")]
        stage: String,
        /// Seconds until a replica that has ended is started again
        #[arg(long, default_value = "10", value_name = "SECONDS")]
        restart_after: u64,
    },
    /// Sends Locust's users to a running shop; exit code 1 when a request fails
    Load {
        /// Users at the end of the ramp
        #[arg(long, default_value = "150")]
        users: u32,
        /// Users started per second
        #[arg(long, default_value = "2")]
        rate: f64,
        /// Length of the run from its start, the ramp included
        #[arg(long, default_value = "120s")]
        time: String,
        /// A file of locust/, without its ending
        #[arg(long, default_value = "locustfile")]
        script: String,
        /// Where the balancer answers clients
        #[arg(long, default_value = SHOP)]
        shop: SocketAddr,
        /// Where the balancer answers /metrics
        #[arg(long, default_value = ADMIN)]
        admin: SocketAddr,
        /// Keeps Locust's CSV and HTML files and the outcomes under this prefix
        #[arg(long)]
        csv: Option<PathBuf>,
    },
    /// Compares policies before a real shop on this machine
    Experiment(Box<experiment::Run>),
    /// Runs what the nine questions of the lab are about and writes the answers, in English and French
    Questions {
        /// Less than a quarter of an hour, with fewer users and shorter runs
        #[arg(long)]
        quick: bool,
        /// Repeats of each run [default: 5, quick 3]
        #[arg(long)]
        reps: Option<u64>,
        /// The only language of the pages
        #[arg(long, value_enum)]
        lang: Option<Lang>,
        /// Makes the pages of this folder again and runs nothing
        #[arg(long)]
        from: Option<PathBuf>,
        /// Keeps what was measured in this folder [default: lab/runs/DATE-questions]
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Predicts what other policies would have done with recorded requests, and tries the best
    Whatif(Box<whatif::Asked>),
    /// Predicts what an experiment has measured from its arrivals alone, and says how far off that is
    Agree {
        /// A folder that `lab experiment` has kept
        folder: PathBuf,
        /// Keeps both in this folder, for `lab report`
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Asks live servers and the simulator for the same work, and says how far apart their answers are
    Validate(validate::Validate),
    /// Measures what a pick costs, and fails when that is more than it may
    Cost {
        /// Ids of policies [default: all]
        #[arg(long)]
        policy: Vec<String>,
        /// Lengths of lists, picked from by one thread
        #[arg(long, value_delimiter = ',', default_value = "3,10,100,1000")]
        servers: Vec<u32>,
        /// Threads that pick from one list of a hundred servers
        #[arg(long, value_delimiter = ',', default_value = "2,4,8,16")]
        threads: Vec<u32>,
        /// Keeps the table in this file; `cost.csv` in a folder is shown by `lab report`
        #[arg(long)]
        csv: Option<PathBuf>,
    },
    /// Loads the shop stage by stage, with more replicas or more users, and says what it carried
    Capacity(capacity::Capacity),
    /// Has MariaDB, Redis, a replica and the network fail under orders, and compares the books
    Faults(faults::Faults),
    /// Asks ten times more of a server than it can do, with and without a limit of concurrency
    Overload(overload::Overload),
    /// Makes one page of folders that experiments and simulations have kept, or of files of Locust
    Report {
        /// Folders, `*_stats.csv` or HTML reports of Locust
        #[arg(required = true)]
        sources: Vec<PathBuf>,
        /// Compares the second of two folders with the first, policy by policy
        #[arg(long)]
        compare: bool,
        /// The page [default: report.html in the last folder]
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Compares policies in a model of servers and requests
    Simulate(Box<simulate::Simulate>),
    /// Runs a command, such as the tests, with `TEST_DATABASE_URL` of a private MariaDB
    Data {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Writes what a shell offers after `lab` to standard output
    #[command(hide = true)]
    Completions { shell: Shell },
    /// Writes the manual pages into a folder
    #[command(hide = true)]
    Man { folder: PathBuf },
}

impl Args {
    /// Carries out what was asked, and prints its result to `out`.
    pub fn run(self, out: &mut impl Write) -> Result<()> {
        match self.command {
            Subject::Up { replicas, policy, data, seed, port, stage, restart_after } => {
                let (variables, volume) = (shop::stage(&stage), None);
                let plan = shop::Plan { replicas, policy, data, seed, port, variables, volume };
                up::run(&plan, Duration::from_secs(restart_after), out)
            }
            Subject::Load { users, rate, time, script, shop, admin, csv } => {
                load::run(&Load { users, rate, time, script, shop, admin, csv }, out)
            }
            Subject::Experiment(it) => it.run(out),
            Subject::Questions { quick, reps, lang, from, out: folder } => {
                let asked = Questions { quick, reps, lang, from, out: folder };
                questions::run(&asked, out)
            }
            Subject::Whatif(it) => it.run(out),
            Subject::Agree { folder, out: kept } => agreement::run(&folder, kept.as_deref(), out),
            Subject::Cost { policy, servers, threads, csv } => {
                let cost = Cost { policies: policy, servers, threads, picks: 20_000, csv };
                cost::run(&cost, out)
            }
            Subject::Capacity(it) => it.run(out),
            Subject::Faults(it) => it.run(out),
            Subject::Overload(it) => it.run(out),
            Subject::Validate(it) => it.run(out),
            Subject::Report { sources, compare, out: page } => {
                report::run(&sources, compare, page, out).map(|_| ())
            }
            Subject::Simulate(it) => it.run(out),
            Subject::Data { command } => with_data::run(&command),
            Subject::Completions { shell } => {
                describe::completions(shell, out);
                Ok(())
            }
            Subject::Man { folder } => describe::man(&folder),
        }
    }
}
