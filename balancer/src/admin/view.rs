//! What is shown, as one value: the page, the JSON and the metrics are made of it.
//!
//! It is read off the counters when somebody asks; a request pays for none of it.

use serde::Serialize;

use crate::http::server;
use crate::upstream::backend::{BUCKETS_MS, Reason};

use self::pace::Pace;

pub mod pace;
mod read;

/// The classes of a status, as labels name them.
pub const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What the balancer was doing at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Of the program.
    pub version: &'static str,
    /// Of the source it was built from, `unknown` when the build was not told.
    pub commit: &'static str,
    /// Whether it only finishes what runs.
    pub stopping: bool,
    /// Counts up with each reload.
    pub generation: u64,
    /// Reloads so far.
    pub reloads: LoadCounts,
    /// Connections of clients.
    pub connections: Connections,
    /// Requests whose head was read.
    pub requests: u64,
    /// Requests that panicked.
    pub panics: u64,
    /// Log lines that no file took, because its disk was full or too slow.
    pub dropped_log_lines: u64,
    /// Spans by what became of them, `None` where nobody is told of any.
    pub spans: Option<[(&'static str, u64); 4]>,
    /// Requests whose head was read each second, lately.
    pub per_second: f64,
    /// What happened lately, the last first.
    pub events: Vec<Happening>,
    /// Groups in the order of their names.
    pub upstreams: Vec<Group>,
    /// Virtual servers in the order of their names.
    pub virtual_servers: Vec<VirtualServer>,
    /// The process, `None` where the system does not say.
    pub process: Option<Process>,
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Happening {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Whether somebody should look at it.
    pub is_bad: bool,
    /// To whom: a group and its server, or the configuration.
    pub subject: String,
    /// What.
    pub text: String,
}

/// What became of the configurations that were read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct LoadCounts {
    /// Configurations that came into force after the first.
    pub succeeded: u64,
    /// Configurations that were refused; the one before served on.
    pub refused: u64,
    /// Whether the last one came into force.
    pub last_succeeded: bool,
    /// When the one in force came into force, in milliseconds since 1970.
    pub loaded_unix_ms: u64,
}

/// Connections of clients, in the words of `stub_status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the words of stub_status")]
pub struct Connections {
    pub accepted: u64,
    pub handled: u64,
    pub active: u64,
    pub reading: u64,
    pub writing: u64,
    pub waiting: u64,
}

/// An upstream group.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// As the configuration names it; one of `stream` has a word added where `http` has the name.
    pub name: String,
    /// As the configuration names it.
    pub zone: String,
    /// Whether it is one of `stream`.
    pub is_stream: bool,
    /// Id of its policy.
    pub policy: &'static str,
    /// Requests in progress on all of its servers.
    pub active: u64,
    /// Requests placed on its servers.
    pub picks: u64,
    /// Requests placed on its servers each second, lately.
    pub per_second: f64,
    /// Attempts beyond the first of their request.
    pub retries: u64,
    /// Health checks that passed, and that did not; `None` where there are none.
    pub checks: Option<[u64; 2]>,
    /// Idle connections to its servers.
    pub idle: u64,
    /// Who waits for a server, `None` where nobody may.
    pub queue: Option<Queue>,
    /// Servers ejected after answers from 500 on, and after failures; `None` where none are.
    pub ejections: Option<[u64; 2]>,
    /// Requests that may be in progress at once, and how many were one too many; `None` for no
    /// limit.
    pub limit: Option<(u64, u64)>,
    /// Retries there were no means for, `None` where they are not limited.
    pub retries_refused: Option<u64>,
    /// Its servers, backup ones last.
    pub servers: Vec<Server>,
}

/// Requests that wait for a server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Queue {
    /// How many do.
    pub waiting: u64,
    /// How many may.
    pub limit: u64,
    /// How many came when it was full.
    pub overflows: u64,
    /// How long those waited who got a server.
    pub waits: Histogram,
}

/// Whether a server may be picked, in nginx's words.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may.
    Up,
    /// It finishes what it has.
    Draining,
    /// The configuration says no.
    Down,
    /// It failed too often and gets no request for a while.
    Unavail,
    /// It has not answered its first health check yet.
    Checking,
    /// It does not pass its health checks.
    Unhealthy,
    /// It failed more than the others.
    Ejected,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Up,
        Self::Draining,
        Self::Down,
        Self::Unavail,
        Self::Checking,
        Self::Unhealthy,
        Self::Ejected,
    ];

    /// The label's value.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Unavail => "unavail",
            Self::Checking => "checking",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
        }
    }

    /// Whether something that happened led to it, and not the configuration.
    pub const fn is_result(self) -> bool {
        matches!(self, Self::Unavail | Self::Unhealthy | Self::Ejected)
    }

    /// A shape for those who do not see the color.
    pub const fn sign(self) -> char {
        match self {
            Self::Up => '●',
            Self::Draining | Self::Checking => '◐',
            Self::Down => '■',
            Self::Unavail | Self::Unhealthy | Self::Ejected => '▲',
        }
    }
}

