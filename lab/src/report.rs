//! What do the folders of a campaign say? One page that needs no network and runs nothing.
//!
//! The same folders give the same bytes. Every number comes from `raw.csv` and its neighbours, and two
//! policies are ranked only when the interval of their difference excludes 0.

mod agreement;
mod changes;
pub(crate) mod compare;
mod herding;
mod locust;
pub(crate) mod number;
pub(crate) mod plot;
pub(crate) mod section;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use askama::Template;

use self::{
    compare::{COMPARED, Pair},
    number::Unit,
    section::{Section, Table},
};
use crate::{
    csv,
    record::{About, Record},
};

/// The page of one campaign or of several beside each other.
#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    campaigns: Vec<About>,
    sections: Vec<Section>,
    /// What picks cost, where `lab cost` has kept that beside.
    costs: Vec<Table>,
    /// Names of the text files beside the page.
    files: Vec<String>,
}

/// Writes the page of these folders or files of Locust and returns where it is.
///
/// With `compare`, the second of two is compared with the first, policy by policy.
pub fn run(
    sources: &[PathBuf],
    compare: bool,
    page: Option<PathBuf>,
    out: &mut impl Write,
) -> Result<PathBuf> {
    let text = make(sources, compare)?;
    let name = if compare { "compare.html" } else { "report.html" };
    let page = page.map_or_else(|| beside(sources, name), Ok)?;
    fs::write(&page, text).with_context(|| format!("{}", page.display()))?;
    writeln!(out, "{}", page.display())?;
    Ok(page)
}

fn beside(sources: &[PathBuf], name: &str) -> Result<PathBuf> {
    let last = sources.last().context("which folder? Name one that lab has kept")?;
    if last.is_dir() {
        return Ok(last.join(name));
    }
    Ok(last.with_extension("").with_added_extension(name))
}

/// The page as text.
pub fn make(sources: &[PathBuf], compare: bool) -> Result<String> {
    ensure!(!sources.is_empty(), "which folder? Name one that lab has kept");
    let records: Vec<(String, Record)> = sources
        .iter()
        .map(|it| {
            let record = if locust::is_one(it) { locust::read(it)? } else { Record::read(it)? };
            Ok((label(it), record))
        })
        .collect::<Result<_>>()?;
    let (campaigns, merged) = merge(&records);
    let unit =
        if campaigns.iter().any(|it| it.kind == "live") { Unit::Millis } else { Unit::Seconds };
    let chosen = |load: &str| -> Result<Option<Vec<Vec<Pair>>>> {
        match (compare, &records[..]) {
            (false, _) => Ok(None),
            (true, [first, second]) => Ok(Some(between(first, second, load, &merged))),
            _ => bail!("--compare wants two folders"),
        }
    };
    let sections = merged
        .loads()
        .into_iter()
        .map(|load| section::section(&merged, load, unit, chosen(load)?))
        .collect::<Result<_>>()?;
    let title = campaigns.iter().map(|it| it.title.as_str()).collect::<Vec<_>>().join(" · ");
    let files = if sources.iter().all(|it| it.is_dir()) {
        ["raw.csv", "histogram.csv", "series.csv", "timeline.csv", "errors.csv", "about.json"]
            .map(str::to_owned)
            .into()
    } else {
        Vec::new()
    };
    let costs = sources.iter().filter_map(|it| cost(&it.join("cost.csv"))).collect();
    Ok(Page { title, campaigns, sections, costs, files }.render()?)
}

fn cost(path: &Path) -> Option<Table> {
    let mut rows = csv::records(&fs::read_to_string(path).ok()?).into_iter();
    Some(Table { heading: rows.next()?, rows: rows.collect() })
}

