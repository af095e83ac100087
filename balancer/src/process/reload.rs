//! Reads the configuration again; on any refusal the old one serves on.

use std::ops::Range;
use std::sync::Arc;

use crate::conf::error::ConfError;
use crate::engine::places;
use crate::listen::workers::Workers;
use crate::logs;
use crate::process::rows::Settings;
use crate::process::user::User;
use crate::process::{Process, Refused, error_log, limits, open_all, start_workers, user};
use crate::snapshot::{Snapshot, build};

impl Process<'_> {
    /// Takes over the configuration as it stands now, if all of it can be.
    pub(crate) fn reload(&mut self) {
        let old = self.shared.snapshot.load_full();
        match self.try_reload(&old) {
            Ok((generation, before)) => {
                self.shared.reloads.succeeded();
                tracing::info!("Configuration {generation} is in force");
                self.tell_start();
                self.replace(&old, before);
            }
            Err(problems) => {
                self.shared.reloads.failed();
                for problem in problems {
                    tracing::error!(severity = "emerg", "{problem}");
                }
            }
        }
    }

    /// Starts the threads that a configuration asks for, unless those that serve are of that number
    /// and that user. nginx starts all of them anew.
    fn renew_workers(
        &mut self,
        settings: &Settings,
        user: Option<User>,
    ) -> Result<Option<Arc<Workers>>, String> {
        let is_other_user = user != self.user;
        if settings.workers.count() == self.workers.handles.len() && !is_other_user {
            return Ok(None);
        }
        let start = || {
            let workers = start_workers(settings, &self.shared);
            if let Some(user) = &user {
                user::change_threads(user, &workers.handles)?;
            }
            Ok::<_, String>(workers)
        };
        let started = user::as_root_then(self.user.as_ref(), user.as_ref(), start);
        let workers = started.map_err(|it| user::cannot(&it))??;
        self.user = user;
        Ok(Some(workers))
    }

    /// Has those who will serve be where a configuration wants them.
    fn enter(&self, settings: &Settings, renewed: Option<&Arc<Workers>>) -> Result<(), String> {
        let (folder, before) = (&settings.working_directory, &self.started.working_directory);
        let are_there = if renewed.is_some() { folder.is_none() } else { folder == before };
        if are_there {
            return Ok(());
        }
        limits::enter(folder.as_deref(), &renewed.unwrap_or(&self.workers).handles)
    }

    /// Takes over limits; threads that have just been started have theirs.
    fn follow_limits(&mut self, settings: &Settings, are_new: bool) {
        if settings.rlimit_nofile != self.started.rlimit_nofile || are_new {
            limits::set(settings);
        }
        let (now, before) = (settings, &self.started);
        if (now.priority, &now.affinity) != (before.priority, &before.affinity) && !are_new {
            limits::set_workers(settings, &self.workers.handles);
        }
        self.started = Settings { has_master: self.started.has_master, ..settings.clone() };
    }

    /// The number of the configuration, and what logs call those who served by the one before.
    fn try_reload(&mut self, old: &Arc<Snapshot>) -> Result<(u64, Range<u64>), Vec<String>> {
        let texts =
            |problems: Vec<ConfError>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let configuration =
            build::read(&self.paths, self.args.globals.as_deref(), self.args.strict)
                .map_err(texts)?;
        let snapshot = build::build(&configuration, Some(old)).map_err(texts)?;
        // What stands in the way is told as it is met.
        // Sockets share a port only with those of the same user, and root has opened the first.
        let settings = &configuration.process;
        let open = || open_all(&self.listeners, &snapshot, settings.workers.count());
        let opened = user::as_root(self.user.as_ref(), open);
        let opened = opened.map_err(|it| vec![user::cannot(&it)])?.map_err(|Refused| Vec::new())?;
        let sinks = error_log::open(self.args, &configuration).map_err(|it| vec![it])?;
        let pid = &settings.pid;
        let followed = user::as_root(self.user.as_ref(), || self.pid_file.follow(pid));
        followed.unwrap_or_else(|it| Err(user::cannot(&it))).map_err(|it| vec![it])?;
        let user = if self.started.has_master { settings.serves_as() } else { Ok(None) };
        let renewed = user.and_then(|it| self.renew_workers(settings, it));
        let renewed = renewed.map_err(|it| vec![it])?;
        self.enter(settings, renewed.as_ref()).map_err(|it| vec![it])?;
        self.shutdown_timeout = settings.worker_shutdown_timeout;
        let before = self.worker_numbers();
        self.first_worker = before.end;
        let generation = snapshot.generation;
        places::limit(settings.worker_connections, settings.workers.count());
        for warning in configuration.warnings.iter().chain(&snapshot.warnings) {
            tracing::warn!("{warning}");
        }
        self.follow_limits(settings, renewed.is_some());
        self.environment = settings.environment();
        self.listeners.close_others(&snapshot, old);
        self.listeners.configure(&snapshot);
        self.shared.install(snapshot);
        logs::error::direct(sinks);
        self.close_console();
        if let Some(workers) = renewed {
            // What waits to be accepted is accepted by the new ones; who is served stays.
            self.workers = workers;
            self.listeners.pause();
            self.listeners.resume(&self.shared, &self.workers);
        }
        self.listeners.accept(opened, &self.shared, &self.workers);
        Ok((generation, before))
    }
}
