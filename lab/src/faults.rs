//! Does the shop lose, repeat or oversell an order when a part of it fails under load?
//!
//! Each fault has a shop of its own: MariaDB and Redis behind wires that can stall, replicas, the
//! balancer. Orders come at a steady rate, each with an `Idempotency-Key`, and are sent again until
//! they are answered; then the books are compared.

pub mod books;
pub mod orders;

use std::{
    io::Write,
    num::NonZeroU8,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use self::{
    books::Books,
    orders::{Load, Sent},
};
use crate::{
    csv,
    data_services::{MariaDb, Redis},
    http,
    process::eventually_within,
    shop::{Data, Plan, Seed, Shop},
    wire::Wire,
};

/// How long everything may take to be well again, and the last order to be answered.
const RECOVERY: Duration = Duration::from_mins(1);

/// What fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Fault {
    /// MariaDB is killed and started again.
    Mariadb,
    /// Redis is killed and started again, empty.
    Redis,
    /// One replica is killed and started again.
    Replica,
    /// The network to MariaDB and Redis passes nothing.
    Stall,
}

impl Fault {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mariadb => "mariadb",
            Self::Redis => "redis",
            Self::Replica => "replica",
            Self::Stall => "stall",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Which faults, one after another.
    pub faults: Vec<Fault>,
    /// Orders per second.
    pub rate: f64,
    /// For how long orders come; the fault happens after a third of it.
    pub time: Duration,
    /// How long the part is away.
    pub outage: Duration,
    /// Replicas of the store.
    pub replicas: NonZeroU8,
    /// Keeps a row per fault there.
    pub csv: Option<PathBuf>,
}

/// What became of one fault.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which one.
    pub fault: Fault,
    /// The orders and their answers.
    pub sent: Sent,
    /// From the end of the outage until every replica is ready.
    pub ready_after: Duration,
    /// What the books say.
    pub books: Books,
}

/// The heading of the table.
const COLUMNS: [&str; 13] = [
    "fault", "orders", "placed", "refused", "again", "p50 ms", "p99 ms", "max ms", "ready s",
    "rows", "lost", "twice", "oversold",
];

/// Tries each fault and prints a row for it.
///
/// # Errors
///
/// When a shop does not start, and when the books of one are wrong.
pub fn run(trial: &Trial, go_on: &dyn Fn() -> Result<()>, out: &mut impl Write) -> Result<()> {
    let mut table = csv::line(&COLUMNS);
    print(out, &COLUMNS.map(str::to_owned))?;
    let mut wrong = Vec::new();
    for fault in &trial.faults {
        let outcome = Outcome::of(*fault, trial, go_on)?;
        let row = outcome.row();
        print(out, &row)?;
        table += &csv::line(&row);
        wrong.extend(outcome.faults().into_iter().map(|it| format!("{}: {it}", fault.name())));
    }
    if let Some(path) = &trial.csv {
        std::fs::write(path, table)?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n    "));
    writeln!(
        out,
        "\nnothing lost, nothing twice, nothing oversold; Redis says what the database says"
    )?;
    Ok(())
}

fn print(out: &mut impl Write, row: &[String; COLUMNS.len()]) -> std::io::Result<()> {
    let cells: Vec<_> = row.iter().map(|it| format!("{it:>8}")).collect();
    writeln!(out, "{}", cells.join(" "))?;
    out.flush()
}

impl Outcome {
    /// Lets one fault happen under load.
    pub fn of(fault: Fault, trial: &Trial, go_on: &dyn Fn() -> Result<()>) -> Result<Self> {
        let mut rig = Rig::start(trial.replicas, go_on)?;
        books::stock_up(rig.shop.address())?;
        let load = Load { rate: trial.rate, time: trial.time, patience: RECOVERY };
        let (shop, ended) = (rig.shop.address(), AtomicBool::new(false));
        let (sent, ready_after) = thread::scope(|scope| {
            let sending = scope.spawn(|| load.send(shop, &ended));
            let happened = rig.fail(fault, trial, go_on);
            if happened.is_err() {
                // Relaxed: the senders look at it again and again.
                ended.store(true, Ordering::Relaxed);
            }
            let sent = sending.join().unwrap_or_default();
            happened.map(|it| (sent, it))
        })?;
        let books = Books::compare(&rig.database, &rig.name, &rig.variables, &sent)?;
        Ok(Self { fault, sent, ready_after, books })
    }

    /// What is wrong, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let mut wrong = self.books.faults();
        if self.sent.unanswered != 0 {
            wrong.push(format!("{} orders were not answered in time", self.sent.unanswered));
        }
        wrong
    }

    fn row(&self) -> [String; COLUMNS.len()] {
        let ms = |share| self.sent.quantile(share).map_or(0, |it| it.as_millis()).to_string();
        let (sent, books) = (&self.sent, &self.books);
        [
            self.fault.name().to_owned(),
            sent.answers.len().to_string(),
            sent.placed().count().to_string(),
            sent.refused().to_string(),
            sent.answers.iter().filter(|it| 1 < it.attempts).count().to_string(),
            ms(0.5),
            ms(0.99),
            ms(1.0),
            format!("{:.1}", self.ready_after.as_secs_f64()),
            books.rows.to_string(),
            books.lost.to_string(),
            books.twice.to_string(),
            books.oversold.to_string(),
        ]
    }
}

