//! What does an experiment file say?
//!
//! TOML; `configs/experiments` holds those that ship. Keys that a scenario of the simulator has, too,
//! mean the same: `title`, `policies`, `servers`, `arrivals`, `reps`, `seed`.

use std::{fs, num::NonZeroU8, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{
    front::Kind,
    pool::Pool,
    schedule::{ENDPOINTS, Traffic},
};
use crate::{
    configs,
    shop::{Data, Seed},
};

/// What to try on this machine. Times are in seconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Experiment {
    /// One line on what it shows.
    pub title: String,
    /// Files of `configs/nginx` without their ending; `nginx:POLICY` and `haproxy:ALGORITHM` are
    /// controls in the balancer's place. All are compared with the first.
    pub policies: Vec<String>,
    /// How the replicas differ: `equal`, `one_slow`, `one_tenth`, `one_flapping`, `cpu_limits`.
    pub pools: Vec<Pool>,
    /// Replicas of the store.
    pub servers: NonZeroU8,
    /// Open loop: requests per second.
    pub rates: Vec<f64>,
    /// Open loop: `poisson` or `even`.
    pub arrivals: String,
    /// Closed loop by Locust: users.
    pub users: Vec<u32>,
    /// Repeats of each policy at each load; their order is drawn.
    pub reps: u64,
    /// What is counted of a run.
    pub seconds: f64,
    /// What is left out before; in a closed loop after the ramp.
    pub warmup: f64,
    /// Rest between runs.
    pub pause: f64,
    /// How often orders and the two reports are asked, relative to each other.
    pub mix: [u32; ENDPOINTS.len()],
    /// Lines of an order; 0 for one line, in three of ten orders three.
    pub lines: u32,
    /// Orders name only the first two products and customers, as in the lab.
    pub hot: bool,
    /// `embedded` or `mysql`.
    pub data: Data,
    /// `small` or `lab`.
    pub store: Seed,
    /// Seed of all requests and of the order of the runs.
    pub seed: u64,
    /// A run is not valid when one of a hundred requests is sent so many milliseconds late, …
    pub late_ms: f64,
    /// … when the load takes this share of the machine, …
    pub load_cpu: f64,
    /// … or when less than this share of the requests could be sent in time.
    pub sent_share: f64,
}

impl Default for Experiment {
    fn default() -> Self {
        Self {
            title: String::new(),
            policies: Vec::new(),
            pools: vec![Pool::Equal],
            servers: NonZeroU8::new(3).expect("3 is not 0"),
            rates: Vec::new(),
            arrivals: "poisson".to_owned(),
            users: Vec::new(),
            reps: 5,
            seconds: 20.0,
            warmup: 5.0,
            pause: 1.0,
            mix: [1, 1, 1],
            lines: 0,
            hot: false,
            data: Data::Embedded,
            store: Seed::Lab,
            seed: 430,
            late_ms: 1.0,
            load_cpu: 0.8,
            sent_share: 0.99,
        }
    }
}

/// How much of what is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// Open, requests per second.
    Rate(f64),
    /// Closed, users.
    Users(u32),
}

impl Experiment {
    /// Reads a file, or `configs/experiments/NAME.toml`.
    pub fn read(name: &str) -> Result<Self> {
        let path = if Path::new(name).is_file() {
            name.into()
        } else {
            let folder = configs::workspace()?.join("configs/experiments");
            let shipped = folder.join(name).with_added_extension("toml");
            ensure!(
                shipped.is_file(),
                "there is no experiment \"{name}\", neither a file nor in configs/experiments"
            );
            shipped
        };
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{}", path.display()))
    }

    /// The same, short: what a table in a lesson needs and no paper accepts.
    #[must_use]
    pub fn quick(self) -> Self {
        Self {
            reps: self.reps.min(3),
            seconds: self.seconds.min(6.0),
            warmup: self.warmup.min(1.5),
            pause: self.pause.min(0.2),
            // On a busy machine a thread may wake up late; times count from the schedule anyway.
            late_ms: self.late_ms.max(10.0),
            ..self
        }
    }

    /// The policies, each known and named once.
    pub(super) fn kinds(&self) -> Result<Vec<Kind>> {
        ensure!(!self.policies.is_empty(), "which policies? Name some in the plan");
        let mut names = self.policies.clone();
        names.sort();
        names.dedup();
        ensure!(names.len() == self.policies.len(), "a policy is named twice: add a word to one");
        self.policies.iter().map(|it| Kind::parse(it)).collect()
    }

    /// Pools and loads with what to call them.
    pub(crate) fn settings(&self) -> Result<Vec<(String, Pool, Load)>> {
        let rates = self.rates.iter().map(|it| (format!("{it}/s open"), Load::Rate(*it)));
        let users = self.users.iter().map(|it| (format!("{it} users closed"), Load::Users(*it)));
        let loads: Vec<_> = rates.chain(users).collect();
        ensure!(!loads.is_empty(), "how much load? Give rates, users or both");
        ensure!(self.rates.iter().all(|it| 0.0 < *it), "a rate must be above 0");
        ensure!(0 < self.reps && 0.0 < self.seconds, "nothing would be measured");
        let of = |pool: &Pool| {
            let pool = *pool;
            loads.iter().map(move |(name, load)| (format!("{}, {name}", pool.name()), pool, *load))
        };
        Ok(self.pools.iter().flat_map(of).collect())
    }

    pub(super) fn traffic(&self, rate: f64) -> Traffic {
        Traffic {
            rate,
            arrivals: self.arrivals.clone(),
            length: Duration::from_secs_f64(self.warmup + self.seconds),
            mix: self.mix,
            lines: self.lines,
            highest: match self.store {
                _ if self.hot => (2, 2),
                Seed::Small => (4, 3),
                Seed::Lab => (10_000, 1_000),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_experiment_can_be_run() {
        let folder = configs::workspace().unwrap().join("configs/experiments");
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(2 <= files.len(), "{files:?}");
        for file in files {
            let plan = Experiment::read(&file.to_string_lossy()).unwrap();
            assert!(!plan.title.is_empty(), "{}", file.display());
            assert!(2 <= plan.kinds().unwrap().len(), "{}", file.display());
            assert!(!plan.settings().unwrap().is_empty(), "{}", file.display());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |text: &str| {
            let plan = toml::from_str::<Experiment>(text)?;
            plan.kinds()?;
            plan.settings()
        };
        assert_eq!(check("policies = ['random']\nrates = [5]\nusers = [1]").unwrap().len(), 2);
        for text in [
            "policies = ['random', 'random']\nrates = [5]",
            "policies = ['random']",
            "policies = ['random']\nrates = [0]",
            "policies = ['chance']\nrates = [5]",
            "policies = ['random']\nrates = [5]\nreps = 0",
            "policies = ['random']\nrates = [5]\npools = ['tilted']",
            "polices = ['random']",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
