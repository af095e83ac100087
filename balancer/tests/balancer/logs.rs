//! What the logs hold, compared with what nginx writes for the same requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::eventually;

const CONF: &str = "events {} pid pid; http {
    access_log access.log;
    server { listen unix:SOCKET; location / { return 200 \"hi\\n\"; } location /e { return 404; } }
}";

/// A server that reads [`CONF`], until dropped.
struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    fn start(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let conf = CONF.replace("SOCKET", path.join("socket").to_str().unwrap());
        fs::write(path.join("conf"), conf).unwrap();
        let child = Command::new(program)
            .args(["-c", path.join("conf").to_str().unwrap()])
            .args(["-p", path.to_str().unwrap(), "-e", "error.log", "-g", "daemon off;"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|it| panic!("{program}: {it}: run script/bootstrap"));
        let server = Self { child, folder };
        eventually("the server is ready", || {
            fs::read_to_string(server.path("pid")).is_ok_and(|it| it.ends_with('\n'))
        });
        server
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a request and reads its answer to the end.
    fn ask(&self, head: &[u8]) {
        let mut stream = UnixStream::connect(self.path("socket")).unwrap();
        stream.write_all(head).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The access lines, their times replaced.
    fn lines(&self, count: usize) -> Vec<String> {
        let path = self.path("access.log");
        eventually("the lines are written", || lines(&path).len() == count);
        let timeless = |it: &String| {
            let (before, rest) = it.split_once('[').unwrap();
            let (time, after) = rest.split_once(']').unwrap();
            assert_eq!(time.len(), "22/Nov/2026:11:04:07 +0000".len(), "{it}");
            format!("{before}[]{after}")
        };
        lines(&path).iter().map(timeless).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap();
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

const OURS: &str = env!("CARGO_BIN_EXE_balancer");

const PLAIN: &[u8] = b"GET /a?b=%20c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn combined_lines_are_those_of_nginx() {
    let requests: [&[u8]; 5] = [
        PLAIN,
        b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\"y\\z \xc3\xa4\r\nReferer: http://r/\r\n\
          Connection: close\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /e HTTP/1.0\r\n\r\n",
        b"POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nxy",
    ];
    let written = |program| {
        let server = Server::start(program);
        for request in requests {
            server.ask(request);
        }
        server.lines(requests.len())
    };
    let (ours, theirs) = (written(OURS), written("nginx"));
    assert_eq!(ours, theirs);
}

#[test]
fn a_rotation_under_requests_loses_no_line() {
    let server = Server::start(OURS);
    let (new, old) = (server.path("access.log"), server.path("access.old"));
    let ask = || (0..20).for_each(|_| server.ask(PLAIN));
    ask();
    fs::rename(&new, &old).unwrap();
    ask();
    server.signal(Signal::SIGUSR1);
    eventually("the file is there again", || new.exists());
    ask();
    eventually("all lines are written", || lines(&new).len() + lines(&old).len() == 60);
    assert!(20 <= lines(&new).len(), "{} lines", lines(&new).len());
}
