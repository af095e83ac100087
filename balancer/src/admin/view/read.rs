//! Counters → the view of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use policy::Time;

use super::pace::Pace;
use super::{
    Checks, Connections, Group, Histogram, Process, Queue, Server, State, View, VirtualServer,
};
use crate::engine::Shared;
use crate::engine::clock;
use crate::http::server;
use crate::snapshot::Snapshot;
use crate::upstream::backend::Durations;
use crate::upstream::standing::Out;
use crate::upstream::{self, Upstream};

impl View {
    /// Reads everything off the counters.
    pub fn read(shared: &Shared) -> Self {
        let totals = shared.stats.totals();
        let snapshot = shared.snapshot.load();
        let connections = Connections {
            accepted: totals.accepted,
            handled: totals.handled,
            active: totals.active,
            reading: totals.reading,
            writing: totals.writing,
            waiting: totals.waiting,
        };
        let servers = snapshot.listeners.iter().flat_map(|it| &it.servers.servers);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("BALANCER_COMMIT").unwrap_or("unknown"),
            stopping: shared.is_stopping(),
            generation: snapshot.generation,
            reloads: shared.reloads.counts(),
            connections,
            requests: totals.requests,
            per_second: 0.0,
            events: Vec::new(),
            panics: totals.panics,
            dropped_log_lines: crate::logs::writer::dropped(),
            spans: snapshot.exporter.as_ref().map(|_| crate::otel::fates()),
            upstreams: groups(&snapshot, Moment::now()),
            virtual_servers: virtual_servers(servers),
            process: Process::read(),
        }
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct Moment {
    time: Time,
    unix_ms: u64,
}

impl Moment {
    fn now() -> Self {
        Self { time: clock::now(), unix_ms: clock::unix_millis() }
    }

