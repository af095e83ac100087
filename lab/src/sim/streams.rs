//! Where does each kind of chance come from?
//!
//! From a stream of its own, so that a policy that draws more does not move the arrivals.

use policy::{Draw, SplitMix64};

/// What a stream of random bits is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Arrivals = 1,
    Demands = 2,
    Keys = 3,
    Choices = 4,
    Faults = 5,
    Network = 6,
    Balancers = 7,
}

/// The stream that belongs to a seed, a replication and a purpose.
pub(super) fn stream(seed: u64, replication: u64, purpose: Stream) -> SplitMix64 {
    let parts = [seed, replication, purpose as u64];
    // Each part passes through the generator's mixing, so that neighbouring numbers share nothing.
    let start = parts.into_iter().fold(0, |it, part| SplitMix64::new(it ^ part).bits());
    SplitMix64::new(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_replication_and_purpose() {
        let first = |seed, replication, purpose| stream(seed, replication, purpose).bits();
        let mut starts = vec![
            first(1, 0, Stream::Arrivals),
            first(2, 0, Stream::Arrivals),
            first(1, 1, Stream::Arrivals),
            first(1, 0, Stream::Demands),
            first(0, 1, Stream::Arrivals),
        ];
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), 5);
        assert_eq!(first(1, 0, Stream::Keys), first(1, 0, Stream::Keys));
    }
}
