//! Where do the values stand? Flags are stronger than the environment, which is stronger than
//! `.env`.

use std::collections::HashMap;

use super::value::nearest;

/// Every variable: name, default for people, meaning.
pub const VARIABLES: &[(&str, &str, &str)] = &[
    (
        "DATABASE_URL",
        "",
        "mysql://, mariadb:// (host:port,host:port for a cluster; ?ssl-mode=, &ssl-ca=) or sqlite://; wins over all DB_*",
    ),
    ("DB_HOST", "127.0.0.1", "MySQL host, or a list of hosts of one cluster"),
    ("DB_PORT", "3306", "MySQL port"),
    ("DB_NAME", "labo04_db", "MySQL database"),
    ("DB_USER", "labo04", "MySQL user"),
    ("DB_PASSWORD", "labo04", "MySQL password"),
    ("DB_PASS", "labo04", "MySQL password, older name"),
    (
        "REDIS_URL",
        "",
        "redis://, rediss://, redis-sentinel://, redis-cluster://; wins over REDIS_HOST, REDIS_PORT, REDIS_DB",
    ),
    ("REDIS_HOST", "127.0.0.1", "Redis host"),
    ("REDIS_PORT", "6379", "Redis port"),
    ("REDIS_DB", "0", "Redis database"),
    ("PORT", "5000", "public port, when STORE_LISTEN is not set"),
    ("STORE_DATA", "store.sqlite3", "SQLite file of the embedded mode"),
    ("STORE_LISTEN", "0.0.0.0:5000", "public listener"),
    ("STORE_ADMIN_LISTEN", "", "listener for GET and PUT /admin/stage"),
    ("STORE_ADMIN_TOKEN", "", "bearer token of the admin listener"),
    ("STORE_INSTANCE", "host name", "value of X-Store-Instance"),
    ("STORE_COMPAT", "off", "off, w26, a25"),
    ("STORE_STAGE", "fixed", "fixed, 1, 2, 3, 4, 5"),
    ("STORE_LOOKUP", "in_list", "in_list, n_plus_one"),
    ("STORE_REPORTS", "redis_cache", "redis_cache, redis_scan, mysql"),
    ("STORE_STOCK_SYNC", "targeted", "targeted, scan"),
    ("STORE_CONNECTIONS", "pool", "pool, per_call"),
    ("STORE_STOCK", "allow_negative", "allow_negative, enforce"),
    ("STORE_REPORT_TTL", "60s", "age up to which a report is fresh"),
    ("STORE_REPORT_STALE", "600s", "how much longer it is answered"),
    ("STORE_REPORT_WAIT", "5s", "longest wait on a cold cache"),
    ("STORE_REPORT_BUILD", "mysql", "mysql, redis_scan"),
    ("STORE_REPORT_REFRESH", "on_demand", "on_demand, timer"),
    ("STORE_DB_POOL_MAX", "16", "most connections of this replica"),
    ("STORE_DB_POOL_MIN", "2", "connections kept when idle"),
    ("STORE_DB_ACQUIRE_TIMEOUT", "5s", "longest wait for a connection"),
    ("STORE_DB_CONNECT_TIMEOUT", "5s", "longest wait for a server to take a connection"),
    ("STORE_DB_LOCK_WAIT", "5s", "longest wait for a lock"),
    ("STORE_REPLICAS", "1", "replicas, for the connection budget"),
    ("STORE_REDIS_TIMEOUT", "500ms", "deadline of a Redis command"),
    ("STORE_REDIS_POOL_MAX", "100", "connections of the expensive Redis modes"),
    ("STORE_REQUEST_TIMEOUT", "30s", "deadline of a request, 0 for none"),
    ("STORE_MAX_IN_FLIGHT", "1024", "requests at once, 0 for no limit"),
    ("STORE_MAX_BODY", "1MiB", "largest request body"),
    ("STORE_MAX_ITEMS", "1000", "most lines of an order"),
    ("STORE_DRAIN_DELAY", "2s", "time between the signal and the closed listener"),
    ("STORE_DRAIN_TIMEOUT", "7s", "time for what is in flight after that"),
    ("STORE_MIGRATE", "auto", "auto, off"),
    ("STORE_INDEXES", "covering", "covering, lab"),
    ("STORE_SEED", "auto", "auto, none, small, lab"),
    ("STORE_SEED_VALUE", "430", "start of the generator"),
    ("STORE_IDEMPOTENCY_TTL", "24h", "how long an Idempotency-Key is kept"),
    ("STORE_REPAIR_WINDOW", "1h", "how far back the repair sweep looks"),
    ("STORE_GRAPHQL_DEPTH", "16", "deepest GraphQL query"),
    ("STORE_GRAPHQL_COMPLEXITY", "500", "most fields of a GraphQL query"),
    ("STORE_SERVER_TIMING", "off", "off, on: header Server-Timing"),
    ("STORE_WORKERS", "CPU count", "runtime threads"),
    ("STORE_LOG", "info", "log filter"),
    ("STORE_LOG_FORMAT", "text", "text, json"),
];

/// The flag that sets a variable: `STORE_LOG_FORMAT` is `--log-format`, `DB_HOST` is `--db-host`.
pub fn flag(variable: &str) -> String {
    variable.strip_prefix("STORE_").unwrap_or(variable).to_ascii_lowercase().replace('_', "-")
}

/// A warning for each `STORE_*` name that means nothing, with the name it resembles.
pub fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names
        .filter(|name| name.starts_with("STORE_") && VARIABLES.iter().all(|(it, _, _)| it != name))
        .map(|name| match nearest(name, VARIABLES.iter().map(|(it, _, _)| *it)) {
            Some(known) => format!("{name} is not known (did you mean {known}?)"),
            None => format!("{name} is not known"),
        })
        .collect()
}

/// Reads the text of a `.env` file: `NAME=value` lines, `#` comments, an optional `export`.
pub fn dotenv(text: &str) -> HashMap<String, String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}