    /// The milliseconds since 1970 of a moment before.
    fn unix_ms_of(self, before: Time) -> u64 {
        let passed = u64::try_from(self.time.since(before).as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_sub(passed)
    }
}

/// One group per name: each plain `proxy_pass` to the same address has one of its own.
fn groups(snapshot: &Snapshot, now: Moment) -> Vec<Group> {
    let mut named: BTreeMap<(&str, bool), Vec<&Upstream>> = BTreeMap::new();
    for (upstreams, is_stream) in [(&snapshot.upstreams, false), (&snapshot.stream_upstreams, true)]
    {
        for upstream in upstreams {
            named.entry((&upstream.name, is_stream)).or_default().push(upstream);
        }
    }
    let group = |(&(name, is_stream), same): (&(&str, bool), &Vec<&Upstream>)| {
        let is_taken = is_stream && named.contains_key(&(name, false));
        let shown = if is_taken { format!("{name} (stream)") } else { name.to_owned() };
        group(shown, is_stream, same, now)
    };
    named.iter().filter_map(group).collect()
}

fn group(name: String, is_stream: bool, same: &[&Upstream], now: Moment) -> Option<Group> {
    let first = same.first()?;
    // Found by address: groups of ten thousand servers are read again and again.
    let mut places: HashMap<(upstream::Address, u32), (usize, Vec<*const upstream::Backend>)> =
        HashMap::new();
    let mut servers: Vec<Server> = Vec::new();
    for server in same.iter().flat_map(|it| it.servers()) {
        let this = Arc::as_ptr(&server.backend);
        let next = || Server::read(&server, now);
        let key = (server.backend.address.clone(), server.backend.ordinal);
        match places.get_mut(&key) {
            // It has come back while it leaves: facts are added once, weights twice.
            Some((at, known)) if known.contains(&this) => {
                servers[*at].weight += u64::from(server.terms.weight.get());
            }
            Some((at, known)) => {
                servers[*at].add(&next());
                known.push(this);
            }
            None => {
                places.insert(key, (servers.len(), vec![this]));
                servers.push(next());
            }
        }
    }
    // Only groups with a block have them, and of those there is one.
    let retries = first.protections.retries.as_ref();
    Some(Group {
        name,
        zone: first.name.clone(),
        is_stream,
        policy: first.policy().id,
        active: servers.iter().map(|it| it.active).sum(),
        per_second: 0.0,
        picks: servers.iter().map(|it| it.picks).sum(),
        retries: same.iter().map(|it| it.totals.retries.load(Ordering::Relaxed)).sum(),
        checks: servers.iter().any(|it| it.checks.is_some()).then(|| {
            let mut sums = [0; 2];
            for upstream in same {
                add_all(&mut sums, &values(&upstream.totals.checks));
            }
            sums
        }),
        queue: queue(first),
        ejections: first.protections.ejector.as_ref().map(|it| values(&it.counts)),
        limit: first
            .protections
            .limiter
            .as_ref()
            .map(|it| (u64::from(it.limit()), it.shed.load(Ordering::Relaxed))),
        retries_refused: retries.map(|it| it.refused.load(Ordering::Relaxed)),
        idle: same.iter().map(|it| u64::from(it.idle.load(Ordering::Relaxed))).sum(),
        servers,
    })
}

fn queue(upstream: &Upstream) -> Option<Queue> {
    let protections = &upstream.protections;
    let (queue, rules) = protections.queue.as_ref().zip(protections.asked.queue)?;
    Some(Queue {
        waiting: queue.len() as u64,
        limit: rules.limit as u64,
        overflows: queue.overflows.load(Ordering::Relaxed),
        waits: Histogram::read(&queue.waits),
    })
}

fn virtual_servers<'a>(
    servers: impl Iterator<Item = &'a Arc<server::Server>>,
) -> Vec<VirtualServer> {
    let mut known: Vec<*const server::Counters> = Vec::new();
    let mut named: BTreeMap<&str, VirtualServer> = BTreeMap::new();
    for server in servers {
        // One block may listen on several addresses.
        if known.contains(&Arc::as_ptr(&server.counters)) {
            continue;
        }
        known.push(Arc::as_ptr(&server.counters));
        let one = named.entry(&server.name).or_insert_with(|| VirtualServer {
            name: server.name.clone(),
            requests: Default::default(),
            durations: Histogram::default(),
            discarded: 0,
            received: 0,
            sent: 0,
        });
        for (sums, counters) in one.requests.iter_mut().zip(&server.counters.requests) {
            add_all(sums, &values(counters));
        }
        one.durations.add(&Histogram::read(&server.counters.durations));
        one.discarded += server.counters.discarded.load(Ordering::Relaxed);
        one.received += server.counters.received.load(Ordering::Relaxed);
        one.sent += server.counters.sent.load(Ordering::Relaxed);
    }
    named.into_values().collect()
}

impl Server {
    fn read(server: &upstream::Server, now: Moment) -> Self {
        let upstream::Server { terms, backend, binding } = server;
        let counters = &backend.counters;
        let out = backend.out_at(now.time);
        let state = match out {
            _ if terms.down => State::Down,
            Some(Out::Unhealthy) => State::Unhealthy,
            Some(Out::Checking) => State::Checking,
            Some(Out::Ejected(_)) => State::Ejected,
            None if now.time < backend.usable_from() => State::Unavail,
            None if binding.drain => State::Draining,
            None => State::Up,
        };
        let record = backend.record();
        let why = match state {
            State::Down => "says the configuration".to_owned(),
            State::Draining => "serves only requests that are bound to it".to_owned(),
            State::Unavail => {
                let left = backend.usable_from().since(now.time).as_secs() + 1;
                let fails = record.fails();
                let failures = if fails == 1 { "failure" } else { "failures" };
                format!("{fails} {failures}, tried again in {left} s")
            }
            State::Unhealthy => "does not pass its health checks".to_owned(),
            State::Checking => "has not passed a health check yet".to_owned(),
            State::Ejected => {
                let left = backend.usable_from().since(now.time).as_secs() + 1;
                format!("did worse than the others, tried again in {left} s")
            }
            State::Up => String::new(),
        };
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let picked_at = Time::from_nanos(counters.picked_at.load(Ordering::Relaxed));
        let narrow = |it: &AtomicU32| u64::from(it.load(Ordering::Relaxed));
        Self {
            id: backend.id(),
            name: backend.name.clone(),
            label: backend.label(),
            state,
            why,
            pace: Pace::default(),
            backup: terms.backup,
            weight: u64::from(terms.weight.get()),
            max_conns: terms.max_conns.map_or(0, |it| u64::from(it.get())),
            max_fails: terms.max_fails.map_or(0, |it| u64::from(it.get())),
            fail_timeout_ms: millis(terms.fail_timeout),
            slow_start_ms: terms.slow_start.map_or(0, millis),
            route: binding.route.as_deref().unwrap_or_default().to_owned(),
            down: terms.down,
            drain: binding.drain,
            checks: backend.checks().map(|it| Checks {
                checks: it.checks,
                fails: it.fails,
                unhealthy: it.unhealthy,
                last_passed: it.last_passed,
            }),
            outages: record.outages(),
            downtime_ms: millis(record.downtime_at(now.time)),
            down_since_unix_ms: record.down_since().map(|it| now.unix_ms_of(it)),
            selected_unix_ms: (picked_at != Time::ZERO).then(|| now.unix_ms_of(picked_at)),
            active: u64::from(backend.in_flight()),
            picks: counters.picks.load(Ordering::Relaxed),
            open: narrow(&counters.open),
            idle: narrow(&counters.idle),
            requests: values(&counters.requests),
            failures: values(&counters.failures),
            sent: counters.sent.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            response: Histogram::read(&counters.response),
            head_ns: counters.head_nanos.load(Ordering::Relaxed),
            connect: Histogram::read(&counters.connect),
        }
    }

