//! `expires`: how long may an answer be kept?

use jiff::Zoned;

use crate::conf::value::{Unit, time};
use crate::conf::{ConfError, Directive, Effect, Row, Word};
use crate::engine::clock;
use crate::engine::exchange::Exchange;
use crate::engine::head;
use crate::http::WITH_IF;
use crate::http::variable::{Template, compile};
use crate::variable::{Names, has_variables};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    expires: Option<(bool, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Fixed(When),
    Variable(Word),
}

/// When an answer is out of date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    /// Nothing is said.
    Off,
    /// It was never up to date.
    Epoch,
    /// As late as can be.
    Max,
    /// This many seconds after now, or after the answer was changed.
    After(i64),
    /// At this second of the day, next time.
    Daily(i64),
}

/// Directives of `http`, `server`, `location` and `if`.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "expires",
    within: WITH_IF,
    arguments: 1..=2,
    effect: Effect::Set(Settings::expires),
}];

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self { expires: self.expires.or_else(|| outer.expires.clone()) }
    }

    /// Source: nginx `ngx_http_headers_filter_module.c`, `ngx_http_headers_expires`.
    fn expires(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let words = directive.arguments();
        let is_modified = words.len() == 2;
        if is_modified && words[0] != "modified" {
            return Err(directive.refuse("invalid value"));
        }
        let word = &words[words.len() - 1];
        let value = if has_variables(word.as_bytes()) {
            Value::Variable(word.clone())
        } else {
            Value::Fixed(parse(word, is_modified).map_err(|it| directive.refuse(it))?)
        };
        self.expires = Some((is_modified, value));
        Ok(())
    }

    /// What a request needs, `None` where nothing is said.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Option<Expires>, ConfError> {
        let Some((is_modified, value)) = &self.expires else { return Ok(None) };
        let value = match value {
            Value::Fixed(When::Off) => return Ok(None),
            Value::Fixed(when) => Source::Fixed(*when),
            Value::Variable(word) => Source::Template(compile(word, names)?),
        };
        Ok(Some(Expires { is_modified: *is_modified, value }))
    }
}

/// Source: nginx `ngx_http_headers_filter_module.c`, `ngx_http_parse_expires`.
fn parse(text: &str, is_modified: bool) -> Result<When, &'static str> {
    match text {
        "epoch" if !is_modified => return Ok(When::Epoch),
        "max" if !is_modified => return Ok(When::Max),
        "off" if !is_modified => return Ok(When::Off),
        _ => {}
    }
    let seconds = |text| {
        let time = time(text, Unit::Seconds).ok_or("invalid value")?;
        i64::try_from(time.as_secs()).map_err(|_| "invalid value")
    };
    if let Some(daily) = text.strip_prefix('@') {
        if is_modified {
            return Err("daily time cannot be used with \"modified\" parameter");
        }
        let second = seconds(daily)?;
        if DAY < second {
            return Err("daily time value must be less than 24 hours");
        }
        return Ok(When::Daily(second));
    }
    match text.strip_prefix('-') {
        Some(before) => Ok(When::After(-seconds(before)?)),
        None => Ok(When::After(seconds(text.strip_prefix('+').unwrap_or(text))?)),
    }
}

/// An `expires` line.
#[derive(Debug)]
pub struct Expires {
    is_modified: bool,
    value: Source,
}

#[derive(Debug)]
enum Source {
    Fixed(When),
    Template(Template),
}

