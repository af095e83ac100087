//! What would another policy have done with the requests that were seen, and was that right?
//!
//! Records the access log of the live balancer, replays it in the simulator under other policies, runs the
//! predicted best live on the same requests, and says how far the prediction was off.

pub mod agreement;
mod model;
mod trace;

use std::{
    fs,
    io::Write,
    num::NonZeroU8,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use self::{
    model::{Model, Outcome},
    trace::Trace,
};
use crate::{
    experiment::{self, Experiment, Pool, front::Kind, machine, run::Cell},
    record::{About, Record, Row},
    shop::{self, Shop},
    signals::Signals,
    sim::Subject,
    stats,
};

/// Policies that are tried without being asked for.
const USUAL: [&str; 4] = ["round_robin", "least_conn", "p2c", "random"];

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    /// Names of `configs/nginx`; the first is recorded.
    pub policies: Vec<String>,
    /// A log to take in the place of a recording; nothing is run then.
    pub log: Option<PathBuf>,
    /// How the replicas differ; each is a scenario of its own.
    pub pools: Vec<Pool>,
    /// Replicas of the store.
    pub servers: NonZeroU8,
    /// Requests per second.
    pub rate: f64,
    /// Seconds of each run.
    pub seconds: f64,
    /// Seed of the requests.
    pub seed: u64,
    /// Where to keep predicted and measured figures, for `lab report`.
    pub out: Option<PathBuf>,
}

impl Default for WhatIf {
    fn default() -> Self {
        Self {
            policies: USUAL.map(str::to_owned).into(),
            log: None,
            pools: vec![Pool::Equal, Pool::OneSlow, Pool::CpuLimits],
            servers: NonZeroU8::new(3).expect("3 is not 0"),
            rate: 60.0,
            seconds: 20.0,
            seed: 430,
            out: None,
        }
    }
}

/// Predicts and, unless given a log, checks the prediction live.
///
/// # Errors
///
/// When a part does not start or ends by itself, and when the log has another format.
pub fn run(asked: &WhatIf, out: &mut impl Write) -> Result<()> {
    ensure!(!asked.policies.is_empty(), "which policies? Name some");
    if let Some(path) = &asked.log {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let trace = trace::read(&text, &[])?;
        let subjects = subjects(&asked.policies)?;
        let model = model::fit(&trace, &subjects[0])?;
        predictions(&asked.policies, &subjects, &trace, &model, out)?;
        return Ok(());
    }
    let signals = Signals::take()?;
    let go_on = || signals.go_on();
    let plan = Experiment {
        servers: asked.servers,
        seconds: asked.seconds,
        warmup: 0.0,
        seed: asked.seed,
        ..Experiment::default()
    };
    let mut shop = Shop::start(
        &shop::Plan {
            replicas: asked.servers,
            policy: "round_robin".to_owned(),
            data: plan.data,
            seed: plan.store,
            port: 0,
            variables: Vec::new(),
            volume: None,
        },
        &go_on,
    )?;
    let mut record = Record::default();
    for pool in &asked.pools {
        scenario(asked, &plan, *pool, &mut shop, &mut record, &go_on, out)?;
    }
    let mut facts = machine::facts();
    facts.insert("seed".to_owned(), asked.seed.to_string());
    record.about = About {
        title: "What another policy would have done, and what it did".to_owned(),
        kind: "live".to_owned(),
        mode: "open loop; times from the pick to the end of the answer, by the access log"
            .to_owned(),
        facts,
    };
    asked.out.as_ref().map_or(Ok(()), |it| record.write(it))
}

