//! What the system allows the program and its workers: files, priority, processors; and where
//! workers are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::runtime::Handle;

use crate::conf::error::os_text;
use crate::process::rows::Settings;

/// Sets the limits of the process.
///
/// The threads of this process share what nginx's worker processes have each of their own, so the
/// number of files is that of one worker times the workers.
pub(crate) fn set(settings: &Settings) {
    let workers = settings.workers.count() as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let files = settings.rlimit_nofile.unwrap_or(soft).saturating_mul(workers);
    let (files, hard) = match settings.rlimit_nofile {
        Some(_) => (files, files.max(hard)),
        None => (files.min(hard), hard),
    };
    limit(Resource::RLIMIT_NOFILE, "RLIMIT_NOFILE", files, hard);
    if let Some(bytes) = settings.rlimit_core {
        limit(Resource::RLIMIT_CORE, "RLIMIT_CORE", bytes, bytes);
    }
    let connections = u64::from(settings.worker_connections);
    let of_worker = settings.rlimit_nofile.unwrap_or(soft);
    if of_worker < connections {
        tracing::warn!(
            "{connections} worker_connections exceed open file resource limit: {of_worker}"
        );
    }
}

fn limit(resource: Resource, name: &str, soft: u64, hard: u64) {
    // Who may not raise the hard limit gets as much as there is.
    let set = setrlimit(resource, soft, hard).or_else(|error| {
        let (_, hard) = getrlimit(resource)?;
        if soft <= hard { setrlimit(resource, soft, hard) } else { Err(error) }
    });
    if let Err(error) = set {
        let text = os_text(&error.into());
        tracing::error!(severity = "alert", "setrlimit({name}, {soft}) failed {text}");
    }
}

/// Gives each worker its priority and its processors; returns when they have them.
pub(crate) fn set_workers(settings: &Settings, workers: &[Handle]) {
    let masks = &settings.affinity.masks;
    if !settings.affinity.is_auto && masks.len() > 1 && masks.len() != workers.len() {
        tracing::warn!(
            "the number of \"worker_processes\" is not equal to the number of \
             \"worker_cpu_affinity\" masks, using last mask for remaining worker processes"
        );
    }
    let (done, all_done) = mpsc::channel::<()>();
    for (number, worker) in workers.iter().enumerate() {
        let done = done.clone();
        let priority = settings.priority;
        let processors = settings.affinity.of(number);
        worker.spawn(async move {
            set_thread(priority, processors);
            drop(done);
        });
    }
    drop(done);
    // Ends when the last worker has dropped its end; nothing is sent.
    let _ = all_done.recv();
}

/// Has each worker be in a folder, where a core file of it is left; `None` for where the program
/// is. The program itself stays: names on its command line begin there. An error is nginx's text.
///
/// Source: nginx `ngx_process_cycle.c`, `ngx_worker_process_init`.
pub(crate) fn enter(folder: Option<&Path>, workers: &[Handle]) -> Result<(), String> {
    let failed = |path: &Path, error: io::Error| {
        format!("chdir(\"{}\") failed {}", path.display(), os_text(&error))
    };
    let here = std::env::current_dir().map_err(|it| failed(Path::new("."), it));
    let folder = folder.map_or(here, |it| Ok(it.to_path_buf()))?;
    let (done, all_done) = mpsc::channel();
    for worker in workers {
        let (folder, done) = (folder.clone(), done.clone());
        worker.spawn(async move {
            // Nobody listens only when another worker has failed.
            let _ = done.send(enter_alone(folder));
        });
    }
    drop(done);
    all_done.iter().try_for_each(|it| it.map_err(|(path, error)| failed(&path, error)))
}

/// Changes this thread, and those that it starts later.
fn enter_alone(folder: PathBuf) -> Result<(), (PathBuf, io::Error)> {
    let entered = unshare(CloneFlags::CLONE_FS).map_err(io::Error::from);
    entered.and_then(|()| std::env::set_current_dir(&folder)).map_err(|error| (folder, error))
}

/// On Linux both are the affair of a thread.
fn set_thread(priority: i32, processors: Option<Vec<usize>>) {
    if priority != 0
        && let Err(error) = rustix::process::setpriority_process(None, priority)
    {
        let text = os_text(&error.into());
        tracing::error!(severity = "alert", "setpriority({priority}) failed {text}");
    }
    let Some(processors) = processors else { return };
    let mut set = CpuSet::new();
    processors.iter().filter(|it| **it < CpuSet::MAX_CPU).for_each(|it| set.set(*it));
    if let Err(error) = sched_setaffinity(None, &set) {
        let text = os_text(&error.into());
        tracing::error!(severity = "alert", "sched_setaffinity() failed {text}");
    }
}