/// A shop whose parts can fail.
struct Rig {
    // The shop ends before the servers it stands on.
    shop: Shop,
    wires: [Wire; 2],
    database: MariaDb,
    redis: Redis,
    /// Of the database.
    name: String,
    /// What a store is told about its data.
    variables: Vec<(&'static str, String)>,
}

impl Rig {
    fn start(replicas: NonZeroU8, go_on: &dyn Fn() -> Result<()>) -> Result<Self> {
        let (database, redis) = (MariaDb::start_private()?, Redis::start_private()?);
        let url = database.url("shop")?;
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        let port = redis.port().unwrap_or_default();
        let wires = [Wire::to(database.port())?, Wire::to(port)?];
        let through = |url: &str, port: u16, wire: &Wire| {
            url.replace(&format!(":{port}"), &format!(":{}", wire.port()))
        };
        let variables = vec![
            ("DATABASE_URL", through(&url, database.port(), &wires[0])),
            ("REDIS_URL", through(&redis.url(), port, &wires[1])),
            ("STORE_STOCK", "enforce".to_owned()),
        ];
        let plan = Plan {
            replicas,
            policy: "least_conn".to_owned(),
            data: Data::Embedded,
            seed: Seed::Small,
            volume: None,
            port: 0,
            variables: variables.clone(),
        };
        let shop = Shop::start(&plan, go_on)?;
        Ok(Self { shop, wires, database, redis, name, variables })
    }

    /// Has the part fail, brings it back, and waits until every replica is ready; how long that
    /// took from its return.
    fn fail(
        &mut self,
        fault: Fault,
        trial: &Trial,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Duration> {
        pause(trial.time / 3, go_on)?;
        match fault {
            Fault::Mariadb => self.database.kill()?,
            Fault::Redis => self.redis.kill()?,
            Fault::Replica => self.shop.kill_replica(0),
            Fault::Stall => self.wires.iter().for_each(Wire::stall),
        }
        pause(trial.outage, go_on)?;
        let back = Instant::now();
        match fault {
            Fault::Mariadb => self.database.restart()?,
            Fault::Redis => self.redis.restart()?,
            Fault::Replica => self.shop.restart_replica(0, &|| Ok(()))?,
            Fault::Stall => self.wires.iter().for_each(Wire::flow),
        }
        let replicas: Vec<_> = self.shop.replicas().iter().map(|it| it.address).collect();
        let well = || {
            replicas.iter().all(|it| {
                http::get(*it, "/ready")
                    .is_ok_and(|it| it.status == 200 && it.text().contains("\"redis\":\"ok\""))
            })
        };
        ensure!(eventually_within(RECOVERY, well), "the replicas are not ready again");
        Ok(back.elapsed())
    }
}

/// Waits, and goes on being asked whether to.
fn pause(time: Duration, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        go_on()?;
        thread::sleep(Duration::from_millis(20).min(until - Instant::now()));
    }
    Ok(())
}