    /// Adds what is counted for the same address elsewhere; the better state is shown.
    fn add(&mut self, other: &Self) {
        if other.state < self.state {
            self.state = other.state;
            self.why.clone_from(&other.why);
        }
        self.backup &= other.backup;
        self.weight += other.weight;
        self.max_conns += other.max_conns;
        self.active += other.active;
        self.picks += other.picks;
        self.open += other.open;
        self.idle += other.idle;
        add_all(&mut self.requests, &other.requests);
        add_all(&mut self.failures, &other.failures);
        self.sent += other.sent;
        self.received += other.received;
        self.outages += other.outages;
        self.downtime_ms += other.downtime_ms;
        self.down_since_unix_ms = self.down_since_unix_ms.and(other.down_since_unix_ms);
        self.selected_unix_ms = self.selected_unix_ms.max(other.selected_unix_ms);
        self.response.add(&other.response);
        self.head_ns += other.head_ns;
        self.connect.add(&other.connect);
    }
}

impl Histogram {
    fn read(durations: &Durations) -> Self {
        Self { counts: values(&durations.counts), sum_ns: durations.nanos.load(Ordering::Relaxed) }
    }

    fn add(&mut self, other: &Self) {
        add_all(&mut self.counts, &other.counts);
        self.sum_ns += other.sum_ns;
    }
}

impl Process {
    fn read() -> Option<Self> {
        let process = procfs::process::Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let boot = procfs::boot_time_secs().ok()?;
        let limits = process.limits().ok()?;
        let max_fds = match limits.max_open_files.soft_limit {
            procfs::process::LimitValue::Value(files) => Some(files),
            procfs::process::LimitValue::Unlimited => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "ticks stay far below 2^52")]
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 52 bits")]
        let boot = boot as f64;
        Some(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            open_fds: u64::try_from(process.fd_count().ok()?).ok()?,
            max_fds,
            started_unix_seconds: boot + seconds(stat.starttime),
        })
    }
}

fn values<const N: usize>(counters: &[AtomicU64; N]) -> [u64; N] {
    counters.each_ref().map(|it| it.load(Ordering::Relaxed))
}

fn add_all(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1 << 16 && process.open_fds > 2);
        assert!(process.started_unix_seconds > 1.5e9);
    }
}