/// What a source is called, without the folders above it.
fn label(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// One record of all; several are told apart by a word behind the policy.
fn merge(records: &[(String, Record)]) -> (Vec<About>, Record) {
    let mut all = Record::default();
    for (name, record) in records {
        let mut record = record.clone();
        if 1 < records.len() {
            let named = |policy: &mut String| *policy = tagged(policy, name);
            record.rows.iter_mut().for_each(|it| named(&mut it.policy));
            record.histogram.iter_mut().for_each(|it| named(&mut it.1));
            record.series.iter_mut().for_each(|it| named(&mut it.1));
            record.timeline.iter_mut().for_each(|it| named(&mut it.policy));
            record.errors.iter_mut().for_each(|it| named(&mut it.policy));
        }
        all.rows.append(&mut record.rows);
        all.histogram.append(&mut record.histogram);
        all.series.append(&mut record.series);
        all.timeline.append(&mut record.timeline);
        all.errors.append(&mut record.errors);
    }
    (records.iter().map(|it| it.1.about.clone()).collect(), all)
}

fn tagged(policy: &str, name: &str) -> String {
    format!("{policy} @ {name}")
}

/// The same policy in both campaigns, at one load.
fn between(
    first: &(String, Record),
    second: &(String, Record),
    load: &str,
    merged: &Record,
) -> Vec<Vec<Pair>> {
    let known = second.1.policies(load);
    let both: Vec<&str> =
        first.1.policies(load).into_iter().filter(|it| known.contains(it)).collect();
    COMPARED
        .iter()
        .map(|figure| {
            let pair = |policy: &&str| {
                let names = [&first.0, &second.0].map(|it| tagged(policy, it));
                let rows = names.each_ref().map(|it| merged.valid(load, it, ""));
                compare::pair(&names[0], &names[1], figure, &rows[0], &rows[1])
            };
            let mut pairs: Vec<Pair> = both.iter().map(pair).collect();
            compare::judge(&mut pairs);
            pairs
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{io, slice};

    use super::*;
    use crate::{scenario::Scenario, simulate};

    fn simulated(folder: &Path, seed: u64) {
        let scenario = Scenario {
            title: "Turns <or> the shortest queue".to_owned(),
            policies: ["nginx-rr", "jsq", "sq:d=2"].map(str::to_owned).into(),
            servers: 4,
            requests: 4_000,
            warmup: "500".to_owned(),
            reps: 6,
            seed,
            ..Scenario::default()
        };
        simulate::run(&scenario, Some(folder), &mut io::sink()).unwrap();
    }

    #[test]
    fn a_page_is_the_same_bytes_each_time_and_needs_nothing_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record");
        simulated(&record, 1);
        let page = make(slice::from_ref(&record), false).unwrap();
        assert_eq!(page, make(slice::from_ref(&record), false).unwrap());
        for outside in ["src=", "@import", "url(", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let links = page.matches("http").count();
        assert_eq!(links, page.matches("http://www.w3.org/2000/svg").count());
        assert!(page.contains("With jsq, half of the requests are answered"), "{page}");
        assert!(page.contains("Turns &#60;or&#62; the shortest queue"), "{page}");
        assert!(page.contains("seed"));

        fs::write(record.join("cost.csv"), "policy,3 servers\njsq,17\n").unwrap();
        let page = make(slice::from_ref(&record), false).unwrap();
        assert!(page.contains("<th scope=\"row\">jsq</th><td>17</td>"), "{page}");
        run(slice::from_ref(&record), false, None, &mut io::sink()).unwrap();
        assert_eq!(fs::read_to_string(record.join("report.html")).unwrap(), page);
    }

    #[test]
    fn two_campaigns_are_compared_policy_by_policy() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["before", "after"].map(|it| folder.path().join(it));
        simulated(&one, 1);
        simulated(&other, 1);
        let page = make(&[one.clone(), other.clone()], true).unwrap();
        assert!(page.contains("jsq @ after and jsq @ before cannot be told apart"), "{page}");
        assert!(!page.contains("sq:d=2 @ after and jsq @ before"), "{page}");
        assert!(make(&[one], true).is_err());
    }
}
