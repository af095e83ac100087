//! What did Locust write in an earlier run?
//!
//! Its `PREFIX_stats.csv`, with `PREFIX_stats_history.csv` beside it, or its HTML report, whose figures
//! are kept in the page. One run is one repeat, so it has no interval.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    csv,
    record::{About, Complaint, Record, Row, Tick},
};

/// What the load of such a run is called, since its files do not say it.
const LOAD: &str = "as run with Locust";

/// Whether a path is a file of Locust and not a folder of ours.
pub(super) fn is_one(path: &Path) -> bool {
    path.is_file()
}

/// Reads one run.
pub(super) fn read(path: &Path) -> Result<Record> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = file.trim_end_matches("_stats.csv").trim_end_matches(".html").to_owned();
    let mut record = if path.extension().is_some_and(|it| it == "html") {
        html(&text, &name)
    } else if file.ends_with("_stats.csv") {
        let mut record = stats(&text, &name);
        let beside = path.with_file_name(format!("{name}_stats_history.csv"));
        if let (Ok(record), Ok(history)) = (&mut record, fs::read_to_string(beside)) {
            record.timeline = history_csv(&history, &name);
        }
        record
    } else {
        bail!("want a folder of lab, a *_stats.csv or an HTML report of Locust")
    }
    .with_context(|| format!("{}", path.display()))?;
    record.about = About {
        title: format!("Locust: {name}"),
        kind: "live".to_owned(),
        mode: "closed loop by Locust, one run; Locust keeps two digits of times above 100 ms"
            .to_owned(),
        facts: [("file".to_owned(), file)].into(),
    };
    Ok(record)
}

fn row(policy: &str, method: &str, name: &str) -> Row {
    let endpoint = match (method, name) {
        (_, "Aggregated") => String::new(),
        ("", name) => name.to_owned(),
        (method, name) => format!("{method} {name}"),
    };
    Row { load: LOAD.to_owned(), policy: policy.to_owned(), endpoint, ..Row::default() }
}

/// All together first, as in every record.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    rows
}

fn stats(text: &str, policy: &str) -> Result<Record> {
    let table = csv::records(text);
    let (heading, lines) = table.split_first().context("an empty file")?;
    let mut rows = Vec::new();
    for line in lines {
        let field = |name: &str| {
            let place = heading.iter().position(|it| it == name)?;
            line.get(place).map(String::as_str)
        };
        let number = |name: &str| field(name)?.parse::<f64>().ok();
        let name = field("Name").context("no column Name: is it a *_stats.csv of Locust?")?;
        let mut row = row(policy, field("Type").unwrap_or_default(), name);
        let requests = number("Request Count").context("no Request Count")?;
        let failed = number("Failure Count").context("no Failure Count")?;
        row.set("answered", requests - failed);
        row.set("failed", failed);
        row.set("per_second", rate(number("Requests/s"), number("Failures/s")));
        for (figure, column) in [
            ("mean", "Average Response Time"),
            ("p50", "50%"),
            ("p90", "90%"),
            ("p95", "95%"),
            ("p99", "99%"),
            ("p999", "99.9%"),
            ("max", "Max Response Time"),
        ] {
            row.set(figure, number(column).map_or(f64::NAN, |it| it / 1e3));
        }
        rows.push(row);
    }
    Ok(Record { rows: sorted(rows), ..Record::default() })
}

