//! Which policy is better in the model, and is the difference one?

use std::{io::Write, thread};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    sim::{Arrivals, Plan, Run, Subject},
    stats::{Estimate, mean, quantile},
};

/// What one replication says.
#[derive(Clone, Copy, Debug)]
struct Summary {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    share: f64,
}

/// Simulates every policy on the same requests and prints one line for each.
///
/// Every policy after the first is compared with the first, replication by replication.
pub fn run(
    plan: &Plan,
    subjects: &[Subject],
    replications: u64,
    out: &mut impl Write,
) -> Result<()> {
    ensure!(0 < replications, "0 replications say nothing");
    writeln!(out, "{}", title(plan, replications))?;
    writeln!(
        out,
        "\n{:<28} {:>18} {:>8} {:>8} {:>16} {:>10}  against the first",
        "policy", "mean s", "p50 s", "p90 s", "p99 s", "largest %"
    )?;
    let mut first: Option<Vec<Summary>> = None;
    for subject in subjects {
        let found = replicate(plan, subject, replications)?;
        let of = |part: fn(&Summary) -> f64| {
            Estimate::of(&found.iter().map(part).collect::<Vec<_>>()).context("no replication")
        };
        let (total, p99) = (of(|it| it.mean)?, of(|it| it.p99)?);
        writeln!(
            out,
            "{:<28} {:>9.4} ±{:>7.4} {:>8.3} {:>8.3} {:>8.3} ±{:>6.3} {:>10.2}  {}",
            subject.name(),
            total.mean,
            total.half_width,
            of(|it| it.p50)?.mean,
            of(|it| it.p90)?.mean,
            p99.mean,
            p99.half_width,
            100.0 * of(|it| it.share)?.mean,
            first.as_deref().map_or(Ok(String::new()), |it| compare(it, &found))?,
        )?;
        first.get_or_insert(found);
    }
    Ok(())
}

fn title(plan: &Plan, replications: u64) -> String {
    let mode = match plan.arrivals {
        Arrivals::Poisson(rate) => format!("open loop, Poisson, {rate} requests/s"),
        Arrivals::Even(rate) => format!("open loop, even, {rate} requests/s"),
        Arrivals::Users(users, pause) => format!("closed loop, {users} users, {pause} s pause"),
    };
    format!(
        "{mode}; {} servers, {:?}, demand {:?}; {replications} replications of {} requests after {} \
         of warm-up, seed {}; intervals of 95 %",
        plan.servers.len(),
        plan.discipline,
        plan.demand,
        plan.requests - plan.warm_up,
        plan.warm_up,
        plan.seed
    )
}

fn compare(first: &[Summary], other: &[Summary]) -> Result<String> {
    let differences: Vec<f64> = first.iter().zip(other).map(|(a, b)| b.mean - a.mean).collect();
    let difference = Estimate::of(&differences).context("no replication")?;
    Ok(if difference.excludes_zero() {
        format!("mean {:+.4} ±{:.4}", difference.mean, difference.half_width)
    } else {
        "not distinguishable".to_owned()
    })
}

/// Replications in their order, whatever the number of threads.
fn replicate(plan: &Plan, subject: &Subject, replications: u64) -> Result<Vec<Summary>> {
    let threads = thread::available_parallelism().map_or(1, |it| it.get() as u64);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    (worker..replications)
                        .step_by(usize::try_from(threads)?)
                        .map(|it| Ok((it, summarize(plan.run(subject, it)?)?)))
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let mut found = Vec::new();
        for worker in workers {
            found.extend(worker.join().map_err(|_| anyhow!("a replication panicked"))??);
        }
        found.sort_by_key(|it| it.0);
        Ok(found.into_iter().map(|it| it.1).collect())
    })
}

fn summarize(run: Run) -> Result<Summary> {
    let Run { mut response, placed, .. } = run;
    let empty = "nothing was counted";
    let mut at = |share| quantile(&mut response, share).context(empty);
    let (p50, p90, p99) = (at(0.5)?, at(0.9)?, at(0.99)?);
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
    let share =
        placed.iter().max().copied().unwrap_or(0) as f64 / placed.iter().sum::<u64>() as f64;
    Ok(Summary { mean: mean(&response).context(empty)?, p50, p90, p99, share })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::sim::{Capacity, Discipline, Law};

    fn lines(policies: &[&str]) -> Vec<String> {
        let plan = Plan {
            servers: vec![Capacity { speed: 1.0, weight: NonZeroU32::MIN }; 4],
            discipline: Discipline::Fcfs(NonZeroU32::MIN),
            arrivals: Arrivals::Poisson(3.2),
            demand: Law::Exp,
            keys: 1,
            requests: 6_000,
            warm_up: 1_000,
            seed: 1,
        };
        let subjects: Vec<_> = policies.iter().map(|it| Subject::parse(it).unwrap()).collect();
        let mut out = Vec::new();
        run(&plan, &subjects, 6, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().skip(3).map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_policy_is_not_better_than_itself() {
        let lines = lines(&["nginx-least-conn", "nginx-least-conn"]);
        assert!(lines[1].ends_with("not distinguishable"), "{lines:?}");
    }

    #[test]
    fn the_shortest_queue_is_better_than_turns() {
        let lines = lines(&["nginx-rr", "jsq"]);
        assert!(lines[1].contains("mean -"), "{lines:?}");
    }
}
