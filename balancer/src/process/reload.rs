//! Reads the configuration again; on any refusal the old one serves on.

use std::sync::Arc;

use crate::conf::error::ConfError;
use crate::engine::places;
use crate::logs;
use crate::process::rows::Settings;
use crate::process::{Process, Refused, error_log, limits, open_all, user};
use crate::snapshot::{Snapshot, build};

impl Process<'_> {
    /// Takes over the configuration as it stands now, if all of it can be.
    pub(crate) fn reload(&mut self) {
        let old = self.shared.snapshot.load_full();
        match self.try_reload(&old) {
            Ok(generation) => {
                self.shared.reloads.succeeded();
                tracing::info!("Configuration {generation} is in force");
                self.tell_start(generation);
                self.replace(&old);
            }
            Err(problems) => {
                self.shared.reloads.failed();
                for problem in problems {
                    tracing::error!(severity = "emerg", "{problem}");
                }
            }
        }
    }

    /// Tells of what only a start takes over.
    fn tell_of_starts(&mut self, settings: &Settings) {
        let tell = |name: &str| {
            tracing::warn!("a change of \"{name}\" is taken over by the next start or upgrade");
        };
        if settings.workers.count() != self.started.workers.count() {
            tell("worker_processes");
        }
        let named = settings.user.as_ref().map_or("nobody", |it| &it.name);
        if self.user.as_ref().is_some_and(|it| it.name != named) {
            tell("user");
        }
        if settings.rlimit_nofile != self.started.rlimit_nofile {
            limits::set(settings);
        }
        if (settings.priority, &settings.affinity)
            != (self.started.priority, &self.started.affinity)
        {
            limits::set_workers(settings, &self.workers);
        }
        self.started = Settings { workers: self.started.workers, ..settings.clone() };
    }

    fn try_reload(&mut self, old: &Arc<Snapshot>) -> Result<u64, Vec<String>> {
        let texts =
            |problems: Vec<ConfError>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let configuration =
            build::read(&self.paths, self.args.globals.as_deref(), self.args.strict)
                .map_err(texts)?;
        let snapshot = build::build(&configuration, Some(old)).map_err(texts)?;
        // What stands in the way is told as it is met.
        // Sockets share a port only with those of the same user, and root has opened the first.
        let open = || open_all(&self.listeners, &snapshot, self.workers.len());
        let opened = user::as_root(self.user.as_ref(), open);
        let opened = opened.map_err(|it| vec![user::cannot(&it)])?.map_err(|Refused| Vec::new())?;
        let sinks = error_log::open(self.args, &configuration).map_err(|it| vec![it])?;
        let pid = &configuration.process.pid;
        let followed = user::as_root(self.user.as_ref(), || self.pid_file.follow(pid));
        followed.unwrap_or_else(|it| Err(user::cannot(&it))).map_err(|it| vec![it])?;
        self.shutdown_timeout = configuration.process.worker_shutdown_timeout;
        let generation = snapshot.generation;
        places::limit(configuration.process.worker_connections, self.workers.len());
        for warning in configuration.warnings.iter().chain(&snapshot.warnings) {
            tracing::warn!("{warning}");
        }
        self.tell_of_starts(&configuration.process);
        self.environment = configuration.process.environment();
        self.listeners.close_others(&snapshot, old);
        self.shared.install(snapshot);
        logs::error::direct(sinks);
        self.listeners.accept(opened, &self.shared, &self.workers);
        Ok(generation)
    }
}
