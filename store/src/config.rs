//! What was the store told?
//!
//! Names and values go in, a [`Config`] comes out. Where the values stand (flags, environment,
//! `.env`) is the caller's business: see [`sources`].

mod choice;
mod database;
mod redis;
pub mod sources;
mod value;

use std::net::SocketAddr;
use std::time::Duration;

pub use self::choice::{
    Build, Compat, Connections, Indexes, LogFormat, Lookup, Migrate, Preset, Refresh, Reports,
    Seed, ServerTiming, Stage, StockSync,
};
pub use self::database::Database;
pub use self::redis::{Redis, Server};
use self::value::Reader;
use crate::domain::stock::StockPolicy;

/// Everything that can be set, with its default filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Public listener.
    pub listen: SocketAddr,
    /// Listener for the switches of the stage, if any.
    pub admin: Option<Admin>,
    /// Value of `X-Store-Instance`.
    pub instance: String,
    /// Replicas that share the database; only the connection budget asks.
    pub replicas: u32,
    /// Where the truth is kept.
    pub database: Database,
    /// The shared memory; `None` keeps reports in this process.
    pub redis: Option<Redis>,
    /// Limits of the database pool.
    pub pool: Pool,
    /// Deadline of one Redis command.
    pub redis_timeout: Duration,
    /// Connections for the two expensive Redis modes.
    pub redis_pool_max: usize,
    /// Whose statuses are answered.
    pub compat: Compat,
    /// The four switches.
    pub stage: Stage,
    /// May stock go below zero?
    pub stock: StockPolicy,
    /// Ages and builders of reports.
    pub reports: ReportConfig,
    /// What one request, and all of them, may use.
    pub limits: Limits,
    /// Time between the signal and the closed listener.
    pub drain_delay: Duration,
    /// Time for what is in flight after that.
    pub drain_timeout: Duration,
    /// Are missing tables created?
    pub migrate: Migrate,
    /// Which indexes beyond keys exist.
    pub indexes: Indexes,
    /// What an empty database is filled with.
    pub seed: Seed,
    /// Start of the generator.
    pub seed_value: u64,
    /// How long the answer to an `Idempotency-Key` is kept.
    pub idempotency_ttl: Duration,
    /// How far back the repair sweep looks at orders.
    pub repair_window: Duration,
    /// Deepest GraphQL query.
    pub graphql_depth: usize,
    /// Most fields of a GraphQL query.
    pub graphql_complexity: usize,
    /// Do answers tell where their time went?
    pub server_timing: ServerTiming,
    /// Runtime threads; `None` is one per CPU.
    pub workers: Option<usize>,
    /// Filter for the log, as `tracing` reads it.
    pub log: String,
    /// Shape of log lines.
    pub log_format: LogFormat,
}

/// Who may turn the switches of the stage, and where.
#[derive(Clone)]
pub struct Admin {
    /// Where the listener is.
    pub listen: SocketAddr,
    /// What a caller has to know; does not print.
    pub token: Option<String>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "***");
        f.debug_struct("Admin").field("listen", &self.listen).field("token", &token).finish()
    }
}

/// Limits of the database pool of one replica.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Most connections.
    pub max: u32,
    /// Connections kept when idle.
    pub min: u32,
    /// Longest wait for a free one.
    pub acquire: Duration,
    /// Longest wait for a server to take a new one.
    pub connect: Duration,
    /// Longest wait for a row (MySQL) or for the file (SQLite).
    pub lock_wait: Duration,
}

/// Ages and builders of reports.
#[derive(Clone, Copy, Debug)]
pub struct ReportConfig {
    /// Up to this age a report is fresh.
    pub ttl: Duration,
    /// For so much longer it is still answered while a new one is built.
    pub stale: Duration,
    /// Longest wait for somebody else's build.
    pub wait: Duration,
    /// What a build reads.
    pub build: Build,
    /// What starts a build.
    pub refresh: Refresh,
}

/// What one request, and all of them, may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deadline of a request.
    pub timeout: Option<Duration>,
    /// Requests at once.
    pub in_flight: Option<usize>,
    /// Bytes of a body.
    pub body: usize,
    /// Lines of an order.
    pub lines: usize,
}

