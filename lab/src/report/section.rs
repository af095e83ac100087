//! What does one load of a record show?

use anyhow::Result;

use super::{
    agreement::agreement,
    changes::changes,
    compare::{self, COMPARED, Pair},
    herding::herding,
    number::{Unit, interval, share_below, short, tick, whole},
    plot::{self, Axis, Line},
};
use crate::{
    record::{Record, Row},
    stats::{self, interval::Interval},
};

/// A picture and what it says.
pub(crate) struct Figure {
    pub(crate) svg: String,
    pub(crate) caption: String,
    /// Names in the order of the style sheet's colors; empty where names stand in the picture.
    pub(crate) names: Vec<String>,
}

/// A table as the page shows it.
pub(crate) struct Table {
    pub(crate) heading: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// One load.
pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) table: Table,
    /// What was measured beside what was predicted, where both were.
    pub(crate) agreement: Option<Table>,
    /// What followed when servers changed.
    pub(crate) changes: Option<Table>,
    pub(crate) herding: Option<Table>,
    pub(crate) endpoints: Option<Table>,
    pub(crate) failures: Option<Table>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) sentences: Vec<String>,
    pub(crate) discarded: Vec<String>,
}

/// Everything about a load; pairs that were chosen elsewhere replace all pairs.
pub(crate) fn section(
    record: &Record,
    load: &str,
    unit: Unit,
    chosen: Option<Vec<Vec<Pair>>>,
) -> Result<Section> {
    let policies = record.policies(load);
    let pairs = chosen
        .unwrap_or_else(|| COMPARED.iter().map(|it| compare::pairs(record, load, it)).collect());
    // The rate of an open loop is the same by design.
    let same = |it: &&Pair| {
        it.figure == "per_second" && it.difference.is_some_and(|it| it.interval.is_zero())
    };
    let sentences =
        pairs.iter().flatten().filter(|it| !same(it)).map(|it| it.sentence(unit)).collect();
    let at_load = record.rows.iter().filter(|it| it.load == load && it.endpoint.is_empty());
    let discarded = at_load
        .filter(|it| !it.invalid.is_empty())
        .map(|it| format!("{}, repeat {}: {}", it.policy, it.repeat + 1, it.invalid))
        .collect();
    Ok(Section {
        heading: load.to_owned(),
        table: table(record, load, &policies, unit),
        agreement: agreement(record, load, unit),
        changes: changes(record, load, &policies),
        herding: herding(record, load, &policies),
        endpoints: endpoints(record, load, &policies, unit),
        failures: failures(record, load, &policies),
        figures: figures(record, load, &policies, unit)?,
        sentences,
        discarded,
    })
}

/// The interval of a figure over valid repeats.
pub(crate) fn estimate(rows: &[&Row], figure: &str) -> Option<Interval> {
    let values: Vec<f64> = rows.iter().filter_map(|it| it.figure(figure)).collect();
    Interval::of(&values)
}

fn table(record: &Record, load: &str, policies: &[&str], unit: Unit) -> Table {
    let times = ["mean", "p50", "p95", "p99", "max"];
    let mut heading = vec!["policy".to_owned(), "valid repeats".to_owned()];
    heading.extend(times.map(|it| format!("{it}, {}", unit.name())));
    heading.extend(["answers/s", "failed, %", "largest share, %", "fairness"].map(str::to_owned));
    let ours = record.rows.iter().any(|it| it.figure("balancer_p50").is_some());
    if ours {
        heading.extend(["p50", "p99"].map(|it| format!("{it} by the balancer, {}", unit.name())));
    }
    let row = |policy: &&str| {
        let valid = record.valid(load, policy, "");
        let same = |it: &&Row| it.load == load && it.policy == **policy && it.endpoint.is_empty();
        let all = record.rows.iter().filter(same).count();
        let mut cells = vec![(*policy).to_owned(), format!("{} of {all}", valid.len())];
        cells.extend(times.map(|it| unit.interval(estimate(&valid, it))));
        cells.push(interval(estimate(&valid, "per_second")));
        let share = |it: &&Row| {
            let (failed, answered) = (it.figure("failed")?, it.figure("answered")?);
            Some(100.0 * failed / (failed + answered).max(1.0))
        };
        cells.push(interval(Interval::of(&valid.iter().filter_map(share).collect::<Vec<_>>())));
        let largest = |it: &&Row| it.shares.iter().copied().reduce(f64::max).map(|it| 100.0 * it);
        let largest: Vec<f64> = valid.iter().filter_map(largest).collect();
        cells.push(stats::mean(&largest).map_or_else(|| "-".to_owned(), short));
        let jain: Vec<f64> = valid.iter().filter_map(|it| it.figure("jain")).collect();
        cells.push(stats::mean(&jain).map_or_else(|| "-".to_owned(), short));
        if ours {
            cells.extend(
                ["balancer_p50", "balancer_p99"].map(|it| unit.interval(estimate(&valid, it))),
            );
        }
        cells
    };
    Table { heading, rows: policies.iter().map(row).collect() }
}

