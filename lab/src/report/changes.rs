//! What followed when servers failed, slowed down, came or went?

use super::{
    number::{interval, short},
    section::{Table, estimate},
};
use crate::{
    record::{Record, Row},
    stats::{self, interval::Interval},
};

/// One row for each policy and change of a load.
pub(super) fn changes(record: &Record, load: &str, policies: &[&str]) -> Option<Table> {
    let mut rows = Vec::new();
    for policy in policies {
        let valid = record.valid(load, policy, "");
        for number in 1_u32.. {
            let name = |it: &str| format!("change{number}_{it}");
            let Some(at) = estimate(&valid, &name("at")) else { break };
            let beyond = |it: &&Row| {
                Some(it.figure(&name("harmed"))? - it.figure(&name("requests"))? / 100.0)
            };
            let harmed: Vec<f64> = valid.iter().filter_map(beyond).map(|it| it.max(0.0)).collect();
            let of = |it: &str| -> Vec<f64> {
                valid.iter().filter_map(|row| row.figure(&name(it))).collect()
            };
            let recovery = of("recovery");
            let missing = valid.len() - recovery.len();
            let mean = |it: &str| stats::mean(&of(it));
            rows.push(vec![
                (*policy).to_owned(),
                short(at.mean),
                interval(Interval::of(&harmed)),
                match missing {
                    0 => interval(Interval::of(&recovery)),
                    _ => format!("not before the next change in {missing} of {}", valid.len()),
                },
                mean("share").map_or_else(|| "-".to_owned(), |it| short(100.0 * it)),
                mean("moved").map_or_else(|| "-".to_owned(), short),
            ]);
        }
    }
    let heading =
        ["policy", "change at, s", "requests harmed", "recovery, s", "share, %", "keys moved"];
    (!rows.is_empty()).then(|| Table { heading: heading.map(str::to_owned).into(), rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_has_a_row_and_what_did_not_end_is_told() {
        let row = |repeat: u32, recovery: f64| {
            let mut row = Row {
                load: "l".to_owned(),
                policy: "p".to_owned(),
                repeat: repeat.into(),
                ..Row::default()
            };
            for number in [1, 2] {
                for (name, value) in
                    [("at", 10.0), ("requests", 1000.0), ("harmed", 60.0), ("share", 0.5)]
                {
                    row.set(&format!("change{number}_{name}"), value);
                }
            }
            row.set("change1_recovery", 2.0);
            row.set("change2_recovery", recovery);
            row
        };
        let rows = vec![row(0, 3.0), row(1, f64::NAN)];
        let record = Record { rows, ..Record::default() };
        let rows = changes(&record, "l", &["p"]).unwrap().rows;
        assert_eq!(rows.len(), 2);
        assert!(rows[0][2].starts_with("50.0 "), "{rows:?}");
        assert!(rows[0][3].starts_with("2.00 "), "{rows:?}");
        assert_eq!(rows[0][4..], ["50.0", "-"]);
        assert_eq!(rows[1][3], "not before the next change in 1 of 2");
        assert!(changes(&Record::default(), "l", &["p"]).is_none());
    }
}
