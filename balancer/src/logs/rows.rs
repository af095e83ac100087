//! `access_log`, `log_format`, `error_log`: which lines go where.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::conf::value::{Unit, choice, size, time};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Reading, Row, Word};
use crate::http::{EVERYWHERE, put};
use crate::logs::error::failed;
use crate::logs::keeping::keeping;
use crate::logs::syslog::Peer;
use crate::logs::writer::{Keeping, LogFile, Packing};
use crate::variable::has_variables;

/// What a block says of its logs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `access_log` lines, and whether one of them is `off`: that counts alone.
    access: Option<(Vec<AccessLine>, bool)>,
    /// `open_log_file_cache`, that of `off` keeps none.
    cache: Option<Keeping>,
    /// `error_log` lines; without any, those of the enclosing block count.
    pub errors: Vec<ErrorLine>,
}

/// One `access_log` line.
#[derive(Clone, Debug)]
pub struct AccessLine {
    /// The file, or a server of syslog.
    pub path: Word,
    /// That server.
    pub peer: Option<Peer>,
    /// Name of the format, `None` for `combined`.
    pub format: Option<Word>,
    /// Bytes that are collected before they are written.
    pub buffer: Option<u64>,
    /// Longest time that a line is held back.
    pub flush: Option<Duration>,
    /// Level of compression.
    pub gzip: Option<u32>,
    /// Written only when this comes out neither empty nor `0`.
    pub condition: Option<Word>,
}

/// Where an error log goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// A file, relative to the prefix.
    File(Word),
    /// A server of syslog.
    Syslog(Peer),
}

/// How grave an event must be to be written, in nginx's words.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the words of error_log")]
pub enum Severity {
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Crit,
    Alert,
    Emerg,
}

impl Severity {
    /// The level of a word.
    pub fn of(word: &str) -> Option<Self> {
        SEVERITIES.iter().find(|(it, _)| *it == word).map(|(_, level)| *level)
    }

    /// As lines name it.
    pub fn word(self) -> &'static str {
        SEVERITIES.iter().find(|(_, it)| *it == self).map_or("error", |(word, _)| word)
    }
}

/// One `error_log` line.
#[derive(Clone, Debug)]
pub struct ErrorLine {
    /// Where it goes.
    pub target: Target,
    /// The least grave events it takes.
    pub level: Severity,
}

/// A `log_format`.
#[derive(Clone, Debug)]
pub struct Format {
    /// Its name.
    pub name: Word,
    /// How values are made safe.
    pub escape: Escape,
    /// Its parts, joined.
    pub parts: Vec<Word>,
}

/// How values are made safe.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Escape {
    /// `\xHH`.
    #[default]
    Default,
    /// As within a JSON string.
    Json,
    /// Not at all.
    None,
}

/// Where `access_log` may stand.
const ACCESS: &[Block] =
    &[Block::Http, Block::Server, Block::Location, Block::IfInLocation, Block::LimitExcept];

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "access_log",
        within: ACCESS,
        arguments: 1..=MANY,
        effect: Effect::Read(|it, directive, reading| {
            check_format(directive, reading)?;
            it.access_log(directive)
        }),
    },
    Row {
        name: "open_log_file_cache",
        within: EVERYWHERE,
        arguments: 1..=4,
        effect: Effect::Set(|it, line| put(&mut it.cache, keeping(line))),
    },
    Row {
        name: "error_log",
        within: EVERYWHERE,
        arguments: 1..=MANY,
        effect: Effect::Add(|it, directive| {
            it.errors.push(ErrorLine::read(directive)?);
            Ok(())
        }),
    },
];

/// Directives of `stream` and its servers.
pub const STREAM_ROWS: &[Row<Settings>] = &[
    Row {
        name: "access_log",
        within: &[Block::Stream, Block::StreamServer],
        arguments: 1..=MANY,
        effect: Effect::Read(|it, directive, reading| {
            if let [path] = directive.arguments()
                && *path != "off"
            {
                return Err(path.refuse("log format is not specified"));
            }
            check_format(directive, reading)?;
            it.access_log(directive)
        }),
    },
    Row {
        name: "open_log_file_cache",
        within: &[Block::Stream, Block::StreamServer],
        arguments: 1..=4,
        effect: Effect::Set(|it, line| put(&mut it.cache, keeping(line))),
    },
    Row {
        name: "error_log",
        within: &[Block::Stream, Block::StreamServer],
        arguments: 1..=MANY,
        effect: Effect::Add(|it, directive| {
            it.errors.push(ErrorLine::read(directive)?);
            Ok(())
        }),
    },
];

/// A format stands before the lines that use it.
///
/// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_set_log`.
fn check_format(directive: &Directive, reading: &Reading<'_>) -> Result<(), ConfError> {
    match directive.arguments() {
        [path, name, ..] if *path != "off" && !reading.has_format(name) => {
            Err(name.refuse(format!("unknown log format \"{name}\"")))
        }
        _ => Ok(()),
    }
}

/// The formats of `http` or `stream`.
#[derive(Clone, Debug, Default)]
pub struct Formats {
    /// In the order of the file.
    pub formats: Vec<Format>,
    /// Whether they are those of `stream`, which has none of its own.
    is_stream: bool,
}

