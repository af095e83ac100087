//! What does a pick cost, before few servers and many, and when threads share the lock?
//!
//! A pick is what the balancer does under its lock: the choice, and being told of the request that came
//! and of one that went. Lists of more than 32 servers are followed, as they are there. The figure is
//! the least of some rounds, so that the rest of the machine is left out of it; with several threads it
//! is wall time over the picks of all.

use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use policy::{CATALOG, Candidate, Draw, Entry, Identity, Policy, Request, SplitMix64, Time};

use crate::csv;

/// More servers than these are followed.
const LARGE: usize = 32;

/// Servers before which threads share the lock.
const SHARED: u32 = 100;

/// Requests in progress.
const RUNNING: usize = 64;

/// Rounds of which the least counts.
const ROUNDS: u32 = 5;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Ids of the catalogue; all without any.
    pub policies: Vec<String>,
    /// Lengths of lists, picked from by one thread.
    pub servers: Vec<u32>,
    /// Threads that pick from one list of a hundred.
    pub threads: Vec<u32>,
    /// Picks of each thread in a round.
    pub picks: u32,
    /// Keeps the table there; `cost.csv` of a folder is shown by `lab report`.
    pub csv: Option<PathBuf>,
}

/// The most nanoseconds that a pick by one thread may take.
fn limit(policy: &str, servers: u32) -> Option<f64> {
    match (policy, servers) {
        ("p2c", _) => Some(50.0),
        (_, 0..=10) => Some(100.0),
        (_, 1000) => Some(1000.0),
        _ => None,
    }
}

/// Measures, prints a line for each policy, and names what is beyond its limit.
///
/// # Errors
///
/// When a pick costs more than it may; not in a debug build, which says nothing about that.
pub fn run(cost: &Cost, out: &mut impl Write) -> Result<()> {
    let known = |id: &String| CATALOG.iter().find(|it| it.id == *id).context(id.clone());
    let entries: Vec<&Entry> = if cost.policies.is_empty() {
        CATALOG.iter().collect()
    } else {
        cost.policies.iter().map(known).collect::<Result<_>>().context("there is no policy")?
    };
    let cells = cost.servers.iter().map(|it| (*it, 1));
    let cells: Vec<(u32, u32)> = cells.chain(cost.threads.iter().map(|it| (SHARED, *it))).collect();
    ensure!(cells.iter().all(|it| 0 < it.0 && 0 < it.1), "0 servers or threads pick nobody");
    let names = cells.iter().map(|(servers, threads)| match threads {
        1 => format!("{servers} servers"),
        _ => format!("{servers} servers, {threads} threads"),
    });
    let heading: Vec<String> =
        std::iter::once("policy, ns per pick".to_owned()).chain(names).collect();
    let mut table = csv::line(&heading);
    writeln!(out, "{}", heading.join(" | "))?;
    let mut beyond = Vec::new();
    for entry in entries {
        let mut cells_of = vec![entry.id.to_owned()];
        for (servers, threads) in &cells {
            let nanos = measure(entry, *servers, *threads, cost.picks)?;
            if *threads == 1 && limit(entry.id, *servers).is_some_and(|it| it < nanos) {
                beyond.push(format!("{} before {servers} servers: {nanos:.0} ns", entry.id));
            }
            cells_of.push(format!("{nanos:.0}"));
        }
        writeln!(out, "{}", cells_of.join(" | "))?;
        out.flush()?;
        table += &csv::line(&cells_of);
    }
    if let Some(path) = &cost.csv {
        fs::write(path, table).with_context(|| format!("{}", path.display()))?;
    }
    ensure!(
        beyond.is_empty() || cfg!(debug_assertions),
        "these cost more than they may:\n  {}",
        beyond.join("\n  ")
    );
    Ok(())
}

/// What a lock protects: who is chosen from, and who has been.
struct Chooser {
    policy: Box<dyn Policy>,
    follows: bool,
    candidates: Vec<Candidate>,
    running: Vec<usize>,
    oldest: usize,
    draw: SplitMix64,
}

