//! What does the store count about itself?
//!
//! One registry for everything; a doc comment in the table of the contract is the help text here.
//! Label sets are closed: a route is a template, a code is a class, nobody's id is a label.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::config::{Config, Stage};
use crate::domain::stock::StockPolicy;

mod process;

const BUCKETS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0];

/// One label whose value is one of a few words.
pub type One = [(&'static str, &'static str); 1];
/// Two of them.
pub type Two = [(&'static str, &'static str); 2];
/// Three of them.
pub type Three = [(&'static str, &'static str); 3];

/// All switches.
pub type Seven = [(&'static str, &'static str); 7];

/// Makes the histograms of a family, all with the same buckets.
#[derive(Clone, Copy, Debug)]
pub struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

/// Handles of every metric; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Calls to `POST /orders`.
    pub orders: Counter,
    /// Calls to the reports, by position.
    pub reports: [Counter; 2],
    /// Time from head to answer, by route, method and code.
    pub requests: Family<Three, Histogram, Seconds>,
    /// Requests in flight.
    pub active: Gauge,
    /// Requests refused for want of something, by reason.
    pub shed: Family<One, Counter>,
    /// Committed orders.
    pub orders_created: Counter,
    /// Refused orders, by reason.
    pub orders_rejected: Family<One, Counter>,
    /// Parts of an order, by phase.
    pub phases: Family<One, Histogram, Seconds>,
    /// Open database connections, by state.
    pub pool_connections: Family<One, Gauge>,
    /// Most connections of the pool.
    pub pool_max: Gauge,
    /// Time to get a connection.
    pub pool_wait: Histogram,
    /// Connections opened.
    pub connections_opened: Counter,
    /// Statements, by what they are for.
    pub queries: Family<One, Counter>,
    /// Repeated transactions, by reason.
    pub retries: Family<One, Counter>,
    /// Database errors, by kind.
    pub db_errors: Family<One, Counter>,
    /// Commands, by name and backend.
    pub redis_commands: Family<Two, Counter>,
    /// Commands that failed.
    pub redis_errors: Counter,
    /// Report answers, by report and result.
    pub report_requests: Family<Two, Counter>,
    /// Cost of a build, by report and source.
    pub report_build: Family<Two, Histogram, Seconds>,
    /// Age of the last answer in seconds, by report.
    pub report_age: Family<One, Gauge>,
    /// Answers given again to the same key.
    pub replays: Counter,
    /// Ids waiting to be repaired in Redis.
    pub repair_queue: Gauge,
    /// 1 where a check of `/ready` passes.
    pub ready: Family<One, Gauge>,
    /// Panics caught.
    pub panics: Counter,
    stage: Family<Seven, Gauge>,
}

/// The handles together with the registry that prints them.
#[derive(Debug)]
pub struct Registered {
    registry: Registry,
    /// Handles of every metric.
    pub metrics: Metrics,
}

impl Registered {
    /// Registers everything once.
    pub fn new(config: &Config) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics {
            orders: counter(&mut registry, "orders", "Calls to POST /orders"),
            reports: [
                counter(&mut registry, "highest_spenders", "Calls to the highest-spenders report"),
                counter(&mut registry, "best_sellers", "Calls to the best-sellers report"),
            ],
            requests: seconds(
                &mut registry,
                "http_server_request_duration_seconds",
                "Time from head to answer",
            ),
            active: gauge(&mut registry, "http_server_active_requests", "Requests in flight"),
            shed: counters(
                &mut registry,
                "store_requests_shed",
                "Requests refused for want of something",
            ),
            orders_created: counter(&mut registry, "store_orders_created", "Committed orders"),
            orders_rejected: counters(&mut registry, "store_orders_rejected", "Refused orders"),
            phases: seconds(&mut registry, "store_order_phase_seconds", "Parts of an order"),
            pool_connections: gauges(
                &mut registry,
                "store_db_pool_connections",
                "Open database connections",
            ),
            pool_max: gauge(&mut registry, "store_db_pool_max", "Most connections of the pool"),
            pool_wait: {
                let histogram = Histogram::new(BUCKETS);
                registry.register(
                    "store_db_pool_wait_seconds",
                    "Time to get a connection",
                    histogram.clone(),
                );
                histogram
            },
            connections_opened: counter(
                &mut registry,
                "store_db_connections_opened",
                "Database connections opened",
            ),
            queries: counters(&mut registry, "store_db_queries", "Statements sent"),
            retries: counters(&mut registry, "store_db_retries", "Transactions repeated"),
            db_errors: counters(&mut registry, "store_db_errors", "Database errors"),
            redis_commands: counters(&mut registry, "store_redis_commands", "Redis commands"),
            redis_errors: counter(
                &mut registry,
                "store_redis_errors",
                "Redis commands that failed",
            ),
            report_requests: counters(&mut registry, "store_report_requests", "Report answers"),
            report_build: seconds(
                &mut registry,
                "store_report_build_seconds",
                "Cost of building a report",
            ),
            report_age: gauges(
                &mut registry,
                "store_report_age_seconds",
                "Age of the last report answered",
            ),
            replays: counter(
                &mut registry,
                "store_idempotent_replays",
                "Answers given again to the same key",
            ),
            repair_queue: gauge(
                &mut registry,
                "store_repair_queue_length",
                "Ids waiting to be repaired in Redis",
            ),
            ready: gauges(&mut registry, "store_ready", "1 where a readiness check passes"),
            panics: counter(&mut registry, "store_panics", "Requests that panicked"),
            stage: Family::default(),
        };
        let stage = metrics.stage.clone();
        registry.register("store_stage_info", "Switches of this instance", stage);
        metrics.show_stage(config, config.stage);
        register_build(&mut registry);
        registry.register_collector(Box::new(process::Collector));
        Self { registry, metrics }
    }

    /// The exposition as OpenMetrics text.
    pub fn print(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(16 << 10);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Metrics {
    /// Observes one phase of an order.
    pub fn phase(&self, phase: &'static str, took: Duration) {
        self.phases.get_or_create(&[("phase", phase)]).observe(took.as_secs_f64());
    }

    /// Shows how the switches stand, in place of how they stood.
    pub fn show_stage(&self, config: &Config, now: Stage) {
        let stock = match config.stock {
            StockPolicy::AllowNegative => "allow_negative",
            StockPolicy::Enforce => "enforce",
        };
        let labels = [
            ("stage", now.name),
            ("lookup", now.lookup.word()),
            ("reports", now.reports.word()),
            ("stock_sync", now.stock_sync.word()),
            ("connections", now.connections.word()),
            ("stock", stock),
            ("compat", config.compat.word()),
        ];
        self.stage.clear();
        self.stage.get_or_create(&labels).set(1);
    }
}

fn register_build(registry: &mut Registry) {
    let build: Family<Two, Gauge> = Family::default();
    let commit = option_env!("STORE_COMMIT").unwrap_or("unknown");
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION")), ("commit", commit)]).set(1);
    registry.register("store_build_info", "Version of this program", build);
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn counters<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> Family<[(&'static str, &'static str); N], Counter> {
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

fn gauges(registry: &mut Registry, name: &str, help: &str) -> Family<One, Gauge> {
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

fn seconds<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> Family<[(&'static str, &'static str); N], Histogram, Seconds> {
    let family = Family::new_with_constructor(Seconds);
    registry.register(name, help, family.clone());
    family
}