fn endpoints(record: &Record, load: &str, policies: &[&str], unit: Unit) -> Option<Table> {
    let mut names: Vec<&str> = Vec::new();
    for it in record.rows.iter().filter(|it| it.load == load && !it.endpoint.is_empty()) {
        if !names.contains(&it.endpoint.as_str()) {
            names.push(&it.endpoint);
        }
    }
    let mut rows = Vec::new();
    for endpoint in &names {
        for policy in policies {
            let valid = record.valid(load, policy, endpoint);
            if !valid.is_empty() {
                let mut cells = vec![(*endpoint).to_owned(), (*policy).to_owned()];
                cells.extend(["p50", "p95", "p99"].map(|it| unit.interval(estimate(&valid, it))));
                cells.extend(["answered", "failed"].map(|it| interval(estimate(&valid, it))));
                rows.push(cells);
            }
        }
    }
    let unit = unit.name();
    let heading = ["endpoint", "policy"].map(str::to_owned).into_iter();
    let heading = heading.chain(["p50", "p95", "p99"].map(|it| format!("{it}, {unit}")));
    let heading = heading.chain(["answered", "failed"].map(str::to_owned)).collect();
    (!rows.is_empty()).then_some(Table { heading, rows })
}

fn failures(record: &Record, load: &str, policies: &[&str]) -> Option<Table> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for policy in policies {
        let same = record.errors.iter().filter(|it| it.load == load && it.policy == *policy);
        let mut merged: Vec<(String, String, u64)> = Vec::new();
        for it in same {
            match merged.iter_mut().find(|known| known.0 == it.endpoint && known.1 == it.text) {
                Some(known) => known.2 += it.times,
                None => merged.push((it.endpoint.clone(), it.text.clone(), it.times)),
            }
        }
        merged.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.cmp(b)));
        rows.extend(merged.into_iter().map(|(endpoint, text, times)| {
            vec![(*policy).to_owned(), times.to_string(), endpoint, text]
        }));
    }
    let heading =
        ["policy", "times, all repeats", "endpoint", "what clients met"].map(str::to_owned);
    (!rows.is_empty()).then_some(Table { heading: heading.into(), rows })
}

