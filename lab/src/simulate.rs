//! Which policy is better in the model, and is the difference one?

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    record::{self, About, FIGURES, Record, Row},
    scenario::Scenario,
    sim::{Arrivals, End, Plan, Run, Subject},
    stats::{self, Estimate, histogram::Histogram},
};

/// Simulates every policy at every load on the same requests and prints one line for each.
///
/// Every policy after the first is compared with the first, replication by replication. With a
/// folder, the raw data are kept there.
pub fn run(scenario: &Scenario, folder: Option<&Path>, out: &mut impl Write) -> Result<()> {
    ensure!(0 < scenario.reps, "0 replications say nothing");
    ensure!(!scenario.policies.is_empty(), "which policies? Give --policy ID or --scenario NAME");
    let subjects: Vec<_> =
        scenario.policies.iter().map(|it| Subject::parse(it)).collect::<Result<_>>()?;
    let plans = scenario.plans()?;
    let progress = Progress::new(scenario.reps * (plans.len() * subjects.len()) as u64);
    let mut record = Record::default();
    for (load, mut plan) in plans {
        if scenario.warm_up()?.is_none() {
            plan.warm_up = find_warm_up(&plan, &subjects)?;
        }
        let campaign = Campaign { scenario, plan: &plan, load: &load, progress: &progress };
        let rows = campaign.run(&subjects, &mut record)?;
        progress.clear();
        writeln!(out, "{}", title(&plan, rows.len() / subjects.len().max(1)))?;
        show(&subjects, &rows, out)?;
        writeln!(out)?;
        record.rows.extend(rows);
    }
    record.about = about(scenario)?;
    folder.map_or(Ok(()), |it| record.write(it))
}

/// One load of a scenario.
struct Campaign<'a> {
    scenario: &'a Scenario,
    plan: &'a Plan,
    load: &'a str,
    progress: &'a Progress,
}

impl Campaign<'_> {
    /// As many replications as asked for, of every policy the same; more while one is not precise.
    fn run(&self, subjects: &[Subject], record: &mut Record) -> Result<Vec<Row>> {
        let mut found: Vec<Vec<Row>> = vec![Vec::new(); subjects.len()];
        let mut merged = vec![Histogram::default(); subjects.len()];
        let mut from = 0;
        loop {
            for ((subject, rows), merged) in subjects.iter().zip(&mut found).zip(&mut merged) {
                for (replication, run) in
                    replicate(self.plan, subject, from..from + self.scenario.reps, self.progress)?
                {
                    if replication == 0 {
                        record.series.extend(run.series.iter().map(|(second, counts)| {
                            (self.load.to_owned(), subject.name(), *second, counts.clone())
                        }));
                    }
                    merged.merge(&run.times);
                    rows.push(row(self.load, subject, replication, &run));
                }
            }
            from += self.scenario.reps;
            let precise = |precision: f64| {
                found.iter().all(|rows| {
                    let means: Vec<f64> = rows.iter().filter_map(|it| it.figure("mean")).collect();
                    Estimate::of(&means).is_none_or(|it| it.half_width <= precision * it.mean)
                })
            };
            if self.scenario.precision.is_none_or(precise) || self.scenario.most_reps <= from {
                break;
            }
            self.progress.expect(self.scenario.reps * subjects.len() as u64);
        }
        for (subject, merged) in subjects.iter().zip(&merged) {
            record.add_histogram(self.load, &subject.name(), merged);
        }
        Ok(found.concat())
    }
}

/// The longest warm-up that a first replication of any policy shows.
fn find_warm_up(plan: &Plan, subjects: &[Subject]) -> Result<u64> {
    let mut longest = 0;
    for subject in subjects {
        let (size, means) = plan.run(subject, 0)?.batches;
        longest = longest.max(size * stats::warm_up(&means) as u64);
    }
    Ok(longest.min(plan.requests - 1))
}

