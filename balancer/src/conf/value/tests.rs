use super::*;
use crate::conf::testing::directive;

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    read: impl Fn(&Directive) -> Result<T, ConfError>,
    line: &str,
    expected: Result<T, &str>,
) {
    let actual = read(&directive(line)).map_err(|it| it.reason);
    assert_eq!(actual, expected.map_err(str::to_owned), "{line}");
}

#[test]
fn a_flag_is_on_or_off_in_any_case() {
    check(Directive::flag, "sendfile on;", Ok(true));
    check(Directive::flag, "sendfile OFF;", Ok(false));
    let text = "invalid value \"yes\" in \"sendfile\" directive, it must be \"on\" or \"off\"";
    check(Directive::flag, "sendfile yes;", Err(text));
}

#[test]
fn a_number_has_digits_only() {
    let text = "\"worker_connections\" directive invalid number";
    check(Directive::number, "worker_connections 1024;", Ok(1024));
    check(Directive::number, "worker_connections 007;", Ok(7));
    check(Directive::number, "worker_connections 9223372036854775807;", Ok(i64::MAX as u64));
    for word in ["9223372036854775808", "-1", "+1", "1k", "1.5", "\"\"", "auto"] {
        check(Directive::number, &format!("worker_connections {word};"), Err(text));
    }
}

#[test]
fn a_size_may_be_in_kilobytes_or_megabytes() {
    let text = "\"send_lowat\" directive invalid value";
    for (word, expected) in [("0", 0), ("10", 10), ("4k", 4096), ("4K", 4096), ("1m", 1 << 20)] {
        check(Directive::size, &format!("send_lowat {word};"), Ok(expected));
    }
    for word in ["1g", "k", "1kb", "1.5m", "-1", "\"1 k\"", "\"\"", "8796093022208m"] {
        check(Directive::size, &format!("send_lowat {word};"), Err(text));
    }
}

#[test]
fn an_offset_may_also_be_in_gigabytes() {
    check(Directive::offset, "client_max_body_size 2G;", Ok(2 << 30));
    check(Directive::offset, "client_max_body_size 1m;", Ok(1 << 20));
    let text = "\"client_max_body_size\" directive invalid value";
    check(Directive::offset, "client_max_body_size 1t;", Err(text));
    check(Directive::offset, "client_max_body_size 8589934592g;", Err(text));
}

#[test]
fn a_time_in_milliseconds_knows_no_months() {
    let text = "\"send_timeout\" directive invalid value";
    for (word, expected) in [
        ("60", 60_000),
        ("1s", 1000),
        ("500ms", 500),
        ("1m30s", 90_000),
        ("\"1m 30s\"", 90_000),
        ("1h1ms", 3_600_001),
        ("1d30", 86_430_000),
        ("0", 0),
    ] {
        check(
            Directive::milliseconds,
            &format!("send_timeout {word};"),
            Ok(Duration::from_millis(expected)),
        );
    }
    for word in ["1y", "1M", "30s1m", "1s1s", "1x", "-1", "1.5s", "\"\"", "s", "9223372036854776"] {
        check(Directive::milliseconds, &format!("send_timeout {word};"), Err(text));
    }
}

#[test]
fn a_time_in_seconds_knows_no_milliseconds() {
    let text = "\"valid\" directive invalid value";
    for (word, expected) in
        [("1y", 31_536_000), ("1M", 2_592_000), ("2w1d", 15 * 86_400), ("90", 90)]
    {
        check(Directive::seconds, &format!("valid {word};"), Ok(Duration::from_secs(expected)));
    }
    for word in ["5ms", "1s5ms", "1M1y", "10 s"] {
        check(Directive::seconds, &format!("valid \"{word}\";"), Err(text));
    }
}

#[test]
fn buffers_are_a_count_and_a_size() {
    check(Directive::buffers, "proxy_buffers 8 4k;", Ok((8, 4096)));
    let text = "\"proxy_buffers\" directive invalid value";
    for words in ["0 4k", "8 0", "8 x", "8k 4k"] {
        check(Directive::buffers, &format!("proxy_buffers {words};"), Err(text));
    }
}

#[test]
fn a_choice_ignores_case() {
    let levels = [("off", 0), ("any", 1)];
    check(|it| it.choice(&levels), "satisfy ANY;", Ok(1));
    check(|it| it.choice(&levels), "satisfy some;", Err("invalid value \"some\""));
}

#[test]
fn a_repeated_choice_is_taken_once_with_a_warning() {
    let classes = [("error", 'e'), ("timeout", 't')];
    let read = |line| directive(line).choices(&classes);
    let (chosen, warnings) = read("proxy_next_upstream error timeout ERROR;").unwrap();
    assert_eq!(chosen, ['e', 't']);
    let texts: Vec<_> = warnings.iter().map(ConfError::line).collect();
    assert_eq!(texts, ["nginx: [warn] duplicate value \"ERROR\" in nginx.conf:1"]);
    let refused = read("proxy_next_upstream error nope;").unwrap_err();
    assert_eq!(refused.reason, "invalid value \"nope\"");
}

#[test]
fn a_parameter_is_what_follows_the_equals_sign() {
    let line = directive("server a weight=5 weights=6 weight;");
    let values: Vec<_> = line.arguments().iter().map(|it| it.parameter("weight")).collect();
    assert_eq!(values, [None, Some("5"), None, None]);
}
