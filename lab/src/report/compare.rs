//! Which differences between policies stand, and how is that said in one sentence?

use std::fmt::Write;

use crate::{
    record::{Record, Row},
    stats::interval::{Difference, Interval, holm},
};

use super::number::{Unit, percent};

/// The figures that are compared.
pub(crate) const COMPARED: [&str; 4] = ["p50", "p95", "p99", "per_second"];

/// Two policies at one load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) first: String,
    pub(crate) second: String,
    pub(crate) figure: &'static str,
    pub(crate) repeats: usize,
    /// `None` when fewer than two repeats of both are valid.
    pub(crate) difference: Option<Difference>,
    /// The interval excludes 0, and Holm's method lets it stand among all pairs of this figure.
    pub(crate) stands: bool,
}

/// All pairs of a load, by figure.
pub(crate) fn pairs(record: &Record, load: &str, figure: &'static str) -> Vec<Pair> {
    let policies = record.policies(load);
    let mut all = Vec::new();
    for (place, first) in policies.iter().enumerate() {
        for second in &policies[place + 1..] {
            let own = record.valid(load, first, "");
            let other = record.valid(load, second, "");
            all.push(pair(first, second, figure, &own, &other));
        }
    }
    judge(&mut all);
    all
}

/// The pair of two lists of runs, by the number of their repeat.
pub(crate) fn pair(
    first: &str,
    second: &str,
    figure: &'static str,
    own: &[&Row],
    other: &[&Row],
) -> Pair {
    let matched: Vec<(f64, f64)> = own
        .iter()
        .filter_map(|it| {
            let same = other.iter().find(|other| other.repeat == it.repeat)?;
            Some((it.figure(figure)?, same.figure(figure)?))
        })
        .collect();
    Pair {
        first: first.to_owned(),
        second: second.to_owned(),
        figure,
        repeats: matched.len(),
        difference: Difference::of(&matched),
        stands: false,
    }
}

/// Says which of the pairs stand together.
pub(crate) fn judge(pairs: &mut [Pair]) {
    let known: Vec<usize> = (0..pairs.len()).filter(|it| pairs[*it].difference.is_some()).collect();
    let chances: Vec<f64> =
        known.iter().map(|it| pairs[*it].difference.map_or(1.0, |it| it.chance)).collect();
    for (place, stands) in known.into_iter().zip(holm(&chances)) {
        let excludes = pairs[place].difference.is_some_and(|it| it.interval.excludes_zero());
        pairs[place].stands = stands && excludes;
    }
}

impl Pair {
    /// One sentence.
    pub(crate) fn sentence(&self, unit: Unit) -> String {
        let Self { first, second, figure, repeats, .. } = self;
        let what = match *figure {
            "p50" => "half of the requests",
            "p95" => "95 % of the requests",
            "p99" => "99 % of the requests",
            "per_second" => "answers per second",
            other => other,
        };
        let Some(it) = self.difference else {
            return format!(
                "{second} and {first} cannot be compared in {figure}: {repeats} valid repeats of both."
            );
        };
        let time = *figure != "per_second";
        let written = |it: f64| if time { unit.write(it) } else { format!("{it:+.2}/s") };
        let Interval { mean, low, high } = it.interval;
        let interval = format!("{} to {}", written(low), written(high));
        if !self.stands {
            let why = if it.interval.excludes_zero() {
                ", and with so many comparisons a difference like this one is met by chance"
            } else {
                ""
            };
            return format!(
                "{second} and {first} cannot be told apart in {figure}: {} with an interval from \
                 {interval}, {repeats} repeats{why}.",
                written(mean)
            );
        }
        let mut text = match (time, 0.0 < mean) {
            (true, true) => {
                format!("With {second}, {what} take {} longer", percent(it.relative.mean))
            }
            (true, false) => {
                format!("With {second}, {what} are answered {} sooner", percent(it.relative.mean))
            }
            (false, true) => format!("{second} gives {} more {what}", percent(it.relative.mean)),
            (false, false) => format!("{second} gives {} fewer {what}", percent(it.relative.mean)),
        };
        // Writing to a string does not fail.
        _ = write!(
            text,
            " than {}{first} ({figure}: {} with an interval from {interval}, {repeats} repeats).",
            if time { "with " } else { "" },
            written(mean)
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: impl Fn(u32) -> f64) -> Record {
        let row = |policy: &str, repeat: u32, p50: f64| {
            let mut row = Row {
                load: "l".to_owned(),
                policy: policy.to_owned(),
                repeat: repeat.into(),
                ..Row::default()
            };
            row.set("p50", p50);
            row
        };
        let rows = (0..5).flat_map(|it| {
            [row("a", it, 0.010 + 0.001 * f64::from(it % 2)), row("b", it, second(it))]
        });
        Record { rows: rows.collect(), ..Record::default() }
    }

    #[track_caller]
    fn check(second: impl Fn(u32) -> f64, expected: &str) {
        let pairs = pairs(&record(second), "l", "p50");
        let found = pairs[0].sentence(Unit::Millis);
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn a_sentence_says_what_the_interval_says() {
        check(
            |it| 0.008 + 0.001 * f64::from(it % 2),
            "are answered 19.2 % sooner than with a (p50: -2.0",
        );
        check(|it| 0.012 + 0.001 * f64::from(it % 3), "longer than with a");
        check(|it| 0.010 + 0.001 * f64::from((it + 1) % 2), "cannot be told apart in p50");
        check(|_| f64::NAN, "cannot be compared in p50: 0 valid repeats");
    }
}
