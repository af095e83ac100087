//! Does the balancer live as its unit says, and are its logs rotated as logrotate's file says?
//!
//! The lines of the files as they are shipped, below another root; systemd itself is not needed.

#![expect(clippy::unwrap_used, reason = "a test that cannot run a program has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, User, geteuid};
use tempfile::TempDir;

use crate::support::{Client, eventually, free_port};

/// The folders that belong to the service.
const OWN: [&str; 3] = ["run/balancer", "var/lib/balancer", "var/log/balancer"];

/// The folders that belong to root.
const ROOTS: [&str; 3] = ["etc/balancer/conf.d", "etc/default", "usr/sbin"];

fn shipped(path: &str) -> String {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("configs");
    fs::read_to_string(configs.join(path)).unwrap_or_else(|it| panic!("{path}: {it}"))
}

fn output(command: &mut Command) -> Output {
    let program = command.get_program().display().to_string();
    command.output().unwrap_or_else(|it| panic!("{program}: {it}: run script/bootstrap"))
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it)).concat()
}

/// The values of a key of the unit, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let values = unit.lines().filter_map(|it| it.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The package below another root, with another port, and a user that is there.
struct Installed {
    root: TempDir,
    port: u16,
    /// Who serves; root starts nothing itself.
    user: User,
}

impl Installed {
    fn new() -> Self {
        let me =
            if geteuid().is_root() { User::from_name("nobody") } else { User::from_uid(geteuid()) };
        let it = Self {
            root: tempfile::tempdir().unwrap(),
            port: free_port(),
            user: me.unwrap().unwrap(),
        };
        fs::set_permissions(it.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in OWN.iter().chain(&ROOTS) {
            fs::create_dir_all(it.path(folder)).unwrap();
        }
        for folder in OWN {
            chown(it.path(folder), Some(it.user.uid.as_raw()), Some(it.user.gid.as_raw())).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_balancer"), it.path("usr/sbin/balancer")).unwrap();
        for (from, to) in [
            ("debian/nginx.conf", "etc/balancer/nginx.conf"),
            ("debian/default.conf", "etc/balancer/conf.d/default.conf"),
            ("debian/default", "etc/default/balancer"),
            ("systemd/balancer.service", "balancer.service"),
            ("logrotate/balancer", "logrotate"),
        ] {
            fs::write(it.path(to), it.moved(&shipped(from))).unwrap();
        }
        it
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// A text whose paths lead into this root.
    fn moved(&self, text: &str) -> String {
        let folders = OWN.into_iter().chain(["etc/balancer", "etc/default", "usr/sbin/balancer"]);
        let text = folders.fold(text.to_owned(), |text, it| {
            text.replace(&format!("/{it}"), &self.path(it).display().to_string())
        });
        let group = Group::from_gid(self.user.gid).unwrap().unwrap().name;
        let create = format!("create 0640 {} {group}", self.user.name);
        let text = text.replace("listen 80 ", &format!("listen 127.0.0.1:{} ", self.port));
        text.replace("create 0640 balancer adm", &create)
    }

    /// Runs the lines of the unit with this key until one fails, with no more rights than it has.
    fn run(&self, key: &str) -> Result<(), String> {
        for line in values(&self.read("balancer.service"), key) {
            let mut command = if geteuid().is_root() {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &self.user.uid.to_string()]);
                command.args(["--regid", &self.user.gid.to_string(), "--clear-groups"]);
                command.args(["--no-new-privs", "--bounding-set=-all,+net_bind_service"]);
                command.args(["--inh-caps=-all,+net_bind_service"]);
                command.args(["--ambient-caps=-all,+net_bind_service", "sh"]);
                command
            } else {
                Command::new("sh")
            };
            let line = format!(". {}; exec {line}", self.path("etc/default/balancer").display());
            let output = output(command.args(["-ec", &line]));
            if !output.status.success() {
                return Err(said(&output));
            }
        }
        Ok(())
    }

    fn start(&self) {
        self.run("ExecStartPre").and_then(|()| self.run("ExecStart")).unwrap();
        // What `Type=forking` rests on: it is there as soon as the start has ended.
        assert!(!self.pid().is_empty());
    }

    /// The text of the pid file, empty without one.
    fn pid(&self) -> String {
        self.read("run/balancer/nginx.pid").trim().to_owned()
    }

    fn is_running(&self, pid: Pid) -> bool {
        fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|it| it.contains(&self.path("usr/sbin/balancer").display().to_string()))
    }

