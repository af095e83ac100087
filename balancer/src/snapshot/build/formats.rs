//! Log formats by name, and the access logs that use them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::conf::error::os_text;
use crate::conf::{ConfError, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::Template;
use crate::logs::error::{ErrorLogs, Sink};
use crate::logs::rows::{AccessLine, ErrorLine, Escape, Format};
use crate::logs::writer::LogFile;
use crate::logs::{AccessLog, COMBINED};
use crate::variable::{Names, Subject};

/// Where requests are logged that no `access_log` speaks of.
const IMPLICIT: &str = "logs/access.log";

/// Formats by name, and what the logs that use them need.
pub(super) struct Formats<'a, S> {
    /// Templates and the form of their values, by name.
    formats: BTreeMap<String, (Arc<Template<S>>, Escape)>,
    names: &'a Names<S>,
    /// Where relative names begin.
    prefix: &'a Path,
}

impl<'a, S: Subject> Formats<'a, S> {
    /// Looks the variables of all formats up.
    pub(super) fn new(
        lines: &[Format],
        names: &'a Names<S>,
        prefix: &'a Path,
        problems: &mut Vec<ConfError>,
    ) -> Self {
        let mut formats = BTreeMap::new();
        for line in lines {
            let text: String = line.parts.iter().map(Word::as_str).collect();
            match Template::compile(&text, names) {
                Ok(format) => {
                    formats.insert(line.name.to_string(), (Arc::new(format), line.escape));
                }
                Err(bad) => problems.push(ConfError::unplaced(bad.to_string())),
            }
        }
        Self { formats, names, prefix }
    }

    /// The access logs of a block; their files are open when this returns.
    pub(super) fn access(
        &self,
        lines: &[AccessLine],
        problems: &mut Vec<ConfError>,
    ) -> Vec<AccessLog<S>> {
        let mut logs = Vec::new();
        for line in lines {
            match self.open(line) {
                Ok(log) => logs.push(log),
                Err(problem) => problems.push(problem),
            }
            if let (Some(_), false) = (line.gzip, problems.iter().any(is_about_gzip)) {
                problems.push(line.path.refuse(NO_GZIP).warning());
            }
        }
        logs
    }

    fn open(&self, line: &AccessLine) -> Result<AccessLog<S>, ConfError> {
        let name = line.format.as_ref();
        let found = self.formats.get(name.map_or("combined", Word::as_str));
        let (format, escape) = found.ok_or_else(|| {
            let word = name.unwrap_or(&line.path);
            word.refuse(format!("unknown log format \"{word}\""))
        })?;
        if line.path.contains('$') {
            let text = format!("invalid parameter \"{}\"", line.path);
            let help = "this version logs to files whose names are known at the start";
            return Err(line.path.refuse(text).with_help(help));
        }
        let condition = line.condition.as_ref().and_then(|it| it.parameter("if"));
        let condition = condition.map(|it| Template::compile(it, self.names)).transpose();
        let condition = condition.map_err(|it| ConfError::unplaced(it.to_string()))?;
        let file = line.open(self.prefix).map_err(ConfError::of_the_world)?;
        Ok(AccessLog { format: Arc::clone(format), escape: *escape, file, condition })
    }
}

/// What access logs of `http` are made of: there is a format and a log that need no line.
pub(super) struct Logs<'a> {
    formats: Formats<'a, Exchange>,
    /// [`IMPLICIT`], once it has been asked for; within, `None` when it cannot be opened.
    implicit: OnceCell<Option<Arc<LogFile>>>,
}

impl<'a> Logs<'a> {
    /// Looks the variables of all formats up.
    pub(super) fn new(
        lines: &[Format],
        names: &'a Names<Exchange>,
        prefix: &'a Path,
        problems: &mut Vec<ConfError>,
    ) -> Self {
        let mut formats = Formats::new(lines, names, prefix, problems);
        let combined =
            Template::compile(COMBINED, names).expect("nginx's format has nginx's variables");
        let combined = (Arc::new(combined), Escape::Default);
        formats.formats.entry("combined".to_owned()).or_insert(combined);
        Self { formats, implicit: OnceCell::new() }
    }

    /// The access logs of a location; their files are open when this returns.
    pub(super) fn access(
        &self,
        lines: Option<&[AccessLine]>,
        problems: &mut Vec<ConfError>,
    ) -> Vec<AccessLog> {
        match lines {
            Some(lines) => self.formats.access(lines, problems),
            None => self.implicit(problems).into_iter().collect(),
        }
    }

    /// The log of a configuration that asks for none. Unlike nginx, a start without it goes on.
    fn implicit(&self, problems: &mut Vec<ConfError>) -> Option<AccessLog> {
        let path = self.formats.prefix.join(IMPLICIT);
        let file = self.implicit.get_or_init(|| match LogFile::open(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                let failed = format!("open() \"{}\" failed {}", path.display(), os_text(&error));
                let text = format!("{failed}, requests are not logged");
                problems.push(ConfError::of_the_world(text).warning());
                None
            }
        });
        let (format, escape) = &self.formats.formats["combined"];
        let (format, escape) = (Arc::clone(format), *escape);
        file.clone().map(|file| AccessLog { format, escape, file, condition: None })
    }
}

/// The error logs of a block; their files are open when this returns.
pub(super) fn errors(lines: &[ErrorLine], prefix: &Path) -> Result<ErrorLogs, ConfError> {
    let sinks = lines.iter().map(|it| Sink::open(it, prefix).map_err(ConfError::of_the_world));
    sinks.collect::<Result<_, _>>().map(ErrorLogs::new)
}

const NO_GZIP: &str = "\"gzip\" of \"access_log\" has no effect, lines are written as they are";

fn is_about_gzip(problem: &ConfError) -> bool {
    problem.reason == NO_GZIP
}
