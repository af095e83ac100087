//! Log formats by name, and the access logs that use them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::conf::error::os_text;
use crate::conf::{ConfError, Word};
use crate::http::variable::{Template, Unknown};
use crate::logs::rows::{AccessLine, Escape, Format};
use crate::logs::writer::LogFile;
use crate::logs::{AccessLog, COMBINED};

/// Where requests are logged that no `access_log` speaks of.
const IMPLICIT: &str = "logs/access.log";

/// What access logs are made of.
pub(super) struct Logs<'a> {
    /// Templates and the form of their values, by name.
    formats: BTreeMap<String, (Arc<Template>, Escape)>,
    /// Where relative names begin.
    prefix: &'a Path,
    /// [`IMPLICIT`], once it has been asked for; within, `None` when it cannot be opened.
    implicit: OnceCell<Option<Arc<LogFile>>>,
}

impl<'a> Logs<'a> {
    /// Looks the variables of all formats up.
    pub(super) fn new(lines: &[Format], prefix: &'a Path, problems: &mut Vec<ConfError>) -> Self {
        let combined = Template::compile(COMBINED).expect("nginx's format has nginx's variables");
        let combined = (Arc::new(combined), Escape::Default);
        let mut formats = BTreeMap::from([("combined".to_owned(), combined)]);
        for line in lines {
            let text: String = line.parts.iter().map(Word::as_str).collect();
            match Template::compile(&text) {
                Ok(format) => {
                    formats.insert(line.name.to_string(), (Arc::new(format), line.escape));
                }
                Err(unknown) => problems.push(unknown_variable(&unknown)),
            }
        }
        Self { formats, prefix, implicit: OnceCell::new() }
    }

    /// The access logs of a location; its files are open when this returns.
    pub(super) fn access(
        &self,
        lines: Option<&[AccessLine]>,
        problems: &mut Vec<ConfError>,
    ) -> Vec<AccessLog> {
        let Some(lines) = lines else { return self.implicit(problems).into_iter().collect() };
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

    fn open(&self, line: &AccessLine) -> Result<AccessLog, ConfError> {
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
        let condition = condition.map(Template::compile).transpose();
        let condition = condition.map_err(|it| unknown_variable(&it))?;
        let path = self.prefix.join(line.path.as_str());
        let file = LogFile::open(&path).map_err(|error| {
            let text = format!("open() \"{}\" failed {}", path.display(), os_text(&error));
            ConfError::unplaced(text)
        })?;
        Ok(AccessLog { format: Arc::clone(format), escape: *escape, file, condition })
    }

    /// The log of a configuration that asks for none. Unlike nginx, a start without it goes on.
    fn implicit(&self, problems: &mut Vec<ConfError>) -> Option<AccessLog> {
        let path = self.prefix.join(IMPLICIT);
        let file = self.implicit.get_or_init(|| match LogFile::open(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                let failed = format!("open() \"{}\" failed {}", path.display(), os_text(&error));
                let text = format!("{failed}, requests are not logged");
                problems.push(ConfError::unplaced(text).warning());
                None
            }
        });
        let (format, escape) = &self.formats["combined"];
        let (format, escape) = (Arc::clone(format), *escape);
        file.clone().map(|file| AccessLog { format, escape, file, condition: None })
    }
}

const NO_GZIP: &str = "\"gzip\" of \"access_log\" has no effect, lines are written as they are";

fn is_about_gzip(problem: &ConfError) -> bool {
    problem.reason == NO_GZIP
}

fn unknown_variable(Unknown(name): &Unknown) -> ConfError {
    ConfError::unplaced(format!("unknown \"{name}\" variable"))
}
