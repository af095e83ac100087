//! What is kept of a campaign, so that reports can be made from it at any time?
//!
//! A folder of text: `about.json` says what was run, `raw.csv` has one row per policy, load and repeat,
//! `histogram.csv` the distributions and `series.csv` the load of each server over time. A folder is
//! written once and never changed; `lab report` reads it and runs nothing.

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{csv, stats::histogram::Histogram};

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

/// What one repeat of a policy at a load says; times in seconds, not a number where nothing was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the load is called.
    pub load: String,
    /// The policy as it was asked for.
    pub policy: String,
    /// Number of the repeat; the same number met the same requests under every policy.
    pub repeat: u64,
    /// Empty, or why the repeat must not be used.
    pub invalid: String,
    /// Figures in the order of [`FIGURES`].
    pub figures: [f64; FIGURES.len()],
    /// Share of the attempts that each server got.
    pub shares: Vec<f64>,
}

/// The figures of a row.
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
        let place = FIGURES.iter().position(|it| *it == name)?;
        self.figures.get(place).copied().filter(|it| it.is_finite())
    }
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

    /// Writes the folder, which must not hold a record yet.
    pub fn write(&self, folder: &Path) -> Result<()> {
        ensure!(
            !folder.join("about.json").exists(),
            "{} holds a record already, and records are never changed",
            folder.display()
        );
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        let mut heading = vec!["load", "policy", "repeat", "invalid"];
        heading.extend(FIGURES);
        heading.push("shares");
        let mut raw = csv::line(&heading);
        for it in &self.rows {
            let mut fields =
                vec![it.load.clone(), it.policy.clone(), it.repeat.to_string(), it.invalid.clone()];
            fields.extend(it.figures.iter().map(ToString::to_string));
            fields.push(joined(&it.shares));
            raw += &csv::line(&fields);
        }
        let mut histogram = csv::line(&["load", "policy", "up_to_seconds", "times"]);
        for (load, policy, upper, count) in &self.histogram {
            histogram += &csv::line(&[load, policy, &upper.to_string(), &count.to_string()]);
        }
        let mut series = csv::line(&["load", "policy", "second", "in_flight"]);
        for (load, policy, second, counts) in &self.series {
            series += &csv::line(&[load, policy, &second.to_string(), &joined(counts)]);
        }
        let about = serde_json::to_string_pretty(&self.about)? + "\n";
        for (name, text) in [
            ("raw.csv", raw),
            ("histogram.csv", histogram),
            ("series.csv", series),
            ("about.json", about),
        ] {
            fs::write(folder.join(name), text)
                .with_context(|| format!("{name} of {}", folder.display()))?;
        }
        Ok(())
    }

    /// Reads the folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
        };
        let about = serde_json::from_str(&text("about.json")?).context("about.json")?;
        let mut record = Self { about, ..Self::default() };
        for it in csv::records(&text("raw.csv")?).iter().skip(1) {
            record.rows.push(row(it).with_context(|| format!("raw.csv: {}", it.join(",")))?);
        }
        for it in csv::records(&text("histogram.csv")?).iter().skip(1) {
            let read = |it: &[String]| {
                Some((
                    it[0].clone(),
                    it[1].clone(),
                    it.get(2)?.parse().ok()?,
                    it.get(3)?.parse().ok()?,
                ))
            };
            record.histogram.push(read(it).context("histogram.csv")?);
        }
        for it in csv::records(&text("series.csv")?).iter().skip(1) {
            let read = |it: &[String]| {
                Some((it[0].clone(), it[1].clone(), it.get(2)?.parse().ok()?, split(it.get(3)?)?))
            };
            record.series.push(read(it).context("series.csv")?);
        }
        Ok(record)
    }
}

fn row(fields: &[String]) -> Option<Row> {
    let numbers = fields.get(4..4 + FIGURES.len())?;
    let numbers: Vec<f64> = numbers.iter().map(|it| it.parse().ok()).collect::<Option<_>>()?;
    Some(Row {
        load: fields[0].clone(),
        policy: fields[1].clone(),
        repeat: fields[2].parse().ok()?,
        invalid: fields[3].clone(),
        figures: numbers.try_into().ok()?,
        shares: split(fields.get(4 + FIGURES.len())?)?,
    })
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn split<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(' ').filter(|it| !it.is_empty()).map(|it| it.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_never_changed() {
        let mut times = Histogram::default();
        (1..1000).for_each(|it| times.record(it * 1_000_000));
        let mut record = Record {
            about: About { title: "A".to_owned(), ..About::default() },
            rows: vec![Row {
                load: "0.8".to_owned(),
                policy: "sq:d=2,replace=true".to_owned(),
                repeat: 1,
                invalid: String::new(),
                figures: [0.1; FIGURES.len()],
                shares: vec![0.25, 0.75],
            }],
            series: vec![("0.8".to_owned(), "sq".to_owned(), 0.5, vec![1, 0])],
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