/// Directives of `http` alone.
pub const FORMAT_ROWS: &[Row<Formats>] = &[Row {
    name: "log_format",
    within: &[Block::Http],
    arguments: 2..=MANY,
    effect: Effect::Read(|it, directive, reading| {
        reading.define_format(directive.text());
        it.log_format(directive)
    }),
}];

/// Directives of `stream` alone.
pub const STREAM_FORMAT_ROWS: &[Row<Formats>] = &[Row {
    name: "log_format",
    within: &[Block::Stream],
    arguments: 2..=MANY,
    effect: Effect::Read(|it, directive, reading| {
        reading.define_format(directive.text());
        it.is_stream = true;
        it.log_format(directive)
    }),
}];

const MEMORY: &str = "write to a file, to stderr or to syslog";

impl Settings {
    /// As written: without a line, no log instead of that of the block around.
    #[must_use]
    pub fn as_written(mut self) -> Self {
        self.access.get_or_insert_default();
        self
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let errors = if self.errors.is_empty() { outer.errors.clone() } else { self.errors };
        let access = self.access.or_else(|| outer.access.clone());
        Self { access, cache: self.cache.or(outer.cache), errors }
    }

    /// Which files stay open that lines name.
    pub fn keeping(&self) -> Option<Keeping> {
        self.cache.filter(|it| 0 < it.max)
    }

    /// The access logs; `None` when no block says a word of them, and then nginx's default counts.
    pub fn access(&self) -> Option<&[AccessLine]> {
        self.access.as_ref().map(|(lines, is_off)| if *is_off { &[] } else { lines.as_slice() })
    }

    /// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_set_log`.
    fn access_log(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (lines, is_off) = self.access.get_or_insert_default();
        let (path, rest) = (directive.text(), &directive.arguments()[1..]);
        if *path == "off" {
            *is_off = true;
            return rest.first().map_or(Ok(()), |it| Err(it.invalid_parameter()));
        }
        let peer = path.strip_prefix("syslog:").map(Peer::parse).transpose();
        let mut line = AccessLine {
            path: path.clone(),
            peer: peer.map_err(|it| path.refuse(it))?,
            format: rest.first().cloned(),
            buffer: None,
            flush: None,
            gzip: None,
            condition: None,
        };
        for word in rest.iter().skip(1) {
            line.parameter(word)?;
        }
        if line.gzip.is_some() && line.buffer.is_none() {
            line.buffer = Some(GZIP_BUFFER);
        }
        if line.flush.is_some() && line.buffer.is_none() {
            return Err(path.refuse(format!("no buffer is defined for access_log \"{path}\"")));
        }
        if line.is_named() && line.buffer.is_some() {
            return Err(path.refuse("buffered logs cannot have variables in name"));
        }
        if line.peer.is_some() && line.buffer.is_some() {
            return Err(path.refuse("logs to syslog cannot be buffered"));
        }
        lines.push(line);
        Ok(())
    }
}

/// What `gzip` collects unless `buffer` says otherwise.
const GZIP_BUFFER: u64 = 64 * 1024;

impl AccessLine {
    fn parameter(&mut self, word: &Word) -> Result<(), ConfError> {
        if let Some(value) = word.parameter("buffer") {
            let refuse = || word.refuse(format!("invalid buffer size \"{value}\""));
            self.buffer = Some(size(value).filter(|it| *it > 0).ok_or_else(refuse)?);
        } else if let Some(value) = word.parameter("flush") {
            let refuse = || word.refuse(format!("invalid flush time \"{value}\""));
            let parsed = time(value, Unit::Milliseconds).filter(|it| !it.is_zero());
            self.flush = Some(parsed.ok_or_else(refuse)?);
        } else if *word == "gzip" || word.starts_with("gzip=") {
            let value = word.parameter("gzip").unwrap_or("1");
            let refuse = || word.refuse(format!("invalid compression level \"{value}\""));
            let level = value.parse().ok().filter(|it| (1..=9).contains(it));
            self.gzip = Some(level.ok_or_else(refuse)?);
        } else if word.starts_with("if=") {
            self.condition = Some(word.clone());
        } else {
            return Err(word.invalid_parameter());
        }
        Ok(())
    }

    /// Whether its name has variables.
    pub fn is_named(&self) -> bool {
        self.peer.is_none() && has_variables(self.path.as_bytes())
    }

    /// Opens what the line names; relative names begin at `prefix`. An error is nginx's text.
    pub fn open(&self, prefix: &Path) -> Result<Arc<LogFile>, String> {
        if let Some(peer) = &self.peer {
            return LogFile::syslog(peer);
        }
        let path = prefix.join(self.path.as_str());
        let opened = match self.gzip {
            None => LogFile::open(&path),
            Some(level) => {
                let buffer = self.buffer.and_then(|it| usize::try_from(it).ok());
                let buffer = buffer.unwrap_or(usize::MAX);
                LogFile::packed(&path, Packing { level, buffer, flush: self.flush })
            }
        };
        opened.map_err(|it| failed(&path, &it))
    }
}

