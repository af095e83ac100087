//! Closed-loop users by Locust, and which replica served them by the balancer's own count.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    configs,
    metrics::Counts,
    process::{Process, eventually_within},
    signals::Signals,
};

/// How often the requests in flight are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Who loads what, and how much.
#[derive(Clone, Debug)]
pub struct Load {
    /// Users at the end of the ramp.
    pub users: u32,
    /// Users started per second.
    pub rate: f64,
    /// Length of the run from its start, in Locust's words: `120s`, `2m`.
    pub time: String,
    /// A file of `locust/`, without its ending.
    pub script: String,
    /// Where the balancer answers clients.
    pub shop: SocketAddr,
    /// Where the balancer answers `/metrics`.
    pub admin: SocketAddr,
    /// Keeps Locust's CSV and HTML files and the outcomes under this prefix.
    pub csv: Option<PathBuf>,
}

/// What became of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// One entry per endpoint, sorted by path and method.
    pub endpoints: Vec<Endpoint>,
    /// Answers of each server during the run, by class of status.
    pub servers: BTreeMap<String, BTreeMap<String, f64>>,
    /// The most requests seen in flight at a time.
    pub most_active: f64,
    /// Requests in flight after the last user left.
    pub active_after: f64,
    /// Error texts with their number, most frequent first.
    pub errors: Vec<String>,
}

/// What Locust counted of one endpoint.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    /// The path, with `{id}` in the place of numbers.
    pub name: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// All requests, failures included.
    #[serde(rename = "num_requests")]
    pub requests: u64,
    /// Requests without the expected answer.
    #[serde(rename = "num_failures")]
    pub failures: u64,
    /// How many requests took so many milliseconds; Locust keeps two digits above 100 ms.
    #[serde(rename = "response_times")]
    pub times: BTreeMap<String, u64>,
}

impl Endpoint {
    /// The time in milliseconds that `share` of the requests did not exceed, `None` without any.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let mut times: Vec<(f64, u64)> =
            self.times.iter().filter_map(|(it, n)| Some((it.parse().ok()?, *n))).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count: u64 = times.iter().map(|it| it.1).sum();
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
        let enough = |seen: u64| count as f64 * share <= seen as f64;
        let mut seen = 0;
        times.into_iter().find_map(|(time, n)| {
            seen += n;
            enough(seen).then_some(time)
        })
    }
}

/// Runs Locust and prints what became of its requests.
///
/// # Errors
///
/// When Locust is missing or ends early, when it sent nothing, and when a request failed.
pub fn run(load: &Load, out: &mut impl Write) -> Result<()> {
    let signals = Signals::take()?;
    let outcome = load.run(&|| signals.go_on())?;
    outcome.show(out)?;
    let requests: u64 = outcome.endpoints.iter().map(|it| it.requests).sum();
    let failures: u64 = outcome.endpoints.iter().map(|it| it.failures).sum();
    ensure!(0 < requests, "Locust sent no request");
    if 0 < failures || !outcome.errors.is_empty() {
        let errors = outcome.errors.join("\n    ");
        bail!("{failures} of {requests} requests failed\n    {errors}");
    }
    Ok(())
}

impl Load {
    /// Loads the shop; `go_on` is asked again and again, its error ends the run.
    pub fn run(&self, go_on: &dyn Fn() -> Result<()>) -> Result<Outcome> {
        let workspace = configs::workspace()?;
        let locust = workspace.join(".venv/bin/locust");
        ensure!(locust.is_file(), "Locust is not installed: run script/bootstrap");
        let script = workspace.join("locust").join(&self.script).with_extension("py");
        ensure!(script.is_file(), "there is no load script {}", script.display());

        let before = Counts::fetch(self.admin)?;
        let folder = tempfile::tempdir()?;
        let prefix = self.csv.clone().unwrap_or_else(|| folder.path().join("load"));
        let mut process = Process::spawn("Locust", &mut self.command(&locust, &script, &prefix))?;
        let mut most_active = 0.0_f64;
        while process.ended().is_none() {
            go_on()?;
            most_active = most_active.max(Counts::fetch(self.admin)?.active);
            thread::sleep(LOOK_AGAIN);
        }
        let entries = fs::read(prefix.with_added_extension("json"))
            .ok()
            .and_then(|it| serde_json::from_slice::<Vec<Endpoint>>(&it).ok());
        let Some(mut endpoints) = entries else {
            bail!("{}", process.obituary());
        };
        endpoints.sort();

        // Locust abandons what is on the wire at its end; the balancer notices each within moments.
        _ = eventually_within(Duration::from_secs(5), || {
            Counts::fetch(self.admin).is_ok_and(|it| it.active == 0.0)
        });
        let after = Counts::fetch(self.admin)?;
        let errors = read_errors(&prefix).context("the outcomes file of Locust")?;
        Ok(Outcome {
            endpoints,
            servers: after.since(&before),
            most_active,
            active_after: after.active,
            errors,
        })
    }

