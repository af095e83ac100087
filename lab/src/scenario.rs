//! What does a scenario file say?
//!
//! A scenario is a workload with the policies and loads to try under it, in TOML. `configs/scenarios` holds
//! those that ship; what a file leaves open has the defaults of [`Scenario::default`].

use std::{fs, num::NonZeroU32, path::Path, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use policy::RetryBudget;
use serde::{Deserialize, Serialize};

use crate::{
    configs,
    sim::{
        Arrivals, Balancers, Capacity, Change, Discipline, Fate, Keys, Law, Patience, Plan, Split,
        View,
    },
};

/// A workload, and what to try under it. Times are in seconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// One line on what it shows.
    pub title: String,
    /// Policies by id, with options behind a colon: `sq:d=2`; all are compared with the first.
    pub policies: Vec<String>,
    /// Offered loads as shares of what the pool can do.
    pub loads: Vec<f64>,
    /// Requests per second in the place of loads.
    pub rate: Option<f64>,
    /// Users of a closed loop in the place of loads.
    pub users: Option<u32>,
    /// Mean pause of a user between answer and next request.
    pub think: f64,
    /// `poisson`, `even`, `bursts:FACTOR:BURST:CALM` or `trace:FILE`.
    pub arrivals: String,
    /// The law of the demand: see [`Law::parse`].
    pub service: String,
    /// Servers of the pool.
    pub servers: usize,
    /// Speeds in server order, such as `1.5x5,0.5x5`.
    pub speeds: Option<String>,
    /// Weights in server order, such as `3x5,1x5`.
    pub weights: Option<String>,
    /// `fcfs`, `ps` or `delay`.
    pub discipline: String,
    /// Requests that a server works on at a time (fcfs).
    pub slots: NonZeroU32,
    /// Requests that may wait on a server before it refuses more.
    pub server_queue: Option<usize>,
    /// Different keys for policies that hash.
    pub keys: u64,
    /// Zipf's exponent of the keys' frequency; 0 for equal.
    pub zipf: f64,
    /// Balancers, each with a policy of its own.
    pub balancers: u32,
    /// Numbers of balancers to try in the place of `balancers`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<u32>,
    /// Which balancer a request comes to: `random`, `turns` or `client`.
    pub split: String,
    /// What balancers see: `own`, `shared`, `periodic:T`, `individual:T`, `age:T` or `response`.
    pub view: String,
    /// Requests of one balancer at which a server gets no more from it.
    pub max_conns: Option<NonZeroU32>,
    /// Requests that may wait in a balancer while no server may be picked.
    pub queue: usize,
    /// Failures that take a server out; 0 for never.
    pub max_fails: u32,
    /// Seconds for which it is out.
    pub fail_timeout: f64,
    /// Seconds after which an attempt is given up.
    pub timeout: Option<f64>,
    /// Further servers that are tried after a failure.
    pub retries: u8,
    /// Percent of the requests in progress that may be retries.
    pub retry_budget: Option<u32>,
    /// What happens to servers.
    pub changes: Vec<Happening>,
    /// Requests of a replication, warm-up included.
    pub requests: u64,
    /// Requests that are not counted; `auto` finds them by MSER.
    pub warmup: String,
    /// Replications, the fewest if a precision is asked for.
    pub reps: u64,
    /// Relative half-width of the mean's interval at which replications end.
    pub precision: Option<f64>,
    /// The most replications for a precision.
    pub most_reps: u64,
    /// Seed of all streams.
    pub seed: u64,
}

/// Something that happens to servers, as a file says it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Happening {
    /// Seconds from the start.
    pub at: f64,
    /// Positions of the servers, from 0.
    pub servers: Vec<usize>,
    /// `down`, `up`, `up:WARM_UP`, `speed:X`, `errors:SHARE:AFTER`, `silent`, `leave`, `join` or `weight:W`.
    pub what: String,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            title: String::new(),
            policies: Vec::new(),
            loads: vec![0.8],
            rate: None,
            users: None,
            think: 1.0,
            arrivals: "poisson".to_owned(),
            service: "exp".to_owned(),
            servers: 10,
            speeds: None,
            weights: None,
            discipline: "fcfs".to_owned(),
            slots: NonZeroU32::MIN,
            server_queue: None,
            keys: 1000,
            zipf: 0.0,
            balancers: 1,
            sweep: Vec::new(),
            split: "random".to_owned(),
            view: "own".to_owned(),
            max_conns: None,
            queue: 0,
            max_fails: 1,
            fail_timeout: 10.0,
            timeout: None,
            retries: 0,
            retry_budget: None,
            changes: Vec::new(),
            requests: 300_000,
            warmup: "30000".to_owned(),
            reps: 10,
            precision: None,
            most_reps: 200,
            seed: 430,
        }
    }
}

