//! The program itself, started as an operator starts it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{Client, PATIENCE, eventually, free_port};

/// What has to be told to change something.
pub(crate) const TOKEN: &str = "nobody-guesses-this";

/// A running balancer that ends with this guard.
#[derive(Debug)]
pub(crate) struct Balancer {
    child: Child,
    /// What `PORT` stands for in its configuration.
    pub(crate) port: u16,
    admin: u16,
    folder: TempDir,
    workers: u32,
}

impl Balancer {
    /// Starts it with one worker; `http` is what stands in the `http` block, `PORT` a free port.
    ///
    /// It accepts when this returns.
    pub(crate) fn start(http: &str) -> Self {
        Self::start_with(1, http)
    }

    /// As [`Balancer::start`], with a number of workers.
    pub(crate) fn start_with(workers: u32, http: &str) -> Self {
        Self::start_for(workers, http, None)
    }

    /// As [`Balancer::start`], and whoever tells [`TOKEN`] to the admin listener may change it.
    pub(crate) fn start_changeable(http: &str) -> Self {
        Self::start_for(1, http, Some(TOKEN))
    }

    fn start_for(workers: u32, http: &str, token: Option<&str>) -> Self {
        // A free port may be gone when it is used; another one then will do.
        for _ in 0..5 {
            if let Some(balancer) = Self::try_start(workers, http, token) {
                return balancer;
            }
        }
        panic!("no port is free")
    }

    fn try_start(workers: u32, http: &str, token: Option<&str>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (port, admin) = (free_port(), free_port());
        // Where access logs go of which a test says nothing.
        fs::create_dir(folder.path().join("logs")).unwrap();
        let stderr = File::create(folder.path().join("stderr")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_balancer"));
        command.arg("-c").arg("nginx.conf").arg("-p").arg(folder.path());
        command.args(["-e", "error.log", "-g", "daemon off;"]);
        command.arg("--admin").arg(format!("127.0.0.1:{admin}"));
        if let Some(token) = token {
            let file = folder.path().join("token");
            fs::write(&file, format!("{token}\n")).unwrap();
            command.arg("--admin-token-file").arg(file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        fs::write(folder.path().join("nginx.conf"), configuration(workers, port, http)).unwrap();
        let child = command.spawn().unwrap();
        let mut balancer = Self { child, port, admin, folder, workers };
        let mut ended = None;
        eventually("the pid file is written", || {
            ended = balancer.child.try_wait().unwrap();
            ended.is_some() || balancer.pid_file().exists()
        });
        let said = balancer.said();
        match ended {
            Some(_) if said.contains("Address already in use") => None,
            Some(status) => panic!("{status}: {said}"),
            None => Some(balancer),
        }
    }

    /// A new connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.port)
    }

    /// A new connection to its admin listener.
    pub(crate) fn admin(&self) -> Client {
        Client::to(self.admin)
    }

    /// Where its admin listener has a path.
    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    /// Writes another configuration, which a reload will read.
    pub(crate) fn configure(&self, http: &str) {
        let text = configuration(self.workers, self.port, http);
        fs::write(self.folder.path().join("nginx.conf"), text).unwrap();
    }

    /// Configures it anew, reloads, and waits until the new configuration is in force.
    pub(crate) fn reload(&self, http: &str) {
        let succeeded = || self.metric("balancer_config_reloads_total", &["result=\"success\""]);
        let before = succeeded();
        self.configure(http);
        self.signal(Signal::SIGHUP);
        eventually("the reload succeeds", || succeeded() > before);
    }

    /// As [`Self::reload`], for another number of workers.
    pub(crate) fn reload_with(&mut self, workers: u32, http: &str) {
        self.workers = workers;
        self.reload(http);
    }

    /// The value of a line of `/proc/PID/task/TID/status`, for every thread of a name.
    pub(crate) fn of_threads(&self, thread: &str, name: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // A thread may end while it is looked at.
        let statuses =
            tasks.filter_map(|it| fs::read_to_string(it.ok()?.path().join("status")).ok());
        let value = |status: &str, name: &str| {
            let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().to_owned()
        };
        let own = statuses.filter(|it| value(it, "Name").starts_with(thread));
        own.map(|it| value(&it, name)).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.folder.path().join("nginx.pid")
    }

    /// `-s ORDER`, as typed beside the running one.
    pub(crate) fn order(&self, order: &str) -> ExitStatus {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balancer"));
        command.arg("-c").arg("nginx.conf").arg("-p").arg(self.folder.path());
        command.args(["-e", "error.log", "-s", order]).status().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the balancer ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Whether it has ended already.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// A file of its folder, empty when it is not there.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Standard error and the error log.
    pub(crate) fn said(&self) -> String {
        let read = |name| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let all = [read("stderr"), read("error.log")].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Sum over the series of a metric that have all of the labels, written `name="value"`;
    /// `None` when there is no such series.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let series = text.lines().filter_map(|it| it.rsplit_once(' ')).filter(|(series, _)| {
            series.split('{').next() == Some(name) && labels.iter().all(|it| series.contains(it))
        });
        series.map(|(_, it)| it.parse::<u64>().unwrap()).reduce(|sum, it| sum + it)
    }

    /// Requests in progress over all servers.
    pub(crate) fn active(&self) -> u64 {
        self.metric("balancer_upstream_server_active_requests", &[]).unwrap()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("balancer said:\n{}", self.said());
        }
    }
}

fn configuration(workers: u32, port: u16, http: &str) -> String {
    let http = http.replace("PORT", &port.to_string());
    let silent = if http.contains("access_log") { "" } else { "access_log off;" };
    let events = if http.contains("events {") { "" } else { "events {}" };
    format!(
        "worker_processes {workers};\npid nginx.pid;\nerror_log error.log info;\n{events}\nhttp {{\n{silent}\n{http}\n}}\n"
    )
}
