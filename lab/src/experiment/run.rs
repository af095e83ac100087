//! One run: a policy, a pool, a load, and what was measured.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{
    front::{Front, Kind},
    gates::{self, Health},
    locust,
    machine::{Meter, Use},
    open::{self, FAILURES, Fate},
    plan::{Experiment, Load},
    pool::{Keeper, Pool},
    schedule::{self, ENDPOINTS},
    watch::Seen,
};
use crate::{
    record::{Complaint, Row, Tick},
    shop::Shop,
    stats::{self, histogram::Histogram},
};

/// How often the pool and the balancer are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Points of time per second at which requests in flight are kept.
const SAMPLES: f64 = 10.0;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) plan: &'a Experiment,
    /// What rows call the pool and the load.
    pub(crate) name: &'a str,
    /// What rows call the policy.
    pub(crate) label: &'a str,
    pub(crate) kind: &'a Kind,
    /// Replicas behind the proxy, the first of the shop.
    pub(crate) servers: usize,
    pub(crate) pool: Pool,
    pub(crate) load: Load,
    pub(crate) repeat: u64,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// All endpoints together, then each.
    pub(crate) rows: Vec<Row>,
    pub(crate) times: Histogram,
    pub(crate) series: Vec<(f64, Vec<u32>)>,
    pub(crate) timeline: Vec<Tick>,
    pub(crate) errors: Vec<Complaint>,
    pub(super) requests: Vec<Fate>,
}

/// What was seen beside the requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    pub(super) machine: Use,
    /// The balancer's counts after the warm-up and at the end.
    pub(super) counts: Option<(Seen, Seen)>,
    /// Seconds, and requests in flight by the balancer's own count.
    pub(super) active: Vec<(f64, Vec<u32>)>,
}

