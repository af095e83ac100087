//! How sure is a mean over a few repeats, and is a difference one?
//!
//! A repeat is one number: quantiles are taken within a run and their spread is seen between runs, never
//! within one, whose requests depend on each other.

use policy::{Draw, SplitMix64};

use super::{Estimate, count, mean, quantile, student};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2_000;

/// Fewer repeats than these have too few different resamples; Student's t is used for them.
const FEWEST: usize = 5;

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end; minus infinity for a single repeat.
    pub low: f64,
    /// The upper end; infinity for a single repeat.
    pub high: f64,
}

impl Interval {
    /// The interval of the mean of one value per repeat; `None` without any.
    ///
    /// From five repeats on by the bootstrap with expanded percentiles, else by Student's t; the same
    /// values give the same interval.
    ///
    /// Source: T. Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4.
    pub fn of(values: &[f64]) -> Option<Self> {
        let estimate = Estimate::of(values)?;
        let by_student = Self {
            mean: estimate.mean,
            low: estimate.mean - estimate.half_width,
            high: estimate.mean + estimate.half_width,
        };
        if values.len() < FEWEST {
            return Some(by_student);
        }
        let mut draw = SplitMix64::new(430);
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let all = values.len() as u64;
                let drawn = values.iter().map(|_| {
                    values[usize::try_from(draw.below(all)).unwrap_or(0).min(values.len() - 1)]
                });
                drawn.sum::<f64>() / count(values.len())
            })
            .collect();
        let repeats = count(values.len());
        let tail = normal_tail(student(values.len() - 1) * (repeats / (repeats - 1.0)).sqrt());
        Some(Self {
            mean: estimate.mean,
            low: quantile(&mut means, tail)?,
            high: quantile(&mut means, 1.0 - tail)?,
        })
    }

    /// Whether nothing but 0 was seen.
    pub fn is_zero(&self) -> bool {
        [self.mean, self.low, self.high].iter().all(|it| it.abs() < 1e-12)
    }

    /// Whether 0 lies outside: only then is a difference one.
    pub fn excludes_zero(&self) -> bool {
        0.0 < self.low || self.high < 0.0
    }
}

/// What a policy changes against another one, repeat by repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Of the second less the first.
    pub interval: Interval,
    /// The same as a share of the first one's mean.
    pub relative: Interval,
    /// The chance of such a difference or a larger one between equals, by a paired t test.
    pub chance: f64,
}

impl Difference {
    /// From pairs of the same repeat; `None` with fewer than two.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
        let first = mean(&pairs.iter().map(|it| it.0).collect::<Vec<_>>())?;
        let estimate = Estimate::of(&differences).filter(|it| it.error.is_finite())?;
        let interval = Interval::of(&differences)?;
        let share = |it: f64| if first == 0.0 { f64::NAN } else { it / first };
        let t = if estimate.error == 0.0 {
            if estimate.mean == 0.0 { 0.0 } else { f64::INFINITY }
        } else {
            estimate.mean.abs() / estimate.error
        };
        Some(Self {
            interval,
            relative: Interval {
                mean: share(interval.mean),
                low: share(interval.low),
                high: share(interval.high),
            },
            chance: two_sided(t, count(pairs.len() - 1)),
        })
    }
}

/// Which of several differences stand at 5 % together (Holm, 1979): with many comparisons one would
/// look like a difference by chance alone.
pub fn holm(chances: &[f64]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|a, b| chances[*a].total_cmp(&chances[*b]));
    let mut stands = vec![false; chances.len()];
    for (rank, place) in order.into_iter().enumerate() {
        if 0.05 / count(chances.len() - rank) < chances[place] {
            break;
        }
        stands[place] = true;
    }
    stands
}

/// The share of a standard normal beyond `z`, which is at least 0.
///
/// Source: M. Abramowitz and I. Stegun, 26.2.17; off by less than 7.5e-8.
fn normal_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let density = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
    density * series.iter().fold(0.0, |sum, it| (sum + it) * t)
}

/// The share of Student's t beyond `t` on either side.
///
/// By integrating the density, whose tail is a smooth function of the angle `atan(t / sqrt(freedom))`.
fn two_sided(t: f64, freedom: f64) -> f64 {
    const STEPS: u32 = 2_000;
    // With t = sqrt(n) tan(a) the density becomes cos(a)^(n - 1), up to a constant.
    let height = |angle: f64| angle.cos().max(0.0).powf(freedom - 1.0);
    let area = |from: f64| {
        let width = (std::f64::consts::FRAC_PI_2 - from) / f64::from(STEPS);
        (0..STEPS).map(|it| height(from + width * (f64::from(it) + 0.5))).sum::<f64>() * width
    };
    (area((t / freedom.sqrt()).atan()) / area(0.0)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found}, known is {expected}");
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        close(normal_tail(1.959_964), 0.025, 1e-6);
        close(normal_tail(0.0), 0.5, 1e-6);
        for (freedom, t) in [(1.0, 12.706), (4.0, 2.776), (9.0, 2.262), (30.0, 2.042)] {
            close(two_sided(t, freedom), 0.05, 1e-4);
        }
        close(two_sided(0.0, 4.0), 1.0, 1e-9);
        close(two_sided(f64::INFINITY, 4.0), 0.0, 1e-9);
    }

    #[test]
    fn intervals_of_few_repeats_cover_the_mean_as_often_as_they_say() {
        let mut draw = SplitMix64::new(1);
        for repeats in [3, 5, 8] {
            let covered = (0..200).filter(|_| {
                // The sum of twelve uniform numbers is close to normal, with variance 1.
                let normal =
                    |draw: &mut SplitMix64| (0..12).map(|_| draw.unit()).sum::<f64>() - 6.0;
                let values: Vec<f64> = (0..repeats).map(|_| normal(&mut draw)).collect();
                !Interval::of(&values).unwrap().excludes_zero()
            });
            let share = count(covered.count()) / 200.0;
            assert!((0.9..=0.995).contains(&share), "{repeats} repeats: {share}");
        }
    }

    #[test]
    fn a_policy_is_rarely_declared_different_from_itself() {
        let mut draw = SplitMix64::new(2);
        let different = (0..400).filter(|_| {
            let pairs: Vec<(f64, f64)> = (0..5).map(|_| (draw.unit(), draw.unit())).collect();
            Difference::of(&pairs).unwrap().chance < 0.05
        });
        assert!(different.count() <= 32);
    }

    #[test]
    fn a_difference_is_told_in_units_and_as_a_share() {
        let pairs = [(10.0, 8.0), (11.0, 9.1), (9.0, 7.0), (10.5, 8.4), (9.5, 7.6)];
        let found = Difference::of(&pairs).unwrap();
        close(found.interval.mean, -1.98, 1e-9);
        close(found.relative.mean, -0.198, 1e-9);
        assert!(found.interval.excludes_zero() && found.chance < 0.001, "{found:?}");
        assert_eq!(Difference::of(&pairs[..1]), None);
    }

    #[test]
    fn holm_asks_more_of_the_first() {
        assert_eq!(holm(&[0.04, 0.01, 0.03]), [false, true, false]);
        assert_eq!(holm(&[0.02, 0.01, 0.012]), [true, true, true]);
        assert_eq!(holm(&[0.02, 0.03]), [true, true]);
        assert_eq!(holm(&[0.026, 0.03]), [false, false]);
        assert!(holm(&[]).is_empty());
    }
}
