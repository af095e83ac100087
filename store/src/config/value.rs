//! How is one variable read, and what is said when it cannot be?

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::Config;
use super::choice::{Choice, chosen};

/// Reads variables and remembers every complaint.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    refusals: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, refusals: Vec::new(), warnings: Vec::new() }
    }

    /// The value, trimmed and without its quotes; an empty one counts as unset.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).as_deref().map(unquoted).filter(|it| !it.is_empty()).map(str::to_owned)
    }

    pub(super) fn port(&mut self, name: &str) -> Option<u16> {
        self.parsed(name, "not a port number (1-65535)", |it| it.parse().ok().filter(|it| *it != 0))
    }

    pub(super) fn number<T>(&mut self, name: &str, least: T, most: T) -> Option<T>
    where
        T: Copy + FromStr + PartialOrd + std::fmt::Display,
    {
        let wish = format!("not a whole number from {least} to {most}");
        self.parsed(name, &wish, |it| it.parse().ok().filter(|it| least <= *it && *it <= most))
    }

    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.parsed(name, "not a duration (60, 60s, 500ms, 5m, 24h)", duration)
    }

    pub(super) fn size(&mut self, name: &str) -> Option<usize> {
        self.parsed(name, "not a size (1048576, 64KiB, 1MiB)", size)
    }

    pub(super) fn address(&mut self, name: &str) -> Option<SocketAddr> {
        self.parsed(name, "not an address with a port (127.0.0.1:5000)", |it| {
            it.parse().ok().or_else(|| {
                it.strip_prefix("localhost:")?
                    .parse()
                    .ok()
                    .map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)))
            })
        })
    }

    /// A text that can stand in a header.
    pub(super) fn header(&mut self, name: &str) -> Option<String> {
        self.parsed(name, "not visible ASCII of at most 128 characters", |it| {
            (it.len() <= 128 && it.bytes().all(|it| it.is_ascii_graphic())).then(|| it.to_owned())
        })
    }

    pub(super) fn choice<T: Choice>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        chosen(&text).inspect_err(|reason| self.refuse(name, &text, reason)).ok()
    }

    pub(super) fn refuse(&mut self, name: &str, value: &str, reason: &str) {
        self.refusals.push(format!("{name}={value:?}: {reason}"));
    }

    /// As [`Self::refuse`], for a value that holds a secret.
    pub(super) fn refuse_unseen(&mut self, name: &str, reason: &str) {
        self.refusals.push(format!("{name}: {reason}"));
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    pub(super) fn finish(self, config: Config) -> Result<(Config, Vec<String>), Vec<String>> {
        if self.refusals.is_empty() { Ok((config, self.warnings)) } else { Err(self.refusals) }
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        wish: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.refuse(name, &text, wish);
        }
        value
    }
}

/// The word closest to what was typed, if one is close at all.
pub(super) fn nearest<'a>(typed: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |it: &&str| 3 <= typed.len() && (it.starts_with(typed) || it.ends_with(typed));
    let mut words: Vec<_> = words.map(|it| (strsim::damerau_levenshtein(typed, it), it)).collect();
    words.sort_by_key(|(distance, _)| *distance);
    let close = words.first().filter(|(distance, _)| *distance <= 3).map(|(_, it)| *it);
    close.or_else(|| words.iter().rev().map(|(_, it)| *it).find(near))
}

/// Spaces, a carriage return and one pair of quotes are no part of a value.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    ['"', '\''].into_iter().find_map(|it| text.strip_prefix(it)?.strip_suffix(it)).unwrap_or(text)
}

fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let seconds = |factor| number.checked_mul(factor).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => seconds(1),
        "m" | "min" => seconds(60),
        "h" => seconds(3600),
        _ => None,
    }
}

fn size(text: &str) -> Option<usize> {
    let split = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "m" | "M" | "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}
