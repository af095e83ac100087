//! Where does the error log go, and what if it cannot be opened?

use std::path::Path;

use super::console::IMPLICIT;
use crate::args::Args;
use crate::logs::error::{Sink, failed};
use crate::logs::rows::Severity;
use crate::logs::writer::LogFile;
use crate::snapshot::build::Configuration;

/// Opens the error logs of the main block.
///
/// Without any, that of the command line; when not even that can be opened, standard error. An
/// error is nginx's text.
pub(super) fn open(args: &Args, configuration: &Configuration) -> Result<Vec<Sink>, String> {
    let prefix = &configuration.paths.prefix;
    let lines = &configuration.process.error_logs;
    let mut sinks: Vec<_> =
        lines.iter().map(|it| Sink::open(it, prefix)).collect::<Result<_, _>>()?;
    if sinks.is_empty() {
        let stderr = || LogFile::stderr().map_err(|it| failed(Path::new("stderr"), &it));
        let file = match args.error_log.as_deref().unwrap_or(IMPLICIT) {
            "" | "stderr" => stderr()?,
            name => {
                let path = prefix.join(name);
                match LogFile::open(&path) {
                    Ok(file) => file,
                    // That it cannot be opened has been told.
                    Err(_) => stderr()?,
                }
            }
        };
        sinks.push(Sink { severity: Severity::Error, file });
    }
    Ok(sinks)
}
