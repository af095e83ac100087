//! How many requests at once can a backend take before they only wait there?

use std::fmt::Debug;
use std::time::Duration;

use crate::{Draw, Time};

pub(crate) mod aimd;
pub(crate) mod gradient;
pub(crate) mod gradient2;
pub(crate) mod vegas;

/// A limit of requests in progress that follows what requests show.
pub trait Limit: Debug + Send {
    /// Requests that may be in progress at once.
    fn limit(&self) -> u32;

    /// Learns from a request that has ended.
    fn learn(&mut self, sample: &Sample, draw: &mut dyn Draw);
}

/// What a request has shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sample {
    /// How long it took.
    pub rtt: Duration,
    /// Requests in progress when it began, itself included.
    pub in_flight: u32,
    /// Whether it was refused or ran out of time.
    pub is_dropped: bool,
    /// When it ended.
    pub at: Time,
}

/// The whole part of a limit, as `limit()` reports it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast to u32 ends at its range"
)]
fn whole(limit: f64) -> u32 {
    limit as u32
}
