//! In which words is an answer given?

use crate::{
    report::{
        compare::Pair,
        number::{Unit, short, tick},
    },
    stats::interval::Interval,
};

/// A language of the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Lang {
    /// English.
    En,
    /// French.
    Fr,
}

impl Lang {
    /// One of two texts that say the same.
    pub(super) fn say<'a>(self, english: &'a str, french: &'a str) -> &'a str {
        match self {
            Self::En => english,
            Self::Fr => french,
        }
    }

    /// As the attribute `lang` wants it.
    pub(super) fn code(self) -> &'static str {
        self.say("en", "fr")
    }

    /// A colon, with the blank that stands before it in French.
    pub(super) fn colon(self) -> &'static str {
        self.say(":", " :")
    }

    /// What stands where a picture has nothing to show.
    pub(super) fn nothing(self) -> &'static str {
        self.say("not measured", "non mesuré")
    }

    /// A number with three digits that mean something.
    pub(super) fn number(self, value: f64) -> String {
        let text = if value.is_finite() { short(value) } else { "?".to_owned() };
        self.decimal(&text)
    }

    /// The same beside a tick of an axis.
    pub(super) fn tick(self, value: f64) -> String {
        self.decimal(&tick(value))
    }

    /// A decimal comma where the language has one.
    pub(super) fn decimal(self, text: &str) -> String {
        match self {
            Self::En => text.to_owned(),
            Self::Fr => text.replace('.', ","),
        }
    }

    /// A mean with its interval.
    pub(super) fn interval(self, it: Option<Interval>) -> String {
        let to = self.say("to", "à");
        match it {
            None => self.nothing().to_owned(),
            Some(it) if !it.low.is_finite() => {
                format!("{} ({})", self.number(it.mean), self.say("one repeat", "une répétition"))
            }
            Some(Interval { mean, low, high }) => {
                format!("{} ({} {to} {})", self.number(mean), self.number(low), self.number(high))
            }
        }
    }

    /// A time in milliseconds with its interval.
    pub(super) fn millis(self, it: Option<Interval>) -> String {
        let of = |it| Unit::Millis.of(it);
        let scaled =
            |it: Interval| Interval { mean: of(it.mean), low: of(it.low), high: of(it.high) };
        self.interval(it.map(scaled))
    }

    /// What changed from the first to the second, in percent; never more than the interval allows.
    pub(super) fn change(self, pair: &Pair) -> String {
        let Some(it) = pair.difference else {
            return self
                .say(
                    "fewer than two valid repeats of both",
                    "moins de deux répétitions valides des deux",
                )
                .to_owned();
        };
        let share = |it: f64| {
            let text =
                if it.is_finite() { format!("{:+.0} %", 100.0 * it) } else { "?".to_owned() };
            if text == "-0 %" { "+0 %".to_owned() } else { text }
        };
        let Interval { mean, low, high } = it.relative;
        let to = self.say("to", "à");
        let text = format!("{} ({} {to} {})", share(mean), share(low), share(high));
        if pair.stands {
            return text;
        }
        let none = self.say("no distinguishable change", "pas de changement discernable");
        format!("{none}{} {text}", self.colon())
    }
}
