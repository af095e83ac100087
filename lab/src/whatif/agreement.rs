//! Does the simulator say what an experiment has measured?
//!
//! For each pool of an experiment the service times are taken from the lowest rate under its first
//! policy. Every other cell is predicted from nothing but its arrivals, repeat by repeat, and set
//! beside what was measured. Targets up to a load of 0.85 of the pool: the mean within 10 %, the 99th
//! percentile within 20 %.

use std::{fs, io::Write, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use policy::{Draw, SplitMix64};

use super::{
    model::{self, Model, Outcome, count},
    trace::{Seen, Trace},
};
use crate::{
    csv,
    experiment::{Experiment, Pool},
    record::{About, Record},
    sim::{Arrivals, Law, Plan, Subject},
    stats::{histogram::Histogram, interval::Difference},
};

/// What a prediction may be off: the mean, and the 99th percentile.
pub(crate) const TARGETS: [(&str, f64); 2] = [("mean", 0.10), ("p99", 0.20)];

/// Between two repeats that are read as one, in seconds.
const REST: f64 = 10.0;

/// The repeats of one policy at one rate.
struct Cell {
    load: String,
    pool: String,
    rate: f64,
    policy: String,
    subject: Subject,
    repeats: Vec<(u64, Vec<Seen>)>,
}

/// What is in the file of an experiment.
struct Seens {
    servers: Vec<String>,
    classes: Vec<String>,
    cells: Vec<Cell>,
}

/// Predicts the open cells of an experiment's folder that our policies served, prints how far off
/// that is, and keeps both in another folder for `lab report`.
///
/// # Errors
///
/// When the folder is none of an experiment with an open loop and valid runs.
pub fn run(folder: &Path, kept: Option<&Path>, out: &mut impl Write) -> Result<()> {
    let record = Record::read(folder)?;
    let path = folder.join("requests.csv");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let plan = record.about.facts.get("experiment").context("the folder is of no experiment")?;
    let plan: Experiment = toml::from_str(plan).context("the plan in about.json")?;
    let seens = read(&record, &text);
    ensure!(!seens.cells.is_empty(), "no valid run of an open loop under a policy of ours");
    let mut found = Record::default();
    let mut calibrated: Option<(&str, &Cell, Model)> = None;
    for cell in &seens.cells {
        if calibrated.as_ref().is_none_or(|it| it.0 != cell.pool) {
            let same = seens.cells.iter().filter(|it| it.pool == cell.pool);
            let lowest = same.min_by(|a, b| a.rate.total_cmp(&b.rate)).unwrap_or(cell);
            let model = model::fit(&joined(&seens, lowest), &lowest.subject)?;
            writeln!(
                out,
                "{}: {}, fitted at {}/s under {}",
                cell.pool, model.name, lowest.rate, lowest.policy
            )?;
            calibrated = Some((&cell.pool, lowest, model));
        }
        let Some((_, lowest, model)) = &calibrated else { continue };
        let mut means = [const { Vec::new() }; TARGETS.len()];
        for (repeat, seen) in &cell.repeats {
            let [measured, predicted] = both(model, cell, *repeat, seen, plan.warmup)?;
            let rows = [("measured", &measured), ("predicted", &predicted)].map(|(word, it)| {
                let mut row = super::row(&cell.load, &format!("{} {word}", cell.policy), it);
                row.repeat = *repeat;
                row
            });
            for ((name, _), pairs) in TARGETS.iter().zip(&mut means) {
                pairs.extend(rows[0].figure(name).zip(rows[1].figure(name)));
            }
            found.rows.extend(rows);
        }
        let fitted = if std::ptr::eq(*lowest, cell) { " (fitted here)" } else { "" };
        writeln!(out, "{:<28} {:<16} {}{fitted}", cell.load, cell.policy, sentence(&means))?;
    }
    found.rows.sort_by(|a, b| a.load.cmp(&b.load).then_with(|| a.policy.cmp(&b.policy)));
    found.about = About {
        title: format!("{}, measured and predicted", record.about.title),
        ..record.about.clone()
    };
    kept.map_or(Ok(()), |it| found.write(it))
}

/// How far off the mean and the tail are.
pub(crate) fn sentence(means: &[Vec<(f64, f64)>; TARGETS.len()]) -> String {
    let of = |((name, target), pairs): (&(&str, f64), &Vec<(f64, f64)>)| {
        let Some(it) = Difference::of(pairs).map(|it| it.relative) else {
            return format!("{name}: fewer than two valid repeats");
        };
        let verdict = if it.mean.abs() <= *target { "within" } else { "NOT within" };
        format!(
            "{name} off by {:+.1} % ({:+.1} to {:+.1}), {verdict} {:.0} %",
            100.0 * it.mean,
            100.0 * it.low,
            100.0 * it.high,
            100.0 * target
        )
    };
    TARGETS.iter().zip(means).map(of).collect::<Vec<_>>().join("; ")
}

/// The valid open runs of policies that the simulator has, in the order of the record.
fn read(record: &Record, text: &str) -> Seens {
    let mut seens = Seens { servers: Vec::new(), classes: Vec::new(), cells: Vec::new() };
    let lines = csv::records(text);
    let lines: Vec<&Vec<String>> =
        lines.iter().skip(1).filter(|it| it.len() == 10 && it[9].is_empty()).collect();
    for (names, column) in [(&mut seens.servers, 8), (&mut seens.classes, 3)] {
        names.extend(lines.iter().map(|it| it[column].clone()));
        names.sort();
        names.dedup();
    }
    let place = |names: &[String], name: &String| names.binary_search(name).unwrap_or(0);
    for load in record.loads() {
        let Some((pool, rate)) = load.rsplit_once(", ") else { continue };
        // What crashes by the clock is not in the arrivals.
        if pool == Pool::OneFlapping.name() {
            continue;
        }
        let Some(rate) = rate.strip_suffix("/s open").and_then(|it| it.parse().ok()) else {
            continue;
        };
        for policy in record.policies(load) {
            // Behind a blank stands what tells two of the same apart; a colon, who is in our place.
            let name = policy.split(' ').next().unwrap_or(policy);
            let Ok(subject) = super::subject(name) else { continue };
            let valid = record.valid(load, policy, "").into_iter().map(|it| it.repeat);
            let repeats: Vec<(u64, Vec<Seen>)> = valid
                .map(|repeat| {
                    let number = repeat.to_string();
                    let own = lines
                        .iter()
                        .filter(|it| it[0] == load && it[1] == policy && it[2] == number);
                    let seen = |it: &&Vec<String>| {
                        let at = it[4].parse::<f64>().ok()? / 1e6;
                        Some(Seen {
                            at,
                            taken: it[7].parse::<f64>().ok()? / 1e6 - at,
                            server: place(&seens.servers, &it[8]),
                            class: place(&seens.classes, &it[3]),
                        })
                    };
                    let mut all: Vec<Seen> = own.filter_map(seen).collect();
                    all.sort_by(|a, b| a.at.total_cmp(&b.at));
                    (repeat, all)
                })
                .filter(|it| !it.1.is_empty())
                .collect();
            let (load, pool, policy) = (load.to_owned(), pool.to_owned(), policy.to_owned());
            if !repeats.is_empty() {
                seens.cells.push(Cell { load, pool, rate, policy, subject, repeats });
            }
        }
    }
    seens
}

/// All repeats of a cell, one after the other.
fn joined(seens: &Seens, cell: &Cell) -> Trace {
    let mut from = 0.0;
    let mut requests = Vec::new();
    for (_, seen) in &cell.repeats {
        requests.extend(seen.iter().map(|it| Seen { at: from + it.at, ..it.clone() }));
        let ends = requests.iter().map(|it| it.at + it.taken);
        from = ends.fold(from, f64::max) + REST;
    }
    Trace { servers: seens.servers.clone(), classes: seens.classes.clone(), requests, tick: 1e-6 }
}

/// What was measured in a repeat and what the model makes of its arrivals, without the warm-up.
fn both(
    model: &Model,
    cell: &Cell,
    repeat: u64,
    seen: &[Seen],
    warm_up: f64,
) -> Result<[Outcome; 2]> {
    // Every policy meets the same ranks in the same repeat, as it met the same requests.
    let mut draw = SplitMix64::new(repeat);
    let demands: Vec<f64> =
        seen.iter().map(|it| count(it.class) + draw.unit().min(0.999_999)).collect();
    let arrivals: Arc<[f64]> = seen.iter().map(|it| it.at).collect();
    let plan = Plan {
        arrivals: Arrivals::Trace(arrivals),
        demand: Law::Replay(demands.into()),
        requests: seen.len() as u64,
        keeps_all: true,
        ..model.plan.clone()
    };
    let run = plan.run(&cell.subject, repeat)?;
    let mut measured = (Histogram::default(), vec![0.0; plan.servers.len()]);
    let mut predicted = Histogram::default();
    for (it, taken) in seen.iter().zip(&run.response).filter(|it| warm_up <= it.0.at) {
        measured.0.record(model::nanos(it.taken));
        measured.1[it.server] += 1.0;
        predicted.record(model::nanos(*taken));
    }
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
    let placed: Vec<f64> = run.placed.iter().map(|it| *it as f64).collect();
    Ok([Outcome::of(measured.0, &measured.1)?, Outcome::of(predicted, &placed)?])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Write as _};

    use super::*;
    use crate::{
        record::Row,
        sim::{Capacity, Discipline},
    };

    /// A folder as an experiment leaves it, whose servers are a model that is known.
    fn experiment(folder: &Path, discipline: Discipline) {
        let mut record = Record::default();
        let mut requests = String::from(
            "load,policy,repeat,endpoint,due_us,sent_us,first_us,done_us,server,failure\n",
        );
        for rate in [10.0, 60.0] {
            for policy in ["round_robin", "least_conn", "nginx:least_conn"] {
                for repeat in 0..4 {
                    let load = format!("equal, {rate}/s open");
                    let mut draw = SplitMix64::new(repeat + 7);
                    let mut at = 0.0;
                    let times = (0..1_500).map(|_| {
                        at -= (1.0 - draw.unit()).ln() / rate;
                        at
                    });
                    let times: Arc<[f64]> = times.collect();
                    let plan = Plan {
                        servers: vec![Capacity { speed: 30.0, ..Capacity::default() }; 3],
                        discipline,
                        arrivals: Arrivals::Trace(Arc::clone(&times)),
                        requests: 1_500,
                        warm_up: 0,
                        keeps_all: true,
                        ..Plan::default()
                    };
                    let name = policy.rsplit(':').next().unwrap();
                    let subject = Subject::parse(name).unwrap();
                    let run = plan.run(&subject, repeat).unwrap();
                    for (number, (at, taken)) in times.iter().zip(&run.response).enumerate() {
                        writeln!(
                            requests,
                            "\"{load}\",{policy},{repeat},GET /x,{:.0},0,0,{:.0},store-{},",
                            at * 1e6,
                            (at + taken) * 1e6,
                            number % 3 + 1
                        )
                        .unwrap();
                    }
                    let policy = policy.to_owned();
                    record.rows.push(Row { load, policy, repeat, ..Row::default() });
                }
            }
        }
        let plan = toml::to_string(&Experiment { warmup: 1.0, ..Experiment::default() }).unwrap();
        record.about.facts = BTreeMap::from([("experiment".to_owned(), plan)]);
        record.write(folder).unwrap();
        fs::write(folder.join("requests.csv"), requests).unwrap();
    }

    #[test]
    fn what_the_model_knows_is_predicted_at_another_load_and_under_another_policy() {
        let folder = tempfile::tempdir().unwrap();
        let (live, kept) = (folder.path().join("live"), folder.path().join("both"));
        // Only in turn do the servers of the file, which are in turn, say who served.
        experiment(&live, Discipline::Delay);
        let mut out = Vec::new();
        run(&live, Some(&kept), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 5, "{out}");
        assert!(lines[0].contains("servers that delay, fitted at 10/s under round_robin"), "{out}");
        assert!(lines[1].ends_with("(fitted here)"), "{out}");
        for line in &lines[1..] {
            assert!(line.contains(", within 10 %") && line.contains(", within 20 %"), "{out}");
        }
        let rows = Record::read(&kept).unwrap().rows;
        assert_eq!(rows.len(), 2 * 2 * 2 * 4);
    }

    #[test]
    fn a_wrong_prediction_is_told() {
        let pairs = |by: f64| vec![(1.0, by), (1.1, 1.1 * by), (0.9, 0.9 * by)];
        let text = sentence(&[pairs(1.05), pairs(0.7)]);
        assert!(text.contains("mean off by +5.0 %") && text.contains(", within 10 %;"), "{text}");
        assert!(text.contains("p99 off by -30.0 %") && text.contains("NOT within 20 %"), "{text}");
    }
}
