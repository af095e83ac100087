//! How many users does each stage of the shop carry, and what is at its limit first?
//!
//! The lab's own load, closed loop by Locust, against a shop with MariaDB and Redis: stage by stage,
//! with more replicas, with more users. Whatever runs on the machine besides is in the figures.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    io::Write,
    num::NonZeroU8,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    csv,
    load::{Endpoint, Load},
    shop::{self, Data, Plan, Seed, Shop},
    stats::scaling::Scaling,
};

/// Time between two looks at what the processes have used.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is asked for; every combination is run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// `1` to `5` as in the lab, or `fixed`.
    pub stages: Vec<String>,
    /// Replicas of the store.
    pub replicas: Vec<NonZeroU8>,
    /// Files of `locust/`, without their ending.
    pub scripts: Vec<String>,
    /// Users at the end of the ramp.
    pub users: Vec<u32>,
    /// Users started per second.
    pub rate: f64,
    /// Length of each run in seconds, the ramp included.
    pub seconds: u64,
    /// What the data are.
    pub seed: Seed,
    /// Keeps one line per run and endpoint there.
    pub csv: Option<PathBuf>,
}

/// One row: what became of the requests to one endpoint during one run.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    run: [String; 4],
    endpoint: String,
    requests: u64,
    ok_per_second: f64,
    failed: f64,
    p50: Option<f64>,
    p95: Option<f64>,
}

const COLUMNS: [&str; 10] = [
    "stage", "replicas", "script", "users", "endpoint", "requests", "ok/s", "failed %", "p50 ms",
    "p95 ms",
];

/// Runs every combination and prints its rows.
///
/// # Errors
///
/// When a shop does not start, or Locust does not; failed requests are what is measured.
pub fn run(
    campaign: &Campaign,
    go_on: &dyn Fn() -> Result<()>,
    out: &mut impl Write,
) -> Result<()> {
    let mut table = csv::line(&COLUMNS);
    writeln!(out, "{}", aligned(&COLUMNS.map(str::to_owned)))?;
    // The most users of a stage and its replicas without a failure, and the fewest with one.
    let mut limits: BTreeMap<String, (Option<u32>, Option<u32>)> = BTreeMap::new();
    let mut answered: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for stage in &campaign.stages {
        for replicas in &campaign.replicas {
            let shop = Shop::start(&campaign.plan(stage, *replicas), go_on)?;
            for script in &campaign.scripts {
                for users in &campaign.users {
                    let load = campaign.load(&shop, script, *users);
                    let (endpoints, used) = measure(&load, go_on)?;
                    let run =
                        [stage.clone(), replicas.to_string(), script.clone(), users.to_string()];
                    let mut ok_per_second = 0.0;
                    for endpoint in &endpoints {
                        let row = Row::new(&run, endpoint, campaign.seconds);
                        ok_per_second += row.ok_per_second;
                        writeln!(out, "{}", aligned(&row.fields()))?;
                        table += &csv::line(&row.fields());
                    }
                    writeln!(out, "    {used}")?;
                    out.flush()?;
                    let failed = endpoints.iter().any(|it| 0 < it.failures);
                    let name = format!("{stage}, {replicas} of {script}");
                    let points = answered.entry(name.clone()).or_default();
                    points.push((f64::from(*users), ok_per_second));
                    let limit = limits.entry(name).or_default();
                    if failed {
                        limit.1 = limit.1.map(|it| it.min(*users)).or(Some(*users));
                    } else {
                        limit.0 = limit.0.max(Some(*users));
                    }
                }
            }
        }
    }
    writeln!(out, "\nusers without a failure at most, and with one at least")?;
    for (name, (without, with)) in limits {
        let shown = |it: Option<u32>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
        writeln!(out, "{name:<40} {:>6} {:>6}", shown(without), shown(with))?;
    }
    for (name, points) in answered {
        if let Some(it) = Scaling::fit(&points) {
            writeln!(out, "{name:<40} {}", scaling(&it))?;
        }
    }
    if let Some(path) = &campaign.csv {
        fs::write(path, table)?;
    }
    Ok(())
}

impl Campaign {
    fn plan(&self, stage: &str, replicas: NonZeroU8) -> Plan {
        Plan {
            replicas,
            policy: "least_conn".to_owned(),
            data: Data::Mysql,
            seed: self.seed,
            volume: None,
            port: 0,
            variables: shop::stage(stage),
        }
    }

    fn load(&self, shop: &Shop, script: &str, users: u32) -> Load {
        Load {
            users,
            rate: self.rate,
            time: format!("{}s", self.seconds),
            script: script.to_owned(),
            shop: shop.address(),
            admin: shop.admin(),
            csv: None,
        }
    }
}

/// Runs one load; its endpoints, and what the processes used of the machine.
fn measure(load: &Load, go_on: &dyn Fn() -> Result<()>) -> Result<(Vec<Endpoint>, String)> {
    let used = RefCell::new(Used::default());
    let outcome = load.run(&|| {
        used.borrow_mut().look();
        go_on()
    })?;
    ensure!(!outcome.endpoints.is_empty(), "Locust sent no request");
    Ok((outcome.endpoints, used.into_inner().sentence()))
}

