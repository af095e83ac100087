//! What does a word mean as a size, a time, a choice?
//!
//! Each kind accepts what nginx accepts and refuses with nginx's text. The functions that take
//! text know the form; the methods of [`Directive`] take the one argument of a directive and know
//! the text of the refusal.
//!
//! Source: nginx `ngx_parse.c`, and the slots of `ngx_conf_file.c`.

use std::time::Duration;

use super::directive::{Directive, Word};
use super::error::ConfError;

/// A decimal number without a sign, up to 2^63 - 1.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|it| *it <= LARGEST)
}

/// Bytes: digits with an optional `k` or `m`, in either case.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    scaled(text, &[('k', 10), ('m', 20)])
}

/// Bytes of a file or a body: as [`size`], and `g`.
#[must_use]
pub fn offset(text: &str) -> Option<u64> {
    scaled(text, &[('k', 10), ('m', 20), ('g', 30)])
}

/// nginx keeps numbers in signed words.
const LARGEST: u64 = i64::MAX as u64;

fn scaled(text: &str, units: &[(char, u32)]) -> Option<u64> {
    let unit = units.iter().find(|(unit, _)| text.to_ascii_lowercase().ends_with(*unit));
    let Some((_, shift)) = unit else { return number(text) };
    let number = number(&text[..text.len() - 1])?;
    if LARGEST >> shift < number { None } else { Some(number << shift) }
}

/// The finest unit in which a directive keeps its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Seconds: `y` and `M` are understood, `ms` is not.
    Seconds,
    /// Milliseconds: `ms` is understood, `y` and `M` are not.
    Milliseconds,
}

/// The units, largest first, each with its length in milliseconds.
const UNITS: [(&str, u64); 8] = [
    ("y", 365 * 86_400_000),
    ("M", 30 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A time: numbers with units, largest unit first; one number without a unit, the last, is seconds.
///
/// Within quotes spaces may stand between the parts.
#[must_use]
pub fn time(text: &str, finest: Unit) -> Option<Duration> {
    let allowed = match finest {
        Unit::Seconds => &UNITS[..7],
        Unit::Milliseconds => &UNITS[2..],
    };
    let mut larger = allowed;
    let mut total = 0_u64;
    let mut rest = text;
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
        let (value, after) = rest.split_at(digits);
        // nginx reads no digits as 0 when another part has some.
        let value = if value.is_empty() { 0 } else { number(value)? };
        let letters = after.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let milliseconds = if unit.is_empty() {
            if !after.trim_start_matches(' ').is_empty() {
                return None;
            }
            larger = &[];
            1000
        } else {
            let position = larger.iter().position(|(it, _)| *it == unit)?;
            let (_, milliseconds) = larger[position];
            larger = &larger[position + 1..];
            milliseconds
        };
        total = value.checked_mul(milliseconds)?.checked_add(total)?;
        rest = after.trim_start_matches(' ');
    }
    let any_digit = text.bytes().any(|it| it.is_ascii_digit());
    (any_digit && total <= LARGEST).then(|| Duration::from_millis(total))
}

/// The word of a choice, in any case.
#[must_use]
pub fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Option<T> {
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
}

impl Word {
    /// What follows `name=`, when the word begins so.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.as_str().strip_prefix(name)?.strip_prefix('=')
    }

    /// The refusal of a parameter.
    pub fn invalid_parameter(&self) -> ConfError {
        self.refuse(format!("invalid parameter \"{self}\""))
    }

    /// The refusal of a value in a list or choice.
    pub fn invalid_value(&self) -> ConfError {
        self.refuse(format!("invalid value \"{self}\""))
    }
}

/// The one argument of a directive whose row allows exactly one.
impl Directive {
    /// The text as it is.
    pub fn text(&self) -> &Word {
        &self.words[1]
    }

    /// `on` or `off`, in any case.
    pub fn flag(&self) -> Result<bool, ConfError> {
        choice(self.text(), &[("on", true), ("off", false)]).ok_or_else(|| {
            let (word, name) = (self.text(), self.name());
            let known = "it must be \"on\" or \"off\"";
            word.refuse(format!("invalid value \"{word}\" in \"{name}\" directive, {known}"))
        })
    }

    /// A decimal number.
    pub fn number(&self) -> Result<u64, ConfError> {
        number(self.text()).ok_or_else(|| self.refuse("invalid number"))
    }

    /// Bytes: `k` and `m`.
    pub fn size(&self) -> Result<u64, ConfError> {
        size(self.text()).ok_or_else(|| self.refuse("invalid value"))
    }

    /// Bytes: `k`, `m` and `g`.
    pub fn offset(&self) -> Result<u64, ConfError> {
        offset(self.text()).ok_or_else(|| self.refuse("invalid value"))
    }

    /// A time that the directive keeps in milliseconds.
    pub fn milliseconds(&self) -> Result<Duration, ConfError> {
        time(self.text(), Unit::Milliseconds).ok_or_else(|| self.refuse("invalid value"))
    }

    /// A time that the directive keeps in seconds.
    pub fn seconds(&self) -> Result<Duration, ConfError> {
        time(self.text(), Unit::Seconds).ok_or_else(|| self.refuse("invalid value"))
    }

    /// Buffers: a count and a size, both from 1 on.
    ///
    /// # Errors
    ///
    /// Also when the row allowed another number of arguments than two.
    pub fn buffers(&self) -> Result<(u64, u64), ConfError> {
        match self.arguments() {
            [count, each] => number(count).zip(size(each)).filter(|it| it.0 != 0 && it.1 != 0),
            _ => None,
        }
        .ok_or_else(|| self.refuse("invalid value"))
    }

    /// One of some words, in any case.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfError> {
        choice(self.text(), choices).ok_or_else(|| self.text().invalid_value())
    }

    /// Some of some words, in any case, each at its first mention; and a warning for each word
    /// that is there twice.
    pub fn choices<T: Copy + PartialEq>(
        &self,
        choices: &[(&str, T)],
    ) -> Result<(Vec<T>, Vec<ConfError>), ConfError> {
        let (mut chosen, mut warnings) = (Vec::new(), Vec::new());
        for word in self.arguments() {
            let value = choice(word, choices).ok_or_else(|| word.invalid_value())?;
            if chosen.contains(&value) {
                warnings.push(word.refuse(format!("duplicate value \"{word}\"")).warning());
            } else {
                chosen.push(value);
            }
        }
        Ok((chosen, warnings))
    }
}

#[cfg(test)]
mod tests;