/// Answers per second: Locust counts failures among its requests.
fn rate(requests: Option<f64>, failures: Option<f64>) -> f64 {
    requests.map_or(f64::NAN, |it| it - failures.unwrap_or(0.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of one second of a run"
)]
fn history_csv(text: &str, policy: &str) -> Vec<Tick> {
    let table = csv::records(text);
    let Some((heading, lines)) = table.split_first() else { return Vec::new() };
    let mut start = None;
    let tick = |line: &Vec<String>| {
        let number = |name: &str| -> Option<f64> {
            let place = heading.iter().position(|it| it == name)?;
            line.get(place)?.parse().ok()
        };
        let name = heading.iter().position(|it| it == "Name").and_then(|it| line.get(it))?;
        if name != "Aggregated" {
            return None;
        }
        let at = number("Timestamp")?;
        let failed = number("Failures/s").unwrap_or(0.0);
        Some(Tick {
            load: LOAD.to_owned(),
            policy: policy.to_owned(),
            repeat: 0,
            second: (at - *start.get_or_insert(at)).max(0.0) as u32,
            users: number("User Count").unwrap_or(0.0) as u32,
            ok: (number("Requests/s").unwrap_or(0.0) - failed).max(0.0).round() as u32,
            failed: failed.round() as u32,
        })
    };
    lines.iter().filter_map(tick).collect()
}

fn html(text: &str, policy: &str) -> Result<Record> {
    let start = text.find("window.templateArgs = ").context(
        "no figures in the page: it is older than Locust 2.17, use its *_stats.csv instead",
    )?;
    let rest = &text[start + "window.templateArgs = ".len()..];
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let value = values.next().context("no figures in the page")??;
    let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
    let quantiles = list("response_time_statistics");
    let mut rows = Vec::new();
    for it in list("requests_statistics") {
        let text = |name: &str| it[name].as_str().unwrap_or_default();
        let number = |name: &str| it[name].as_f64();
        let mut row = row(policy, text("method"), text("name"));
        let requests = number("num_requests").context("no num_requests")?;
        let failed = number("num_failures").unwrap_or(0.0);
        row.set("answered", requests - failed);
        row.set("failed", failed);
        row.set("per_second", rate(number("total_rps"), number("total_fail_per_sec")));
        let same =
            quantiles.iter().find(|own| own["name"] == it["name"] && own["method"] == it["method"]);
        let quantile = |share: &str| same.and_then(|it| it[share].as_f64());
        for (figure, millis) in [
            ("mean", number("avg_response_time")),
            ("p50", number("median_response_time").or_else(|| quantile("0.5"))),
            ("p90", quantile("0.9")),
            ("p95", quantile("0.95")),
            ("p99", quantile("0.99")),
            ("max", number("max_response_time")),
        ] {
            row.set(figure, millis.map_or(f64::NAN, |it| it / 1e3));
        }
        rows.push(row);
    }
    let complaint = |it: &Value| Complaint {
        load: LOAD.to_owned(),
        policy: policy.to_owned(),
        times: it["occurrences"].as_u64().unwrap_or(0),
        endpoint: format!(
            "{} {}",
            it["method"].as_str().unwrap_or_default(),
            it["name"].as_str().unwrap_or_default()
        ),
        text: it["error"].as_str().unwrap_or_default().to_owned(),
    };
    let errors = list("failures_statistics").iter().map(complaint).collect();
    Ok(Record { rows: sorted(rows), errors, ..Record::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_of_locust_is_a_repeat() {
        let text = "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,\
                    Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,\
                    80%,90%,95%,98%,99%,99.9%,99.99%,100%\n\
                    POST,/orders,932,904,63,8339.5,1,60200,100,7.7,7.5,63,70,80,90,60000,60000,60000,60000,60000,60000,60000\n\
                    ,Aggregated,2566,2000,60,100,1,60200,10,20,16.5,60,60,60,60,60,60,60,60,60,60,60\n";
        let record = stats(text, "class").unwrap();
        assert_eq!(record.rows[0].endpoint, "");
        let order = &record.rows[1];
        assert_eq!(order.endpoint, "POST /orders");
        assert_eq!((order.figure("answered"), order.figure("failed")), (Some(28.0), Some(904.0)));
        assert_eq!((order.figure("p50"), order.figure("p95")), (Some(0.063), Some(60.0)));
        assert_eq!(record.rows[0].figure("per_second"), Some(3.5));
        assert!(stats("a,b\n1,2\n", "x").is_err());
    }

    #[test]
    fn the_figures_of_a_page_are_found_in_it() {
        let text = r#"<script>
      window.templateArgs = {"requests_statistics": [{"name": "/orders", "method": "POST", "num_requests": 5,
        "num_failures": 2, "avg_response_time": 10.0, "median_response_time": 9, "max_response_time": 20, "total_rps": 1.5,
        "total_fail_per_sec": 0.5}], "response_time_statistics": [{"name": "/orders", "method": "POST", "0.95": 18}],
        "failures_statistics": [{"name": "/orders", "method": "POST", "error": "503", "occurrences": 2}]}
      window.theme = "light"</script>"#;
        let record = html(text, "page").unwrap();
        let row = &record.rows[0];
        assert_eq!((row.figure("answered"), row.figure("p95")), (Some(3.0), Some(0.018)));
        assert_eq!(row.figure("per_second"), Some(1.0));
        assert_eq!((record.errors[0].times, record.errors[0].text.as_str()), (2, "503"));
        assert!(html("<table>", "old").is_err());
    }
}
