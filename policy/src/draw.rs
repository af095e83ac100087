//! Where does chance come from?
//!
//! From the caller, always: a recorded seed repeats a recorded decision.

use std::fmt::Debug;

/// The caller's random bits.
pub trait Draw: Debug {
    /// The next 64 independent, uniform bits.
    fn bits(&mut self) -> u64;

    /// A number below `bound`; 0 for a bound of 0.
    ///
    /// Source: D. Lemire, "Fast Random Integer Generation in an Interval", 2019, without the
    /// rejection step: a value is off by at most `bound / 2^64` of its probability.
    fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of a product fits in 64 bits")
    }

    /// A number of [0, 1), a multiple of 2^-53.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds exactly")]
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A small generator with a seed of 64 bits; good enough to balance with, not to keep secrets.
///
/// Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014,
/// with the constants of `java.util.SplittableRandom`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// Starts the sequence which belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }
}

impl Draw for SplitMix64 {
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut draw = SplitMix64::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| draw.bits()), expected);
    }

    #[test]
    fn every_number_below_the_bound_comes_as_often_as_any_other() {
        let mut draw = SplitMix64::new(7);
        let mut counts = [0_u32; 5];
        for _ in 0..50_000 {
            counts[usize::try_from(draw.below(5)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|it| (9_700..=10_300).contains(it)), "{counts:?}");
        assert_eq!(draw.below(0), 0);
    }

    #[test]
    fn a_unit_draw_is_below_one() {
        #[derive(Debug)]
        struct Highest;
        impl Draw for Highest {
            fn bits(&mut self) -> u64 {
                u64::MAX
            }
        }
        assert!(Highest.unit() < 1.0);
        assert_eq!(Highest.below(10), 9);
    }
}
