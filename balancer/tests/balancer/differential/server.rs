//! The two programs, started with the same configuration.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};

use super::case::Case;
use crate::support::eventually;

/// How one of them is started.
#[derive(Debug)]
pub(super) struct Program {
    path: &'static str,
    /// Lines that make the installed version's defaults those of the version we follow, and name
    /// folders that this user may write.
    http: &'static str,
    /// What a `stream` block needs.
    stream: &'static str,
}

pub(super) fn nginx() -> Program {
    Program {
        path: "nginx",
        http: "client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\nproxy_http_version 1.1; proxy_set_header Connection '';",
        stream: "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n",
    }
}

pub(super) fn balancer() -> Program {
    Program { path: env!("CARGO_BIN_EXE_balancer"), http: "", stream: "" }
}

/// One that runs and ends with this guard.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
}

impl Server {
    /// Starts it in a folder; what it says first when it does not come to serve.
    #[track_caller]
    pub(super) fn start(
        program: &Program,
        case: &Case,
        folder: &Path,
        fill: &dyn Fn(&str) -> String,
    ) -> Result<Self, String> {
        let Program { path, http, stream } = program;
        let (modules, stream) = match case.stream.as_str() {
            "" => ("", String::new()),
            lines => (*stream, format!("stream {{\n{lines}}}\n")),
        };
        let text = format!(
            "{modules}daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log {};\n{}events {{}}\n{stream}http {{\n{http}\naccess_log access.log;\n{}}}\n",
            case.level, case.main, case.http
        );
        fs::create_dir_all(folder.join("conf")).unwrap();
        fs::write(folder.join("conf/nginx.conf"), fill(&text)).unwrap();
        let stderr = folder.join("stderr");
        let mut command = Command::new(path);
        command.args(["-e", "stderr", "-c", "conf/nginx.conf", "-p"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&stderr).unwrap());
        let child = command.spawn().expect("nginx is not installed: run script/bootstrap");
        let mut server = Self { child };
        let mut ended = None;
        eventually("the pid file is written", || {
            ended = server.child.try_wait().unwrap();
            let written = fs::read(folder.join("nginx.pid"));
            ended.is_some() || written.is_ok_and(|it| it.ends_with(b"\n"))
        });
        if ended.is_some() {
            let said = fs::read_to_string(stderr).unwrap();
            let refusal = said.lines().find(|it| it.contains("[emerg]"));
            return Err(refusal.unwrap_or(&said).to_owned());
        }
        Ok(server)
    }

    /// Ends it and waits until all of its logs are written. A client may see the end of its
    /// connection to one of `ports` before its line is written, and a single process of nginx does
    /// not wait for that when it is told to end.
    pub(super) fn end(mut self, ports: &[u16]) {
        // A connection may linger for five seconds.
        let until = Instant::now() + Duration::from_secs(8);
        while Instant::now() < until && self.has_clients(ports) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGQUIT).unwrap();
        let until = Instant::now() + Duration::from_secs(8);
        while Instant::now() < until && self.child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether it holds a connection of a client to one of `ports`.
    fn has_clients(&self, ports: &[u16]) -> bool {
        let process = Process::new(i32::try_from(self.child.id()).unwrap());
        let Ok(files) = process.and_then(|it| it.fd()) else { return false };
        let held: HashSet<u64> = files
            .filter_map(|it| match it.ok()?.target {
                FDTarget::Socket(inode) => Some(inode),
                _ => None,
            })
            .collect();
        procfs::net::tcp().unwrap().iter().any(|it| {
            it.state != TcpState::Listen
                && held.contains(&it.inode)
                && ports.contains(&it.local_address.port())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