impl Cell<'_> {
    /// Runs it against the shop's replicas, all of which run again afterwards.
    pub(crate) fn run(&self, shop: &mut Shop, go_on: &dyn Fn() -> Result<()>) -> Result<Measured> {
        self.run_logged("", &mut |_| Ok(()), shop, go_on)
    }

    /// The same with lines in the block `http` in the place of `access_log off`; `read` is shown the
    /// proxy's folder after its end.
    pub(crate) fn run_logged(
        &self,
        http: &str,
        read: &mut dyn FnMut(&Path) -> Result<()>,
        shop: &mut Shop,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Measured> {
        let servers: Vec<_> =
            shop.replicas().iter().map(|it| it.address).take(self.servers).collect();
        let front = Front::start(self.kind, &servers, http, go_on)?;
        let mut keeper = Keeper::new(self.pool, shop);
        let measured = match self.load {
            Load::Rate(rate) => self.open(rate, &front, shop, &mut keeper, go_on),
            Load::Users(users) => locust::run(self, users, &front, shop, &mut keeper, go_on),
        };
        keeper.end(shop)?;
        read(front.end().path())?;
        measured
    }

    fn open(
        &self,
        rate: f64,
        front: &Front,
        shop: &mut Shop,
        keeper: &mut Keeper,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Measured> {
        let due = schedule::schedule(&self.plan.traffic(rate), self.plan.seed, self.repeat)?;
        let over = AtomicBool::new(false);
        let start = Instant::now();
        let (sent, beside) = thread::scope(|scope| {
            let load = scope.spawn(|| open::send(&due, front.address, start, &over));
            let beside = self.attend(front, shop, keeper, start, go_on, &mut || load.is_finished());
            // Relaxed: the flag publishes no other memory.
            over.store(true, Ordering::Relaxed);
            let sent = load.join().map_err(|_| anyhow!("the load panicked"))?;
            Ok::<_, anyhow::Error>((sent, beside?))
        })?;
        Ok(self.measured(due.len(), sent, &beside, shop))
    }

    /// Keeps the pool as it should be and watches the balancer until the load is over.
    pub(super) fn attend(
        &self,
        front: &Front,
        shop: &mut Shop,
        keeper: &mut Keeper,
        start: Instant,
        go_on: &dyn Fn() -> Result<()>,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Result<Beside> {
        let meter = Meter::new();
        let servers: Vec<String> =
            shop.replicas().iter().map(|it| it.address.to_string()).take(self.servers).collect();
        let warm = Duration::from_secs_f64(self.plan.warmup);
        let (mut first, mut active) = (None, Vec::new());
        while !is_over() {
            go_on()?;
            keeper.tend(shop, start.elapsed())?;
            if let Some(admin) = front.admin {
                let seen = Seen::fetch(admin)?;
                active.push((start.elapsed().as_secs_f64(), counts(&seen, &servers)));
                if first.is_none() && warm <= start.elapsed() {
                    first = Some(seen);
                }
            }
            thread::sleep(LOOK_AGAIN);
        }
        let last = front.admin.map(Seen::fetch).transpose()?;
        Ok(Beside { machine: meter.read(), counts: first.zip(last), active })
    }

    /// A row with nothing in it but what it is about.
    pub(super) fn row(&self, endpoint: &str) -> Row {
        Row {
            load: self.name.to_owned(),
            policy: self.label.to_owned(),
            repeat: self.repeat,
            endpoint: endpoint.to_owned(),
            ..Row::default()
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
    fn measured(&self, due: usize, sent: Vec<Fate>, beside: &Beside, shop: &Shop) -> Measured {
        let warm = Duration::from_secs_f64(self.plan.warmup);
        let counted: Vec<&Fate> = sent.iter().filter(|it| warm <= it.due).collect();
        let replicas = shop.replicas().iter().take(self.servers);
        let names: Vec<&str> = replicas.map(|it| it.name.as_str()).collect();
        let mut late: Vec<f64> =
            counted.iter().map(|it| it.sent.saturating_sub(it.due).as_secs_f64()).collect();
        let end = self.plan.warmup + self.plan.seconds + self.plan.late_ms / 1e3;
        let end = Duration::from_secs_f64(end);
        let health = Health {
            due,
            sent: sent.iter().filter(|it| it.sent <= end).count(),
            late_p99: stats::quantile(&mut late, 0.99).unwrap_or(0.0),
            cpu: beside.machine.own,
        };
        let invalid = gates::verdict(self.plan, &health);

        let (mut all, times) = self.tally("", &counted, &names);
        all.set("late_p99", health.late_p99);
        all.set("load_cpu", beside.machine.own);
        all.set("machine_cpu", beside.machine.all);
        all.set("stolen_cpu", beside.machine.stolen);
        all.set("offered", counted.len() as f64 / self.plan.seconds);
        balancer_figures(&mut all, beside);
        let mut rows = vec![all];
        for (place, endpoint) in ENDPOINTS.iter().enumerate() {
            let part: Vec<&Fate> =
                counted.iter().filter(|it| it.endpoint == place).copied().collect();
            if !part.is_empty() {
                rows.push(self.tally(endpoint, &part, &names).0);
            }
        }
        for it in &mut rows {
            it.invalid.clone_from(&invalid);
        }
        Measured {
            rows,
            times,
            series: in_flight(&sent, &names),
            timeline: self.timeline(&sent),
            errors: self.errors(&counted),
            requests: sent,
        }
    }

    /// The figures of some requests.
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
    fn tally(&self, endpoint: &str, requests: &[&Fate], names: &[&str]) -> (Row, Histogram) {
        let nanos = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
        let (mut times, mut from_sending) = (Histogram::default(), Histogram::default());
        for it in requests.iter().filter(|it| it.failure.is_empty()) {
            times.record(nanos(it.done.saturating_sub(it.due)));
            from_sending.record(nanos(it.done.saturating_sub(it.sent)));
        }
        let mut row = self.row(endpoint);
        row.set_times(&times);
        let answered = times.count() as f64;
        row.set("answered", answered);
        row.set("failed", requests.len() as f64 - answered);
        row.set("per_second", answered / self.plan.seconds);
        row.set("sent_p50", from_sending.quantile(0.5).unwrap_or(f64::NAN));
        row.set("sent_p99", from_sending.quantile(0.99).unwrap_or(f64::NAN));
        for class in FAILURES {
            let count = requests.iter().filter(|it| it.failure == class).count();
            if 0 < count {
                row.set(&format!("failed_{class}"), count as f64);
            }
        }
        let served: Vec<f64> = names
            .iter()
            .map(|name| requests.iter().filter(|it| it.instance == **name).count() as f64)
            .collect();
        row.set("jain", stats::jain(&served).unwrap_or(f64::NAN));
        let sum = served.iter().sum::<f64>().max(1.0);
        row.shares = served.iter().map(|it| it / sum).collect();
        (row, times)
    }

    fn timeline(&self, sent: &[Fate]) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        for it in sent {
            let second = u32::try_from(it.done.as_secs()).unwrap_or(u32::MAX);
            let place = ticks.iter().position(|it| it.second == second).unwrap_or_else(|| {
                ticks.push(Tick {
                    load: self.name.to_owned(),
                    policy: self.label.to_owned(),
                    repeat: self.repeat,
                    second,
                    ..Tick::default()
                });
                ticks.len() - 1
            });
            let tick = &mut ticks[place];
            if it.failure.is_empty() { tick.ok += 1 } else { tick.failed += 1 }
        }
        ticks.sort_by_key(|it| it.second);
        ticks
    }

    fn errors(&self, requests: &[&Fate]) -> Vec<Complaint> {
        let classes = FAILURES.iter().flat_map(|class| (0..ENDPOINTS.len()).map(|it| (*class, it)));
        classes
            .filter_map(|(class, endpoint)| {
                let same =
                    requests.iter().filter(|it| it.failure == class && it.endpoint == endpoint);
                let times = same.count() as u64;
                (0 < times).then(|| Complaint {
                    load: self.name.to_owned(),
                    policy: self.label.to_owned(),
                    times,
                    endpoint: ENDPOINTS[endpoint].to_owned(),
                    text: class.to_owned(),
                })
            })
            .collect()
    }
}

/// What the balancer's own histogram says, beside what clients saw.
pub(super) fn balancer_figures(row: &mut Row, beside: &Beside) {
    let Some((first, last)) = &beside.counts else { return };
    for (name, share) in [("balancer_p50", 0.5), ("balancer_p95", 0.95), ("balancer_p99", 0.99)] {
        if let Some((mean, quantile)) = last.since(first, share) {
            row.set("balancer_mean", mean);
            row.set(name, quantile);
        }
    }
}

fn counts(seen: &Seen, servers: &[String]) -> Vec<u32> {
    servers.iter().map(|it| seen.active.get(it).copied().unwrap_or(0)).collect()
}

/// Requests on each server over time, as clients saw it.
fn in_flight(sent: &[Fate], names: &[&str]) -> Vec<(f64, Vec<u32>)> {
    let end = sent.iter().map(|it| it.done).max().unwrap_or_default().as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a run has few samples"
    )]
    let samples = (end * SAMPLES).ceil() as u32;
    let at = |sample: u32| f64::from(sample) / SAMPLES;
    let on = |name: &str, at: f64| {
        let at = Duration::from_secs_f64(at);
        let there = sent.iter().filter(|it| it.instance == name && it.sent <= at && at < it.done);
        u32::try_from(there.count()).unwrap_or(u32::MAX)
    };
    (0..samples).map(|it| (at(it), names.iter().map(|name| on(name, at(it))).collect())).collect()
}

/// The address clients ask.
pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}
