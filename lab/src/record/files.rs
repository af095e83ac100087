//! How does a record become files, and files a record?

use std::{fs, path::Path, str::FromStr};

use anyhow::{Context, Result, ensure};

use super::{Complaint, FIGURES, Record, Row, Tick};
use crate::csv;

/// What stands before the figures in `raw.csv`; behind them stand the shares.
const HEADING: [&str; 5] = ["load", "policy", "repeat", "endpoint", "invalid"];

impl Record {
    /// Writes the folder, which must not hold a record yet.
    pub fn write(&self, folder: &Path) -> Result<()> {
        ensure!(
            !folder.join("about.json").exists(),
            "{} holds a record already, and records are never changed",
            folder.display()
        );
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
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
            ("raw.csv", self.raw()),
            ("histogram.csv", histogram),
            ("series.csv", series),
            ("timeline.csv", self.timeline_csv()),
            ("errors.csv", self.errors_csv()),
            ("about.json", about),
        ] {
            fs::write(folder.join(name), text)
                .with_context(|| format!("{name} of {}", folder.display()))?;
        }
        Ok(())
    }

    /// The rows as text, with a column for each figure that any of them has.
    pub fn raw(&self) -> String {
        let mut figures: Vec<&str> = FIGURES.to_vec();
        for name in self.rows.iter().flat_map(|it| it.figures.keys()) {
            if !figures.contains(&name.as_str()) {
                figures.push(name);
            }
        }
        let mut heading = HEADING.to_vec();
        heading.extend(&figures);
        heading.push("shares");
        let mut raw = csv::line(&heading);
        for it in &self.rows {
            let mut fields = vec![
                it.load.clone(),
                it.policy.clone(),
                it.repeat.to_string(),
                it.endpoint.clone(),
                it.invalid.clone(),
            ];
            let shown = |name: &&str| it.figure(name).map_or_else(String::new, |it| it.to_string());
            fields.extend(figures.iter().map(shown));
            fields.push(joined(&it.shares));
            raw += &csv::line(&fields);
        }
        raw
    }

    fn timeline_csv(&self) -> String {
        let mut text = csv::line(&["load", "policy", "repeat", "second", "users", "ok", "failed"]);
        for it in &self.timeline {
            let numbers = [it.second, it.users, it.ok, it.failed].map(|it| it.to_string());
            let [second, users, ok, failed] = &numbers;
            let repeat = it.repeat.to_string();
            text += &csv::line(&[&it.load, &it.policy, &repeat, second, users, ok, failed]);
        }
        text
    }

    fn errors_csv(&self) -> String {
        let mut text = csv::line(&["load", "policy", "times", "endpoint", "text"]);
        for it in &self.errors {
            let times = it.times.to_string();
            text += &csv::line(&[&it.load, &it.policy, &times, &it.endpoint, &it.text]);
        }
        text
    }

    /// Reads the folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
        };
        let about = serde_json::from_str(&text("about.json")?).context("about.json")?;
        let raw = csv::records(&text("raw.csv")?);
        let (heading, rows) = raw.split_first().context("raw.csv is empty")?;
        let row = |it: &Vec<String>| {
            row(heading, it).with_context(|| format!("raw.csv: {}", it.join(",")))
        };
        Ok(Self {
            about,
            rows: rows.iter().map(row).collect::<Result<_>>()?,
            histogram: read_all(&text("histogram.csv")?, |it| {
                Some((it[0].clone(), it.get(1)?.clone(), number(it, 2)?, number(it, 3)?))
            })
            .context("histogram.csv")?,
            series: read_all(&text("series.csv")?, |it| {
                Some((it[0].clone(), it.get(1)?.clone(), number(it, 2)?, split(it.get(3)?)?))
            })
            .context("series.csv")?,
            timeline: read_all(&text("timeline.csv")?, tick).context("timeline.csv")?,
            errors: read_all(&text("errors.csv")?, complaint).context("errors.csv")?,
        })
    }
}

fn read_all<T>(text: &str, read: impl Fn(&[String]) -> Option<T>) -> Option<Vec<T>> {
    csv::records(text).iter().skip(1).map(|it| read(it)).collect()
}

fn number<T: FromStr>(fields: &[String], place: usize) -> Option<T> {
    fields.get(place)?.parse().ok()
}

fn tick(it: &[String]) -> Option<Tick> {
    Some(Tick {
        load: it[0].clone(),
        policy: it.get(1)?.clone(),
        repeat: number(it, 2)?,
        second: number(it, 3)?,
        users: number(it, 4)?,
        ok: number(it, 5)?,
        failed: number(it, 6)?,
    })
}

fn complaint(it: &[String]) -> Option<Complaint> {
    Some(Complaint {
        load: it[0].clone(),
        policy: it.get(1)?.clone(),
        times: number(it, 2)?,
        endpoint: it.get(3)?.clone(),
        text: it.get(4)?.clone(),
    })
}

fn row(heading: &[String], fields: &[String]) -> Option<Row> {
    let [load, policy, repeat, endpoint, invalid, figures @ .., shares] = fields else {
        return None;
    };
    let mut row = Row {
        load: load.clone(),
        policy: policy.clone(),
        repeat: repeat.parse().ok()?,
        endpoint: endpoint.clone(),
        invalid: invalid.clone(),
        shares: split(shares)?,
        ..Row::default()
    };
    for (name, value) in heading.iter().skip(HEADING.len()).zip(figures) {
        if !value.is_empty() {
            row.set(name, value.parse().ok()?);
        }
    }
    Some(row)
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn split<T: FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(' ').filter(|it| !it.is_empty()).map(|it| it.parse().ok()).collect()
}
