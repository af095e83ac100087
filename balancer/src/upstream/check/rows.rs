//! `health_check`: how often, how strictly and by what are the servers of a group looked at?

use std::num::NonZeroU32;
use std::time::Duration;

use super::watch::Limits;
use crate::conf::value::{Unit, number, time};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};
use crate::http::put;
use crate::stream::EVERYWHERE;

/// A `health_check` line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its words, which tell it from what it was before a reload.
    pub text: String,
    /// The name of the directive.
    pub word: Word,
    /// From the end of a check to the next.
    pub interval: Duration,
    /// Up to which by chance more.
    pub jitter: Duration,
    /// How many results in a row change the opinion of a server.
    pub limits: Limits,
    /// What is asked for, of HTTP.
    pub uri: Word,
    /// The `match` block the answer is held against.
    pub test: Option<Word>,
    /// Whose port is asked, `None` for the server's own.
    pub port: Option<u16>,
    /// Whether a connection is all that is wanted.
    pub is_plain: bool,
    /// Whether no request is risked before the first result.
    pub is_mandatory: bool,
    /// Whether what was known before a reload counts until the first result.
    pub is_persistent: bool,
    /// How long a connection serves check after check; zero for one check.
    pub keepalive_time: Duration,
}

/// What one block sets itself; nothing of it is handed on.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of several lines each is a check of its own.
    pub lines: Vec<Line>,
}

const fn row(within: &'static [Block], effect: Effect<Settings>) -> Row<Settings> {
    Row { name: "health_check", within, arguments: 0..=MANY, effect }
}

/// Directives of a location.
pub const ROWS: &[Row<Settings>] = &[row(
    &[Block::Location],
    Effect::Read(|it, directive, reading| {
        // Looking at the connection alone is a word of our own.
        let plain = directive.arguments().iter().find(|it| **it == "type=tcp");
        plain.map_or(Ok(()), |it| reading.extension(directive, Block::Location, it))?;
        it.lines.push(Line::read(directive, false)?);
        Ok(())
    }),
)];

/// Directives of a server of `stream`.
pub const STREAM_ROWS: &[Row<Settings>] = &[row(
    &[Block::StreamServer],
    Effect::Add(|it, directive| {
        it.lines.push(Line::read(directive, true)?);
        Ok(())
    }),
)];

/// What a block of `stream` hands on.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    timeout: Option<Duration>,
}

impl Patience {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self { timeout: self.timeout.or(outer.timeout) }
    }

    /// Longest time for a check.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(5))
    }
}

/// Directives of `stream` and its servers.
pub const PATIENCE_ROWS: &[Row<Patience>] = &[Row {
    name: "health_check_timeout",
    within: EVERYWHERE,
    arguments: 1..=1,
    effect: Effect::Set(|it, directive| put(&mut it.timeout, directive.milliseconds())),
}];

impl Line {
    fn read(directive: &Directive, is_stream: bool) -> Result<Self, ConfError> {
        let words: Vec<&str> = directive.words.iter().map(Word::as_str).collect();
        let mut line = Self {
            text: words.join(" "),
            word: directive.name().clone(),
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            limits: Limits { fails: NonZeroU32::MIN, passes: NonZeroU32::MIN },
            uri: directive.name().with_bytes(b"/"),
            test: None,
            port: None,
            is_plain: is_stream,
            is_mandatory: false,
            is_persistent: false,
            keepalive_time: Duration::ZERO,
        };
        for word in directive.arguments() {
            line.parameter(word, is_stream)?;
        }
        if let Some(word) = directive.arguments().iter().find(|it| **it == "persistent")
            && !line.is_mandatory
        {
            return Err(word.refuse("\"persistent\" requires \"mandatory\""));
        }
        Ok(line)
    }

