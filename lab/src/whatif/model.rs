//! Which model of the servers explains a recording?
//!
//! A request keeps its rank: how its demand compared with others of its kind on the server that had it.
//! Elsewhere it takes the time of the same rank there. Two kinds of servers are tried, those that only
//! delay and those that share themselves among their requests. Both give the recording back, so that is no
//! test of them; but what a request needs cannot know how many others are there, and so the model is used
//! whose demands depend least on the crowd that their requests met.

use std::sync::Arc;

use anyhow::{Context, Result};
use policy::{Draw, SplitMix64};

use super::trace::{Seen, Trace};
use crate::{
    sim::{Arrivals, Capacity, Discipline, Law, Plan, Run, Subject, Tables},
    stats::{self, histogram::Histogram},
};

/// The least that a request is taken to need.
const LEAST: f64 = 0.000_05;

/// A model, how much its demands depend on the crowd, and how far it is from the recording under the
/// same policy.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) plan: Plan,
    pub(super) name: &'static str,
    /// Correlation of ranks with the requests that were there before.
    pub(super) crowd: f64,
    /// Shares by which p50 and p99 are off.
    pub(super) off: (f64, f64),
}

/// What a policy does to the recorded requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) shares: Vec<f64>,
    pub(super) times: Histogram,
}

impl Outcome {
    /// As recorded.
    pub(super) fn recorded(trace: &Trace) -> Result<Self> {
        let mut times = Histogram::default();
        let mut counts = vec![0.0; trace.servers.len()];
        for it in &trace.requests {
            times.record(nanos(it.taken));
            counts[it.server] += 1.0;
        }
        Self::of(times, &counts)
    }

    fn simulated(run: Run) -> Result<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a trace has far fewer than 2^52 requests")]
        let counts: Vec<f64> = run.placed.iter().map(|it| *it as f64).collect();
        Self::of(run.times, &counts)
    }

    /// From times and how often each server was chosen.
    pub(super) fn of(times: Histogram, counts: &[f64]) -> Result<Self> {
        let at = |share| times.quantile(share).context("nothing was answered");
        let sum = counts.iter().sum::<f64>().max(1.0);
        Ok(Self {
            p50: at(0.5)?,
            p99: at(0.99)?,
            shares: counts.iter().map(|it| it / sum).collect(),
            times,
        })
    }

    /// Shares by which p50 and p99 are off another outcome.
    pub(super) fn off(&self, truth: &Self) -> (f64, f64) {
        (self.p50 / truth.p50 - 1.0, self.p99 / truth.p99 - 1.0)
    }
}

/// The better of the two models.
pub(super) fn fit(trace: &Trace, recorded: &Subject) -> Result<Model> {
    let truth = Outcome::recorded(trace)?;
    let crowds = crowds(trace);
    let mut best: Option<Model> = None;
    for (name, discipline) in [
        ("servers that delay", Discipline::Delay),
        ("servers that share themselves", Discipline::Sharing),
    ] {
        let (plan, ranks) = plan(trace, discipline)?;
        let crowd = correlation(&ranks, &crowds);
        if best.as_ref().is_none_or(|it| crowd.abs() < it.crowd.abs()) {
            let off = predict(&plan, recorded)?.off(&truth);
            best = Some(Model { plan, name, crowd, off });
        }
    }
    best.context("no model")
}

/// What a policy would have done.
pub(super) fn predict(plan: &Plan, policy: &Subject) -> Result<Outcome> {
    Outcome::simulated(plan.run(policy, 0)?)
}

