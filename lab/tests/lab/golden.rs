//! The same plan and seed give the same run as before: no change of the engine may change an answer.
//!
//! `lab/tests/golden/runs.txt` holds a digest of everything that a run tells, by policy and plan. When an
//! answer is to change, run with `LAB_WRITE_GOLDEN=1` and say in the change log why.

#![expect(clippy::unwrap_used, reason = "a plan that cannot run is the failure to see")]

use std::{env, fmt::Write, fs, num::NonZeroU32, path::Path};

use lab::sim::{Arrivals, Balancers, Capacity, Change, Discipline, Law, Plan, Run, Subject, View};
use policy::CATALOG;

use crate::replay::{self, plan};

fn plain() -> Plan {
    Plan { warm_up: 200, ..plan() }
}

/// A hundred servers, every third of twice the weight and speed.
fn many(each: u32) -> Plan {
    let of = |number: u32| {
        let weight = if number.is_multiple_of(3) { each } else { 1 };
        Capacity { speed: f64::from(weight), weight: NonZeroU32::new(weight).unwrap() }
    };
    let servers: Vec<Capacity> = (0..100).map(of).collect();
    let rate = 0.85 * servers.iter().map(|it| it.speed).sum::<f64>();
    Plan { servers, arrivals: Arrivals::Poisson(rate), demand: Law::Exp, ..plain() }
}

/// Failures, changes and limits of all kinds.
fn trouble(view: View) -> Plan {
    let plan = replay::trouble();
    let balancers = Balancers { view, ..plan.balancers };
    Plan { balancers, warm_up: 200, keeps_all: true, ..plan }
}

/// The same trouble among a hundred servers.
fn many_in_trouble() -> Plan {
    let plan = trouble(View::Own);
    let late = |it: &Change| Change { at: it.at / 20.0, ..it.clone() };
    let balancers = Balancers { fail_timeout: 1.0, queue: 0, ..plan.balancers };
    let changes = plan.changes.iter().map(late).collect();
    Plan { balancers, changes, patience: plan.patience, server_queue: Some(8), ..many(3) }
}

fn plans() -> [(&'static str, Plan); 12] {
    let slots = Discipline::Fcfs(NonZeroU32::new(3).unwrap());
    let users = Arrivals::Users(12, 1.0);
    [
        ("plain", plain()),
        ("equal", many(1)),
        ("unequal", many(2)),
        ("slots", Plan { discipline: slots, arrivals: Arrivals::Poisson(9.0), ..plain() }),
        ("sharing", Plan { discipline: Discipline::Sharing, ..plain() }),
        ("delay", Plan { discipline: Discipline::Delay, arrivals: users, ..plain() }),
        ("own", trouble(View::Own)),
        ("shared", trouble(View::Shared)),
        ("boards", trouble(View::Individual(2.0))),
        ("age", trouble(View::Age(0.5))),
        ("response", trouble(View::Response)),
        ("many", many_in_trouble()),
    ]
}

/// FNV-1a of all that a run tells.
fn digest(run: &Run) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |word: u64| {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    take(run.times.count());
    for (bound, count) in run.times.buckets() {
        take(bound.to_bits());
        take(count);
    }
    run.times.sum().to_le_bytes().into_iter().for_each(|it| take(it.into()));
    take(run.times.most().to_bits());
    run.ends.iter().chain(&run.placed).for_each(|it| take(*it));
    let numbers = [run.length, run.spent, run.present].into_iter();
    let numbers = numbers.chain(run.busy.iter().copied()).chain(run.response.iter().copied());
    numbers.chain(run.batches.1.iter().copied()).for_each(|it| take(it.to_bits()));
    [run.retries, run.unfinished, run.batches.0].into_iter().for_each(&mut take);
    for (at, counts) in &run.series {
        take(at.to_bits());
        counts.iter().for_each(|it| take(u64::from(*it)));
    }
    u32::try_from(hash >> 32).unwrap() ^ u32::try_from(hash & 0xffff_ffff).unwrap()
}

#[test]
fn every_policy_gives_the_runs_it_always_gave() {
    let plans = plans();
    let mut found = format!("{:<28}", "policy");
    plans.iter().for_each(|it| write!(found, " {:>8}", it.0).unwrap());
    for entry in CATALOG {
        write!(found, "\n{:<28}", entry.id).unwrap();
        for (_, plan) in &plans {
            let run = plan.run(&Subject::parse(entry.id).unwrap(), 1).unwrap();
            write!(found, " {:08x}", digest(&run)).unwrap();
        }
    }
    found.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/runs.txt");
    if env::var_os("LAB_WRITE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap();
    for (found, known) in found.lines().zip(known.lines()) {
        assert_eq!(found, known);
    }
    assert_eq!(found, known);
}
