//! How are many times kept in little memory?

/// Counts of nanoseconds in buckets that are 1/1024 of their value wide or narrower.
///
/// A quantile is off by at most 0.05 %; the mean is exact. Merging is adding, so the order of merges
/// makes no difference.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    most: u64,
}

const STEPS: u64 = 1 << 10;

impl Histogram {
    /// Counts one time.
    pub fn record(&mut self, nanos: u64) {
        let bucket = bucket(nanos);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.most = self.most.max(nanos);
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, their) in self.counts.iter_mut().zip(&other.counts) {
            *own += their;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.most = self.most.max(other.most);
    }

    /// Times counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in nanoseconds.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Their mean in seconds, `None` without any.
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than 53 bits")]
    pub fn mean(&self) -> Option<f64> {
        (0 < self.count).then(|| self.sum as f64 / self.count as f64 / 1e9)
    }

    /// The longest in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a time needs no more than 53 bits")]
    pub fn most(&self) -> f64 {
        self.most as f64 / 1e9
    }

    /// The seconds that `share` of the times do not exceed (nearest rank), `None` without any.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a count is a count, and a time needs no more than 53 bits"
    )]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let found = self.counts.iter().position(|it| {
            seen += it;
            rank <= seen
        })?;
        let (low, high) = bounds(found);
        Some((f64::midpoint(low as f64, (high - 1) as f64)).min(self.most as f64) / 1e9)
    }

    /// `(seconds, times)` of the buckets that hold any, each with its upper bound.
    #[expect(clippy::cast_precision_loss, reason = "a time needs no more than 53 bits")]
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let filled = self.counts.iter().enumerate().filter(|it| 0 < *it.1);
        filled.map(|(it, count)| (bounds(it).1 as f64 / 1e9, *count))
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (nanos | STEPS).ilog2() - STEPS.ilog2();
    let within = nanos >> shift;
    usize::try_from(u64::from(shift) * STEPS + within).unwrap_or(usize::MAX)
}

/// The least value of a bucket, and the least of the next.
fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return (bucket, bucket + 1);
    }
    let shift = bucket / STEPS - 1;
    let within = bucket - shift * STEPS;
    let next = u128::from(within + 1) << shift;
    (within << shift, u64::try_from(next).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use policy::{Draw, SplitMix64};

    use super::*;

    #[test]
    fn each_value_lies_in_its_bucket_which_is_narrow() {
        let mut draw = SplitMix64::new(1);
        for _ in 0..100_000 {
            let bits = draw.below(62);
            let value = draw.below(1 << bits);
            let (low, high) = bounds(bucket(value));
            assert!(low <= value && value < high, "{value}: {low}..{high}");
            assert!(high - low <= 1.max(value / 1024), "{value}: {low}..{high}");
        }
    }

    #[test]
    fn merging_is_associative_and_quantiles_are_right() {
        let part = |from: u64| {
            let mut it = Histogram::default();
            (from..from + 1000).for_each(|value| it.record(value * 1_000_000));
            it
        };
        let (a, b, c) = (part(1), part(1001), part(2001));
        let merged = |parts: [&Histogram; 3]| {
            let mut all = Histogram::default();
            for it in parts {
                all.merge(it);
            }
            all
        };
        let all = merged([&a, &b, &c]);
        assert_eq!(all, merged([&c, &a, &b]));
        for (share, expected) in [(0.5, 1.5), (0.99, 2.97), (1.0, 3.0)] {
            let found = all.quantile(share).unwrap();
            assert!((found - expected).abs() < 0.001 * expected, "{share}: {found}");
        }
        assert!((all.mean().unwrap() - 1.5005).abs() < 1e-9);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
