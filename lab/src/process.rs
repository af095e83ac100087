//! How does a program of ours run another one, and how does it make sure that it ends?
//!
//! A [`Process`] ends with its guard: at the end of a scope, after a panic, and also when the
//! program that holds the guard is killed. Whatever the child printed last is kept, because "it
//! did not start" helps nobody.

use std::{
    collections::VecDeque,
    env, fmt,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::ports;

/// How long a child may take to end after TERM before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// Lines kept of what a child printed.
const KEPT_LINES: usize = 12;

/// How often a condition is looked at again while waiting for it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Ends a child whose owner went away without a word, and removes the folder it leaves, if any: the
/// standard input of this script closes with the owner.
const LEASH: &str = r#"
read -r _
kill -TERM "$0"
for _ in 1 2 3 4 5 6; do
    sleep 0.5
    kill -CONT "$0" || break
done
kill -KILL "$0"
[ -z "$1" ] || rm -rf -- "$1"
"#;

/// A child process that ends with this guard: TERM first, KILL after [`GRACE`].
pub struct Process {
    name: String,
    child: Child,
    leash: Child,
    printed: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
    asked: bool,
}

impl Process {
    /// Starts `command` in a process group of its own, so that Ctrl-C reaches only its owner.
    ///
    /// `name` is what people call it: `store 2`, `mariadbd`.
    pub fn spawn(name: impl Into<String>, command: &mut Command) -> Result<Self> {
        Self::start(name.into(), command, Path::new(""))
    }

    /// The same for a child that lives in a temporary folder: should the owner be killed, the
    /// folder is removed after the child.
    ///
    /// A guard in a `static` is never dropped, so this is how a test binary's servers end.
    pub fn spawn_in(
        folder: &TempDir,
        name: impl Into<String>,
        command: &mut Command,
    ) -> Result<Self> {
        Self::start(name.into(), command, folder.path())
    }

    fn start(name: String, command: &mut Command, leaves: &Path) -> Result<Self> {
        let pause = ports::pause();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} cannot be started: {}", shown(command)))?;
        let printed = Arc::default();
        let readers = [
            child.stdout.take().map(|it| keep_lines(it, Arc::clone(&printed))),
            child.stderr.take().map(|it| keep_lines(it, Arc::clone(&printed))),
        ];
        let leash = Command::new("sh")
            .args(["-c", LEASH])
            .arg(child.id().to_string())
            .arg(leaves)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        drop(pause);
        let leash = match leash {
            Ok(leash) => leash,
            Err(error) => {
                child.kill().and_then(|()| child.wait()).context("a child without a leash")?;
                return Err(error).context("sh cannot be started");
            }
        };
        let readers = readers.into_iter().flatten().collect();
        Ok(Self { name, child, leash, printed, readers, status: None, asked: false })
    }

    /// What people call this child.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, for signals and `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the child ended, `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.remember_end(status);
        }
        self.status
    }

    /// The last lines of both its outputs, oldest first, one per line; empty when it said nothing.
    pub fn last_lines(&self) -> String {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    ///
    /// When the child ends first or the deadline passes: both name it and repeat its last lines.
    /// An error of `ready` ends the wait as it is.
    pub fn wait_until_ready(
        &mut self,
        deadline: Duration,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let until = Instant::now() + deadline;
        loop {
            let ready = ready()?;
            // Whoever answers, it is not a child that has ended.
            if self.ended().is_some() {
                bail!("{}", self.obituary());
            }
            if ready {
                return Ok(());
            }
            if until < Instant::now() {
                let said = indented(&self.last_lines());
                bail!("{} is not ready after {} s{said}", self.name, deadline.as_secs());
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until the child ends by itself; `go_on` is asked again and again, its error ends the
    /// wait.
    pub fn wait(&mut self, go_on: impl Fn() -> Result<()>) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            go_on()?;
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// One sentence on how it ended, and its last lines below.
    pub fn obituary(&mut self) -> String {
        let end = self.ended().map_or_else(|| "is still running".to_owned(), ending);
        format!("{} {end}{}", self.name, indented(&self.last_lines()))
    }

    /// Sends a signal; nothing happens when the child has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // It may end between the two lines; its id is not reused before it is waited for.
            _ = signal::kill(pid_of(&self.child), signal);
        }
    }

    /// Asks the child to end, once: many programs take a second TERM as "at once".
    pub fn ask_to_end(&mut self) {
        if !self.asked {
            self.signal(Signal::SIGTERM);
            // A paused child hears nothing before it continues.
            self.signal(Signal::SIGCONT);
        }
        self.asked = true;
    }

    /// Asks the child to end, waits for it, and kills it after `grace`.
    pub fn stop(&mut self, grace: Duration) {
        self.ask_to_end();
        let until = Instant::now() + grace;
        while self.ended().is_none() {
            if until < Instant::now() {
                self.kill();
                return;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Ends the child at once, as a crash would.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::SIGKILL);
            if let Ok(status) = self.child.wait() {
                self.remember_end(status);
            }
        }
    }

    fn remember_end(&mut self, status: ExitStatus) {
        // The leash first: the id it holds may soon belong to somebody else.
        _ = self.leash.kill();
        _ = self.leash.wait();
        self.status = Some(status);
        // A grandchild may hold the pipes open for ever, so only readers that are done are joined.
        let until = Instant::now() + Duration::from_millis(200);
        while self.readers.iter().any(|it| !it.is_finished()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(GRACE);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// A binary of this workspace, beside the running one, also seen from a test in `target/*/deps`.
///
/// # Errors
///
/// When it has not been built, with the command that builds it.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("this program cannot find itself")?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let release = if folder.ends_with("release") { " --release" } else { "" };
    bail!("{} is missing: run cargo build{release} --bin {name}", path.display())
}

/// An installed program, looked for in `PATH` and in the folders where Debian keeps servers.
///
/// # Errors
///
/// When it is not installed.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|it| it.join(name))
        .find(|it| it.is_file())
        .with_context(|| format!("{name} is not installed: run script/bootstrap"))
}

/// Waits until `condition` holds, and says what was waited for when it does not.
///
/// # Panics
///
/// After a minute: this is for tests, where a condition that never holds is a failure, and a busy machine
/// may take half of it to start Locust.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(eventually_within(Duration::from_mins(1), condition), "not within a minute: {what}");
}

/// Waits until `condition` holds, and says whether it did before the deadline.
#[must_use]
pub fn eventually_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + deadline;
    while !condition() {
        if until < Instant::now() {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

fn keep_lines(
    from: impl Read + Send + 'static,
    into: Arc<Mutex<VecDeque<String>>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|it| 0 < it) {
            let mut printed = into.lock().unwrap_or_else(PoisonError::into_inner);
            if printed.len() == KEPT_LINES {
                printed.pop_front();
            }
            printed.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    })
}

fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or("an unknown signal", Signal::as_str);
            format!("was ended by {name}")
        }
        (None, None) => "ended".to_owned(),
    }
}

