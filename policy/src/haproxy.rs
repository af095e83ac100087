//! HAProxy's methods, as its 3.5 development version decides.
//!
//! Weights are scaled by 16, as `BE_WEIGHT_SCALE` does; beyond HAProxy's largest of 256 they saturate
//! where its arithmetic needs that.

pub(crate) mod chash;
pub(crate) mod first;
pub(crate) mod leastconn;
pub(crate) mod roundrobin;
pub(crate) mod static_rr;

use crate::Candidate;

/// HAProxy's effective weight: up to 4096, 16 for each of the configuration's.
fn eweight(candidate: &Candidate) -> u32 {
    candidate.weight.get().min(256) * 16
}
