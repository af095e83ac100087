//! Whose score is highest, when logarithms are to be taken for few?

use std::num::NonZeroU32;

/// `-weight / ln(unit)`.
pub(super) fn score(weight: NonZeroU32, digest: u64) -> f64 {
    f64::from(weight.get()) / unit(digest).ln().abs()
}

/// What is taken of a digest, between 0 and 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits of the digest are all that is taken")]
fn unit(digest: u64) -> f64 {
    ((digest >> 11) as f64 + 0.5) / UNITS
}

/// 2^53.
const UNITS: f64 = 9_007_199_254_740_992.0;

/// More than all that rounding may add to a score.
const ROUNDING: f64 = 1e-9;

/// Digests that differ by more have scores that differ, for one weight.
pub(super) fn step(digest: u64) -> u64 {
    (digest >> 40) + (1 << 12)
}

/// Less than one over the score, by the first two terms of `-ln(1 - x)`, all of which are positive; nearly
/// that where winners are.
#[expect(clippy::cast_precision_loss, reason = "53 bits of the digest are all that is taken")]
pub(super) fn shortfall(weight: NonZeroU32, digest: u64) -> f64 {
    let x = (!digest >> 11) as f64;
    x * (1.0 / UNITS + x * (0.5 / UNITS / UNITS)) / f64::from(weight.get())
}

/// Whether a score is higher than any other, of which the least [`shortfall`] is given.
///
/// What is left out after four terms of `-ln(1 - x)` is less than `x^5 / 5 * (1 + x + x^2 + ...)`.
pub(super) fn is_clear(weight: NonZeroU32, digest: u64, least: f64) -> bool {
    let rest = unit(digest);
    let x = 1.0 - rest;
    let square = x * x;
    let terms = x + square * (1.0 / 2.0) + square * (x * (1.0 / 3.0) + square * (1.0 / 4.0));
    let most = terms * rest + square * square * x * (1.0 / 5.0);
    most * (1.0 + ROUNDING) < least * f64::from(weight.get()) * rest
}

/// The highest score so far.
#[derive(Debug, Default)]
pub(super) struct Best {
    score: f64,
    pub(super) position: Option<usize>,
}

impl Best {
    /// Whether a candidate may reach the score.
    pub(super) fn may_reach(&self, weight: NonZeroU32, digest: u64) -> bool {
        self.score * shortfall(weight, digest) <= 1.0 + ROUNDING
    }

    /// The least digest with which a candidate of this weight may reach the score, by the first
    /// term of `-ln(1 - x)`: it is nearly all where the digests of winners are.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast to u64 ends at its range"
    )]
    pub(super) fn bound(&self, weight: NonZeroU32) -> u64 {
        let room = f64::from(weight.get()) * (1.0 + ROUNDING) / self.score.max(0.0);
        (((1.0 - room) * UNITS - 4.0) as u64) << 11
    }

    /// Of equals the first of the list stays.
    pub(super) fn meet(&mut self, position: usize, score: f64) {
        let is_better = self
            .position
            .is_none_or(|best| self.score.total_cmp(&score).then(position.cmp(&best)).is_lt());
        if is_better {
            *self = Self { score, position: Some(position) };
        }
    }
}