fn indented(lines: &str) -> String {
    lines.lines().fold(String::new(), |all, it| all + "\n    " + it)
}

fn shown(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("Linux process ids fit in an i32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn("child", Command::new("sh").args(["-c", script])).unwrap()
    }

    fn runs(pid: u32) -> bool {
        // A process that ended but was not waited for still has a folder; its state is Z.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| {
            !it.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
        })
    }

    #[test]
    fn a_child_ends_with_its_guard() {
        let child = shell("exec sleep 600");
        let pid = child.pid();
        assert!(runs(pid));
        drop(child);
        assert!(!runs(pid));
    }

    #[test]
    fn a_child_that_ignores_term_is_killed_after_the_grace() {
        let mut child = shell("trap '' TERM; echo set; while :; do sleep 0.1; done");
        eventually("the trap is set", || child.last_lines() == "set");
        child.stop(Duration::from_millis(50));
        assert_eq!(child.obituary(), "child was ended by SIGKILL\n    set");
    }

    #[test]
    fn a_paused_child_ends_with_its_guard() {
        let mut child = shell("exec sleep 600");
        child.signal(Signal::SIGSTOP);
        child.stop(GRACE);
        assert_eq!(child.obituary(), "child was ended by SIGTERM");
    }

    #[test]
    fn a_child_and_its_folder_end_when_its_owner_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut owner = shell("sleep 600 & echo $!; wait");
        eventually("the pid is printed", || !owner.last_lines().is_empty());
        let pid: u32 = owner.last_lines().parse().unwrap();
        let mut leash = Command::new("sh")
            .args(["-c", LEASH, &pid.to_string()])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(runs(pid));
        drop(leash.stdin.take());
        eventually("the leash pulls", || !runs(pid));
        eventually("nothing is left", || !folder.path().exists());
        owner.kill();
        leash.wait().unwrap();
    }

    #[test]
    fn an_early_end_is_told_with_the_last_lines() {
        let mut child = shell("echo one; echo two >&2; exit 3");
        let error = child.wait_until_ready(GRACE, || Ok(false)).unwrap_err().to_string();
        assert!(error.starts_with("child ended with exit code 3\n"), "{error}");
        assert!(error.contains("\n    one") && error.contains("\n    two"), "{error}");
    }

    #[test]
    fn a_child_that_ended_is_not_ready_whoever_answers() {
        let mut child = shell("exit 3");
        eventually("it ends", || !runs(child.pid()));
        let error = child.wait_until_ready(GRACE, || Ok(true)).unwrap_err().to_string();
        assert_eq!(error, "child ended with exit code 3");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut child = shell("seq 1 100");
        eventually("it ends", || child.ended().is_some());
        let lines = child.last_lines();
        assert_eq!(lines.lines().next(), Some("89"));
        assert_eq!(lines.lines().last(), Some("100"));
    }

    #[test]
    fn a_deadline_names_the_child() {
        let mut child = shell("exec sleep 600");
        let error = child.wait_until_ready(Duration::ZERO, || Ok(false)).unwrap_err();
        assert_eq!(error.to_string(), "child is not ready after 0 s");
    }

    #[test]
    fn a_missing_program_is_named_with_its_remedy() {
        let error = program("no-such-server").unwrap_err();
        assert_eq!(error.to_string(), "no-such-server is not installed: run script/bootstrap");
    }

    #[test]
    fn a_missing_binary_is_named_with_the_command_that_builds_it() {
        let error = sibling("no-such-binary").unwrap_err().to_string();
        assert!(error.contains("no-such-binary is missing: run cargo build"), "{error}");
    }
}