impl Row {
    fn new(run: &[String; 4], endpoint: &Endpoint, seconds: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
        let (all, failed, seconds) =
            (endpoint.requests as f64, endpoint.failures as f64, seconds as f64);
        Self {
            run: run.clone(),
            endpoint: format!("{} {}", endpoint.method, endpoint.name),
            requests: endpoint.requests,
            ok_per_second: (all - failed) / seconds,
            failed: if all == 0.0 { 0.0 } else { 100.0 * failed / all },
            p50: endpoint.quantile(0.5),
            p95: endpoint.quantile(0.95),
        }
    }

    fn fields(&self) -> [String; COLUMNS.len()] {
        let [stage, replicas, script, users] = self.run.clone();
        let ms = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |it| format!("{it:.0}"));
        [
            stage,
            replicas,
            script,
            users,
            self.endpoint.clone(),
            self.requests.to_string(),
            format!("{:.2}", self.ok_per_second),
            format!("{:.1}", self.failed),
            ms(self.p50),
            ms(self.p95),
        ]
    }
}

/// What the law of scalability says of the answers per second of some numbers of users.
fn scaling(it: &Scaling) -> String {
    let most = it.peak().map_or_else(
        || "no end in sight".to_owned(),
        |peak| format!("most, {:.0}/s, with {peak:.0} users", it.at(peak)),
    );
    format!(
        "{:.2} ok/s for one user, {:.4} of the work waits, {:.2e} is agreement: {most}",
        it.rate, it.waiting, it.talking
    )
}

fn aligned(fields: &[String; COLUMNS.len()]) -> String {
    let [stage, replicas, script, users, endpoint, numbers @ ..] = fields;
    let numbers: Vec<_> = numbers.iter().map(|it| format!("{it:>8}")).collect();
    format!("{stage:<6} {replicas:>8} {script:<20} {users:>6} {endpoint:<36} {}", numbers.join(" "))
}

/// Processor time of our children, by program.
#[derive(Debug, Default)]
struct Used {
    looked: Option<Instant>,
    started: Option<Instant>,
    /// First and last count of ticks by process id, with the name of its program.
    ticks: BTreeMap<u32, (String, u64, u64)>,
}

impl Used {
    fn look(&mut self) {
        let now = Instant::now();
        if self.looked.is_some_and(|it| now - it < LOOK_AGAIN) {
            return;
        }
        self.looked = Some(now);
        self.started.get_or_insert(now);
        let Ok(entries) = fs::read_dir("/proc") else { return };
        for pid in entries.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok()) {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            if let Some((name, ticks)) = child(&text, process::id()) {
                self.ticks.entry(pid).or_insert((name, ticks, ticks)).2 = ticks;
            }
        }
    }

    /// Cores that each program kept busy, the busiest first.
    fn sentence(&self) -> String {
        let (Some(started), Some(looked)) = (self.started, self.looked) else {
            return String::new();
        };
        let mut programs: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, first, last) in self.ticks.values() {
            *programs.entry(name).or_default() += last - first;
        }
        let mut programs: Vec<_> = programs.into_iter().filter(|(_, it)| 0 < *it).collect();
        programs.sort_unstable_by_key(|(_, ticks)| std::cmp::Reverse(*ticks));
        #[expect(clippy::cast_precision_loss, reason = "ticks are hundredths of seconds of a run")]
        let cores = |ticks: u64| ticks as f64 / 100.0 / (looked - started).as_secs_f64().max(0.01);
        let shown = programs.iter().map(|(name, ticks)| format!("{name} {:.2}", cores(*ticks)));
        format!("busy cores: {}", shown.collect::<Vec<_>>().join(", "))
    }
}

/// Name and ticks of a process, from its line in `/proc`, when it is a child of `parent`.
fn child(stat: &str, parent: u32) -> Option<(String, u64)> {
    let (before, after) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = after.split(' ').collect();
    if fields.get(1)?.parse() != Ok(parent) {
        return None;
    }
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((before.split_once('(')?.1.to_owned(), ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_told_from_other_processes() {
        let stat = "77 (my (odd) name) S 12 77 77 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0";
        assert_eq!(child(stat, 12), Some(("my (odd) name".to_owned(), 42)));
        assert_eq!(child(stat, 13), None);
        assert_eq!(child("", 12), None);
    }

    #[test]
    fn a_row_counts_what_succeeded() {
        let endpoint = Endpoint {
            name: "/orders".to_owned(),
            method: "POST".to_owned(),
            requests: 200,
            failures: 50,
            times: [("10".to_owned(), 200)].into(),
        };
        let run = ["1", "2", "lab_2026", "150"].map(str::to_owned);
        let fields = Row::new(&run, &endpoint, 60).fields();
        assert_eq!(
            fields[4..],
            ["POST /orders", "200", "2.50", "25.0", "10", "10"].map(str::to_owned)
        );
    }
}