/// Replications in their order, whatever the number of threads.
fn replicate(
    plan: &Plan,
    subject: &Subject,
    which: std::ops::Range<u64>,
    progress: &Progress,
) -> Result<Vec<(u64, Run)>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(which.start);
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let worker = || -> Result<()> {
            loop {
                // Relaxed: each number is taken once, and nothing else is published by it.
                let replication = next.fetch_add(1, Ordering::Relaxed);
                if which.end <= replication {
                    return Ok(());
                }
                let run = plan.run(subject, replication)?;
                progress.advance(plan.requests);
                found.lock().unwrap_or_else(PoisonError::into_inner).push((replication, run));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|it| it.join().map_err(|_| anyhow!("a replication panicked"))?)
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|it| it.0);
    Ok(found)
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
fn row(load: &str, subject: &Subject, repeat: u64, run: &Run) -> Row {
    let answered = run.ends[End::Answered as usize] as f64;
    let failed = run.ends.iter().sum::<u64>() as f64 - answered + run.unfinished as f64;
    let all = run.placed.iter().sum::<u64>().max(1) as f64;
    let whole = run.ends.iter().sum::<u64>() as f64 / run.length.max(1e-9);
    let mut row = Row {
        load: load.to_owned(),
        policy: subject.name(),
        repeat,
        shares: run.placed.iter().map(|it| *it as f64 / all).collect(),
        ..Row::default()
    };
    row.set_times(&run.times);
    let jain = stats::jain(&run.busy).unwrap_or(f64::NAN);
    for (name, value) in [
        ("answered", answered),
        ("failed", failed),
        ("retries", run.retries as f64),
        ("per_second", whole),
        ("jain", jain),
    ] {
        row.set(name, value);
    }
    for (number, it) in (1..).zip(&run.changes) {
        for (name, value) in [
            ("at", it.at),
            ("requests", it.requests as f64),
            ("harmed", it.harmed as f64),
            ("recovery", it.recovery.unwrap_or(f64::NAN)),
            ("share", it.share),
        ] {
            row.set(&format!("change{number}_{name}"), value);
        }
        if subject.looks_at_keys() {
            row.set(&format!("change{number}_moved"), it.moved as f64);
        }
    }
    row
}

fn show(subjects: &[Subject], rows: &[Row], out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n{:<28} {:>18} {:>8} {:>8} {:>16} {:>9} {:>9}  against the first",
        "policy", "mean s", "p50 s", "p90 s", "p99 s", "largest %", "failed %"
    )?;
    let each = rows.len() / subjects.len().max(1);
    let first = &rows[..each];
    for (position, found) in rows.chunks(each.max(1)).enumerate() {
        let of = |name: &str| {
            let values: Vec<f64> = found.iter().filter_map(|it| it.figure(name)).collect();
            Estimate::of(&values)
        };
        let shown =
            |name: &str| of(name).map_or_else(|| "-".to_owned(), |it| format!("{:.3}", it.mean));
        let (answered, failed) = (of("answered"), of("failed"));
        let failed = answered.zip(failed).map_or(0.0, |(a, f)| 100.0 * f.mean / (a.mean + f.mean));
        let largest = |it: &Row| it.shares.iter().copied().fold(0.0, f64::max);
        let largest: Vec<f64> = found.iter().map(largest).collect();
        let interval = |name: &str, digits: usize| match of(name) {
            Some(it) => format!("{:.digits$} ±{:>7.digits$}", it.mean, it.half_width),
            None => "-".to_owned(),
        };
        writeln!(
            out,
            "{:<28} {:>18} {:>8} {:>8} {:>16} {:>9.2} {:>9.3}  {}",
            found.first().map_or("", |it| it.policy.as_str()),
            interval("mean", 4),
            shown("p50"),
            shown("p90"),
            interval("p99", 3),
            100.0 * stats::mean(&largest).context("no replication")?,
            failed,
            if position == 0 { String::new() } else { compare(first, found) },
        )?;
    }
    Ok(())
}

fn compare(first: &[Row], other: &[Row]) -> String {
    let pairs = first.iter().zip(other);
    let differences: Vec<f64> =
        pairs.filter_map(|(a, b)| Some(b.figure("mean")? - a.figure("mean")?)).collect();
    match Estimate::of(&differences) {
        Some(it) if it.excludes_zero() => format!("mean {:+.4} ±{:.4}", it.mean, it.half_width),
        Some(_) => "not distinguishable".to_owned(),
        None => "nothing to compare".to_owned(),
    }
}

fn mode(plan: &Plan) -> String {
    match &plan.arrivals {
        Arrivals::Poisson(rate) => format!("open loop, Poisson, {rate} requests/s"),
        Arrivals::Even(rate) => format!("open loop, even, {rate} requests/s"),
        Arrivals::Bursts { rate, factor, .. } => {
            format!("open loop, bursts of {factor} times the calm, {rate} requests/s")
        }
        Arrivals::Trace(times) => format!("open loop, trace of {} requests", times.len()),
        Arrivals::Users(users, pause) => format!("closed loop, {users} users, {pause} s pause"),
    }
}

