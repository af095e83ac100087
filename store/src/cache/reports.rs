//! Which reports are finished, and how old are they?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use crate::config::ReportConfig;
use crate::domain::report::Report;

/// A finished report as it is served.
#[derive(Debug)]
pub struct Kept {
    /// The JSON array.
    pub body: Bytes,
    built: Instant,
    /// Set when something was deleted that the report may count.
    outdated: AtomicBool,
}

/// What may be done with a report of some age.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it and build another.
    Stale,
    /// Build another first.
    Expired,
}

impl Kept {
    /// Time since it was built.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.built)
    }
}

/// One slot per report.
#[derive(Debug)]
pub struct Reports {
    config: ReportConfig,
    slots: [Slot; 2],
}

#[derive(Debug, Default)]
struct Slot {
    kept: ArcSwapOption<Kept>,
    building: Mutex<()>,
    refreshing: AtomicBool,
}

impl Reports {
    /// Starts empty.
    pub fn new(config: ReportConfig) -> Self {
        Self { config, slots: Default::default() }
    }

    /// The report that was built last, whatever its age.
    pub fn find(&self, report: Report) -> Option<Arc<Kept>> {
        self.slot(report).kept.load_full()
    }

    /// What its age allows.
    pub fn freshness(&self, kept: &Kept, now: Instant) -> Freshness {
        let age = kept.age(now);
        if self.config.ttl + self.config.stale <= age {
            Freshness::Expired
        } else if self.config.ttl <= age || kept.outdated.load(Ordering::Relaxed) {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }

    /// Remembers a report that was read at `built`.
    pub fn keep(&self, report: Report, body: Bytes, built: Instant) -> Arc<Kept> {
        let kept = Arc::new(Kept { body, built, outdated: AtomicBool::new(false) });
        self.slot(report).kept.store(Some(Arc::clone(&kept)));
        kept
    }

    /// Remembers a report that another replica may have built; the rest of its life tells its age.
    pub fn remember(&self, report: Report, body: Bytes, left: Duration) -> Arc<Kept> {
        let now = Instant::now();
        let age = (self.config.ttl + self.config.stale).saturating_sub(left);
        self.keep(report, body, now.checked_sub(age).unwrap_or(now))
    }

    /// Waits to be the only builder of a report.
    pub async fn lock(&self, report: Report) -> MutexGuard<'_, ()> {
        self.slot(report).building.lock().await
    }

    /// Claims the one background refresh of a report; `false` when somebody is at it.
    ///
    /// Whoever claims it starts a task that holds [`Self::claimed_refresh`] to its end.
    pub fn claim_refresh(&self, report: Report) -> bool {
        // Relaxed: the flag only keeps a second task away; the report travels in the slot.
        !self.slot(report).refreshing.swap(true, Ordering::Relaxed)
    }

    /// Gives a claimed refresh back when it is dropped.
    pub fn claimed_refresh(&self, report: Report) -> Refresh<'_> {
        Refresh(&self.slot(report).refreshing)
    }

    /// Something was deleted: the next reader of either report starts a refresh.
    pub fn outdate(&self) {
        for slot in &self.slots {
            if let Some(kept) = &*slot.kept.load() {
                kept.outdated.store(true, Ordering::Relaxed);
            }
        }
    }

    fn slot(&self, report: Report) -> &Slot {
        &self.slots[report.position()]
    }
}

/// The right to refresh a report, until dropped.
#[derive(Debug)]
#[must_use = "another task may refresh as soon as this is dropped"]
pub struct Refresh<'a>(&'a AtomicBool);

impl Drop for Refresh<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Build, Refresh as When};

    fn reports() -> Reports {
        let (ttl, stale, wait) =
            (Duration::from_mins(1), Duration::from_mins(10), Duration::from_secs(5));
        Reports::new(ReportConfig {
            ttl,
            stale,
            wait,
            build: Build::Mysql,
            refresh: When::OnDemand,
        })
    }

    #[test]
    fn a_report_is_fresh_then_stale_then_expired() {
        let (reports, built) = (reports(), Instant::now());
        reports.keep(Report::BestSellers, Bytes::from_static(b"[]"), built);
        let kept = reports.find(Report::BestSellers).unwrap();
        for (age, expected) in [
            (0, Freshness::Fresh),
            (59, Freshness::Fresh),
            (60, Freshness::Stale),
            (659, Freshness::Stale),
            (660, Freshness::Expired),
        ] {
            assert_eq!(
                reports.freshness(&kept, built + Duration::from_secs(age)),
                expected,
                "{age} s"
            );
        }
    }

    #[test]
    fn the_two_reports_have_slots_of_their_own() {
        let reports = reports();
        reports.keep(Report::BestSellers, Bytes::from_static(b"[1]"), Instant::now());
        assert!(reports.find(Report::HighestSpenders).is_none());
    }

    #[test]
    fn a_delete_makes_a_fresh_report_stale() {
        let (reports, now) = (reports(), Instant::now());
        reports.keep(Report::BestSellers, Bytes::from_static(b"[1]"), now);
        reports.outdate();
        let kept = reports.find(Report::BestSellers).unwrap();
        assert_eq!(reports.freshness(&kept, now), Freshness::Stale);
    }

    #[test]
    fn one_refresh_runs_at_a_time() {
        let reports = reports();
        assert!(reports.claim_refresh(Report::BestSellers));
        assert!(!reports.claim_refresh(Report::BestSellers));
        drop(reports.claimed_refresh(Report::BestSellers));
        assert!(reports.claim_refresh(Report::BestSellers));
    }
}