impl Config {
    /// Reads every variable through `lookup`.
    ///
    /// Fails with one sentence per bad variable, all of them. The second value holds warnings.
    pub fn read(
        lookup: &dyn Fn(&str) -> Option<String>,
        host: &str,
    ) -> Result<(Self, Vec<String>), Vec<String>> {
        let mut read = Reader::new(lookup);
        let database = database::read(&mut read);
        let redis = redis::read(&mut read);
        let listen = match read.text("STORE_LISTEN") {
            Some(_) => read.address("STORE_LISTEN"),
            None => read.port("PORT").map(|port| SocketAddr::from(([0, 0, 0, 0], port))),
        };
        let preset: Preset = read.choice("STORE_STAGE").unwrap_or_default();
        let config = Self {
            listen: listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 5000))),
            admin: read_admin(&mut read),
            instance: read.header("STORE_INSTANCE").unwrap_or_else(|| host.to_owned()),
            replicas: read.number("STORE_REPLICAS", 1, 10_000).unwrap_or(1),
            pool: read_pool(&mut read),
            redis_timeout: read
                .duration("STORE_REDIS_TIMEOUT")
                .unwrap_or(Duration::from_millis(500)),
            redis_pool_max: read.number("STORE_REDIS_POOL_MAX", 1, 100_000).unwrap_or(100),
            compat: read.choice("STORE_COMPAT").unwrap_or_default(),
            stage: preset.stage().changed_by(&mut read),
            stock: read.choice("STORE_STOCK").unwrap_or(StockPolicy::AllowNegative),
            reports: ReportConfig {
                ttl: read.duration("STORE_REPORT_TTL").unwrap_or(Duration::from_mins(1)),
                stale: read.duration("STORE_REPORT_STALE").unwrap_or(Duration::from_mins(10)),
                wait: read.duration("STORE_REPORT_WAIT").unwrap_or(Duration::from_secs(5)),
                build: read.choice("STORE_REPORT_BUILD").unwrap_or_default(),
                refresh: read.choice("STORE_REPORT_REFRESH").unwrap_or_default(),
            },
            limits: Limits {
                timeout: match read.duration("STORE_REQUEST_TIMEOUT") {
                    Some(given) => Some(given).filter(|it| !it.is_zero()),
                    None => preset.request_timeout(),
                },
                in_flight: match read.number("STORE_MAX_IN_FLIGHT", 0, 1_000_000) {
                    Some(given) => Some(given).filter(|it| *it != 0),
                    None => preset.in_flight(),
                },
                body: read.size("STORE_MAX_BODY").unwrap_or(1 << 20),
                lines: read.number("STORE_MAX_ITEMS", 1, 100_000).unwrap_or(1000),
            },
            drain_delay: read.duration("STORE_DRAIN_DELAY").unwrap_or(Duration::from_secs(2)),
            drain_timeout: read.duration("STORE_DRAIN_TIMEOUT").unwrap_or(Duration::from_secs(7)),
            migrate: read.choice("STORE_MIGRATE").unwrap_or_default(),
            indexes: read.choice("STORE_INDEXES").unwrap_or_default(),
            seed: read.choice("STORE_SEED").unwrap_or_default(),
            seed_value: read.number("STORE_SEED_VALUE", 0, u64::MAX).unwrap_or(430),
            idempotency_ttl: read
                .duration("STORE_IDEMPOTENCY_TTL")
                .unwrap_or(Duration::from_hours(24)),
            repair_window: read.duration("STORE_REPAIR_WINDOW").unwrap_or(Duration::from_hours(1)),
            graphql_depth: read.number("STORE_GRAPHQL_DEPTH", 1, 1000).unwrap_or(16),
            graphql_complexity: read
                .number("STORE_GRAPHQL_COMPLEXITY", 1, 1_000_000)
                .unwrap_or(500),
            server_timing: read.choice("STORE_SERVER_TIMING").unwrap_or_default(),
            workers: read.number("STORE_WORKERS", 1, 1024),
            log: read.text("STORE_LOG").unwrap_or_else(|| "info".to_owned()),
            log_format: read.choice("STORE_LOG_FORMAT").unwrap_or_default(),
            database,
            redis,
        };
        let walks = config.stage.reports == Reports::RedisScan
            || config.stage.stock_sync == StockSync::Scan
            || config.reports.build == Build::RedisScan;
        if walks && matches!(config.redis, Some(Redis::Cluster { .. })) {
            read.refuse_unseen(
                "STORE_STAGE, STORE_REPORTS, STORE_STOCK_SYNC, STORE_REPORT_BUILD",
                "redis_scan and scan walk through one Redis, not a cluster",
            );
        }
        if config.redis.is_none() && 1 < config.replicas {
            read.warn(format!(
                "STORE_REPLICAS={} without REDIS_URL or REDIS_HOST: each replica keeps reports of its own",
                config.replicas
            ));
        }
        read.finish(config)
    }
}

fn read_admin(read: &mut Reader<'_>) -> Option<Admin> {
    let listen = read.address("STORE_ADMIN_LISTEN")?;
    let token = read.text("STORE_ADMIN_TOKEN");
    if token.is_none() && !listen.ip().is_loopback() {
        let reason = "needs STORE_ADMIN_TOKEN, or a loopback address";
        read.refuse("STORE_ADMIN_LISTEN", &listen.to_string(), reason);
    }
    Some(Admin { listen, token })
}

fn read_pool(read: &mut Reader<'_>) -> Pool {
    let max = read.number("STORE_DB_POOL_MAX", 1, 10_000).unwrap_or(16);
    let five = Duration::from_secs(5);
    Pool {
        max,
        min: read.number("STORE_DB_POOL_MIN", 0, 10_000).unwrap_or(2).min(max),
        acquire: read.duration("STORE_DB_ACQUIRE_TIMEOUT").unwrap_or(five),
        connect: read.duration("STORE_DB_CONNECT_TIMEOUT").unwrap_or(five),
        lock_wait: read.duration("STORE_DB_LOCK_WAIT").unwrap_or(five),
    }
}

#[cfg(test)]
mod tests;