fn title(plan: &Plan, replications: usize) -> String {
    format!(
        "{}; {} balancers, {} servers, {:?}, demand {:?}; {replications} replications of {} requests \
         after {} of warm-up, seed {}; intervals of 95 %",
        mode(plan),
        plan.balancers.count,
        plan.servers.len(),
        plan.discipline,
        plan.demand,
        plan.requests - plan.warm_up,
        plan.warm_up,
        plan.seed
    )
}

fn about(scenario: &Scenario) -> Result<About> {
    let facts = [
        ("command", record::command()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("seed", scenario.seed.to_string()),
        ("scenario", toml::to_string(scenario)?),
        ("figures", FIGURES.join(" ")),
    ];
    let (kind, load) = match (scenario.users, scenario.rate) {
        (Some(_), _) => ("closed loop", "users"),
        (None, Some(_)) => ("open loop", "requests per second"),
        (None, None) => ("open loop", "share of the pool's capacity"),
    };
    Ok(About {
        title: if scenario.title.is_empty() {
            "Simulation".to_owned()
        } else {
            scenario.title.clone()
        },
        kind: "simulation".to_owned(),
        mode: format!("{kind}; load is the {load}"),
        facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
    })
}

/// How far a campaign is, on a terminal.
#[derive(Debug)]
struct Progress {
    shown: bool,
    start: Instant,
    done: AtomicU64,
    expected: AtomicU64,
    requests: AtomicU64,
}

impl Progress {
    fn new(expected: u64) -> Self {
        Self {
            shown: io::stderr().is_terminal(),
            start: Instant::now(),
            done: AtomicU64::new(0),
            expected: AtomicU64::new(expected),
            requests: AtomicU64::new(0),
        }
    }

    // Relaxed, here and below: the numbers are for the eye.
    fn expect(&self, more: u64) {
        self.expected.fetch_add(more, Ordering::Relaxed);
    }

    fn advance(&self, requests: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let requests = self.requests.fetch_add(requests, Ordering::Relaxed) + requests;
        if self.shown {
            let expected = self.expected.load(Ordering::Relaxed).max(1);
            let filled = usize::try_from(30 * done / expected).unwrap_or(30).min(30);
            let bar = "#".repeat(filled) + &".".repeat(30 - filled);
            let rate =
                requests / u64::try_from(self.start.elapsed().as_millis()).unwrap_or(1).max(1);
            _ = write!(
                io::stderr(),
                "\r[{bar}] {done}/{expected} replications, {rate} thousand requests/s "
            );
        }
    }

    fn clear(&self) {
        if self.shown {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(policies: &[&str], folder: Option<&Path>) -> Vec<String> {
        let scenario = Scenario {
            policies: policies.iter().map(ToString::to_string).collect(),
            servers: 4,
            requests: 6_000,
            warmup: "1000".to_owned(),
            reps: 6,
            seed: 1,
            ..Scenario::default()
        };
        let mut out = Vec::new();
        run(&scenario, folder, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().skip(3).map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_policy_is_not_better_than_itself() {
        let lines = lines(&["nginx-least-conn", "nginx-least-conn"], None);
        assert!(lines[1].ends_with("not distinguishable"), "{lines:?}");
    }

    #[test]
    fn the_shortest_queue_is_better_than_turns() {
        let lines = lines(&["nginx-rr", "jsq"], None);
        assert!(lines[1].contains("mean -"), "{lines:?}");
    }

    #[test]
    fn raw_data_are_the_same_bytes_each_time() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for it in &folders {
            lines(&["nginx-rr", "sq:d=2"], Some(it.path()));
        }
        for name in ["raw.csv", "histogram.csv", "series.csv", "about.json"] {
            let [one, other] =
                folders.each_ref().map(|it| std::fs::read(it.path().join(name)).unwrap());
            assert!(one == other && !one.is_empty(), "{name} differs");
        }
    }

    #[test]
    fn replications_go_on_until_the_mean_is_known() {
        let scenario = Scenario {
            policies: vec!["nginx-rr".to_owned()],
            servers: 2,
            requests: 3_000,
            warmup: "auto".to_owned(),
            reps: 4,
            precision: Some(0.05),
            ..Scenario::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        run(&scenario, Some(&path), &mut Vec::new()).unwrap();
        let rows = Record::read(&path).unwrap().rows;
        let means: Vec<f64> = rows.iter().filter_map(|it| it.figure("mean")).collect();
        let found = Estimate::of(&means).unwrap();
        assert!(4 < rows.len() && found.half_width <= 0.05 * found.mean, "{found:?}");
    }
}