/// Records one policy, predicts all, and runs the best of the others.
fn scenario(
    asked: &WhatIf,
    plan: &Experiment,
    pool: Pool,
    shop: &mut Shop,
    record: &mut Record,
    go_on: &dyn Fn() -> Result<()>,
    out: &mut impl Write,
) -> Result<()> {
    let load = format!("{}, {}/s open", pool.name(), asked.rate);
    let mut live = |policy: &str, repeat: u64| -> Result<Trace> {
        let kind = Kind::parse(policy)?;
        let cell = Cell {
            plan,
            name: &load,
            label: policy,
            kind: &kind,
            servers: usize::from(asked.servers.get()),
            pool,
            load: experiment::plan::Load::Rate(asked.rate),
            repeat,
        };
        let servers: Vec<String> =
            shop.replicas().iter().map(|it| it.address.to_string()).collect();
        let mut log = String::new();
        let mut read = |folder: &Path| -> Result<()> {
            log = fs::read_to_string(folder.join("logs/trace.log")).context("the access log")?;
            Ok(())
        };
        cell.run_logged(trace::FORMAT, &mut read, shop, go_on)?;
        trace::read(&log, &servers)
    };
    let recorded = live(&asked.policies[0], 0)?;
    let subjects = subjects(&asked.policies)?;
    let model = model::fit(&recorded, &subjects[0])?;
    writeln!(
        out,
        "{load}: {} requests recorded under {}",
        recorded.requests.len(),
        asked.policies[0]
    )?;
    let predicted = predictions(&asked.policies, &subjects, &recorded, &model, out)?;
    for (name, it) in asked.policies.iter().zip(&predicted) {
        record.rows.push(row(&load, &format!("{name} predicted"), it));
        record.add_histogram(&load, &format!("{name} predicted"), &it.times);
    }
    let others = asked.policies.iter().zip(&predicted).skip(1);
    let Some((best, prediction)) = others.min_by(|a, b| a.1.p99.total_cmp(&b.1.p99)) else {
        return Ok(());
    };
    // Other requests than those recorded: a prediction is for the next hour, not for the last.
    for (name, prediction) in [(&asked.policies[0], &predicted[0]), (best, prediction)] {
        let measured = Outcome::recorded(&live(name, 1)?)?;
        let (p50, p99) = prediction.off(&measured);
        writeln!(
            out,
            "{name:<20} measured p50 {:>7.1} ms  p99 {:>7.1} ms; prediction off by {} and {}, shares by {:.1} points \
             on average",
            measured.p50 * 1e3,
            measured.p99 * 1e3,
            share(p50),
            share(p99),
            100.0 * model::shares_off(&prediction.shares, &measured.shares),
        )?;
        record.rows.push(row(&load, &format!("{name} measured"), &measured));
        record.add_histogram(&load, &format!("{name} measured"), &measured.times);
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// How far a prediction is off.
fn share(off: f64) -> String {
    if off.is_finite() {
        format!("{:+.0} %", 100.0 * off)
    } else {
        "an unknown share (the log has 0 ms)".to_owned()
    }
}

/// The policies as the simulator knows them, by their names in configurations.
fn subjects(policies: &[String]) -> Result<Vec<Subject>> {
    policies.iter().map(|it| subject(it)).collect()
}

fn subject(policy: &str) -> Result<Subject> {
    match policy {
        "least_time" => Subject::parse("nginx-least-time:last_byte"),
        "random_two" => Subject::parse("nginx-random-two"),
        name => Subject::parse(name),
    }
}

fn predictions(
    names: &[String],
    subjects: &[Subject],
    trace: &Trace,
    model: &Model,
    out: &mut impl Write,
) -> Result<Vec<Outcome>> {
    let truth = Outcome::recorded(trace)?;
    writeln!(
        out,
        "recorded             p50 {:>7.1} ms  p99 {:>7.1} ms; as {} (demand and crowd correlate by {:+.2}) off by {} and {}",
        truth.p50 * 1e3,
        truth.p99 * 1e3,
        model.name,
        model.crowd,
        share(model.off.0),
        share(model.off.1),
    )?;
    let mut all = Vec::new();
    for (name, subject) in names.iter().zip(subjects) {
        let it = model::predict(&model.plan, subject)?;
        let shares: Vec<String> =
            it.shares.iter().map(|it| format!("{:.0} %", 100.0 * it)).collect();
        writeln!(
            out,
            "{name:<20} predicted p50 {:>6.1} ms  p99 {:>7.1} ms  shares {}",
            it.p50 * 1e3,
            it.p99 * 1e3,
            shares.join(" ")
        )?;
        all.push(it);
    }
    Ok(all)
}

#[expect(clippy::cast_precision_loss, reason = "a trace has far fewer than 2^52 requests")]
fn row(load: &str, policy: &str, outcome: &Outcome) -> Row {
    let mut row = Row {
        load: load.to_owned(),
        policy: policy.to_owned(),
        shares: outcome.shares.clone(),
        ..Row::default()
    };
    row.set_times(&outcome.times);
    row.set("answered", outcome.times.count() as f64);
    row.set("failed", 0.0);
    row.set("jain", stats::jain(&outcome.shares).unwrap_or(f64::NAN));
    row
}
