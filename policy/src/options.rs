//! What do the words after a directive ask for?

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::Refusal;

/// Words of the form `name=value`, each name at most once.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    words: &'a [&'a str],
}

impl<'a> Options<'a> {
    /// Refuses the first word that has none of the `known` names, or one that stood before.
    pub(crate) fn new(words: &'a [&'a str], known: &[&str]) -> Result<Self, Refusal> {
        let name = |word: &'a str| Some(word.split_once('=')?.0);
        let is_wrong = |(at, word): &(usize, &&'a str)| {
            let own = name(word);
            let is_repeated = words[..*at].iter().any(|it| name(it) == own);
            is_repeated || !own.is_some_and(|it| known.contains(&it))
        };
        match words.iter().enumerate().find(is_wrong) {
            Some((word, _)) => Err(Refusal { word }),
            None => Ok(Self { words }),
        }
    }

    /// The value of an option, or `default` if it is not given; refused if `parse` cannot read it.
    pub(crate) fn value<T>(
        &self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Refusal> {
        for (word, text) in self.words.iter().enumerate() {
            if let Some((given, value)) = text.split_once('=')
                && given == name
            {
                return parse(value).ok_or(Refusal { word });
            }
        }
        Ok(default)
    }
}

/// A number within a range.
pub(crate) fn within(text: &str, range: RangeInclusive<f64>) -> Option<f64> {
    text.parse().ok().filter(|it| range.contains(it))
}

/// A time as nginx writes it, in one unit: `30ms`, `10s`, `1m`, or `10` for seconds.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|it: char| it.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<u32>().ok().map(u64::from)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_and_given_once() {
        let read = |words: &[&str]| Options::new(words, &["pool", "age"]).map(|_| ());
        assert_eq!(read(&["age=1s", "pool=3"]), Ok(()));
        assert_eq!(read(&["age=1s", "size=3"]), Err(Refusal { word: 1 }));
        assert_eq!(read(&["age=1s", "age=2s"]), Err(Refusal { word: 1 }));
        assert_eq!(read(&["age"]), Err(Refusal { word: 0 }));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_refused_where_it_stands() {
        let words = ["age=1s", "pool=x"];
        let options = Options::new(&words, &["pool", "age", "rate"]).unwrap();
        assert_eq!(options.value("age", Duration::ZERO, time), Ok(Duration::from_secs(1)));
        assert_eq!(options.value("rate", 3, |it| it.parse().ok()), Ok(3));
        assert_eq!(options.value("pool", 3, |it| it.parse().ok()), Err(Refusal { word: 1 }));
    }

    #[test]
    fn times_have_one_unit() {
        let seconds = Duration::from_secs;
        assert_eq!(time("30ms"), Some(Duration::from_millis(30)));
        assert_eq!(
            [time("10s"), time("10"), time("2m")],
            [10, 10, 120].map(|it| Some(seconds(it)))
        );
        assert_eq!([time(""), time("s"), time("1x"), time("-1s"), time("1s1")], [None; 5]);
    }
}
