//! How much work is a request?

use std::{f64::consts::TAU, fs, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use policy::Draw;

/// A distribution of positive numbers; all but those of traces and [`Self::Normal`] have mean 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    /// Always 1.
    Det,
    /// Exponential: squared coefficient of variation 1.
    Exp,
    /// Two exponential phases with balanced means and this squared coefficient of variation, at
    /// least 1.
    H2(f64),
    /// Log-normal with this squared coefficient of variation.
    LogNormal(f64),
    /// Pareto with this shape, above 1; the variation is infinite up to 2.
    Pareto(f64),
    /// Normal with a mean and a deviation, cut below at a minimum.
    Normal(f64, f64, f64),
    /// Any of these values, each as likely as the others.
    Trace(Arc<[f64]>),
    /// These values in turn: the request with number `k` takes the value at `k`.
    Replay(Arc<[f64]>),
}

impl Law {
    /// Reads `det`, `exp`, `h2:4`, `lognormal:4`, `pareto:2.2`, `normal:1:0.2`, `trace:FILE` or
    /// `replay:FILE`; a file holds one number per line.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let least = |least: f64| -> Result<f64> {
            let value: f64 = rest.parse().with_context(|| format!("{name} wants a number"))?;
            ensure!(value.is_finite() && least <= value, "{name} wants at least {least}");
            Ok(value)
        };
        Ok(match name {
            "det" if rest.is_empty() => Self::Det,
            "exp" if rest.is_empty() => Self::Exp,
            "h2" => Self::H2(least(1.0)?),
            "lognormal" => Self::LogNormal(least(0.0)?),
            "pareto" => Self::Pareto(least(1.01)?),
            "normal" => {
                let parts: Vec<f64> = rest.split(':').map(str::parse).collect::<Result<_, _>>()?;
                let [mean, deviation, ref minimum @ ..] = parts[..] else {
                    bail!("normal wants MEAN:DEVIATION or MEAN:DEVIATION:MINIMUM");
                };
                Self::Normal(mean, deviation, minimum.first().copied().unwrap_or(0.0))
            }
            "trace" => Self::Trace(read(rest)?),
            "replay" => Self::Replay(read(rest)?),
            _ => bail!(
                "there is no law \"{text}\": choose one of det, exp, h2:C2, lognormal:C2, \
                 pareto:SHAPE, normal:MEAN:DEVIATION, trace:FILE, replay:FILE"
            ),
        })
    }

    /// The next value; every law takes two numbers from the stream, so that streams stay aligned
    /// when the law changes.
    pub fn draw(&self, number: u64, draw: &mut impl Draw) -> f64 {
        let phase = draw.unit();
        let exponential = exponential(draw);
        match self {
            Self::Det => 1.0,
            Self::Exp => exponential,
            Self::H2(variation) => {
                let first = f64::midpoint(1.0, ((variation - 1.0) / (variation + 1.0)).sqrt());
                let share = if phase < first { first } else { 1.0 - first };
                exponential / (2.0 * share)
            }
            Self::LogNormal(variation) => {
                let square = variation.ln_1p();
                (square.sqrt() * normal(phase, exponential) - square / 2.0).exp()
            }
            Self::Pareto(shape) => (shape - 1.0) / shape * (exponential / shape).exp(),
            Self::Normal(mean, deviation, minimum) => {
                (mean + deviation * normal(phase, exponential)).max(*minimum)
            }
            Self::Trace(values) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    clippy::cast_sign_loss,
                    reason = "a share of a length is a position"
                )]
                let position = (phase * values.len() as f64) as usize;
                values[position.min(values.len() - 1)]
            }
            Self::Replay(values) => {
                values[usize::try_from(number).unwrap_or(usize::MAX) % values.len()]
            }
        }
    }
}

/// Numbers above 0, one per line.
pub(super) fn read(path: &str) -> Result<Arc<[f64]>> {
    let text = fs::read_to_string(path).with_context(|| format!("the trace {path}"))?;
    let values: Vec<f64> = text
        .lines()
        .map(str::trim)
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .map(|it| it.parse().with_context(|| format!("{path}: \"{it}\" is not a number")))
        .collect::<Result<_>>()?;
    ensure!(!values.is_empty(), "the trace {path} is empty");
    ensure!(values.iter().all(|it| it.is_finite() && 0.0 <= *it), "{path}: below 0");
    Ok(values.into())
}

/// Exponential with mean 1, by inversion.
pub(super) fn exponential(draw: &mut impl Draw) -> f64 {
    -(1.0 - draw.unit()).ln()
}

/// Standard normal by Box and Muller, from a uniform and an exponential number.
fn normal(uniform: f64, exponential: f64) -> f64 {
    (2.0 * exponential).sqrt() * (TAU * uniform).cos()
}

#[cfg(test)]
mod tests {
    use policy::SplitMix64;

    use super::*;

    #[test]
    fn laws_have_mean_one_and_their_variation() {
        for (law, variation) in [
            (Law::Det, 0.0),
            (Law::Exp, 1.0),
            (Law::H2(4.0), 4.0),
            (Law::LogNormal(2.0), 2.0),
            (Law::Pareto(6.0), 1.0 / 24.0),
            (Law::Normal(1.0, 0.2, 0.0), 0.04),
            (Law::Trace([0.5, 1.5].into()), 0.25),
            (Law::Replay([0.5, 1.5].into()), 0.25),
        ] {
            let mut draw = SplitMix64::new(1);
            let values: Vec<f64> = (0..400_000).map(|it| law.draw(it, &mut draw)).collect();
            let mean = values.iter().sum::<f64>() / 4e5;
            let square = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 4e5;
            assert!((mean - 1.0).abs() < 0.015, "{law:?}: mean {mean}");
            assert!((square - variation).abs() <= 0.04 * variation, "{law:?}: {square}");
        }
    }

    #[test]
    fn laws_are_read_by_name() {
        assert_eq!(Law::parse("exp").unwrap(), Law::Exp);
        assert_eq!(Law::parse("h2:4").unwrap(), Law::H2(4.0));
        assert_eq!(Law::parse("normal:2:1").unwrap(), Law::Normal(2.0, 1.0, 0.0));
        for text in ["", "h2", "h2:x", "h2:0.5", "h3:1", "pareto:1", "normal:1", "trace:/none"] {
            assert!(Law::parse(text).is_err(), "{text}");
        }
    }
}
