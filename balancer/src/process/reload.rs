//! Reads the configuration again; on any refusal the old one serves on.

use std::sync::Arc;

use crate::conf::error::ConfError;
use crate::listen::CannotBind;
use crate::logs;
use crate::process::{Process, error_log};
use crate::snapshot::build;

impl Process<'_> {
    /// Takes over the configuration as it stands now, if all of it can be.
    pub(crate) fn reload(&mut self) {
        match self.try_reload() {
            Ok(generation) => {
                self.shared.reloads.succeeded();
                tracing::info!("Configuration {generation} is in force");
            }
            Err(problems) => {
                self.shared.reloads.failed();
                for problem in problems {
                    tracing::error!(severity = "emerg", "{problem}");
                }
            }
        }
    }

    fn try_reload(&mut self) -> Result<u64, Vec<String>> {
        let texts =
            |problems: Vec<ConfError>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let configuration =
            build::read(&self.paths, self.args.globals.as_deref(), self.args.strict)
                .map_err(texts)?;
        let old = self.shared.snapshot.load_full();
        let snapshot = build::build(&configuration, Some(&old)).map_err(texts)?;
        let opened =
            self.listeners.open_missing(&snapshot, self.workers.len()).map_err(|failed| {
                let line = |CannotBind { bind, error }: &CannotBind| {
                    format!("bind() to {bind} failed {}", crate::conf::error::os_text(error))
                };
                failed.iter().map(line).collect::<Vec<_>>()
            })?;
        let sinks = error_log::open(self.args, &configuration).map_err(|it| vec![it])?;
        self.pid_file.follow(&configuration.process.pid).map_err(|it| vec![it])?;
        self.shutdown_timeout = configuration.process.worker_shutdown_timeout;
        let generation = snapshot.generation;
        let snapshot = Arc::new(snapshot);
        self.shared.snapshot.store(Arc::clone(&snapshot));
        logs::error::direct(sinks);
        self.listeners.accept(opened, &self.shared, &self.workers);
        self.listeners.close_others(&snapshot);
        Ok(generation)
    }
}