    fn command(&self, locust: &Path, script: &Path, prefix: &Path) -> Command {
        let mut command = Command::new(locust);
        command
            .args(["--headless", "--only-summary", "--exit-code-on-error", "0"])
            .arg("-f")
            .arg(script)
            .args(["-u", &self.users.to_string(), "-r", &self.rate.to_string(), "-t", &self.time])
            .args(["--host", &format!("http://{}", self.shop)])
            .arg("--csv")
            .arg(prefix)
            .arg("--json-file")
            .arg(prefix);
        if self.csv.is_some() {
            command.arg("--html").arg(prefix.with_added_extension("html"));
        }
        command
    }
}

impl Outcome {
    fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let time = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |it| format!("{it:.0}"));
        writeln!(
            out,
            "{:<38} {:>9} {:>9} {:>7} {:>7}",
            "endpoint", "requests", "failures", "p50 ms", "p95 ms"
        )?;
        for it in &self.endpoints {
            writeln!(
                out,
                "{:<38} {:>9} {:>9} {:>7} {:>7}",
                format!("{} {}", it.method, it.name),
                it.requests,
                it.failures,
                time(it.quantile(0.5)),
                time(it.quantile(0.95)),
            )?;
        }
        let all: f64 = self.servers.values().flat_map(BTreeMap::values).sum();
        writeln!(out, "\n{:<38} {:>9} {:>9} {:>15}", "replica", "answers", "share", "by status")?;
        for (server, codes) in &self.servers {
            let count: f64 = codes.values().sum();
            let share = if 0.0 < all { 100.0 * count / all } else { 0.0 };
            let seen = codes.iter().filter(|(_, n)| 0.0 < **n);
            let codes: Vec<_> = seen.map(|(code, n)| format!("{code} {n}")).collect();
            writeln!(out, "{server:<38} {count:>9} {share:>8.1}% {:>15}", codes.join(", "))?;
        }
        writeln!(
            out,
            "\nin flight at the balancer: {} at most, {} after the last user left",
            self.most_active, self.active_after
        )
    }
}

/// The lines of the errors file that `locust/outcomes.py` writes, without its heading.
fn read_errors(prefix: &Path) -> Result<Vec<String>> {
    let mut name = prefix.as_os_str().to_owned();
    name.push("_errors.csv");
    let text = fs::read_to_string(name)?;
    Ok(text.lines().skip(1).map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_count_requests_and_sort_times_as_numbers() {
        let times = [("9", 50), ("10", 45), ("100", 5)];
        let times = times.map(|(time, count)| (time.to_owned(), count)).into();
        let endpoint = Endpoint {
            name: "/orders".to_owned(),
            method: "POST".to_owned(),
            requests: 100,
            failures: 0,
            times,
        };
        assert_eq!(endpoint.quantile(0.5), Some(9.0));
        assert_eq!(endpoint.quantile(0.51), Some(10.0));
        assert_eq!(endpoint.quantile(0.95), Some(10.0));
        assert_eq!(endpoint.quantile(0.96), Some(100.0));
        assert_eq!(Endpoint { times: BTreeMap::new(), ..endpoint }.quantile(0.5), None);
    }
}
