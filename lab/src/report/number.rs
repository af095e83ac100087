//! How are numbers written for people?

use crate::stats::interval::Interval;

/// What times are shown in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    /// Milliseconds, for real servers.
    Millis,
    /// Seconds, which in a model may be mean service times.
    Seconds,
}

impl Unit {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Seconds => "s",
        }
    }

    /// A number of seconds in this unit.
    pub(crate) fn of(self, seconds: f64) -> f64 {
        match self {
            Self::Millis => seconds * 1e3,
            Self::Seconds => seconds,
        }
    }

    /// A time with its unit.
    pub(crate) fn write(self, seconds: f64) -> String {
        format!("{} {}", short(self.of(seconds)), self.name())
    }

    /// A mean with its interval.
    pub(crate) fn interval(self, it: Option<Interval>) -> String {
        let scaled = |it: Interval| Interval {
            mean: self.of(it.mean),
            low: self.of(it.low),
            high: self.of(it.high),
        };
        interval(it.map(scaled))
    }
}

/// A number with three digits that mean something.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "unknown".to_owned(),
        _ if size < 1e-12 => "0".to_owned(),
        _ if size < 0.1 => format!("{value:.4}"),
        _ if size < 1.0 => format!("{value:.3}"),
        _ if size < 10.0 => format!("{value:.2}"),
        _ if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A number beside a tick of an axis: without zeros that say nothing.
pub(crate) fn tick(value: f64) -> String {
    let text = short(value);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The same for what comes in whole numbers; between them a tick has no name.
pub(crate) fn whole(value: f64) -> String {
    if (value - value.round()).abs() < 1e-6 { format!("{value:.0}") } else { String::new() }
}

/// A mean with its interval, or why there is none.
pub(crate) fn interval(it: Option<Interval>) -> String {
    match it {
        None => "-".to_owned(),
        Some(it) if !it.low.is_finite() => format!("{} (one repeat)", short(it.mean)),
        Some(it) => format!("{} ({} to {})", short(it.mean), short(it.low), short(it.high)),
    }
}

/// A share as a percentage without its sign.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share.abs())
}

/// The share of so many nines, with as many decimals as it takes to see them.
pub(crate) fn share_below(nines: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an axis has a handful of nines"
    )]
    let decimals = (nines - 2.0).max(0.0) as usize;
    format!("{:.decimals$} %", 100.0 - 10.0_f64.powf(2.0 - nines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_mean_something() {
        let shown = [0.0, 0.012_34, 0.1234, 1.234, 12.34, 123.4, 12_345.6, f64::NAN].map(short);
        assert_eq!(shown, ["0", "0.0123", "0.123", "1.23", "12.3", "123", "12346", "unknown"]);
        assert_eq!(Unit::Millis.write(-0.0021), "-2.10 ms");
        assert_eq!([0.0, 0.5, 8.0, 10.0, 100.0].map(tick), ["0", "0.5", "8", "10", "100"]);
        assert_eq!([0.0, 0.5, 1.0, 12.0].map(whole), ["0", "", "1", "12"]);
    }

    #[test]
    fn each_nine_can_be_seen() {
        let shown = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0].map(share_below);
        assert_eq!(shown, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.9999 %"]);
    }
}