impl ErrorLine {
    /// Reads an `error_log` line.
    pub fn read(directive: &Directive) -> Result<Self, ConfError> {
        let path = directive.text();
        let target = match path.as_str() {
            "stderr" => Target::Stderr,
            // As nginx without `--with-debug`, which is where such a log is of use.
            it if it.starts_with("memory:") => {
                return Err(path.refuse("nginx was built without debug support").with_help(MEMORY));
            }
            it if it.starts_with("syslog:") => {
                let peer = Peer::parse(&it["syslog:".len()..]);
                Target::Syslog(peer.map_err(|it| path.refuse(it))?)
            }
            _ => Target::File(path.clone()),
        };
        let mut level = None;
        for word in &directive.arguments()[1..] {
            let known = choice(word, SEVERITIES);
            let known =
                known.ok_or_else(|| word.refuse(format!("invalid log level \"{word}\"")))?;
            if level.replace(known).is_some() {
                return Err(word.refuse(format!("duplicate log level \"{word}\"")));
            }
        }
        Ok(Self { target, level: level.unwrap_or(Severity::Error) })
    }
}

const SEVERITIES: &[(&str, Severity)] = &[
    ("debug", Severity::Debug),
    ("info", Severity::Info),
    ("notice", Severity::Notice),
    ("warn", Severity::Warn),
    ("error", Severity::Error),
    ("crit", Severity::Crit),
    ("alert", Severity::Alert),
    ("emerg", Severity::Emerg),
];

impl Formats {
    /// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_set_format`.
    fn log_format(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let name = directive.text();
        let is_built_in = !self.is_stream && *name == "combined";
        let is_taken = is_built_in || self.formats.iter().any(|it| it.name == **name);
        if is_taken {
            return Err(name.refuse(format!("duplicate \"log_format\" name \"{name}\"")));
        }
        let mut parts = directive.arguments()[1..].to_vec();
        let mut escape = Escape::Default;
        if let Some(value) = parts[0].parameter("escape") {
            let known =
                [("default", Escape::Default), ("json", Escape::Json), ("none", Escape::None)];
            let refuse = || parts[0].refuse(format!("unknown log format escaping \"{value}\""));
            escape = choice(value, &known).ok_or_else(refuse)?;
            parts.remove(0);
        }
        self.formats.push(Format { name: name.clone(), escape, parts });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, expected: Result<usize, &str>) {
        let mut settings = Settings::default();
        let actual = settings.access_log(&directive(text)).map_err(|it| it.reason);
        let lines = settings.access().unwrap_or_default().len();
        assert_eq!(actual.map(|()| lines), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn parameters_of_access_log_are_checked_as_nginx_checks_them() {
        check("access_log off;", Ok(0));
        check("access_log logs/a.log;", Ok(1));
        check("access_log logs/a.log main buffer=32k flush=5s if=$loggable;", Ok(1));
        check("access_log logs/a.log main gzip;", Ok(1));
        check("access_log off main;", Err("invalid parameter \"main\""));
        check("access_log a main buffer=0;", Err("invalid buffer size \"0\""));
        check("access_log a main flush=x;", Err("invalid flush time \"x\""));
        check("access_log a main gzip=10;", Err("invalid compression level \"10\""));
        check("access_log a main flush=1s;", Err("no buffer is defined for access_log \"a\""));
        check("access_log a main nope;", Err("invalid parameter \"nope\""));
    }

    #[test]
    fn a_block_without_access_log_has_that_of_the_block_around_it() {
        let mut outer = Settings::default();
        outer.access_log(&directive("access_log a;")).unwrap();
        let lines = |it: Settings| it.within(&outer).access().map(<[_]>::len);
        assert_eq!(lines(Settings::default()), Some(1));
        let mut off = Settings::default();
        off.access_log(&directive("access_log off;")).unwrap();
        off.access_log(&directive("access_log b;")).unwrap();
        assert_eq!(lines(off), Some(0));
    }

    #[test]
    fn error_logs_have_a_level() {
        let read = |text| ErrorLine::read(&directive(text)).map(|it| it.level);
        assert_eq!(read("error_log a;").unwrap(), Severity::Error);
        assert_eq!(read("error_log stderr WARN;").unwrap(), Severity::Warn);
        let reason = read("error_log a loud;").unwrap_err().reason;
        assert_eq!(reason, "invalid log level \"loud\"");
        let reason = read("error_log a warn error;").unwrap_err().reason;
        assert_eq!(reason, "duplicate log level \"error\"");
    }

    #[test]
    fn a_format_is_named_once() {
        let mut formats = Formats::default();
        formats.log_format(&directive("log_format a escape=json '$uri' x;")).unwrap();
        assert_eq!((formats.formats[0].escape, formats.formats[0].parts.len()), (Escape::Json, 2));
        let again = formats.log_format(&directive("log_format a '$uri';")).unwrap_err();
        assert_eq!(again.reason, "duplicate \"log_format\" name \"a\"");
        let combined = formats.log_format(&directive("log_format combined '$uri';"));
        assert!(combined.is_err());
    }
}
