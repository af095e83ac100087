//! May the figures of a run be used?
//!
//! A load that cannot keep its schedule measures itself. A run that fails a gate is kept with the
//! reason, and no comparison uses it.

use super::plan::Experiment;

/// What is known about the load of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Health {
    /// Requests that were due.
    pub(super) due: usize,
    /// Requests that were sent before the end of the run, or no later than is allowed after it.
    pub(super) sent: usize,
    /// Seconds by which one of a hundred was sent late or later.
    pub(super) late_p99: f64,
    /// Share of all cores that the load took.
    pub(super) cpu: f64,
}

/// Empty, or why the run is not valid.
pub(super) fn verdict(plan: &Experiment, health: &Health) -> String {
    let mut reasons = Vec::new();
    if health.due == 0 {
        return "nothing was sent".to_owned();
    }
    if plan.late_ms / 1e3 < health.late_p99 {
        reasons.push(format!(
            "one of a hundred requests was sent {:.1} ms late or later, {} ms are allowed",
            health.late_p99 * 1e3,
            plan.late_ms
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
    let share = health.sent as f64 / health.due as f64;
    if share < plan.sent_share {
        reasons.push(format!("only {:.1} % of the requests were sent in time", 100.0 * share));
    }
    if plan.load_cpu < health.cpu {
        reasons.push(format!("the load itself took {:.0} % of the machine", 100.0 * health.cpu));
    }
    reasons.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(health: Health, expected: &str) {
        let found = verdict(&Experiment::default(), &health);
        assert_eq!(found.is_empty(), expected.is_empty(), "{health:?}: {found}");
        assert!(found.contains(expected), "{health:?}: {found}");
    }

    #[test]
    fn each_gate_closes_when_it_is_provoked() {
        let good = Health { due: 1000, sent: 1000, late_p99: 0.000_9, cpu: 0.5 };
        check(good, "");
        check(Health { late_p99: 0.001_1, ..good }, "1.1 ms late");
        check(Health { sent: 989, ..good }, "only 98.9 %");
        check(Health { sent: 990, ..good }, "");
        check(Health { cpu: 0.81, ..good }, "81 % of the machine");
        check(Health { due: 0, sent: 0, ..good }, "nothing was sent");
        let all = Health { late_p99: 1.0, sent: 1, cpu: 1.0, ..good };
        assert_eq!(verdict(&Experiment::default(), &all).matches("; ").count(), 2);
    }
}
