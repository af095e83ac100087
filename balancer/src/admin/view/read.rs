//! Counters → the view of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use policy::Time;

use super::{Connections, Group, Histogram, Process, Server, State, View, VirtualServer};
use crate::engine::Shared;
use crate::engine::clock;
use crate::http::server;
use crate::upstream::backend::Durations;
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
            panics: totals.panics,
            dropped_log_lines: crate::logs::writer::dropped(),
            upstreams: groups(
                snapshot.upstreams.iter().chain(&snapshot.stream_upstreams),
                clock::now(),
            ),
            virtual_servers: virtual_servers(servers),
            process: Process::read(),
        }
    }
}

/// One group per name: each plain `proxy_pass` to the same address has one of its own.
fn groups<'a>(upstreams: impl Iterator<Item = &'a Arc<Upstream>>, now: Time) -> Vec<Group> {
    let mut named: BTreeMap<&str, Vec<&Upstream>> = BTreeMap::new();
    for upstream in upstreams {
        named.entry(&upstream.name).or_default().push(upstream);
    }
    named.into_values().filter_map(|same| group(&same, now)).collect()
}

fn group(same: &[&Upstream], now: Time) -> Option<Group> {
    let first = same.first()?;
    let mut backends: Vec<Arc<upstream::Backend>> = Vec::new();
    let mut servers: Vec<Server> = Vec::new();
    for server in same.iter().flat_map(|it| it.servers()) {
        let known = backends.iter().any(|it| Arc::ptr_eq(it, &server.backend));
        let next = Server::read(&server, now);
        match servers.iter_mut().find(|it| it.name == next.name) {
            // Two lines with one address: facts are added once, weights twice.
            Some(one) if known => one.weight += next.weight,
            Some(one) => one.add(&next),
            None => servers.push(next),
        }
        if !known {
            backends.push(server.backend);
        }
    }
    Some(Group {
        name: first.name.clone(),
        policy: first.policy,
        active: servers.iter().map(|it| it.active).sum(),
        picks: servers.iter().map(|it| it.picks).sum(),
        retries: same.iter().map(|it| it.retries.load(Ordering::Relaxed)).sum(),
        servers,
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
        });
        for (sums, counters) in one.requests.iter_mut().zip(&server.counters.requests) {
            add_all(sums, &values(counters));
        }
        one.durations.add(&Histogram::read(&server.counters.durations));
    }
    named.into_values().collect()
}

impl Server {
    fn read(server: &upstream::Server, now: Time) -> Self {
        let upstream::Server { terms, backend, .. } = server;
        let counters = &backend.counters;
        let state = match () {
            () if terms.down => State::Down,
            () if now < backend.usable_from() => State::Unavail,
            () => State::Up,
        };
        let narrow = |it: &AtomicU32| u64::from(it.load(Ordering::Relaxed));
        Self {
            name: backend.name.clone(),
            state,
            backup: terms.backup,
            weight: u64::from(terms.weight.get()),
            max_conns: terms.max_conns.map_or(0, |it| u64::from(it.get())),
            active: u64::from(backend.in_flight()),
            picks: counters.picks.load(Ordering::Relaxed),
            open: narrow(&counters.open),
            idle: narrow(&counters.idle),
            requests: values(&counters.requests),
            failures: values(&counters.failures),
            sent: counters.sent.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            response: Histogram::read(&counters.response),
            connect: Histogram::read(&counters.connect),
        }
    }

    /// Adds what is counted for the same address elsewhere; the better state is shown.
    fn add(&mut self, other: &Self) {
        self.state = self.state.min(other.state);
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
        self.response.add(&other.response);
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