impl Scenario {
    /// Reads a file, or `configs/scenarios/NAME.toml`.
    pub fn read(name: &str) -> Result<Self> {
        let shipped = || {
            let folder = configs::workspace().ok()?.join("configs/scenarios");
            Some(folder.join(name).with_added_extension("toml")).filter(|it| it.is_file())
        };
        let path = match Path::new(name) {
            it if it.is_file() => it.to_path_buf(),
            _ => shipped().with_context(|| {
                format!("there is no scenario \"{name}\", neither a file nor in configs/scenarios")
            })?,
        };
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{}", path.display()))
    }

    /// The plan of each load, and of each number of balancers if there are several, with what to
    /// call it.
    pub fn plans(&self) -> Result<Vec<(String, Plan)>> {
        let plans = self.loaded()?;
        if self.sweep.is_empty() {
            return Ok(plans);
        }
        let of = |(load, plan): (String, Plan)| {
            let balanced = move |count: &u32| {
                let balancers = Balancers { count: *count, ..plan.balancers };
                (format!("{load}, {count} balancers"), Plan { balancers, ..plan.clone() })
            };
            self.sweep.iter().map(balanced)
        };
        Ok(plans.into_iter().flat_map(of).collect())
    }

    fn loaded(&self) -> Result<Vec<(String, Plan)>> {
        let pool = self.pool()?;
        if let Some(users) = self.users {
            let arrivals = Arrivals::Users(users, self.think);
            return Ok(vec![(format!("{users} users"), Plan { arrivals, ..pool })]);
        }
        if let Some(rate) = self.rate {
            return Ok(vec![(format!("{rate}/s"), Plan { arrivals: self.open(rate)?, ..pool })]);
        }
        if self.arrivals.starts_with("trace:") {
            return Ok(vec![("trace".to_owned(), Plan { arrivals: self.open(1.0)?, ..pool })]);
        }
        let capacity = pool.capacity();
        ensure!(capacity.is_finite(), "servers that only delay have no load: give a rate");
        let plan = |load: &f64| {
            let arrivals = self.open(load * capacity)?;
            Ok((format!("{load}"), Plan { arrivals, ..pool.clone() }))
        };
        self.loads.iter().map(plan).collect()
    }

    /// Requests that are not counted, `None` if they are to be found.
    pub fn warm_up(&self) -> Result<Option<u64>> {
        if self.warmup == "auto" {
            return Ok(None);
        }
        self.warmup.parse().map(Some).context("warmup wants a number of requests or auto")
    }

    fn pool(&self) -> Result<Plan> {
        let speeds = self.speeds.as_deref().map_or_else(|| Ok(vec![1.0; self.servers]), list)?;
        let weights = self
            .weights
            .as_deref()
            .map_or_else(|| Ok(vec![NonZeroU32::MIN; speeds.len()]), list)?;
        ensure!(speeds.iter().all(|it: &f64| 0.0 < *it), "a speed must be above 0");
        ensure!(speeds.len() == weights.len(), "there are not as many weights as speeds");
        ensure!(0 < self.keys, "there must be a key");
        let servers = speeds.into_iter().zip(weights);
        Ok(Plan {
            servers: servers.map(|(speed, weight)| Capacity { speed, weight }).collect(),
            discipline: match self.discipline.as_str() {
                "fcfs" => Discipline::Fcfs(self.slots),
                "ps" => Discipline::Sharing,
                "delay" => Discipline::Delay,
                other => bail!("there is no discipline \"{other}\": fcfs, ps or delay"),
            },
            server_queue: self.server_queue,
            demand: Law::parse(&self.service)?,
            keys: match self.zipf {
                0.0 => Keys::uniform(self.keys),
                exponent => Keys::zipf(self.keys, exponent),
            },
            balancers: Balancers {
                count: self.balancers,
                split: match self.split.as_str() {
                    "random" => Split::Random,
                    "turns" => Split::Turns,
                    "client" => Split::Client,
                    other => bail!("there is no split \"{other}\": random, turns or client"),
                },
                view: view(&self.view)?,
                max_conns: self.max_conns,
                queue: self.queue,
                max_fails: NonZeroU32::new(self.max_fails),
                fail_timeout: self.fail_timeout,
            },
            patience: Patience {
                timeout: self.timeout,
                retries: self.retries,
                budget: self.retry_budget.map(|percent| RetryBudget { percent, min: 3 }),
            },
            changes: self.changes.iter().map(Happening::read).collect::<Result<_>>()?,
            requests: self.requests,
            warm_up: self.warm_up()?.unwrap_or(0),
            seed: self.seed,
            ..Plan::default()
        })
    }

