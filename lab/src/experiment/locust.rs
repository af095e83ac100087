//! Closed loop: Locust's users, who send the next request after the answer and a pause.
//!
//! Locust keeps two digits of times above 100 ms and whole milliseconds below; the balancer's own
//! histogram stands beside them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    front::Front,
    gates::{self, Health},
    pool::Keeper,
    run::{Cell, Measured, balancer_figures, url},
};
use crate::{
    configs, csv,
    load::Endpoint,
    process::Process,
    record::{Complaint, Row, Tick},
    shop::Shop,
    stats::{self, histogram::Histogram},
};

/// Runs so many users: the ramp takes the warm-up and is not counted.
pub(super) fn run(
    cell: &Cell<'_>,
    users: u32,
    front: &Front,
    shop: &mut Shop,
    keeper: &mut Keeper,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let prefix = folder.path().join("load");
    let mut command = command(cell, users, &prefix)?;
    command.args(["--host", &url(front.address)]);
    let start = Instant::now();
    let mut process = Process::spawn("Locust", &mut command)?;
    let mut cpu = 0.0;
    let beside = cell.attend(front, shop, keeper, start, go_on, &mut || {
        cpu = seconds_of(process.pid()).unwrap_or(cpu);
        process.ended().is_some()
    })?;
    let entries = fs::read(prefix.with_added_extension("json"))
        .ok()
        .and_then(|it| serde_json::from_slice::<Vec<Endpoint>>(&it).ok());
    let Some(mut endpoints) = entries else { bail!("{}", process.obituary()) };
    endpoints.sort();

    let mut measured = read(cell, &endpoints, &prefix, shop)?;
    let health = Health {
        due: usize::from(0 < measured.times.count()),
        sent: 1,
        late_p99: 0.0,
        cpu: cpu / start.elapsed().as_secs_f64(),
    };
    let invalid = gates::verdict(cell.plan, &health);
    if let Some(all) = measured.rows.first_mut() {
        all.set("load_cpu", health.cpu);
        all.set("machine_cpu", beside.machine.all);
        all.set("stolen_cpu", beside.machine.stolen);
        balancer_figures(all, &beside);
    }
    for it in &mut measured.rows {
        it.invalid.clone_from(&invalid);
    }
    measured.series = beside.active;
    Ok(measured)
}

fn command(cell: &Cell<'_>, users: u32, prefix: &Path) -> Result<Command> {
    let workspace = configs::workspace()?;
    let locust = workspace.join(".venv/bin/locust");
    ensure!(locust.is_file(), "Locust is not installed: run script/bootstrap");
    let plan = cell.plan;
    let mut command = Command::new(locust);
    command
        .args(["--headless", "--only-summary", "--exit-code-on-error", "0"])
        .arg("-f")
        .arg(workspace.join("locust/locustfile.py"))
        .arg("--csv")
        .arg(prefix)
        .arg("--json-file")
        .arg(prefix)
        .env("LOAD_SHAPE", "hold")
        .env("LOAD_USERS", users.to_string())
        .env("LOAD_RATE", (f64::from(users) / plan.warmup.max(1.0)).to_string())
        .env("LOAD_HOLD", plan.seconds.to_string())
        .env("LOAD_SEED", (plan.seed + cell.repeat).to_string());
    if plan.hot {
        command.env("LOAD_PROFILE", "hot");
    }
    if 0 < plan.lines {
        command.env("LOAD_LINES", plan.lines.to_string());
    }
    Ok(command)
}

/// Seconds of CPU that a process has used, `None` after its end.
fn seconds_of(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // Linux counts in hundredths of a second for programs, whatever its own clock.
    Some(ticks / 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
fn read(cell: &Cell<'_>, endpoints: &[Endpoint], prefix: &Path, shop: &Shop) -> Result<Measured> {
    let mut measured = Measured::default();
    let mut failed = 0;
    for it in endpoints {
        let mut times = Histogram::default();
        for (time, count) in &it.times {
            let millis: f64 = time.parse().with_context(|| format!("Locust's time {time}"))?;
            let nanos = Duration::from_secs_f64(millis / 1e3).as_nanos();
            (0..*count).for_each(|_| times.record(u64::try_from(nanos).unwrap_or(u64::MAX)));
        }
        measured.times.merge(&times);
        failed += it.failures;
        let mut row = cell.row(&format!("{} {}", it.method, it.name));
        tally(&mut row, &times, it.failures as f64, cell.plan.seconds);
        measured.rows.push(row);
    }
    let mut all = cell.row("");
    tally(&mut all, &measured.times, failed as f64, cell.plan.seconds);

    let mut served: BTreeMap<String, f64> = BTreeMap::new();
    let mut ticks: BTreeMap<u32, Tick> = BTreeMap::new();
    let table = csv::records(&beside(prefix, "_outcomes.csv")?);
    let (heading, rows) = table.split_first().context("the outcomes file is empty")?;
    for it in rows {
        let field = |name: &str| -> Result<&str> {
            let place = heading.iter().position(|it| it == name);
            let value = place.and_then(|place| it.get(place));
            Ok(value.with_context(|| format!("the outcomes have no {name}"))?.as_str())
        };
        let number = |name: &str| -> Result<u32> { Ok(field(name)?.parse()?) };
        let second = number("second")?;
        let tick = ticks.entry(second).or_insert_with(|| Tick {
            load: all.load.clone(),
            policy: all.policy.clone(),
            repeat: all.repeat,
            second,
            ..Tick::default()
        });
        tick.users = tick.users.max(number("users")?);
        tick.ok += number("ok")?;
        tick.failed += number("failed")?;
        *served.entry(field("instance")?.to_owned()).or_default() += f64::from(number("ok")?);
    }
    let of = |name: &str| served.get(name).copied().unwrap_or(0.0);
    let served: Vec<f64> =
        shop.replicas().iter().take(cell.servers).map(|it| of(&it.name)).collect();
    all.set("jain", stats::jain(&served).unwrap_or(f64::NAN));
    let sum = served.iter().sum::<f64>().max(1.0);
    all.shares = served.iter().map(|it| it / sum).collect();
    measured.rows.insert(0, all);
    measured.timeline = ticks.into_values().collect();
    measured.errors = errors(cell, prefix)?;
    Ok(measured)
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
fn tally(row: &mut Row, times: &Histogram, failed: f64, seconds: f64) {
    row.set_times(times);
    // Locust's times hold failures, too.
    row.set("answered", times.count() as f64 - failed);
    row.set("failed", failed);
    row.set("per_second", (times.count() as f64 - failed) / seconds);
}

fn errors(cell: &Cell<'_>, prefix: &Path) -> Result<Vec<Complaint>> {
    let table = csv::records(&beside(prefix, "_errors.csv")?);
    let complaint = |it: &Vec<String>| {
        Some(Complaint {
            load: cell.name.to_owned(),
            policy: cell.label.to_owned(),
            times: it.first()?.parse().ok()?,
            endpoint: format!("{} {}", it.get(1)?, it.get(2)?),
            text: it.get(3)?.clone(),
        })
    };
    Ok(table.iter().skip(1).filter_map(complaint).collect())
}

fn beside(prefix: &Path, ending: &str) -> Result<String> {
    let mut name = prefix.as_os_str().to_owned();
    name.push(ending);
    fs::read_to_string(&name).with_context(|| format!("{}", Path::new(&name).display()))
}
