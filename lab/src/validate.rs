//! Does the live balancer do what the simulator says?
//!
//! Live servers of which everything is known, and their model, get the same requests: each says how much
//! work it is, comes at the same moment, and meets the same policy. What differs is the balancer itself, the
//! machine, and what a policy draws. Servers work by the clock, not by the processor, so a load of
//! 0.8 leaves a machine of two cores all but idle, and all policies of a load can run at once.

mod model;

use std::{
    io::Write,
    path::Path,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use policy::SplitMix64;

use self::model::Modelled;
use crate::{
    experiment::machine,
    known::{
        balancer::Balancer,
        clients::{self, Fate, Load},
        server::Server,
    },
    record::{About, Record, Row},
    scenario,
    sim::{Law, Subject},
    stats::{self, histogram::Histogram},
    whatif::agreement::{TARGETS, sentence},
};

/// Who may be there at once: at a load below 1 hardly a tenth of them are.
const CLIENTS: u32 = 128;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Validation {
    /// Speeds of the servers, as `1x3,0.5`.
    pub pools: Vec<String>,
    /// Parts of what a pool can do.
    pub loads: Vec<f64>,
    /// Policies, as [`Subject::parse`] reads them.
    pub policies: Vec<String>,
    /// How work is distributed, as [`Law::parse`] reads it.
    pub law: String,
    /// Its mean on a server of speed 1.
    pub mean: Duration,
    /// Of each run.
    pub time: Duration,
    /// What is left out at its start.
    pub warm_up: Duration,
    /// Runs of each policy, each with work of its own.
    pub reps: u64,
    /// Of arrivals and work.
    pub seed: u64,
}

/// What a policy came to in one repeat.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Measured, and predicted by the simulator: seconds.
    pub mean: [f64; 2],
    /// The same of the 99th percentile.
    pub p99: [f64; 2],
    /// Part of the requests that each server got, measured and predicted.
    pub shares: [Vec<f64>; 2],
    /// Requests of the repeat that are compared, and how many of them had no answer.
    pub requests: [usize; 2],
    /// Whether the measured mean and 99th percentile lie among those of the model's runs.
    pub inside: [bool; 2],
    rows: [Row; 2],
}

/// When requests come and how much work each is, in seconds.
struct Work {
    due: Vec<Duration>,
    demands: Arc<[f64]>,
}

/// Compares all of it and prints a line for each policy at each load; keeps both sides in a folder.
pub fn run(
    validation: &Validation,
    folder: Option<&Path>,
    go_on: &(dyn Fn() -> Result<()> + Sync),
    out: &mut impl Write,
) -> Result<()> {
    let mut record = Record::default();
    for pool in &validation.pools {
        for load in &validation.loads {
            let title = format!("{pool}, load {load}");
            let mut found = vec![Vec::new(); validation.policies.len()];
            for repeat in 0..validation.reps {
                for (pairs, pair) in
                    found.iter_mut().zip(together(validation, pool, *load, repeat, go_on))
                {
                    pairs.push(pair?);
                }
            }
            for (policy, pairs) in validation.policies.iter().zip(found) {
                writeln!(out, "{}", line(&title, policy, &pairs))?;
                record.rows.extend(pairs.into_iter().flat_map(|it| it.rows));
            }
            out.flush()?;
        }
    }
    let mut facts = machine::facts();
    facts.insert("seed".to_owned(), validation.seed.to_string());
    facts.insert("plan".to_owned(), format!("{validation:?}"));
    record.about = About {
        title: "Live servers and their model".to_owned(),
        kind: "live".to_owned(),
        mode:
            "open loop; load is the share of the pool's capacity; times from when a request is due"
                .to_owned(),
        facts,
    };
    folder.map_or(Ok(()), |it| record.write(it))
}

/// All policies at once, each with a pool and a balancer of its own.
fn together(
    validation: &Validation,
    pool: &str,
    load: f64,
    repeat: u64,
    go_on: &(dyn Fn() -> Result<()> + Sync),
) -> Vec<Result<Pair>> {
    thread::scope(|scope| {
        let mut all = Vec::new();
        for policy in &validation.policies {
            all.push(scope.spawn(move || Pair::of(validation, pool, load, policy, repeat, go_on)));
        }
        let end =
            |it: ScopedJoinHandle<'_, _>| it.join().unwrap_or_else(|_| bail!("a run panicked"));
        all.into_iter().map(end).collect()
    })
}

fn line(title: &str, policy: &str, pairs: &[Pair]) -> String {
    let of = |both: fn(&Pair) -> [f64; 2]| -> Vec<(f64, f64)> {
        pairs.iter().map(|it| both(it).into()).collect()
    };
    let [means, tails] = [of(|it| it.mean), of(|it| it.p99)];
    let average = |pairs: &[(f64, f64)]| {
        let side = |it: fn(&(f64, f64)) -> f64| {
            1e3 * stats::mean(&pairs.iter().map(it).collect::<Vec<_>>()).unwrap_or(f64::NAN)
        };
        format!("{:>7.1} {:>7.1}", side(|it| it.0), side(|it| it.1))
    };
    let inside = [0, 1].map(|it| pairs.iter().filter(|pair| pair.inside[it]).count());
    let lost: usize = pairs.iter().map(|it| it.requests[1]).sum();
    let lost = if lost == 0 { String::new() } else { format!("; {lost} without an answer") };
    format!(
        "{title:<20} {policy:<16} mean {} ms  p99 {} ms  {}; among the model's runs {} and {} of {}{lost}",
        average(&means),
        average(&tails),
        sentence(&[means, tails]),
        inside[0],
        inside[1],
        pairs.len(),
    )
}