    fn open(&self, rate: f64) -> Result<Arrivals> {
        ensure!(rate.is_finite() && 0.0 < rate, "the rate must be above 0");
        let (name, rest) = self.arrivals.split_once(':').unwrap_or((&self.arrivals, ""));
        Ok(match name {
            "poisson" => Arrivals::Poisson(rate),
            "even" | "det" => Arrivals::Even(rate),
            "bursts" => {
                let [factor, burst, calm] = numbers(rest)?[..] else {
                    bail!("bursts wants FACTOR:BURST:CALM");
                };
                ensure!(0.0 < factor && 0.0 < burst && 0.0 < calm, "bursts want numbers above 0");
                Arrivals::Bursts { rate, factor, burst, calm }
            }
            "trace" => match Law::parse(&format!("replay:{rest}"))? {
                Law::Replay(times) => {
                    ensure!(times.is_sorted(), "{rest}: the times of a trace must not go back");
                    Arrivals::Trace(times)
                }
                _ => bail!("{rest} is no trace"),
            },
            _ => bail!(
                "there are no arrivals \"{}\": poisson, even, bursts:FACTOR:BURST:CALM or trace:FILE",
                self.arrivals
            ),
        })
    }
}

impl Happening {
    fn read(&self) -> Result<Change> {
        let (name, rest) = self.what.split_once(':').unwrap_or((&self.what, ""));
        let numbers = numbers(rest)?;
        let what = match (name, &numbers[..]) {
            ("down", []) => Fate::Down,
            ("up", []) => Fate::Up(0.0),
            ("up", [ramp]) => Fate::Up(*ramp),
            ("speed", [speed]) => Fate::Speed(*speed),
            ("errors", [share, after]) => Fate::Errors(*share, *after),
            ("silent", []) => Fate::Silent,
            ("leave", []) => Fate::Leave,
            ("join", []) => Fate::Join,
            ("weight", [_]) => Fate::Weight(rest.parse().context("a weight is a whole number")?),
            _ => bail!("\"{}\" does not happen to servers", self.what),
        };
        Ok(Change { at: self.at, servers: self.servers.clone(), what })
    }
}

fn view(text: &str) -> Result<View> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    Ok(match (name, &numbers(rest)?[..]) {
        ("own", []) => View::Own,
        ("shared", []) => View::Shared,
        ("response", []) => View::Response,
        ("periodic", [every]) => View::Periodic(*every),
        ("individual", [every]) => View::Individual(*every),
        ("age", [age]) => View::Age(*age),
        _ => bail!(
            "there is no view \"{text}\": own, shared, periodic:T, individual:T, age:T, response"
        ),
    })
}

fn numbers(text: &str) -> Result<Vec<f64>> {
    let parts = text.split(':').filter(|it| !it.is_empty());
    parts
        .map(|it| it.parse().ok().filter(|it: &f64| it.is_finite() && 0.0 <= *it))
        .map(|it| it.with_context(|| format!("\"{text}\" is not made of numbers from 0 on")))
        .collect()
}

/// Reads `1.5x5,0.5` as five times 1.5 and once 0.5.
pub(crate) fn list<T: Clone + FromStr>(text: &str) -> Result<Vec<T>> {
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
    fn every_shipped_scenario_makes_plans() {
        let folder = configs::workspace().unwrap().join("configs/scenarios");
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(5 <= files.len(), "{files:?}");
        for file in files {
            let scenario = Scenario::read(&file.to_string_lossy()).unwrap();
            assert!(!scenario.title.is_empty(), "{}", file.display());
            assert!(2 <= scenario.policies.len(), "{}", file.display());
            assert!(!scenario.plans().unwrap().is_empty(), "{}", file.display());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |text: &str| toml::from_str::<Scenario>(text).unwrap().plans();
        assert!(check("speeds = '1.5x2,1'\nloads = [0.5, 0.9]").is_ok());
        let swept = check("sweep = [1, 4]\nloads = [0.5, 0.9]").unwrap();
        assert_eq!((swept.len(), swept[3].1.balancers.count), (4, 4));
        assert_eq!(swept[3].0, "0.9, 4 balancers");
        for text in [
            "arrivals = 'sometimes'",
            "arrivals = 'bursts:2'",
            "service = 'slow'",
            "view = 'periodic'",
            "discipline = 'lifo'",
            "weights = '1'",
            "changes = [{ at = 1, servers = [0], what = 'melts' }]",
            "discipline = 'delay'",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(toml::from_str::<Scenario>("polices = []").is_err());
    }
}