impl Expires {
    /// Says in the answer's head how long it may be kept.
    ///
    /// Source: nginx `ngx_http_headers_filter_module.c`, `ngx_http_set_expires`.
    pub fn apply(&self, exchange: &mut Exchange) {
        let when = match &self.value {
            Source::Fixed(when) => *when,
            Source::Template(template) => {
                let text = String::from_utf8_lossy(&template.value(exchange)).into_owned();
                match parse(&text, self.is_modified) {
                    Ok(When::Off) | Err(_) => return,
                    Ok(when) => when,
                }
            }
        };
        let now = i64::try_from(clock::unix_millis() / 1000).unwrap_or(i64::MAX);
        let (moment, age) = match when {
            When::Off => return,
            When::Epoch => (1, None),
            When::Max => (2_145_916_555, Some(315_360_000)),
            When::After(0) => (now, Some(0)),
            When::Daily(second) => {
                let moment = next(second, now);
                (moment, Some(moment - now))
            }
            When::After(seconds) => {
                let changed = self.is_modified.then(|| modified(exchange)).flatten();
                let moment = changed.unwrap_or(now).saturating_add(seconds);
                let is_fixed = matches!(self.value, Source::Fixed(_));
                let age = moment.saturating_sub(now);
                (moment, Some(age).filter(|it| 0 <= *it && !(is_fixed && seconds < 0)))
            }
        };
        let head = &mut exchange.head;
        let date = head::date(u64::try_from(moment).unwrap_or_default());
        head.replace(b"Expires", date.as_bytes());
        match age {
            None => head.set(b"Cache-Control", b"no-cache"),
            Some(age) => head.set(b"Cache-Control", format!("max-age={age}").as_bytes()),
        }
    }
}

/// When the answer was changed.
fn modified(exchange: &Exchange) -> Option<i64> {
    let head = &exchange.head;
    let told = || {
        let text = str::from_utf8(head.first(b"last-modified")?).ok()?;
        let time = httpdate::parse_http_date(text).ok()?;
        Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
    };
    head.last_modified.or_else(told).and_then(|it| i64::try_from(it).ok())
}

/// When the clock on the wall next shows a second of the day.
///
/// Source: nginx `ngx_times.c`, `ngx_next_time`.
fn next(second: i64, now: i64) -> i64 {
    let midnight =
        Zoned::now().start_of_day().map_or(now - now % DAY, |it| it.timestamp().as_second());
    let moment = midnight + second;
    if now < moment { moment } else { moment + DAY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn a_time_is_read_with_its_sign() {
        for (text, is_modified, expected) in [
            ("1h", false, Ok(When::After(3600))),
            ("+1d", true, Ok(When::After(86_400))),
            ("-1", false, Ok(When::After(-1))),
            ("0", false, Ok(When::After(0))),
            ("epoch", false, Ok(When::Epoch)),
            ("max", false, Ok(When::Max)),
            ("off", false, Ok(When::Off)),
            ("max", true, Err("invalid value")),
            ("@15h30m", false, Ok(When::Daily(55_800))),
            ("@25h", false, Err("daily time value must be less than 24 hours")),
            ("@1h", true, Err("daily time cannot be used with \"modified\" parameter")),
            ("1x", false, Err("invalid value")),
            ("", false, Err("invalid value")),
        ] {
            assert_eq!(parse(text, is_modified), expected, "{text}");
        }
    }

    #[test]
    fn two_words_begin_with_modified() {
        let refusal = Settings::default().expires(&directive("expires 1h 2h;")).unwrap_err();
        assert_eq!(refusal.reason, "\"expires\" directive invalid value");
        assert!(Settings::default().expires(&directive("expires modified 2h;")).is_ok());
    }

    #[track_caller]
    fn check(text: &str, lines: &str, expected: &str) {
        let mut settings = Settings::default();
        settings.expires(&directive(text)).unwrap();
        let expires = settings.compile(&Names::default()).unwrap();
        let mut exchange = Exchange::default();
        exchange.head.fields = lines.as_bytes().to_vec();
        expires.inspect(|it| it.apply(&mut exchange));
        assert_eq!(String::from_utf8(exchange.head.fields).unwrap(), expected, "{text}");
    }

    #[test]
    fn both_lines_are_told_and_take_the_place_of_others() {
        let max = "Expires: Thu, 31 Dec 2037 23:55:55 GMT\r\nCache-Control: max-age=315360000\r\n";
        let epoch = "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\nCache-Control: no-cache\r\n";
        check("expires max;", "", max);
        check("expires epoch;", "", epoch);
        check("expires off;", "A: 1\r\n", "A: 1\r\n");
        check("expires epoch;", "Expires: x\r\nCache-Control: a\r\nCache-Control: b\r\n", epoch);
        check(
            "expires modified 1;",
            "Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT\r\n",
            "Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT\r\nExpires: Thu, 01 Jan 1970 00:00:02 GMT\r\nCache-Control: no-cache\r\n",
        );
    }
}
