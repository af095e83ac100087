//! The pid file, and leaving the terminal.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::conf::error::os_text;
use crate::logs::error::failed;
use crate::process::emerg;

/// The file that tells scripts whom to signal. It is removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes our number; call when every listener accepts. An error is nginx's text.
    pub(crate) fn write(path: &Path) -> Result<Self, String> {
        fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Makes room for the file of the program that takes over. An error is nginx's text.
    pub(crate) fn rename_to_old(&mut self) -> Result<(), String> {
        let mut old = self.path.clone().into_os_string();
        old.push(OLD);
        self.rename(old.into())
    }

    /// Takes the first name again, after [`PidFile::rename_to_old`].
    pub(crate) fn rename_back(&mut self) -> Result<(), String> {
        let text = self.path.to_string_lossy();
        match text.strip_suffix(OLD).map(PathBuf::from) {
            Some(first) => self.rename(first),
            None => Ok(()),
        }
    }

    fn rename(&mut self, to: PathBuf) -> Result<(), String> {
        fs::rename(&self.path, &to).map_err(|error| {
            let (from, to) = (self.path.display(), to.display());
            format!("rename() {from} to {to} failed {}", os_text(&error))
        })?;
        self.path = to;
        Ok(())
    }

    /// Writes another file and removes this one, if the path differs.
    pub(crate) fn follow(&mut self, path: &Path) -> Result<(), String> {
        if self.path != path {
            *self = Self::write(path)?;
        }
        Ok(())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the file could be written; it is made, and left as it is. An error is nginx's text.
pub(crate) fn try_pid_file(path: &Path) -> Result<(), String> {
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.map(drop).map_err(|error| failed(path, &error))
}

/// nginx's `NGX_OLDPID_EXT`.
const OLD: &str = ".oldbin";

/// Set for the process that serves in the background.
const DAEMON: &str = "BALANCER_DAEMON";

/// What that process writes to its output when it is ready.
const READY: &[u8] = b"ready";

/// Whether this process was started to serve in the background.
pub(crate) fn is_daemon_child() -> bool {
    std::env::var_os(DAEMON).is_some()
}

/// Starts this program again in the background and waits until it is ready.
///
/// A new process rather than a fork: threads do not survive one, and nothing of ours has to be
/// brought through it.
pub(crate) fn start_daemon() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name).args(words).env(DAEMON, "1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            emerg(&format!("fork() failed {}", os_text(&error)));
            return ExitCode::FAILURE;
        }
    };
    let mut said = Vec::new();
    let heard = child.stdout.take().map(|mut it| it.read_to_end(&mut said));
    if heard.is_some_and(|it| it.is_ok()) && said == READY {
        return ExitCode::SUCCESS;
    }
    let code = child.wait().ok().and_then(|it| it.code()).and_then(|it| u8::try_from(it).ok());
    ExitCode::from(code.filter(|it| *it != 0).unwrap_or(1))
}

/// In a background process: leaves the terminal, and tells who waits that we serve.
pub(crate) fn report_ready() {
    if !is_daemon_child() {
        return;
    }
    // It fails only for the leader of a group, which a fresh child is not.
    let _ = nix::unistd::setsid();
    let mut out = io::stdout().lock();
    let _ = out.write_all(READY).and_then(|()| out.flush());
    if let Ok(null) = fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        // Whoever waits reads to the end of our output.
        let _ = nix::unistd::dup2_stdout(&null);
    }
}