impl Chooser {
    fn new(entry: &Entry, servers: u32) -> Result<Self> {
        let candidate = |number: u32| {
            let weight = NonZeroU32::MIN.saturating_add(number % 3);
            let mut it = Candidate::new(weight, 0);
            let name = format!("10.0.{}.{}:443", number / 256, number % 256);
            it.identity = Identity::new(&name, &name);
            it
        };
        let candidates: Vec<Candidate> = (0..servers).map(candidate).collect();
        let mut policy = (entry.build)(&[])?;
        policy.relist(&vec![None; candidates.len()]);
        let follows = LARGE < candidates.len();
        if follows {
            policy.follow(&candidates);
        }
        let draw = SplitMix64::new(1);
        Ok(Self { policy, follows, candidates, running: Vec::new(), oldest: 0, draw })
    }

    fn count(&mut self, at: usize, in_flight: u32) {
        let before = self.candidates[at];
        self.candidates[at].in_flight = in_flight;
        if self.follows {
            self.policy.changed(at, &before, &self.candidates[at]);
        }
    }

    fn pick(&mut self) {
        let key = self.draw.bits().to_be_bytes();
        let client = IpAddr::V4(Ipv4Addr::new(key[0], key[1], key[2], key[3]));
        let request = Request::at(Time::from_secs(1)).with_key(&key).from_client(client);
        let Some(picked) = self.policy.pick(&request, &self.candidates, &mut self.draw) else {
            return;
        };
        self.count(picked, self.candidates[picked].in_flight + 1);
        if self.running.len() < RUNNING {
            self.running.push(picked);
            return;
        }
        let gone = std::mem::replace(&mut self.running[self.oldest], picked);
        self.oldest = (self.oldest + 1) % RUNNING;
        self.count(gone, self.candidates[gone].in_flight - 1);
    }
}

/// Nanoseconds per pick.
fn measure(entry: &Entry, servers: u32, threads: u32, picks: u32) -> Result<f64> {
    let chooser = Mutex::new(Chooser::new(entry, servers).context(entry.id)?);
    let one = || chooser.lock().unwrap_or_else(PoisonError::into_inner).pick();
    // The first pick from a list allocates.
    one();
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        thread::scope(|scope| {
            // This thread is one of them: a single one is measured without starting another.
            for _ in 1..threads {
                scope.spawn(|| (0..picks).for_each(|_| one()));
            }
            (0..picks).for_each(|_| one());
        });
        let all = f64::from(picks) * f64::from(threads);
        least = least.min(start.elapsed().as_secs_f64() * 1e9 / all);
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_measured_and_the_table_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cost.csv");
        let cost = Cost {
            policies: Vec::new(),
            servers: vec![3, 40],
            threads: vec![2],
            picks: 200,
            csv: Some(path.clone()),
        };
        run(&cost, &mut Vec::new()).unwrap();
        let table = csv::records(&fs::read_to_string(path).unwrap());
        assert_eq!(table[0][1..], ["3 servers", "40 servers", "100 servers, 2 threads"]);
        assert_eq!(table.len(), 1 + CATALOG.len());
        for row in &table[1..] {
            let numbers: Vec<f64> = row[1..].iter().map(|it| it.parse().unwrap()).collect();
            assert!(numbers.iter().all(|it| it.is_finite()), "{row:?}");
        }
        assert!(
            run(&Cost { policies: vec!["chance".to_owned()], ..cost }, &mut Vec::new()).is_err()
        );
    }

    #[test]
    fn requests_in_progress_are_as_many_as_are_meant_to_be() {
        let entry = CATALOG.iter().find(|it| it.id == "nginx-least-conn").unwrap();
        let mut chooser = Chooser::new(entry, 40).unwrap();
        (0..1000).for_each(|_| chooser.pick());
        let all: u32 = chooser.candidates.iter().map(|it| it.in_flight).sum();
        assert_eq!(usize::try_from(all).unwrap(), RUNNING);
    }

    #[test]
    fn two_choices_must_be_cheap_before_any_list() {
        assert_eq!(limit("p2c", 10_000), Some(50.0));
        assert_eq!(limit("nginx-rr", 10), Some(100.0));
        assert_eq!(limit("nginx-rr", 1000), Some(1000.0));
        assert_eq!(limit("nginx-rr", 100), None);
    }
}
