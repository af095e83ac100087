//! Where does the error log go, and what if it cannot be opened?

use std::path::Path;

use super::complain;
use crate::args::Args;
use crate::conf::error::os_text;
use crate::logs::error::Sink;
use crate::logs::rows::{Severity, Target};
use crate::logs::writer::LogFile;
use crate::snapshot::build::Configuration;

/// Where errors go when neither `-e` nor a directive says so.
const IMPLICIT: &str = "logs/error.log";

/// Opens the error logs of a configuration, those of its main and of its http block.
///
/// Without any, that of the command line; when not even that can be opened, standard error. An
/// error is nginx's text.
pub(super) fn open(args: &Args, configuration: &Configuration) -> Result<Vec<Sink>, String> {
    let prefix = &configuration.paths.prefix;
    let http = configuration.http.iter().flat_map(|it| &it.scope.logs.errors);
    let mut sinks = Vec::new();
    for line in configuration.process.error_logs.iter().chain(http) {
        let file = match &line.target {
            Target::Stderr => LogFile::stderr().map_err(|it| failed(Path::new("stderr"), &it))?,
            Target::File(path) => {
                let path = prefix.join(path.as_str());
                LogFile::open(&path).map_err(|it| failed(&path, &it))?
            }
        };
        sinks.push(Sink { severity: line.level, file });
    }
    if sinks.is_empty() {
        let stderr = || LogFile::stderr().map_err(|it| failed(Path::new("stderr"), &it));
        let file = match args.error_log.as_deref().unwrap_or(IMPLICIT) {
            "" | "stderr" => stderr()?,
            name => {
                let path = prefix.join(name);
                match LogFile::open(&path) {
                    Ok(file) => file,
                    Err(error) => {
                        let text = failed(&path, &error);
                        complain(&format!("nginx: [alert] could not open error log file: {text}"));
                        stderr()?
                    }
                }
            }
        };
        sinks.push(Sink { severity: Severity::Error, file });
    }
    Ok(sinks)
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("open() \"{}\" failed {}", path.display(), os_text(error))
}
