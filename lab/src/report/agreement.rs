//! How far is what was predicted from what was measured?

use super::{
    number::{Unit, percent},
    section::{Table, estimate},
};
use crate::{record::Record, stats::interval::Difference, whatif::agreement::TARGETS};

/// Policies of a load that were both measured and predicted, with the error of each figure.
pub(super) fn agreement(record: &Record, load: &str, unit: Unit) -> Option<Table> {
    let policies = record.policies(load);
    let measured = policies.iter().filter_map(|it| it.strip_suffix(" measured"));
    let rows: Vec<Vec<String>> = measured
        .filter(|it| policies.contains(&format!("{it} predicted").as_str()))
        .map(|policy| {
            let of = |word| record.valid(load, &format!("{policy} {word}"), "");
            let (measured, predicted) = (of("measured"), of("predicted"));
            let mut cells = vec![policy.to_owned()];
            for (figure, target) in TARGETS {
                cells.push(unit.interval(estimate(&measured, figure)));
                cells.push(unit.interval(estimate(&predicted, figure)));
                let pairs = measured.iter().filter_map(|it| {
                    let same = predicted.iter().find(|other| other.repeat == it.repeat)?;
                    Some((it.figure(figure)?, same.figure(figure)?))
                });
                let pairs: Vec<(f64, f64)> = pairs.collect();
                cells.push(off(&pairs, target));
            }
            cells
        })
        .collect();
    let mut heading = vec!["policy".to_owned()];
    for (figure, target) in TARGETS {
        heading
            .extend(["measured", "predicted"].map(|it| format!("{figure} {it}, {}", unit.name())));
        heading.push(format!("{figure} off, target {}", percent(target)));
    }
    (!rows.is_empty()).then_some(Table { heading, rows })
}

fn off(pairs: &[(f64, f64)], target: f64) -> String {
    let told = |it: f64| format!("{:+.1}", 100.0 * it);
    match (Difference::of(pairs).map(|it| it.relative), pairs) {
        (Some(it), _) => format!(
            "{} % ({} to {}){}",
            told(it.mean),
            told(it.low),
            told(it.high),
            if it.mean.abs() <= target { "" } else { ", missed" }
        ),
        (None, [(measured, predicted)]) => {
            format!("{} % (one repeat)", told(predicted / measured - 1.0))
        }
        (None, _) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Row;

    #[test]
    fn a_prediction_stands_beside_its_measurement_and_misses_are_told() {
        let mut record = Record::default();
        for (policy, mean, p99) in [("a measured", 0.1, 0.5), ("a predicted", 0.105, 0.3)] {
            for repeat in 0..3_u32 {
                let mut row = Row {
                    load: "l".to_owned(),
                    policy: policy.to_owned(),
                    repeat: repeat.into(),
                    ..Row::default()
                };
                row.set("mean", mean * (1.0 + 0.01 * f64::from(repeat)));
                row.set("p99", p99);
                record.rows.push(row);
            }
        }
        let table = agreement(&record, "l", Unit::Millis).unwrap();
        assert_eq!(table.rows.len(), 1);
        assert!(table.rows[0][3].starts_with("+5.0 %"), "{:?}", table.rows);
        assert!(!table.rows[0][3].contains("missed"), "{:?}", table.rows);
        assert!(table.rows[0][6].starts_with("-40.0 %"), "{:?}", table.rows);
        assert!(table.rows[0][6].ends_with("missed"), "{:?}", table.rows);
        record.rows.retain(|it| it.policy != "a predicted");
        assert!(agreement(&record, "l", Unit::Millis).is_none());
    }
}
