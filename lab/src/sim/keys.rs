//! What is there to hash in a request?

use std::sync::Arc;

use policy::{Draw, SplitMix64};

/// The keys of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    count: u64,
    /// How often each key or one before it comes, of 1; empty when all are as frequent.
    cumulative: Arc<[f64]>,
}

impl Keys {
    /// So many keys, each as frequent as the others.
    pub fn uniform(count: u64) -> Self {
        Self { count, cumulative: [].into() }
    }

    /// The key with rank `k` is `k^exponent` times rarer than the first (Zipf).
    #[expect(clippy::cast_precision_loss, reason = "keys are far fewer than 2^52")]
    pub fn zipf(count: u64, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=count)
            .map(|it| {
                sum += (it as f64).powf(-exponent);
                sum
            })
            .collect();
        Self { count, cumulative: sums.iter().map(|it| it / sum).collect() }
    }

    /// Different keys.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn draw(&self, draw: &mut SplitMix64) -> u64 {
        if self.cumulative.is_empty() {
            return draw.below(self.count);
        }
        let unit = draw.unit();
        self.cumulative.partition_point(|it| *it <= unit) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_is_the_most_frequent_by_its_exponent() {
        let (keys, mut draw) = (Keys::zipf(3, 1.0), SplitMix64::new(1));
        let mut counts = [0_u32; 3];
        for _ in 0..110_000 {
            counts[usize::try_from(keys.draw(&mut draw)).unwrap()] += 1;
        }
        // 1 : 1/2 : 1/3 is 6 : 3 : 2.
        for (count, expected) in counts.into_iter().zip([60_000, 30_000, 20_000]) {
            assert!(count.abs_diff(expected) < 1_000, "{counts:?}");
        }
    }
}