fn figures(record: &Record, load: &str, policies: &[&str], unit: Unit) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let time = |it: f64| tick(it);
    for figure in ["p50", "p95", "p99"] {
        let row = |policy: &&str| {
            let of = |it: f64| unit.of(it);
            let it = estimate(&record.valid(load, policy, ""), figure);
            let scaled =
                it.map(|it| Interval { mean: of(it.mean), low: of(it.low), high: of(it.high) });
            ((*policy).to_owned(), scaled)
        };
        let rows: Vec<_> = policies.iter().map(row).collect();
        let name = format!("{figure}, {}", unit.name());
        let about = format!("{figure} of each policy at {load}, with intervals");
        figures.push(Figure {
            svg: plot::whiskers(
                &about,
                Axis { name: &name, write: &time },
                &rows,
                "nothing measured",
            )?,
            caption: format!("{figure} and its 95 % interval over repeats; shorter is better."),
            names: Vec::new(),
        });
    }
    figures.extend(distribution(record, load, policies, unit)?);
    let shares = |policy: &&str| {
        let valid = record.valid(load, policy, "");
        let servers = valid.iter().map(|it| it.shares.len()).max().unwrap_or(0).min(16);
        let of = |server: usize| {
            let all: Vec<f64> =
                valid.iter().filter_map(|it| it.shares.get(server).copied()).collect();
            100.0 * stats::mean(&all).unwrap_or(0.0)
        };
        ((*policy).to_owned(), (0..servers).map(of).collect::<Vec<f64>>())
    };
    let rows: Vec<_> = policies.iter().map(shares).collect();
    let servers = rows.iter().map(|it| it.1.len()).max().unwrap_or(0);
    if 1 < servers {
        let about = format!("Share of requests that each server got at {load}");
        figures.push(Figure {
            svg: plot::bars(&about, Axis { name: "% of the requests", write: &time }, &rows)?,
            caption:
                "Share of the requests that each server got, first server on the left. Unequal \
                      servers should not get equal shares."
                    .to_owned(),
            names: (1..=servers).map(|it| format!("server {it}")).collect(),
        });
    }
    figures.extend(in_flight(record, load, policies)?);
    Ok(figures)
}

/// Quantiles on an axis that gives each further nine as much room.
fn distribution(
    record: &Record,
    load: &str,
    policies: &[&str],
    unit: Unit,
) -> Result<Option<Figure>> {
    let line = |policy: &&str| {
        let of: Vec<_> =
            record.histogram.iter().filter(|it| it.0 == load && it.1 == **policy).collect();
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
        let all = of.iter().map(|it| it.3).sum::<u64>() as f64;
        let mut seen = 0.0;
        let points = of.iter().map(|(_, _, bound, count)| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a run has far fewer than 2^52 requests"
            )]
            let count = *count as f64;
            seen += count;
            let beyond = 1.0 - (seen - count / 2.0) / all;
            (-beyond.max(1e-9).log10(), unit.of(*bound).max(1e-9).log10())
        });
        Line { name: (*policy).to_owned(), points: points.collect() }
    };
    let lines: Vec<Line> = policies.iter().map(line).filter(|it| 1 < it.points.len()).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let share = |it: f64| {
        // Only whole numbers of nines are told.
        let nines = it.round();
        let shown = (it - nines).abs() < 1e-6;
        if shown { share_below(nines) } else { String::new() }
    };
    let time = |it: f64| tick(10.0_f64.powf(it));
    let name = unit.name();
    let axes = (
        Axis { name: "share of the requests that took no longer", write: &share },
        Axis { name, write: &time },
    );
    let about = format!("Distribution of response times at {load}, one line per policy");
    Ok(Some(Figure {
        svg: plot::lines(&about, 380, axes, &lines)?,
        caption:
            "Response times of all valid repeats together; both axes are logarithmic, each step to \
                  the right leaves a tenth of the requests."
                .to_owned(),
        names: lines.into_iter().map(|it| it.name).collect(),
    }))
}

fn in_flight(record: &Record, load: &str, policies: &[&str]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for policy in policies {
        let of: Vec<_> =
            record.series.iter().filter(|it| it.0 == load && it.1 == *policy).collect();
        let servers = of.first().map_or(0, |it| it.3.len());
        let line = |server: usize| Line {
            name: format!("server {}", server + 1),
            points: of
                .iter()
                .filter_map(|it| Some((it.2, f64::from(*it.3.get(server)?))))
                .collect(),
        };
        let lines: Vec<Line> = (0..servers).map(line).collect();
        if lines.is_empty() {
            continue;
        }
        let axes = (
            Axis { name: "seconds from the start", write: &tick },
            Axis { name: "in flight", write: &whole },
        );
        figures.push(Figure {
            svg: plot::lines(
                &format!("Requests on each server over time under {policy} at {load}"),
                160,
                axes,
                &lines,
            )?,
            caption: format!("Requests on each server over time under {policy}, first repeat."),
            names: lines.into_iter().map(|it| it.name).collect(),
        });
    }
    Ok(figures)
}
