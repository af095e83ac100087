//! What is left of a server when far more is asked of it than it can do?
//!
//! A server with a known number of places and a known service time behind the balancer, and an open
//! loop of several times its capacity: requests come when they are due, whatever became of those
//! before. How long a request takes that waits for nothing is measured first, with one client for
//! each place.

use std::{fs, io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    csv,
    known::{
        balancer::Balancer,
        clients::{self, Fate, Load},
        server::Server,
    },
    stats::quantile,
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Overload {
    /// Requests that the server works on at once.
    pub places: u32,
    /// How long it works on each.
    pub service: Duration,
    /// How many times its capacity comes.
    pub times: f64,
    /// For how long.
    pub time: Duration,
    /// What is left out of that before: a limit begins with a measurement.
    pub warm_up: Duration,
    /// Clients that may be there at once.
    pub clients: u32,
    /// Seed of the arrivals.
    pub seed: u64,
    /// Keeps the table there.
    pub csv: Option<PathBuf>,
}

/// What became of the requests of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The words of `concurrency_limit`, `off` without.
    pub limit: String,
    /// Requests that were sent each second.
    pub offered: f64,
    /// Requests that were served each second.
    pub served: f64,
    /// The same as a part of what the server can do.
    pub goodput: f64,
    /// How long those took, from when they were due, as multiples of what one takes that waits for
    /// nothing: the median and the 99th percentile.
    pub slowdown: [f64; 2],
    /// Requests that were refused each second.
    pub refused: f64,
    /// How long those took, in seconds: the median and the 99th percentile; 0 without any.
    pub refusal: [f64; 2],
    /// Refusals that did not say when to come again.
    pub silent: usize,
    /// Requests that ended in any other way, and those that came later than they were due because
    /// every client was waiting.
    pub lost: [usize; 2],
    /// Requests that were let in at once when the run ended, 0 without a limit.
    pub let_in: f64,
}

/// What the server can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Requests each second, without a moment between them.
    pub rate: f64,
    /// How long one takes through the balancer when nobody waits, in seconds; the median.
    pub takes: f64,
}

