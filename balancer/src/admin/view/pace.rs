//! What happened lately: the counters of two moments compared.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use policy::Time;
use serde::Serialize;

use super::{Group, Histogram, Server, View};

/// What a server did between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pace {
    /// Requests placed on it each second.
    pub per_second: f64,
    /// Its part of the requests placed on its group, up to 1; since the start where there were none.
    pub share: f64,
    /// The time below which half of its answers came, in milliseconds; `None` without an answer.
    pub p50_ms: Option<f64>,
    /// The time below which 99 of 100 came.
    pub p99_ms: Option<f64>,
}

/// What was counted up to a moment.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Sample {
    at: Time,
    requests: u64,
    servers: HashMap<u64, (u64, Histogram)>,
}

/// Tells the servers of all groups apart.
fn key(group: &Group, server: &Server) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&group.name, &server.name).hash(&mut hasher);
    hasher.finish()
}

impl Sample {
    /// The counters of a view that was read at a moment.
    pub(in crate::admin) fn of(view: &View, at: Time) -> Self {
        let servers = view.upstreams.iter().flat_map(|group| {
            group.servers.iter().map(move |it| (key(group, it), (it.picks, it.response)))
        });
        Self { at, requests: view.requests, servers: servers.collect() }
    }

    /// How long before another moment this was.
    pub(in crate::admin) fn age(&self, now: Time) -> Duration {
        now.since(self.at)
    }

    /// Tells a view that is read now what has happened since.
    pub(in crate::admin) fn pace(&self, view: &mut View, now: Time) {
        let seconds = self.age(now).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        view.per_second = each(view.requests.saturating_sub(self.requests), seconds);
        for group in &mut view.upstreams {
            let before: Vec<_> = group
                .servers
                .iter()
                .map(|it| self.servers.get(&key(group, it)).copied().unwrap_or_default())
                .collect();
            let since = |server: &Server, at: usize| server.picks.saturating_sub(before[at].0);
            let picks: u64 = group.servers.iter().enumerate().map(|(at, it)| since(it, at)).sum();
            group.per_second = each(picks, seconds);
            for (at, server) in group.servers.iter_mut().enumerate() {
                let own = since(server, at);
                let answers = server.response.since(&before[at].1);
                let (part, whole) =
                    if picks > 0 { (own, picks) } else { (server.picks, group.picks) };
                server.pace = Pace {
                    per_second: each(own, seconds),
                    share: if whole > 0 { each(part, 1.0) / each(whole, 1.0) } else { 0.0 },
                    p50_ms: answers.quantile_ms(0.5),
                    p99_ms: answers.quantile_ms(0.99),
                };
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn each(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

impl Histogram {
    /// Those of its durations that were not there before.
    fn since(&self, before: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(before.counts) {
            *count = count.saturating_sub(before);
        }
        Self { counts, sum_ns: self.sum_ns.saturating_sub(before.sum_ns) }
    }
}
