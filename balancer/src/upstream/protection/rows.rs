//! `queue` as in nginx's commercial edition, and the words of our own that protect a group.

use std::num::NonZeroU32;
use std::time::Duration;

use policy::{Ejection, GradientRules, RetryBudget};

use super::{Asked, Budget};
use crate::conf::value::{Unit, number, time};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};
use crate::upstream::limiter::{self, Law};
use crate::upstream::queue;

const UPSTREAM: &[Block] = &[Block::Upstream];

/// Directives of `upstream` that nginx's commercial edition has.
pub const ROWS: &[Row<Asked>] = &[Row {
    name: "queue",
    within: UPSTREAM,
    arguments: 1..=2,
    effect: Effect::Set(|it, directive| {
        let [limit, rest @ ..] = directive.arguments() else { return Ok(()) };
        let count = number(limit).and_then(|it| usize::try_from(it).ok()).filter(|it| *it > 0);
        let mut rules = queue::Rules {
            limit: count.ok_or_else(|| limit.invalid_value())?,
            timeout: Duration::from_mins(1),
        };
        for word in rest {
            let timeout = word.parameter("timeout").and_then(|it| time(it, Unit::Milliseconds));
            rules.timeout = timeout.ok_or_else(|| word.invalid_parameter())?;
        }
        it.queue = Some(rules);
        Ok(())
    }),
}];

const fn row(
    name: &'static str,
    within: &'static [Block],
    least: usize,
    effect: Effect<Asked>,
) -> Row<Asked> {
    Row { name, within, arguments: least..=MANY, effect }
}

/// Directives of our own.
pub const OWN_ROWS: &[Row<Asked>] = &[
    row("outlier_ejection", UPSTREAM, 0, Effect::Set(ejection)),
    row("panic_threshold", UPSTREAM, 1, Effect::Set(threshold)),
    row("retry_budget", UPSTREAM, 0, Effect::Set(retries)),
    row("concurrency_limit", UPSTREAM, 0, Effect::Set(limit)),
];

const STREAM: &[Block] = &[Block::StreamUpstream];

/// Those of them that `stream` has, too.
pub const STREAM_ROWS: &[Row<Asked>] = &[
    row("outlier_ejection", STREAM, 0, Effect::Set(ejection)),
    row("panic_threshold", STREAM, 1, Effect::Set(threshold)),
];

fn count(text: &str) -> Option<u32> {
    number(text).and_then(|it| u32::try_from(it).ok())
}

fn duration(text: &str) -> Option<Duration> {
    time(text, Unit::Milliseconds).filter(|it| !it.is_zero())
}

/// Reads `name=value` words one by one; false for a name or value that makes no sense.
fn parameters(words: &[Word], mut read: impl FnMut(&str, &str) -> bool) -> Result<(), ConfError> {
    for word in words {
        if !word.split_once('=').is_some_and(|(name, value)| read(name, value)) {
            return Err(word.invalid_parameter());
        }
    }
    Ok(())
}

/// Puts a value in its place; false where there is none.
fn put<T>(slot: &mut T, value: Option<T>) -> bool {
    let is_there = value.is_some();
    if let Some(value) = value {
        *slot = value;
    }
    is_there
}

fn ejection(asked: &mut Asked, directive: &Directive) -> Result<(), ConfError> {
    let mut rules = Ejection::default();
    parameters(directive.arguments(), |name, value| match name {
        "consecutive_5xx" => put(&mut rules.consecutive_5xx, count(value)),
        "consecutive_errors" => put(&mut rules.consecutive_errors, count(value)),
        "interval" => put(&mut rules.interval, duration(value)),
        "base_time" => put(&mut rules.base_time, duration(value)),
        "max_time" => put(&mut rules.max_time, duration(value)),
        "max_percent" => put(&mut rules.max_percent, count(value).filter(|it| *it <= 100)),
        _ => false,
    })?;
    asked.ejection = Some(rules);
    Ok(())
}

fn threshold(asked: &mut Asked, directive: &Directive) -> Result<(), ConfError> {
    let word = directive.text();
    if let Some(second) = directive.arguments().get(1) {
        return Err(second.invalid_parameter());
    }
    let percent = word.strip_suffix('%').and_then(|it| it.parse::<f64>().ok());
    let percent = percent.filter(|it| (0.0..=100.0).contains(it));
    asked.panic_threshold = percent.ok_or_else(|| word.invalid_value())?;
    Ok(())
}

fn retries(asked: &mut Asked, directive: &Directive) -> Result<(), ConfError> {
    let mut budget = Budget { share: RetryBudget::default(), window: None };
    parameters(directive.arguments(), |name, value| match name {
        "percent" => put(&mut budget.share.percent, count(value)),
        "min" => put(&mut budget.share.min, count(value)),
        "window" => put(&mut budget.window, duration(value).map(Some)),
        _ => false,
    })?;
    asked.retries = Some(budget);
    Ok(())
}