/// Measures, and prints a line for the balancer without a limit and for each of `limits`.
pub fn run(
    overload: &Overload,
    limits: &[String],
    go_on: &dyn Fn() -> Result<()>,
    out: &mut impl Write,
) -> Result<()> {
    let capacity = Capacity::of(overload, go_on)?;
    writeln!(
        out,
        "{} places, {} ms each: {:.1} requests per second; one that does not wait takes {:.2} ms",
        overload.places,
        overload.service.as_millis(),
        capacity.rate,
        1e3 * capacity.takes
    )?;
    writeln!(
        out,
        "{:<24} {:>9} {:>9} {:>8} {:>9} {:>9} {:>9} {:>11} {:>11} {:>6} {:>6} {:>6}",
        "concurrency_limit",
        "offered/s",
        "served/s",
        "goodput",
        "p50/takes",
        "p99/takes",
        "refused/s",
        "p50 ms",
        "p99 ms",
        "let in",
        "lost",
        "late"
    )?;
    let mut table = Vec::new();
    for limit in std::iter::once("off").chain(limits.iter().map(String::as_str)) {
        let it = Outcome::of(overload, limit, capacity, go_on)?;
        writeln!(
            out,
            "{:<24} {:>9.0} {:>9.1} {:>7.1}% {:>9.2} {:>9.2} {:>9.0} {:>11.2} {:>11.2} {:>6.0} {:>6} {:>6}",
            it.limit,
            it.offered,
            it.served,
            100.0 * it.goodput,
            it.slowdown[0],
            it.slowdown[1],
            it.refused,
            1e3 * it.refusal[0],
            1e3 * it.refusal[1],
            it.let_in,
            it.lost[0],
            it.lost[1]
        )?;
        out.flush()?;
        table.push(it);
    }
    if let Some(path) = &overload.csv {
        fs::write(path, text(&table)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn text(table: &[Outcome]) -> String {
    let names = [
        "limit",
        "offered_per_s",
        "served_per_s",
        "goodput",
        "p50_slowdown",
        "p99_slowdown",
        "refused_per_s",
        "p50_refusal_s",
        "p99_refusal_s",
        "silent",
        "lost",
        "late",
        "let_in",
    ];
    let row = |it: &Outcome| {
        let [half, most] = it.slowdown;
        let [soon, late] = it.refusal;
        let [lost, behind] = it.lost.map(|it| it.to_string());
        let rates = [it.offered, it.served, it.goodput, half, most, it.refused, soon, late];
        let mut fields = vec![it.limit.clone()];
        fields.extend(rates.map(|it| it.to_string()));
        fields.extend([it.silent.to_string(), lost, behind, it.let_in.to_string()]);
        csv::line(&fields)
    };
    csv::line(&names) + &table.iter().map(row).collect::<String>()
}

impl Overload {
    /// Whether what happens then is counted.
    fn counts(&self, at: Duration) -> bool {
        self.warm_up <= at && at <= self.time
    }
}

impl Capacity {
    /// Measures it.
    pub fn of(overload: &Overload, go_on: &dyn Fn() -> Result<()>) -> Result<Self> {
        let server = Server::start(overload.places, overload.service, 1.0, "")?;
        let balancer = Balancer::start(&[server.address], "", go_on)?;
        let time = overload.time / 4;
        let mut takes = clients::closed(balancer.address, overload.places, time, go_on)?;
        let rate = f64::from(overload.places) / overload.service.as_secs_f64();
        let takes = quantile(&mut takes, 0.5).context("nothing was served")?;
        Ok(Self { rate, takes })
    }
}

impl Outcome {
    /// Runs the server with a limit, or `off`, and tells what became of the requests.
    pub fn of(
        overload: &Overload,
        limit: &str,
        capacity: Capacity,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let server = Server::start(overload.places, overload.service, 1.0, "")?;
        let line = match limit {
            "off" => String::new(),
            words => format!("concurrency_limit {words};"),
        };
        let balancer = Balancer::start(&[server.address], &line, go_on)?;
        let rate = overload.times * capacity.rate;
        let requests = clients::alike(rate, overload.time, overload.seed);
        let load = Load { requests, end: overload.time, clients: overload.clients };
        let fates = clients::open(balancer.address, &load, go_on)?;
        let let_in = balancer.limit()?;
        let is_served = |it: &&Fate| it.status == 200 && overload.counts(it.done);
        let served = fates.iter().filter(is_served).count();
        let counted: Vec<_> = fates.into_iter().filter(|it| overload.counts(it.sent)).collect();
        ensure!(!counted.is_empty(), "nothing was sent after the warm-up");
        Ok(Self::count(&counted, served, overload, limit, capacity, let_in))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn count(
        fates: &[Fate],
        served: usize,
        overload: &Overload,
        limit: &str,
        capacity: Capacity,
        let_in: f64,
    ) -> Self {
        let seconds = overload.time.saturating_sub(overload.warm_up).as_secs_f64();
        let took = |status: u16| -> Vec<f64> {
            let all = fates.iter().filter(|it| it.status == status);
            all.map(|it| it.done.saturating_sub(it.due).as_secs_f64()).collect()
        };
        let both = |mut times: Vec<f64>, unit: f64| {
            [0.5, 0.99].map(|it| quantile(&mut times, it).map_or(0.0, |it| it / unit))
        };
        let served = served as f64 / seconds;
        let refusals = fates.iter().filter(|it| it.status == 503);
        // Two ticks of a clock are nobody's fault.
        let late = |it: &&Fate| it.due + Duration::from_millis(2) < it.sent;
        let lost = fates.iter().filter(|it| !matches!(it.status, 200 | 503)).count();
        Self {
            limit: limit.to_owned(),
            offered: fates.len() as f64 / seconds,
            served,
            goodput: served / capacity.rate,
            slowdown: both(took(200), capacity.takes),
            refused: refusals.clone().count() as f64 / seconds,
            refusal: both(took(503), 1.0),
            silent: refusals.filter(|it| !it.says_when).count(),
            lost: [lost, fates.iter().filter(late).count()],
            let_in,
        }
    }
}