/// The plan, and each request's rank among those of its kind on its server.
fn plan(trace: &Trace, discipline: Discipline) -> Result<(Plan, Vec<f64>)> {
    let demands = demands(trace, discipline == Discipline::Sharing);
    let cells = trace.servers.len() * trace.classes.len();
    let mut tables: Vec<Vec<f64>> = vec![Vec::new(); cells];
    let cell = |server: usize, class: usize| server * trace.classes.len() + class;
    for (it, demand) in trace.requests.iter().zip(&demands) {
        tables[cell(it.server, it.class)].push(*demand);
    }
    // What a server was not asked for is taken from all servers together.
    for class in 0..trace.classes.len() {
        let of_class = (0..trace.servers.len()).map(|it| cell(it, class));
        let all: Vec<f64> = of_class.clone().flat_map(|it| tables[it].clone()).collect();
        for it in of_class {
            if tables[it].is_empty() {
                tables[it].clone_from(&all);
            }
        }
    }
    for it in &mut tables {
        it.sort_by(f64::total_cmp);
    }
    let rank = |(it, demand): (&Seen, &f64)| {
        let own = &tables[cell(it.server, it.class)];
        let below = own.partition_point(|it| it < demand);
        ((count(below) + 0.5) / count(own.len())).min(0.999_999)
    };
    let ranks: Vec<f64> = trace.requests.iter().zip(&demands).map(rank).collect();
    let of_kind = trace.requests.iter().zip(&ranks).map(|(it, rank)| count(it.class) + rank);
    let law = Law::Replay(of_kind.collect());
    let times: Arc<[f64]> = trace.requests.iter().map(|it| it.at).collect();
    let requests = trace.requests.len() as u64;
    let plan = Plan {
        servers: vec![Capacity::default(); trace.servers.len()],
        discipline,
        arrivals: Arrivals::Trace(times),
        demand: law,
        tables: Some(Tables::new(trace.classes.len(), tables)?),
        requests,
        warm_up: 0,
        ..Plan::default()
    };
    Ok((plan, ranks))
}

/// How many requests were on its server when each came.
fn crowds(trace: &Trace) -> Vec<f64> {
    let mut present: Vec<Vec<f64>> = vec![Vec::new(); trace.servers.len()];
    let crowd = |it: &Seen| {
        let there = &mut present[it.server];
        there.retain(|end| it.at < *end);
        let crowd = count(there.len());
        there.push(it.at + it.taken);
        crowd
    };
    trace.requests.iter().map(crowd).collect()
}

/// Pearson's; 0 where one of them does not vary.
fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let means = [one, other].map(|it| stats::mean(it).unwrap_or(0.0));
    let products = |a: &[f64], b: &[f64], means: (f64, f64)| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - means.0) * (b - means.1)).sum()
    };
    let spread =
        products(one, one, (means[0], means[0])) * products(other, other, (means[1], means[1]));
    if spread <= 0.0 { 0.0 } else { products(one, other, (means[0], means[1])) / spread.sqrt() }
}

/// What each request needed: its time, or if servers share themselves its part of the server.
fn demands(trace: &Trace, shared: bool) -> Vec<f64> {
    // What was rounded may have been any time within a tick, each as likely.
    let mut draw = SplitMix64::new(430);
    let taken: Vec<f64> = trace
        .requests
        .iter()
        .map(|it| (it.taken + (draw.unit() - 0.5) * trace.tick).max(LEAST))
        .collect();
    if !shared {
        return taken;
    }
    let mut demands = vec![0.0; taken.len()];
    for server in 0..trace.servers.len() {
        let own: Vec<usize> =
            (0..taken.len()).filter(|it| trace.requests[*it].server == server).collect();
        let mut moments: Vec<(f64, bool, usize)> = own
            .iter()
            .flat_map(|it| {
                let at = trace.requests[*it].at;
                [(at, true, *it), (at + taken[*it], false, *it)]
            })
            .collect();
        moments.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut present, mut since): (Vec<usize>, f64) = (Vec::new(), 0.0);
        for (at, comes, it) in moments {
            let part = (at - since) / count(present.len().max(1));
            for it in &present {
                demands[*it] += part;
            }
            since = at;
            if comes { present.push(it) } else { present.retain(|other| *other != it) }
        }
    }
    demands.into_iter().map(|it| it.max(LEAST)).collect()
}