    fn parameter(&mut self, word: &Word, is_stream: bool) -> Result<(), ConfError> {
        let refuse = || word.invalid_parameter();
        let (name, value) = word.split_once('=').map_or((&**word, None), |(a, b)| (a, Some(b)));
        let duration = |it| time(it, Unit::Milliseconds).ok_or_else(refuse);
        let count = |it| {
            let count = number(it).and_then(|it| u32::try_from(it).ok());
            count.and_then(NonZeroU32::new).ok_or_else(refuse)
        };
        match (name, value) {
            ("interval", Some(value)) => {
                self.interval = duration(value)?;
                if self.interval.is_zero() {
                    return Err(refuse());
                }
            }
            ("jitter", Some(value)) => self.jitter = duration(value)?,
            ("fails", Some(value)) => self.limits.fails = count(value)?,
            ("passes", Some(value)) => self.limits.passes = count(value)?,
            ("port", Some(value)) => {
                let port = value.parse().ok().filter(|it| *it > 0);
                self.port = Some(port.ok_or_else(refuse)?);
            }
            ("match", Some(value)) if !value.is_empty() => {
                self.test = Some(word.with_bytes(value.as_bytes()));
            }
            ("mandatory", None) => self.is_mandatory = true,
            ("persistent", None) => self.is_persistent = true,
            ("udp", None) if is_stream => {
                let help = "this version passes TCP on, no datagrams";
                return Err(refuse().with_help(help));
            }
            ("uri", Some(value)) if !is_stream && value.starts_with('/') => {
                self.uri = word.with_bytes(value.as_bytes());
            }
            ("keepalive_time", Some(value)) if !is_stream => {
                self.keepalive_time = duration(value)?;
            }
            ("type", Some("http")) if !is_stream => self.is_plain = false,
            ("type", Some("tcp")) if !is_stream => self.is_plain = true,
            ("type", Some("grpc")) if !is_stream => {
                return Err(refuse().with_help("gRPC is not part of this version"));
            }
            _ => return Err(refuse()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    fn read(text: &str, is_stream: bool) -> Result<Line, String> {
        Line::read(&directive(&format!("health_check {text};")), is_stream).map_err(|it| it.reason)
    }

    #[track_caller]
    fn check_refused(text: &str, is_stream: bool, expected: &str) {
        assert_eq!(read(text, is_stream).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn without_parameters_the_root_is_asked_for_every_five_seconds() {
        let line = read("", false).unwrap();
        assert_eq!((line.interval, line.jitter), (Duration::from_secs(5), Duration::ZERO));
        assert_eq!((line.limits.fails.get(), line.limits.passes.get()), (1, 1));
        assert_eq!((line.uri.as_str(), line.port, line.is_plain), ("/", None, false));
        assert!(!line.is_mandatory && !line.is_persistent && line.test.is_none());
        assert!(read("", true).unwrap().is_plain);
    }

    #[test]
    fn parameters_are_taken_over() {
        let text = "interval=500ms jitter=1s fails=3 passes=2 uri=/ok match=m port=81 mandatory \
                    persistent keepalive_time=1m";
        let line = read(text, false).unwrap();
        assert_eq!(line.interval, Duration::from_millis(500));
        assert_eq!(line.jitter, Duration::from_secs(1));
        assert_eq!((line.limits.fails.get(), line.limits.passes.get()), (3, 2));
        assert_eq!((line.uri.as_str(), line.port), ("/ok", Some(81)));
        assert_eq!(line.test.unwrap().as_str(), "m");
        assert!(line.is_mandatory && line.is_persistent);
        assert_eq!(line.keepalive_time, Duration::from_mins(1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check_refused("interval=0", false, "invalid parameter \"interval=0\"");
        check_refused("fails=0", false, "invalid parameter \"fails=0\"");
        check_refused("port=0", true, "invalid parameter \"port=0\"");
        check_refused("uri=ok", false, "invalid parameter \"uri=ok\"");
        check_refused("uri=/ok", true, "invalid parameter \"uri=/ok\"");
        check_refused("type=grpc", false, "invalid parameter \"type=grpc\"");
        check_refused("udp", true, "invalid parameter \"udp\"");
        check_refused("often", false, "invalid parameter \"often\"");
        check_refused("persistent", false, "\"persistent\" requires \"mandatory\"");
    }
}