    /// What the running program has open.
    fn open_files(&self) -> Vec<PathBuf> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        descriptors.filter_map(|it| fs::read_link(it.ok()?.path()).ok()).collect()
    }

    fn ask(&self, path: &str) -> String {
        Client::to(self.port).get(path).text().to_owned()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // It left its parent when it went into the background.
        if let Ok(pid) = self.pid().parse() {
            let pid = Pid::from_raw(pid);
            if self.is_running(pid) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

#[test]
fn the_unit_is_one_that_systemd_understands_and_holds_tight() {
    let it = Installed::new();
    let unit = it.path("balancer.service");
    let text = it.read("balancer.service");
    let verify = || output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    let verified = verify();
    assert!(verified.status.success() && said(&verified).is_empty(), "{}", said(&verified));
    // Out of ten, in tenths: the smaller the tighter.
    let rate = || {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--threshold=17", "--no-pager"]);
        output(command.arg(&unit))
    };
    let rated = rate();
    assert!(rated.status.success(), "{}", said(&rated));

    fs::write(&unit, text.replace("NoNewPrivileges=", "NoNewPrivilege=")).unwrap();
    let verified = said(&verify());
    assert!(verified.contains("Unknown key 'NoNewPrivilege'"), "{verified}");
    assert!(!rate().status.success(), "the threshold does not tell");
}

#[test]
fn the_unit_s_lines_start_reload_and_end_it() {
    let it = Installed::new();
    it.start();
    let pid = Pid::from_raw(it.pid().parse().unwrap());
    assert!(it.ask("/").starts_with("balancer serves"));

    let file = it.path("etc/balancer/conf.d/default.conf");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("return 200", "retur 200")).unwrap();
    let told = it.run("ExecReload").unwrap_err();
    assert!(told.contains("unknown directive \"retur\""), "{told}");
    assert!(it.ask("/").starts_with("balancer serves"));
    fs::write(&file, text.replace("balancer serves", "anew")).unwrap();
    it.run("ExecReload").unwrap();
    eventually("the new file is in force", || it.ask("/").starts_with("anew"));

    let unit = it.read("balancer.service");
    assert_eq!(values(&unit, "KillSignal"), ["SIGQUIT"]);
    kill(pid, Signal::SIGQUIT).unwrap();
    eventually("it ends", || !it.is_running(pid));
    assert_eq!(it.pid(), "");
    let seconds = |it: &str| it.trim_end_matches(['s', ';']).parse::<u64>().unwrap();
    let conf = it.read("etc/balancer/nginx.conf");
    let (_, shutdown) = conf.split_once("worker_shutdown_timeout ").unwrap();
    let shutdown = shutdown.lines().next().unwrap();
    assert!(seconds(shutdown) < seconds(&values(&unit, "TimeoutStopSec")[0]));
}

#[test]
fn logs_are_rotated_without_a_line_lost() {
    let it = Installed::new();
    let conf = it.path("logrotate");
    let state = it.path("state");
    let rotate = |option: &str| {
        let mut command = Command::new("logrotate");
        let output = output(command.arg(option).arg("-s").arg(&state).arg(&conf));
        let text = said(&output);
        assert!(output.status.success() && !text.contains("error:"), "{text}");
    };
    it.start();
    rotate("-d");
    for (count, path) in ["/first", "/second", "/third"].into_iter().enumerate() {
        it.ask(path);
        let written = || it.read("var/log/balancer/access.log");
        eventually("the request is logged", || written().contains(path));
        assert_eq!(written().lines().count(), 1, "{count} {}", written());
        rotate("-f");
        assert!(it.read("var/log/balancer/access.log.1").contains(path));
        let opened = || {
            let open = it.open_files();
            let is_open = |name| open.iter().any(|it| it.ends_with(name));
            is_open("access.log") && !is_open("access.log.1") && !is_open("error.log.1")
        };
        eventually("the logs are opened again", opened);
    }
    assert!(it.path("var/log/balancer/access.log.3.gz").exists());
    let file = fs::metadata(it.path("var/log/balancer/access.log")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o640);
}