/// The mean of the absolute differences of two lists of shares.
pub(super) fn shares_off(one: &[f64], other: &[f64]) -> f64 {
    let off: Vec<f64> = one.iter().zip(other).map(|(a, b)| (a - b).abs()).collect();
    stats::mean(&off).unwrap_or(0.0)
}

pub(super) fn nanos(seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times of a log are positive and short"
    )]
    let nanos = (seconds * 1e9) as u64;
    nanos
}

#[expect(clippy::cast_precision_loss, reason = "a trace has far fewer than 2^52 requests")]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::whatif::trace;

    /// The log of a simulated run in turns: what really happened is known.
    fn recorded(discipline: Discipline, demand: Law, speeds: &[f64]) -> Trace {
        let mut draw = SplitMix64::new(9);
        let mut at = 0.0;
        let times = (0..4_000).map(|_| {
            at += -(1.0 - draw.unit()).ln() * 0.05;
            at
        });
        let times: Arc<[f64]> = times.collect();
        let of = |speed: &f64| Capacity { speed: *speed, ..Capacity::default() };
        let plan = Plan {
            servers: speeds.iter().map(of).collect(),
            discipline,
            arrivals: Arrivals::Trace(Arc::clone(&times)),
            demand,
            requests: 4_000,
            warm_up: 0,
            keeps_all: true,
            ..Plan::default()
        };
        let run = plan.run(&Subject::parse("nginx-rr").unwrap(), 0).unwrap();
        let mut text = String::new();
        for (number, (at, taken)) in times.iter().zip(&run.response).enumerate() {
            let server = number % speeds.len();
            writeln!(text, "{:.3} {taken:.3} s{server}:1 {taken:.3} 200 GET /x", 1e6 + at + taken)
                .unwrap();
        }
        let servers: Vec<String> = (0..speeds.len()).map(|it| format!("s{it}:1")).collect();
        trace::read(&text, &servers).unwrap()
    }

    #[test]
    fn delays_are_given_back_and_predict_another_policy() {
        let law = Law::Normal(0.05, 0.01, 0.001);
        let trace = recorded(Discipline::Delay, law, &[1.0, 1.0 / 3.0]);
        let model = fit(&trace, &Subject::parse("nginx-rr").unwrap()).unwrap();
        assert_eq!(model.name, "servers that delay", "{}", model.crowd);
        assert!(model.off.0.abs() < 0.05 && model.off.1.abs() < 0.05, "{:?}", model.off);
        let least = predict(&model.plan, &Subject::parse("nginx-least-conn").unwrap()).unwrap();
        let turns = predict(&model.plan, &Subject::parse("nginx-rr").unwrap()).unwrap();
        assert!((turns.shares[1] - 0.5).abs() < 0.01, "{:?}", turns.shares);
        assert!(least.shares[1] < 0.4, "{:?}", least.shares);
        assert!(least.p50 < turns.p50, "{} {}", least.p50, turns.p50);
    }

    #[test]
    fn servers_that_share_themselves_are_told_from_those_that_delay() {
        let trace = recorded(Discipline::Sharing, Law::Exp, &[15.0, 15.0]);
        let model = fit(&trace, &Subject::parse("nginx-rr").unwrap()).unwrap();
        assert_eq!(model.name, "servers that share themselves", "{}", model.crowd);
        assert!(model.off.0.abs() < 0.1 && model.off.1.abs() < 0.1, "{:?}", model.off);
    }

    #[test]
    fn a_shared_server_is_divided_among_those_that_are_there() {
        let seen = |at: f64, taken: f64| Seen { at, taken, server: 0, class: 0 };
        // Alone until 1, then two until 3, then the first alone until 4.
        let trace = Trace {
            servers: vec!["a".to_owned()],
            classes: vec!["x".to_owned()],
            requests: vec![seen(0.0, 4.0), seen(1.0, 2.0)],
            tick: 0.001,
        };
        let found = demands(&trace, true);
        assert!((found[0] - 3.0).abs() < 0.002 && (found[1] - 1.0).abs() < 0.002, "{found:?}");
    }
}
