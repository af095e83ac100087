//! On what was it run, and was the machine free to do it?

use std::{collections::BTreeMap, fs, process::Command, time::Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::{configs, process::program, record};

/// Versions, host and command by name; what cannot be found out is left out.
pub(crate) fn facts() -> BTreeMap<String, String> {
    let file = |path: &str| fs::read_to_string(path).ok();
    let model = file("/proc/cpuinfo").and_then(|it| {
        let line = it.lines().find(|it| it.starts_with("model name"))?.to_owned();
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let memory = file("/proc/meminfo").and_then(|it| {
        let kib: u64 = it.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some(format!("{} GiB", kib >> 20))
    });
    let cores = std::thread::available_parallelism().map(|it| it.to_string()).ok();
    let locust = configs::workspace().ok().map(|it| it.join(".venv/bin/locust"));
    let locust = locust.and_then(|it| said(&it.to_string_lossy(), &["--version"]));
    let found = [
        ("command", Some(record::command())),
        ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("build", Some(if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned())),
        ("commit", commit()),
        ("host", nix::unistd::gethostname().ok().and_then(|it| it.into_string().ok())),
        ("processor", model),
        ("cores", cores),
        ("memory", memory),
        ("kernel", said("uname", &["-sr"])),
        ("nginx", program("nginx").ok().and_then(|it| said(&it.to_string_lossy(), &["-v"]))),
        ("haproxy", program("haproxy").ok().and_then(|it| said(&it.to_string_lossy(), &["-v"]))),
        ("locust", locust),
    ];
    let known = found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.collect()
}

/// The commit of the workspace, and whether it was changed.
fn commit() -> Option<String> {
    let workspace = configs::workspace().ok()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&workspace).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { commit + ", changed" })
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().map(|it| it.trim().to_owned())
}

/// How much of the machine was used since this was made.
#[derive(Debug)]
pub(super) struct Meter {
    since: Instant,
    own: f64,
    machine: Option<[f64; 3]>,
}

/// Shares of all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Use {
    /// By this program.
    pub(super) own: f64,
    /// By all programs together.
    pub(super) all: f64,
    /// By other guests of the host.
    pub(super) stolen: f64,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), own: own(), machine: machine() }
    }

    pub(super) fn read(&self) -> Use {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = f64::from(u32::try_from(cores).unwrap_or(1));
        let own = (own() - self.own) / self.since.elapsed().as_secs_f64().max(1e-9) / cores;
        let shares = self.machine.zip(machine()).map(|(before, now)| {
            let [busy, stolen, all] = [0, 1, 2].map(|it| now[it] - before[it]);
            (busy / all.max(1.0), stolen / all.max(1.0))
        });
        let (all, stolen) = shares.unwrap_or_default();
        Use { own, all, stolen }
    }
}

/// Seconds of CPU that this program has used.
fn own() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a process stay below 2^52")]
    let seconds = |it: nix::sys::time::TimeVal| it.tv_sec() as f64 + it.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0.0, |it| seconds(it.user_time()) + seconds(it.system_time()))
}

/// Ticks that were used, stolen, and all of them.
fn machine() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map_while(|it| it.parse().ok()).take(8).collect();
    let all: f64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    let stolen = *ticks.get(7)?;
    Some([all - idle - stolen, stolen, all])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_name_what_a_reader_needs_to_repeat_it() {
        let facts = facts();
        for name in ["command", "version", "build", "cores", "kernel", "processor"] {
            assert!(facts.get(name).is_some_and(|it| !it.is_empty()), "{name}: {facts:?}");
        }
    }

    #[test]
    fn work_is_seen() {
        let meter = Meter::new();
        let end = Instant::now() + std::time::Duration::from_millis(200);
        let mut sum = 0_u64;
        while Instant::now() < end {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let found = meter.read();
        assert!(0.0 < found.own && 0.0 < found.all && found.all <= 1.0, "{found:?}");
    }
}
