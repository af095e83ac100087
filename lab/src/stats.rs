//! What do repeated runs say, and how sure is it?

pub mod histogram;
pub mod interval;
pub mod scaling;

/// A mean over replications with the half-width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean of the replications.
    pub mean: f64,
    /// Half of the interval by Student's t; infinite for a single replication.
    pub half_width: f64,
    /// The standard error of the mean; infinite for a single replication.
    pub error: f64,
}

impl Estimate {
    /// The estimate from one value per replication; `None` without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = count(values.len());
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        if values.len() == 1 {
            return Some(Self { mean, half_width: f64::INFINITY, error: f64::INFINITY });
        }
        let square = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (square / count).sqrt();
        Some(Self { mean, half_width: error * student(values.len() - 1), error })
    }

    /// Whether 0 lies outside the interval: only then is a difference one.
    pub fn excludes_zero(&self) -> bool {
        self.half_width < self.mean.abs()
    }
}

/// The mean of the values; `None` without any.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count(values.len()))
}

/// The smallest value that `share` of the values do not exceed (nearest rank); `None` without any.
///
/// Reorders the values.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is a length"
    )]
    let rank = (share * count(values.len())).ceil().max(1.0) as usize - 1;
    Some(*values.select_nth_unstable_by(rank.min(last), f64::total_cmp).1)
}

/// Jain's index of fairness: 1 when all are equal, `1/n` when one has everything; `None` without any.
pub fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|it| it * it).sum();
    (0.0 < squares).then(|| sum * sum / (count(values.len()) * squares))
}

/// How many of the first values to leave out so that the mean of the rest is known best.
///
/// Source: K. P. White, "An effective truncation heuristic for bias reduction in simulation output"
/// (MSER), 1997, over batch means; at most half is left out.
pub fn warm_up(batches: &[f64]) -> usize {
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut best = (f64::INFINITY, 0);
    for (left_out, value) in batches.iter().enumerate().rev() {
        sum += value;
        squares += value * value;
        let rest = count(batches.len() - left_out);
        let spread = (squares - sum * sum / rest).max(0.0) / (rest * rest);
        if left_out <= batches.len() / 2 && spread <= best.0 {
            best = (spread, left_out);
        }
    }
    best.1
}

#[expect(clippy::cast_precision_loss, reason = "samples are far fewer than 2^52")]
fn count(values: usize) -> f64 {
    values as f64
}

/// The 97.5 % quantile of Student's t; above 30 degrees of freedom by Cornish and Fisher's series,
/// whose first two terms are right to three digits there.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    let normal = 1.959_964_f64;
    freedom.checked_sub(1).and_then(|it| TABLE.get(it)).copied().unwrap_or_else(|| {
        let first = (normal.powi(3) + normal) / 4.0;
        let second = (5.0 * normal.powi(5) + 16.0 * normal.powi(3) + 3.0 * normal) / 96.0;
        normal + first / count(freedom) + second / count(freedom).powi(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_follows_students_table() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]).unwrap();
        assert!((estimate.mean - 2.0).abs() < 1e-12);
        assert!((estimate.half_width - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9);
        assert!(!estimate.excludes_zero());
        assert!(Estimate::of(&[5.0, 5.1, 4.9]).unwrap().excludes_zero());
        assert!(!Estimate::of(&[5.0]).unwrap().excludes_zero());
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn the_series_joins_the_table() {
        assert!((student(31) - 2.0395).abs() < 0.0005, "{}", student(31));
        assert!((student(60) - 2.0003).abs() < 0.0005, "{}", student(60));
        assert!(student(31) < student(30));
    }

    #[test]
    fn fairness_is_one_for_equals_and_least_for_one_alone() {
        assert_eq!(jain(&[2.0, 2.0, 2.0]), Some(1.0));
        assert_eq!(jain(&[4.0, 0.0, 0.0, 0.0]), Some(0.25));
        assert_eq!(jain(&[]), None);
    }

    #[test]
    fn a_start_that_is_not_like_the_rest_is_found() {
        let wave = |it: u32| f64::from(it % 7);
        let start = (0..40).map(|it| 100.0 - 2.0 * f64::from(it));
        let values: Vec<f64> = start.chain((0..400).map(wave)).collect();
        assert!((38..=60).contains(&warm_up(&values)), "{}", warm_up(&values));
        let steady: Vec<f64> = (0..400).map(wave).collect();
        assert!(warm_up(&steady) < 20, "{}", warm_up(&steady));
    }

    #[test]
    fn quantiles_are_values_by_nearest_rank() {
        let values = |share| quantile(&mut [4.0, 1.0, 3.0, 2.0], share);
        assert_eq!([0.0, 0.25, 0.26, 0.5, 1.0].map(values), [1.0, 1.0, 2.0, 2.0, 4.0].map(Some));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
