//! How much work is a request?

use anyhow::{Context, Result, bail, ensure};
use policy::Draw;

/// A distribution of positive numbers with mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// Always 1.
    Det,
    /// Exponential: squared coefficient of variation 1.
    Exp,
    /// Two exponential phases with balanced means and this squared coefficient of variation, at
    /// least 1.
    H2(f64),
}

impl Law {
    /// Reads `det`, `exp` or `h2:4`.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "det" => Ok(Self::Det),
            None if text == "exp" => Ok(Self::Exp),
            Some(("h2", variation)) => {
                let variation: f64 = variation.parse().context("h2:C2 wants a number")?;
                ensure!(1.0 <= variation, "h2:C2 wants a number of at least 1");
                Ok(Self::H2(variation))
            }
            _ => bail!("there is no law \"{text}\": choose one of det, exp, h2:C2"),
        }
    }

    /// The next value; every law takes two numbers from the stream, so that streams stay aligned
    /// when the law changes.
    pub fn draw(&self, draw: &mut dyn Draw) -> f64 {
        let phase = draw.unit();
        let exponential = exponential(draw);
        match *self {
            Self::Det => 1.0,
            Self::Exp => exponential,
            Self::H2(variation) => {
                let first = f64::midpoint(1.0, ((variation - 1.0) / (variation + 1.0)).sqrt());
                let share = if phase < first { first } else { 1.0 - first };
                exponential / (2.0 * share)
            }
        }
    }
}

/// Exponential with mean 1, by inversion.
pub(super) fn exponential(draw: &mut dyn Draw) -> f64 {
    -(1.0 - draw.unit()).ln()
}

#[cfg(test)]
mod tests {
    use policy::SplitMix64;

    use super::*;

    #[test]
    fn laws_have_mean_one_and_their_variation() {
        for (law, variation) in [(Law::Det, 0.0), (Law::Exp, 1.0), (Law::H2(4.0), 4.0)] {
            let mut draw = SplitMix64::new(1);
            let values: Vec<f64> = (0..400_000).map(|_| law.draw(&mut draw)).collect();
            let mean = values.iter().sum::<f64>() / 4e5;
            let square = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 4e5;
            assert!((mean - 1.0).abs() < 0.015, "{law:?}: mean {mean}");
            assert!((square - variation).abs() <= 0.03 * variation, "{law:?}: {square}");
        }
    }

    #[test]
    fn laws_are_read_by_name() {
        assert_eq!(Law::parse("exp").unwrap(), Law::Exp);
        assert_eq!(Law::parse("h2:4").unwrap(), Law::H2(4.0));
        for text in ["", "h2", "h2:x", "h2:0.5", "h3:1"] {
            assert!(Law::parse(text).is_err(), "{text}");
        }
    }
}