impl Validation {
    fn work(&self, capacity: f64, load: f64, repeat: u64) -> Result<Work> {
        // Every policy meets the same in the same repeat.
        let mut draw = SplitMix64::new(self.seed + repeat);
        let law = Law::parse(&self.law)?;
        let mean = self.mean.as_secs_f64();
        let due = clients::random(load * capacity / mean, self.time, &mut draw);
        // A request says its work in whole microseconds.
        let demands = (0..).zip(&due).map(|(number, _)| {
            let micros = (1e6 * mean * law.draw(number, &mut draw)).round().max(1.0);
            micros / 1e6
        });
        Ok(Work { demands: demands.collect(), due })
    }
}

impl Pair {
    /// Runs a policy on a pool, and its model on the same requests.
    pub fn of(
        validation: &Validation,
        pool: &str,
        load: f64,
        policy: &str,
        repeat: u64,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let speeds: Vec<f64> = scenario::list(pool)?;
        let capacity: f64 = speeds.iter().sum();
        ensure!(0.0 < load && load < 1.0, "a load is between 0 and 1");
        ensure!(speeds.iter().all(|it| it.is_finite() && 0.0 < *it), "a speed is above 0");
        let subject = Subject::parse(policy)?;
        let line = subject.line().with_context(|| format!("{policy} wants a key"))?;
        let work = validation.work(capacity, load, repeat)?;
        let fates = live(validation, &speeds, &line, &work, go_on)?;
        let warm_up = work.due.partition_point(|it| *it < validation.warm_up);
        let counted = &fates[warm_up.min(fates.len())..];
        ensure!(!counted.is_empty(), "nothing was asked after the warm-up");
        let name = format!("{pool}, load {load}");

        let mut times = Histogram::default();
        let mut placed = vec![0.0; speeds.len()];
        for it in counted.iter().filter(|it| it.status == 200) {
            times.record(
                u64::try_from(it.done.saturating_sub(it.due).as_nanos()).unwrap_or(u64::MAX),
            );
            if let Some(placed) = it.server.parse().ok().and_then(|it: usize| placed.get_mut(it)) {
                *placed += 1.0;
            }
        }
        let lost = counted.iter().filter(|it| it.status != 200).count();
        let measured = row(&name, &format!("{policy} measured"), repeat, &times, &placed, lost);

        let model = Modelled::of(validation, &speeds, &subject, &work, warm_up)?;
        let word = format!("{policy} predicted");
        let mut predicted = row(&name, &word, repeat, &model.times, &model.placed, 0);
        // The tail of all runs together is that of the worst of them.
        for ((figure, _), values) in TARGETS.iter().zip(&model.figures) {
            predicted.set(figure, stats::mean(values).unwrap_or(f64::NAN));
        }
        let inside = [0, 1].map(|it| model.has_seen(it, measured.figure(TARGETS[it].0)));
        let rows = [measured, predicted];
        let both = |figure: &str| rows.each_ref().map(|it| it.figure(figure).unwrap_or(f64::NAN));
        Ok(Self {
            mean: both("mean"),
            p99: both("p99"),
            shares: rows.each_ref().map(|it| it.shares.clone()),
            requests: [counted.len(), lost],
            inside,
            rows,
        })
    }
}

/// What became of the requests behind the balancer.
fn live(
    validation: &Validation,
    speeds: &[f64],
    line: &str,
    work: &Work,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Vec<Fate>> {
    let servers: Vec<Server> = (0..)
        .zip(speeds)
        .map(|(name, speed)| Server::start(1, validation.mean, *speed, &format!("{name}")))
        .collect::<Result<_>>()?;
    let addresses: Vec<_> = servers.iter().map(|it| it.address).collect();
    let balancer = Balancer::start(&addresses, line, go_on)?;
    let request = |(due, demand): (&Duration, &f64)| {
        let micros = (1e6 * demand).round();
        (*due, format!("GET /{micros} HTTP/1.1\r\nHost: servers\r\n\r\n"))
    };
    let requests = work.due.iter().zip(work.demands.iter()).map(request).collect();
    clients::open(
        balancer.address,
        &Load { requests, end: validation.time, clients: CLIENTS },
        go_on,
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn row(
    load: &str,
    policy: &str,
    repeat: u64,
    times: &Histogram,
    placed: &[f64],
    lost: usize,
) -> Row {
    let sum = placed.iter().sum::<f64>().max(1.0);
    let mut row = Row {
        load: load.to_owned(),
        policy: policy.to_owned(),
        repeat,
        shares: placed.iter().map(|it| it / sum).collect(),
        ..Row::default()
    };
    row.set_times(times);
    row.set("answered", times.count() as f64);
    row.set("failed", lost as f64);
    row.set("jain", stats::jain(&row.shares).unwrap_or(f64::NAN));
    row
}
