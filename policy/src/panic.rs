//! When are there so few healthy servers that health had better be ignored?

/// Spreads load over levels of priority by their health, and gives up on health where little is left.
///
/// Source: Envoy `priority.rst` and `panic_threshold.rst`; shares are exact there only after
/// rounding, here before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panic {
    /// Percent of healthy servers below which a level may panic; 0 for never.
    pub threshold: f64,
    /// How much load a healthy server can take beyond its own, as a factor: Envoy's is 1.4.
    pub overprovisioning: f64,
}

/// The servers of one priority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Level {
    /// How many may serve.
    pub healthy: u32,
    /// How many there are.
    pub hosts: u32,
}

/// What one level does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Percent of all load.
    pub load: f64,
    /// Whether health is ignored when a server of this level is picked.
    pub is_panicking: bool,
}

impl Default for Panic {
    /// Envoy's: 50 percent, 1.4.
    fn default() -> Self {
        Self { threshold: 50.0, overprovisioning: 1.4 }
    }
}

impl Panic {
    /// Whether a single group ignores health: `panic_threshold` of an `upstream` block.
    pub fn is_due(&self, level: Level) -> bool {
        level.percent() < self.threshold
    }

    /// What each level does, the most preferred first.
    pub fn shares(&self, levels: &[Level]) -> Vec<Share> {
        let available = |it: &Level| (it.percent() * self.overprovisioning).min(100.0);
        let total = levels.iter().map(available).sum::<f64>().min(100.0);
        let mut rest = 100.0;
        let share = |level: &Level| {
            let load = if 0.0 < total { available(level) * 100.0 / total } else { rest };
            let load = load.min(rest);
            rest -= load;
            Share { load, is_panicking: total < 100.0 && self.is_due(*level) }
        };
        levels.iter().map(share).collect()
    }
}

impl Level {
    /// Percent of its servers that are healthy, 0 for a level without servers.
    fn percent(self) -> f64 {
        if self.hosts == 0 { 0.0 } else { 100.0 * f64::from(self.healthy) / f64::from(self.hosts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Healthy percents of two levels, then whole percents of load; `!` marks a panic.
    #[track_caller]
    fn check(healthy: [u32; 2], expected: &str) {
        let levels = healthy.map(|healthy| Level { healthy, hosts: 100 });
        let shares = Panic::default().shares(&levels);
        let word = |it: &Share| format!("{:.0}{}", it.load, if it.is_panicking { "!" } else { "" });
        let words = shares.iter().map(word).collect::<Vec<_>>().join(" ");
        assert_eq!(words, expected, "{healthy:?}");
    }

    #[test]
    fn load_spills_over_and_levels_panic_as_envoy_documents() {
        check([72, 100], "100 0");
        check([71, 100], "99 1");
        check([50, 100], "70 30");
        check([40, 100], "56 44");
        check([25, 25], "50! 50!");
        check([5, 65], "7! 93");
    }

    #[test]
    fn where_no_one_is_healthy_the_first_level_takes_all() {
        check([0, 0], "100! 0!");
    }

    #[test]
    fn a_group_panics_below_its_threshold() {
        let panic = Panic { threshold: 50.0, ..Panic::default() };
        let is_due = |healthy| panic.is_due(Level { healthy, hosts: 4 });
        assert_eq!([0, 1, 2, 3].map(is_due), [true, true, false, false]);
        assert!(!Panic { threshold: 0.0, ..panic }.is_due(Level { healthy: 0, hosts: 4 }));
    }
}