fn limit(asked: &mut Asked, directive: &Directive) -> Result<(), ConfError> {
    let (law, words) = match directive.arguments() {
        [law, rest @ ..] if !law.contains('=') => (law.as_str(), rest),
        all => ("gradient", all),
    };
    let (mut rules, mut retry_after) = (GradientRules::default(), 1);
    let is_gradient = law == "gradient";
    let positive = |it: &str| count(it).filter(|it| *it > 0);
    parameters(words, |name, value| match name {
        "retry_after" => {
            let seconds = time(value, Unit::Seconds).map(|it| it.as_secs());
            put(&mut retry_after, seconds.filter(|it| *it > 0))
        }
        "min" if is_gradient => put(&mut rules.min, positive(value)),
        "max" if is_gradient => put(&mut rules.max, positive(value)),
        "buffer" if is_gradient => {
            let percent = value.strip_suffix('%').and_then(count).and_then(NonZeroU32::new);
            put(&mut rules.buffer, percent.map(|it| f64::from(it.get()) / 100.0))
        }
        "samples" if is_gradient => {
            let samples = positive(value).and_then(|it| usize::try_from(it).ok());
            put(&mut rules.samples, samples.filter(|it| *it <= 10_000))
        }
        "interval" if is_gradient => put(&mut rules.interval, duration(value)),
        _ => false,
    })?;
    if rules.max < rules.min {
        return Err(directive.refuse("has a \"min\" above its \"max\""));
    }
    let law = match law {
        "gradient" => Law::Gradient(rules),
        "gradient2" => Law::Gradient2,
        "vegas" => Law::Vegas,
        "aimd" => Law::Aimd,
        _ => return Err(directive.text().invalid_parameter()),
    };
    asked.limit = Some(limiter::Rules { law, retry_after });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    fn read(text: &str) -> Result<Asked, String> {
        let line = directive(text);
        let row = ROWS.iter().chain(OWN_ROWS).find(|it| *line.name() == *it.name).unwrap();
        let Effect::Set(set) = &row.effect else { unreachable!() };
        let mut asked = Asked::default();
        set(&mut asked, &line).map_err(|it| it.reason)?;
        Ok(asked)
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        assert_eq!(read(text).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn a_queue_has_a_length_and_a_patience() {
        let queue = |text| read(text).unwrap().queue.unwrap();
        let minute = Duration::from_mins(1);
        assert_eq!(queue("queue 9;"), queue::Rules { limit: 9, timeout: minute });
        assert_eq!(queue("queue 9 timeout=5s;").timeout, Duration::from_secs(5));
        check_refused("queue 0;", "invalid value \"0\"");
        check_refused("queue 1 patience=1s;", "invalid parameter \"patience=1s\"");
    }

    #[test]
    fn an_ejection_has_the_defaults_of_its_words() {
        assert_eq!(read("outlier_ejection;").unwrap().ejection, Some(Ejection::default()));
        let text = "outlier_ejection consecutive_5xx=3 consecutive_errors=2 interval=1s \
                    base_time=2s max_time=3s max_percent=50;";
        let rules = read(text).unwrap().ejection.unwrap();
        assert_eq!((rules.consecutive_5xx, rules.consecutive_errors), (3, 2));
        let times = [rules.interval, rules.base_time, rules.max_time];
        assert_eq!(times.map(|it| it.as_secs()), [1, 2, 3]);
        assert_eq!(rules.max_percent, 50);
        check_refused("outlier_ejection max_percent=101;", "invalid parameter \"max_percent=101\"");
        check_refused("outlier_ejection often;", "invalid parameter \"often\"");
    }

    #[test]
    fn a_threshold_is_a_percentage() {
        let percent = read("panic_threshold 50%;").unwrap().panic_threshold;
        assert!((percent - 50.0).abs() < 1e-9);
        check_refused("panic_threshold 50;", "invalid value \"50\"");
        check_refused("panic_threshold 101%;", "invalid value \"101%\"");
        check_refused("panic_threshold 1% 2%;", "invalid parameter \"2%\"");
    }

    #[test]
    fn a_budget_is_a_share_of_what_is_in_progress_or_of_a_time() {
        let budget = |text| read(text).unwrap().retries.unwrap();
        let default = Budget { share: RetryBudget { percent: 20, min: 3 }, window: None };
        assert_eq!(budget("retry_budget percent=20;"), default);
        let given = budget("retry_budget percent=5 min=1 window=30s;");
        assert_eq!((given.share.percent, given.share.min), (5, 1));
        assert_eq!(given.window, Some(Duration::from_secs(30)));
        check_refused("retry_budget percent=x;", "invalid parameter \"percent=x\"");
    }

    #[test]
    fn a_limit_follows_a_law_that_may_have_bounds() {
        let rules = |text| read(text).unwrap().limit.unwrap();
        let default = Law::Gradient(GradientRules::default());
        assert_eq!(rules("concurrency_limit;"), limiter::Rules { law: default, retry_after: 1 });
        let given = rules("concurrency_limit gradient min=1 max=64 buffer=50% retry_after=5;");
        let Law::Gradient(law) = given.law else { panic!("{given:?}") };
        assert_eq!((law.min, law.max, given.retry_after), (1, 64, 5));
        assert!((law.buffer - 0.5).abs() < 1e-9);
        assert_eq!(rules("concurrency_limit vegas;").law, Law::Vegas);
        check_refused("concurrency_limit vegas min=1;", "invalid parameter \"min=1\"");
        check_refused("concurrency_limit gradient3;", "invalid parameter \"gradient3\"");
        let text = "\"concurrency_limit\" directive has a \"min\" above its \"max\"";
        check_refused("concurrency_limit min=2 max=1;", text);
    }
}
