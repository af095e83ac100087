//! One program takes over from another, and no request is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "a failed test shows what the program said")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{Client, Origin, PATIENCE, ask, eventually, free_port};

/// A program in the background, and those that take over from it; all end with this guard.
struct Daemon {
    folder: TempDir,
    port: u16,
}

impl Daemon {
    fn start(http: &str) -> Self {
        Self::start_with(&[], http)
    }

    /// The same with further words on its command line.
    fn start_with(words: &[&str], http: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let http = http.replace("PORT", &port.to_string());
        let text = format!(
            "pid nginx.pid; error_log error.log notice; env KEPT=yes; user daemon;
             events {{}} http {{ access_log off; {http} }}"
        );
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_balancer"))
            .args(["-c", "nginx.conf", "-e", "error.log", "-p"])
            .arg(folder.path())
            .args(words)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let daemon = Self { folder, port };
        assert!(status.success(), "{}", daemon.log());
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    fn pid(&self) -> Option<Pid> {
        pid(&self.path("nginx.pid"))
    }

    fn old_pid(&self) -> Option<Pid> {
        pid(&self.path("nginx.pid.oldbin"))
    }

    /// Has another program take over; the numbers of the old and the new one.
    fn upgrade(&self) -> (Pid, Pid) {
        let old = self.pid().unwrap();
        kill(old, Signal::SIGUSR2).unwrap();
        eventually("the old number has another file", || self.old_pid() == Some(old));
        eventually("the new one serves", || self.pid().is_some_and(|it| it != old));
        (old, self.pid().unwrap())
    }

    fn get(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.rsplit("\r\n").next()?.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for pid in [self.old_pid(), self.pid()].into_iter().flatten() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        if thread::panicking() {
            eprintln!("balancer said:\n{}", self.log());
        }
    }
}

fn pid(path: &std::path::Path) -> Option<Pid> {
    let text = fs::read_to_string(path).ok()?;
    text.trim_end().parse().ok().map(Pid::from_raw)
}

/// Whether a process is there, and more than a number nobody has asked for yet.
fn lives(pid: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads > 1 || !state.is_empty() && !state.contains(") Z ")
}

fn serving(origin: &Origin) -> Daemon {
    Daemon::start(&serving_text(origin))
}

fn serving_text(origin: &Origin) -> String {
    let server = "server { listen 127.0.0.1:PORT; location / { proxy_pass http://ORIGIN; } }";
    server.replace("ORIGIN", &origin.name())
}

#[test]
fn an_upgrade_under_load_loses_no_request() {
    let origin = Origin::named("hello");
    let daemon = serving(&origin);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let loads = [(); 4].map(|()| scope.spawn(|| ask(daemon.port, &is_over)));
        for _ in 0..3 {
            let (old, _) = daemon.upgrade();
            kill(old, Signal::SIGQUIT).unwrap();
            eventually("the old one ends", || !lives(old));
            assert_eq!(daemon.old_pid(), None);
        }
        is_over.store(true, Ordering::Relaxed);
        for load in loads {
            let (asked, lost) = load.join().unwrap();
            assert!(asked > 0 && lost == 0, "{lost} of {asked} are lost");
        }
    });
    let pid = daemon.pid().unwrap();
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.contains("KEPT=yes") && environment.contains("NGINX="), "{environment:?}");
    assert!(!environment.contains("PATH="), "{environment:?}");
    let log = daemon.log();
    for text in ["changing binary", "start new binary process", "using inherited sockets from \""] {
        assert_eq!(log.matches(text).count() % 3, 0, "{text}");
        assert!(log.contains(text), "{text}");
    }
    assert!(!log.contains("[alert]") && !log.contains("[emerg]"), "{log}");
    if nix::unistd::geteuid().is_root() {
        let daemon_user = nix::unistd::User::from_name("daemon").unwrap().unwrap().uid;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains(&format!("Uid:\t{daemon_user}\t{daemon_user}")), "{status}");
    }
}

#[test]
fn a_successor_that_ends_gives_the_pid_file_back() {
    let origin = Origin::named("hello");
    let daemon = serving(&origin);
    let (old, new) = daemon.upgrade();
    kill(old, Signal::SIGUSR2).unwrap();
    eventually("a second upgrade is ignored", || {
        daemon.log().contains("[crit]") && daemon.log().contains("is ignored: you should shutdown")
    });
    kill(new, Signal::SIGTERM).unwrap();
    eventually("the number is back", || daemon.pid() == Some(old) && daemon.old_pid().is_none());
    assert!(!lives(new));
    assert_eq!(daemon.get().as_deref(), Some("hello"));
    let text = format!("new binary process {new} exited with code 0");
    eventually("its end is told", || daemon.log().contains(&text));
}

#[test]
fn a_program_that_was_told_to_accept_no_more_can_be_told_to_go_on() {
    let origin = Origin::named("hello");
    let daemon = serving(&origin);
    let (old, new) = daemon.upgrade();
    kill(old, Signal::SIGWINCH).unwrap();
    let went = || daemon.log().matches("gracefully shutting down").count();
    eventually("the old one accepts no more", || went() == 1);
    for _ in 0..10 {
        assert_eq!(daemon.get().as_deref(), Some("hello"));
    }
    kill(old, Signal::SIGHUP).unwrap();
    eventually("the old one goes on", || {
        daemon.log().matches("start worker processes").count() == 3
    });
    kill(new, Signal::SIGQUIT).unwrap();
    eventually("the number is back", || daemon.pid() == Some(old));
    eventually("the new one ends", || !lives(new));
    for _ in 0..10 {
        assert_eq!(daemon.get().as_deref(), Some("hello"));
    }
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    let origin = Origin::named("hello");
    let daemon = serving(&origin);
    let old = daemon.pid().unwrap();
    fs::write(daemon.path("nginx.conf"), "nonsense;").unwrap();
    kill(old, Signal::SIGUSR2).unwrap();
    eventually("the end is told", || daemon.log().contains("exited with code 1"));
    eventually("the number is back", || daemon.pid() == Some(old) && daemon.old_pid().is_none());
    assert_eq!(daemon.get().as_deref(), Some("hello"));
}

#[test]
fn the_admin_listener_is_handed_over_too() {
    let (origin, admin) = (Origin::named("hello"), free_port());
    let address = format!("127.0.0.1:{admin}");
    let daemon = Daemon::start_with(&["--admin", &address], &serving_text(&origin));
    // What the program that answers has counted.
    let counted = || {
        let answer = Client::to(admin).get("/api/9/http/requests");
        let value: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
        value["total"].as_u64().unwrap()
    };
    assert_eq!(daemon.get().as_deref(), Some("hello"));
    eventually("the old one has counted a request", || counted() == 1);

    let (old, new) = daemon.upgrade();
    kill(old, Signal::SIGQUIT).unwrap();
    eventually("the old one ends", || !lives(old));
    assert_eq!(counted(), 0);
    assert_eq!(daemon.get().as_deref(), Some("hello"));
    eventually("the new one has counted a request", || counted() == 1);
    assert_eq!(daemon.pid(), Some(new));
}
