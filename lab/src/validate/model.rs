//! What does the simulator say of the requests that live servers got?

use std::{sync::Arc, time::Duration};

use anyhow::Result;

use super::{TARGETS, Validation, Work, row};
use crate::{
    sim::{Arrivals, Capacity, Law, Plan, Subject},
    stats::histogram::Histogram,
};

/// Runs of the model that differ in what a policy draws; its word is their average.
const DRAWS: u64 = 20;

/// By which part of it a measured figure may leave the range of those runs and still count as inside: of a
/// policy that draws nothing they are all the same.
const SLACK: f64 = 0.05;

/// What the model says of the same requests.
pub(super) struct Modelled {
    /// Times after the warm-up in all runs, and requests on each server.
    pub(super) times: Histogram,
    pub(super) placed: Vec<f64>,
    /// Of each run the mean and the 99th percentile, in the order of [`TARGETS`].
    pub(super) figures: [Vec<f64>; TARGETS.len()],
}

impl Modelled {
    /// Runs it.
    pub(super) fn of(
        validation: &Validation,
        speeds: &[f64],
        subject: &Subject,
        work: &Work,
        warm_up: usize,
    ) -> Result<Self> {
        let of = |speed: &f64| Capacity { speed: *speed, ..Capacity::default() };
        let plan = Plan {
            servers: speeds.iter().map(of).collect(),
            arrivals: Arrivals::Trace(work.due.iter().map(Duration::as_secs_f64).collect()),
            demand: Law::Replay(Arc::clone(&work.demands)),
            requests: work.due.len() as u64,
            warm_up: warm_up as u64,
            seed: validation.seed,
            ..Plan::default()
        };
        let mut it = Self {
            times: Histogram::default(),
            placed: vec![0.0; speeds.len()],
            figures: [const { Vec::new() }; TARGETS.len()],
        };
        for draw in 0..DRAWS {
            let run = plan.run(subject, draw)?;
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            let placed: Vec<f64> = run.placed.iter().map(|it| *it as f64).collect();
            let row = row("", "", draw, &run.times, &placed, 0);
            for ((name, _), values) in TARGETS.iter().zip(&mut it.figures) {
                values.extend(row.figure(name));
            }
            it.placed.iter_mut().zip(&placed).for_each(|(sum, placed)| *sum += placed);
            it.times.merge(&run.times);
        }
        Ok(it)
    }
    /// Whether a figure lies among those of the runs.
    pub(super) fn has_seen(&self, figure: usize, measured: Option<f64>) -> bool {
        let range = || self.figures[figure].iter().copied();
        let low = range().fold(f64::MAX, f64::min) * (1.0 - SLACK);
        let high = range().fold(0.0, f64::max) * (1.0 + SLACK);
        measured.is_some_and(|it| low <= it && it <= high)
    }
}
