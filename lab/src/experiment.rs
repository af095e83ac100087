//! Which policy serves a real shop best on this machine, and is the difference one?
//!
//! Every policy meets the same requests: a repeat draws them once, for all. Within a repeat the order
//! of the runs is drawn, so that a slow minute of the machine does not hit the same policy each time.

pub(crate) mod connection;
pub(crate) mod front;
mod gates;
mod locust;
pub(crate) mod machine;
pub(crate) mod one_by_one;
mod open;
pub(crate) mod plan;
mod pool;
pub(crate) mod run;
mod schedule;
mod watch;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use policy::{Draw, SplitMix64};

pub use plan::Experiment;
pub use pool::Pool;

use self::{
    front::Kind,
    plan::Load,
    run::{Cell, Measured},
    schedule::ENDPOINTS,
};
use crate::{
    configs, csv,
    record::{About, Record},
    shop::{self, Shop},
    signals::Signals,
};

/// Runs an experiment, keeps what was measured in a folder, and returns the folder.
///
/// What was measured before an interruption is kept, too.
///
/// # Errors
///
/// When a part does not start or ends by itself.
pub fn run(
    plan: &Experiment,
    name: &str,
    folder: Option<PathBuf>,
    out: &mut impl Write,
) -> Result<PathBuf> {
    let signals = Signals::take()?;
    let folder = folder.map_or_else(|| new_folder(name), Ok)?;
    ensure!(!folder.exists(), "{} is there already", folder.display());
    let record = campaign(plan, &folder, &|| signals.go_on(), out)?;
    record.write(&folder)?;
    writeln!(out, "\nkept in {}", folder.display())?;
    Ok(folder)
}

/// All runs, in a drawn order within each repeat.
pub(crate) fn campaign(
    plan: &Experiment,
    folder: &Path,
    go_on: &dyn Fn() -> Result<()>,
    out: &mut impl Write,
) -> Result<Record> {
    let (kinds, settings) = (plan.kinds()?, plan.settings()?);
    let mut shop = Shop::start(
        &shop::Plan {
            replicas: plan.servers,
            policy: "round_robin".to_owned(),
            data: plan.data,
            seed: plan.store,
            port: 0,
            variables: Vec::new(),
            volume: None,
        },
        go_on,
    )?;
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let mut requests = Requests::create(&folder.join("requests.csv"))?;
    let mut record = Record { about: about(plan)?, ..Record::default() };
    let mut draw = SplitMix64::new(plan.seed);
    let all = kinds.len() * settings.len() * usize::try_from(plan.reps)?;
    let mut done = 0;
    let mut kept: Vec<(usize, usize, Measured)> = Vec::new();
    'repeats: for repeat in 0..plan.reps {
        for (place, kind) in shuffled(settings.len(), kinds.len(), &mut draw) {
            let (name, pool, load) = &settings[place];
            let cell = Cell {
                plan,
                name,
                label: plan.policies[kind].as_str(),
                kind: &kinds[kind],
                servers: usize::from(plan.servers.get()),
                pool: *pool,
                load: *load,
                repeat,
            };
            let measured = match cell.run(&mut shop, go_on) {
                // Whoever interrupts wants what there is.
                Err(error) if go_on().is_err() => {
                    record.about.facts.insert("ended early".to_owned(), format!("{error:#}"));
                    break 'repeats;
                }
                it => it?,
            };
            done += 1;
            show(done, all, &measured, out)?;
            requests.add(&cell, &measured)?;
            kept.push((place, kind, measured));
            thread::sleep(Duration::from_secs_f64(plan.pause));
        }
    }
    kept.sort_by_key(|it| (it.0, it.1));
    keep(kept, &mut record);
    Ok(record)
}

/// All pairs of a setting and a policy, in a drawn order; settings stay together.
pub(crate) fn shuffled(
    settings: usize,
    kinds: usize,
    draw: &mut SplitMix64,
) -> Vec<(usize, usize)> {
    let mut order = |count: usize| {
        let mut places: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            places.swap(last, usize::try_from(draw.below(last as u64 + 1)).unwrap_or(0));
        }
        places
    };
    let settings = order(settings);
    settings
        .into_iter()
        .flat_map(|it| order(kinds).into_iter().map(move |kind| (it, kind)))
        .collect()
}

