//! Log formats by name, and the access logs that use them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::conf::error::os_text;
use crate::conf::{ConfError, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::Template;
use crate::logs::error::{ErrorLogs, Sink, failed};
use crate::logs::rows::{AccessLine, ErrorLine, Escape, Format, Settings};
use crate::logs::writer::{Keeping, LogFile};
use crate::logs::{AccessLog, COMBINED, Destination};
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
    /// Buffers of the logs so far, by name.
    buffers: RefCell<BTreeMap<String, Buffer>>,
}

/// `buffer`, `flush` and `gzip` of a log.
type Buffer = (u64, Option<Duration>, Option<u32>);

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
        Self { formats, names, prefix, buffers: RefCell::default() }
    }

    /// The access logs of a block; their files are open when this returns.
    pub(super) fn access(
        &self,
        lines: &[AccessLine],
        keeping: Option<Keeping>,
        problems: &mut Vec<ConfError>,
    ) -> Vec<AccessLog<S>> {
        let mut logs = Vec::new();
        for line in lines {
            match self.open(line, keeping) {
                Ok(log) => logs.push(log),
                Err(problem) => problems.push(problem),
            }
        }
        logs
    }

    /// Logs of one file have one buffer.
    ///
    /// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_set_log`.
    fn check_buffer(&self, line: &AccessLine) -> Result<(), ConfError> {
        let Some(buffer) = line.buffer else { return Ok(()) };
        let own = (buffer, line.flush, line.gzip);
        let first = *self.buffers.borrow_mut().entry(line.path.to_string()).or_insert(own);
        let path = &line.path;
        let text = format!("access_log \"{path}\" already defined with conflicting parameters");
        if first == own { Ok(()) } else { Err(path.refuse(text)) }
    }

    fn open(&self, line: &AccessLine, keeping: Option<Keeping>) -> Result<AccessLog<S>, ConfError> {
        self.check_buffer(line)?;
        let name = line.format.as_ref();
        let found = self.formats.get(name.map_or("combined", Word::as_str));
        let (format, escape) = found.ok_or_else(|| {
            let word = name.unwrap_or(&line.path);
            word.refuse(format!("unknown log format \"{word}\""))
        })?;
        let condition = line.condition.as_ref().and_then(|it| it.parameter("if"));
        let condition = condition.map(|it| Template::compile(it, self.names)).transpose();
        let condition = condition.map_err(|it| ConfError::unplaced(it.to_string()))?;
        let to = if line.is_named() {
            let path = self.prefix.join(line.path.as_str());
            let path = Template::compile(&path.to_string_lossy(), self.names);
            let path = path.map_err(|it| line.path.refuse(it.to_string()))?;
            let failed = |it| ConfError::of_the_world(failed(Path::new("access log"), &it));
            Destination::Named { log: LogFile::named().map_err(failed)?, path, keeping }
        } else {
            Destination::File(line.open(self.prefix).map_err(ConfError::of_the_world)?)
        };
        Ok(AccessLog { format: Arc::clone(format), escape: *escape, to, condition })
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
        settings: &Settings,
        problems: &mut Vec<ConfError>,
    ) -> Vec<AccessLog> {
        match settings.access() {
            Some(lines) => self.formats.access(lines, settings.keeping(), problems),
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
        file.clone().map(|file| AccessLog {
            format,
            escape,
            to: Destination::File(file),
            condition: None,
        })
    }
}

/// The error logs of a block; their files are open when this returns.
pub(super) fn errors(lines: &[ErrorLine], prefix: &Path) -> Result<ErrorLogs, ConfError> {
    let sinks = lines.iter().map(|it| Sink::open(it, prefix).map_err(ConfError::of_the_world));
    sinks.collect::<Result<_, _>>().map(ErrorLogs::new)
}
