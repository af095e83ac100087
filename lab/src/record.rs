//! What is kept of a campaign, so that reports can be made from it at any time?
//!
//! A folder of text: `about.json` says what was run, `raw.csv` has one row per policy, load, repeat and
//! endpoint, `histogram.csv` the distributions, `series.csv` the load of each server over time,
//! `timeline.csv` what users met second by second and `errors.csv` what they were told. A folder is
//! written once and never changed; `lab report` reads it and runs nothing.

use std::{collections::BTreeMap, env, path::Path};

use serde::{Deserialize, Serialize};

use crate::stats::histogram::Histogram;

mod files;

/// What was run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct About {
    /// One line on what it shows.
    pub title: String,
    /// `simulation` or `live`.
    pub kind: String,
    /// Open or closed loop, and what load means in the rows.
    pub mode: String,
    /// Versions, configuration, host, seeds and command by name.
    pub facts: BTreeMap<String, String>,
}

/// What one repeat of a policy at a load says; times in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// What the load is called, and the pool if there are several.
    pub load: String,
    /// The policy as it was asked for.
    pub policy: String,
    /// Number of the repeat; the same number met the same requests under every policy.
    pub repeat: u64,
    /// `POST /orders` and so on; empty for all of them together.
    pub endpoint: String,
    /// Empty, or why the repeat must not be used.
    pub invalid: String,
    /// Figures by their name; what was not seen has none.
    pub figures: BTreeMap<String, f64>,
    /// Share of the attempts that each server got.
    pub shares: Vec<f64>,
}

/// The figures of a row that every kind of run has, in the order in which people want them.
pub const FIGURES: [&str; 12] = [
    "answered",
    "failed",
    "retries",
    "per_second",
    "mean",
    "p50",
    "p90",
    "p95",
    "p99",
    "p999",
    "max",
    "jain",
];

impl Row {
    /// A figure by its name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// Keeps a figure, unless it is none.
    pub fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.figures.insert(name.to_owned(), value);
        }
    }

    /// Keeps the mean and the usual quantiles of answered requests.
    pub fn set_times(&mut self, times: &Histogram) {
        self.set("mean", times.mean().unwrap_or(f64::NAN));
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];
        for (name, share) in quantiles {
            self.set(name, times.quantile(share).unwrap_or(f64::NAN));
        }
        if 0 < times.count() {
            self.set("max", times.most());
        }
    }
}

/// What users met in one second of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// As in [`Row`].
    pub load: String,
    /// As in [`Row`].
    pub policy: String,
    /// As in [`Row`].
    pub repeat: u64,
    /// Seconds from the start of the run.
    pub second: u32,
    /// Users at that time, 0 in an open loop.
    pub users: u32,
    /// Requests that ended with the expected answer.
    pub ok: u32,
    /// Requests that did not.
    pub failed: u32,
}

/// A text that users were given in the place of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Complaint {
    /// As in [`Row`].
    pub load: String,
    /// As in [`Row`].
    pub policy: String,
    /// How often.
    pub times: u64,
    /// `POST /orders` and so on.
    pub endpoint: String,
    /// The text.
    pub text: String,
}

/// All that is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// What was run.
    pub about: About,
    /// In the order in which policies and loads were asked for.
    pub rows: Vec<Row>,
    /// `(load, policy, upper bound in seconds, times)`.
    pub histogram: Vec<(String, String, f64, u64)>,
    /// `(load, policy, seconds from the start, requests on each server)`.
    pub series: Vec<(String, String, f64, Vec<u32>)>,
    /// What users met, second by second.
    pub timeline: Vec<Tick>,
    /// What users were told.
    pub errors: Vec<Complaint>,
}

/// The command line of this process, without the folders of the program.
pub fn command() -> String {
    let mut words = env::args();
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .map_or_else(Default::default, |it| it.to_string_lossy().into_owned());
    words.fold(program, |all, it| all + " " + &it)
}

impl Record {
    /// Adds the distribution of a policy at a load, in buckets of a fiftieth of their value.
    pub fn add_histogram(&mut self, load: &str, policy: &str, times: &Histogram) {
        let mut bound = 0.0;
        for (upper, count) in times.buckets() {
            match self.histogram.last_mut() {
                Some(last) if upper <= bound && last.0 == load && last.1 == policy => {
                    last.2 = upper;
                    last.3 += count;
                }
                _ => {
                    bound = upper * 1.02;
                    self.histogram.push((load.to_owned(), policy.to_owned(), upper, count));
                }
            }
        }
    }

    /// The loads in the order of the rows.
    pub fn loads(&self) -> Vec<&str> {
        distinct(self.rows.iter().map(|it| it.load.as_str()))
    }

    /// The policies that were tried at a load, in the order of the rows.
    pub fn policies(&self, load: &str) -> Vec<&str> {
        distinct(self.rows.iter().filter(|it| it.load == load).map(|it| it.policy.as_str()))
    }

    /// The valid repeats of a policy at a load, of one endpoint or of all together.
    pub fn valid(&self, load: &str, policy: &str, endpoint: &str) -> Vec<&Row> {
        self.rows
            .iter()
            .filter(|it| it.load == load && it.policy == policy && it.endpoint == endpoint)
            .filter(|it| it.invalid.is_empty())
            .collect()
    }
}

fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for it in values {
        if !seen.contains(&it) {
            seen.push(it);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_never_changed() {
        let mut times = Histogram::default();
        (1..1000).for_each(|it| times.record(it * 1_000_000));
        let mut row = Row {
            load: "0.8".to_owned(),
            policy: "sq:d=2,replace=true".to_owned(),
            repeat: 1,
            shares: vec![0.25, 0.75],
            ..Row::default()
        };
        row.set_times(&times);
        row.set("lag_p99", 0.001);
        row.set("jain", f64::NAN);
        let part =
            Row { endpoint: "GET /a,b".to_owned(), invalid: "late".to_owned(), ..row.clone() };
        let mut record = Record {
            about: About { title: "A".to_owned(), ..About::default() },
            rows: vec![row, part, Row { policy: "none".to_owned(), ..Row::default() }],
            series: vec![("0.8".to_owned(), "sq".to_owned(), 0.5, vec![1, 0])],
            timeline: vec![Tick { second: 3, users: 4, ok: 5, failed: 6, ..Tick::default() }],
            errors: vec![Complaint {
                times: 7,
                text: "no, \"never\"".to_owned(),
                ..Complaint::default()
            }],
            ..Record::default()
        };
        record.add_histogram("0.8", "sq", &times);
        assert_eq!(record.histogram.iter().map(|it| it.3).sum::<u64>(), 999);
        assert!(record.histogram.len() < 400, "{}", record.histogram.len());
        let folder = tempfile::tempdir().unwrap();
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), record);
        assert!(record.write(folder.path()).is_err());
    }
}