/// A server of a group.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// The number it is asked for by.
    pub id: u32,
    /// Its address.
    pub name: String,
    /// That, with a number where another one has it, too.
    pub label: String,
    /// Whether it may be picked.
    pub state: State,
    /// Why it is in that state, empty where there is nothing to say.
    pub why: String,
    /// What it did lately.
    pub pace: Pace,
    /// Whether it serves only when the others cannot.
    pub backup: bool,
    /// Its share relative to the others.
    pub weight: u64,
    /// Requests in progress at which no more are placed, 0 for no limit.
    pub max_conns: u64,
    /// Failures that take it out, 0 where none do.
    pub max_fails: u64,
    /// How long they count, and how long it is out, in milliseconds.
    pub fail_timeout_ms: u64,
    /// How long it takes to get its whole share back, in milliseconds; 0 for at once.
    pub slow_start_ms: u64,
    /// What requests are bound to it by, empty for the digest of its address.
    pub route: String,
    /// Whether the configuration says that it is down.
    pub down: bool,
    /// Whether it serves only requests that are bound to it.
    pub drain: bool,
    /// What its health checks have found, `None` where it has none.
    pub checks: Option<Checks>,
    /// How often it went out for its failures or its health checks.
    pub outages: u64,
    /// How long it was out, in milliseconds.
    pub downtime_ms: u64,
    /// When it went out, in milliseconds since 1970, `None` while it is not.
    pub down_since_unix_ms: Option<u64>,
    /// When a request was placed on it last, in milliseconds since 1970; `None` before the first.
    pub selected_unix_ms: Option<u64>,
    /// Requests in progress: leases that have not ended.
    pub active: u64,
    /// Requests placed on it.
    pub picks: u64,
    /// Open connections, idle ones included.
    pub open: u64,
    /// Open connections that wait for a request.
    pub idle: u64,
    /// Answers by class, in the order of [`CODES`].
    pub requests: [u64; CODES.len()],
    /// Failed attempts, in the order of [`Reason::ALL`].
    pub failures: [u64; Reason::ALL.len()],
    /// Bytes sent to it.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
    /// From the pick to the end of the answer.
    pub response: Histogram,
    /// Sum of the times from the pick to the end of the head, in nanoseconds, over those answers.
    pub head_ns: u64,
    /// From the pick to the connection, fresh ones only.
    pub connect: Histogram,
}

/// What health checks of a server have found.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Checks {
    /// How many were made.
    pub checks: u64,
    /// How many did not pass.
    pub fails: u64,
    /// How often the server became unhealthy.
    pub unhealthy: u64,
    /// Whether the last one passed, `None` before the first.
    pub last_passed: Option<bool>,
}

/// All `server` blocks of one name.
#[derive(Clone, Debug, Serialize)]
pub struct VirtualServer {
    /// The first of its names, empty when it has none.
    pub name: String,
    /// Requests by method, in the order of [`server::METHODS`], then others, and by class.
    pub requests: [[u64; CODES.len()]; server::METHODS.len() + 1],
    /// From the first byte of a request to the last of its answer.
    pub durations: Histogram,
    /// Requests that ended without an answer.
    pub discarded: u64,
    /// Bytes of requests.
    pub received: u64,
    /// Bytes of answers.
    pub sent: u64,
}

/// Durations in buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// How many fell between the bound of [`BUCKETS_MS`] before and their own; the last are beyond.
    pub counts: [u64; BUCKETS_MS.len() + 1],
    /// Sum of all, in nanoseconds.
    pub sum_ns: u64,
}

/// What the system says about the process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Process {
    /// Time it has computed, in seconds.
    pub cpu_seconds: f64,
    /// Memory it holds, in bytes.
    pub resident_bytes: u64,
    /// Memory it has addresses for, in bytes.
    pub virtual_bytes: u64,
    /// Open files.
    pub open_fds: u64,
    /// Files it may open, `None` for no limit.
    pub max_fds: Option<u64>,
    /// When it started, in seconds since 1970.
    pub started_unix_seconds: f64,
}

impl Server {
    /// Open connections that serve a request.
    pub fn busy(&self) -> u64 {
        // The two are not read at one moment.
        self.open.saturating_sub(self.idle)
    }

    /// Average time from the pick to the end of the head, and of the answer, in nanoseconds; `None`
    /// before the first answer.
    pub fn means_ns(&self) -> Option<[u64; 2]> {
        let count = self.response.count();
        (count > 0).then(|| [self.head_ns, self.response.sum_ns].map(|it| it / count))
    }

    /// Failed attempts, whatever the reason.
    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }
}

impl Histogram {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration in milliseconds below which a share of all lie, as if they lay evenly in their
    /// bucket; the largest bound for those beyond it, `None` when there are none.
    ///
    /// Source: Prometheus, `histogram_quantile`.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let rank = share * self.count() as f64;
        let mut below = 0;
        let mut lower = 0.0;
        for (count, bound) in self.counts.iter().zip(BUCKETS_MS) {
            let upper = bound as f64;
            if *count > 0 && rank <= (below + count) as f64 {
                let within = (rank - below as f64) / *count as f64;
                return Some(lower + (upper - lower) * within);
            }
            below += count;
            lower = upper;
        }
        (self.count() > 0).then_some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_evenly_in_its_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), None);
        histogram.counts[0] = 4;
        histogram.counts[2] = 4;
        assert_eq!(histogram.count(), 8);
        assert_eq!(histogram.quantile_ms(0.5), Some(5.0));
        assert_eq!(histogram.quantile_ms(0.75), Some(17.5));
        histogram.counts[BUCKETS_MS.len()] = 1;
        assert_eq!(histogram.quantile_ms(1.0), Some(10_000.0));
    }
}