/// Puts the runs into a record, the repeats of a cell together; they are sorted by their places.
pub(crate) fn keep(measured: Vec<(usize, usize, Measured)>, record: &mut Record) {
    let mut cells: Vec<((usize, usize), Vec<Measured>)> = Vec::new();
    for (place, kind, it) in measured {
        match cells.last_mut().filter(|it| it.0 == (place, kind)) {
            Some(cell) => cell.1.push(it),
            None => cells.push(((place, kind), vec![it])),
        }
    }
    for (_, runs) in cells {
        let Some(first) = runs.first().and_then(|it| it.rows.first()) else { continue };
        let (load, policy) = (first.load.clone(), first.policy.clone());
        let mut times = crate::stats::histogram::Histogram::default();
        for run in &runs {
            if run.rows.first().is_some_and(|it| it.invalid.is_empty()) {
                times.merge(&run.times);
            }
        }
        record.add_histogram(&load, &policy, &times);
        for (number, run) in runs.into_iter().enumerate() {
            if number == 0 {
                let of = |(second, counts)| (load.clone(), policy.clone(), second, counts);
                record.series.extend(run.series.into_iter().map(of));
            }
            record.rows.extend(run.rows);
            record.timeline.extend(run.timeline);
            record.errors.extend(run.errors);
        }
    }
}

pub(crate) fn show(
    done: usize,
    all: usize,
    measured: &Measured,
    out: &mut impl Write,
) -> Result<()> {
    let Some(it) = measured.rows.first() else { return Ok(()) };
    let millis = |name: &str| {
        it.figure(name).map_or_else(|| "-".to_owned(), |it| format!("{:.1}", it * 1e3))
    };
    writeln!(
        out,
        "[{done}/{all}] {:<28} {:<20} p50 {:>7} ms  p99 {:>7} ms  {:>7.1}/s  failed {:<5} {}",
        it.load,
        it.policy,
        millis("p50"),
        millis("p99"),
        it.figure("per_second").unwrap_or(0.0),
        it.figure("failed").unwrap_or(0.0),
        if it.invalid.is_empty() { String::new() } else { format!("not valid: {}", it.invalid) }
    )?;
    Ok(out.flush()?)
}

fn about(plan: &Experiment) -> Result<About> {
    let mut facts = machine::facts();
    facts.insert("seed".to_owned(), plan.seed.to_string());
    facts.insert("experiment".to_owned(), toml::to_string(plan)?);
    let kinds: Vec<_> = plan.policies.iter().map(|it| Kind::parse(it)).collect::<Result<_>>()?;
    for it in kinds.iter().filter(|it| !it.is_ours()) {
        facts.insert(format!("control {}", it.name()), "in the balancer's place".to_owned());
    }
    let open = !plan.rates.is_empty();
    let mode = match (open, !plan.users.is_empty()) {
        (true, false) => "open loop: times count from the moment a request was due",
        (false, true) => "closed loop by Locust: a waiting user sends nothing",
        _ => "open loop, from the moment a request was due, and closed loop by Locust",
    };
    let title = if plan.title.is_empty() { "Experiment" } else { &plan.title };
    Ok(About { title: title.to_owned(), kind: "live".to_owned(), mode: mode.to_owned(), facts })
}

/// A folder for a new record: `lab/runs/<date>-<name>`, with a number when it is taken.
pub(crate) fn new_folder(name: &str) -> Result<PathBuf> {
    let runs = configs::workspace()?.join("lab/runs");
    let days = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() / 86_400;
    let (year, month, day) = civil(i64::try_from(days)?);
    let name: String =
        name.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    let first = runs.join(format!("{year:04}-{month:02}-{day:02}-{name}"));
    let numbered = (2..).map(|it| first.with_added_extension(it.to_string()));
    Ok(std::iter::once(first.clone()).chain(numbered).find(|it| !it.exists()).unwrap_or(first))
}

/// Year, month and day of a day since 1970-01-01.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Every request of the open runs, in microseconds from the start of its run.
struct Requests(BufWriter<File>);

impl Requests {
    fn create(path: &Path) -> Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let heading = [
            "load", "policy", "repeat", "endpoint", "due_us", "sent_us", "first_us", "done_us",
            "server", "failure",
        ];
        file.write_all(csv::line(&heading).as_bytes())?;
        Ok(Self(file))
    }

    fn add(&mut self, cell: &Cell<'_>, measured: &Measured) -> Result<()> {
        if matches!(cell.load, Load::Users(_)) {
            return Ok(());
        }
        let repeat = cell.repeat.to_string();
        for it in &measured.requests {
            let times =
                [it.due, it.sent, it.first_byte, it.done].map(|it| it.as_micros().to_string());
            let [due, sent, first, done] = &times;
            let fields = [
                cell.name,
                cell.label,
                &repeat,
                ENDPOINTS[it.endpoint],
                due,
                sent,
                first,
                done,
                &it.instance,
                it.failure,
            ];
            self.0.write_all(csv::line(&fields).as_bytes())?;
        }
        Ok(self.0.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(-1), (1969, 12, 31));
    }

    #[test]
    fn a_drawn_order_has_every_cell_once() {
        let mut draw = SplitMix64::new(1);
        let orders: Vec<_> = (0..8).map(|_| shuffled(2, 3, &mut draw)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
        }
        assert!(orders.iter().any(|it| it != &orders[0]));
    }
}
