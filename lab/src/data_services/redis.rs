//! A Redis server of our own, which keeps nothing on disk.

use std::{
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::place::{Place, Private, Serve};
use crate::process::{Process, program};

/// The file of settings in the folder of a server.
const SETTINGS: &str = "settings.conf";

/// A Redis server: a private one that ends with this guard, or the one `TEST_REDIS_URL` names.
#[derive(Debug)]
pub struct Redis {
    /// The URL, where it is not ours.
    place: Place<String>,
}

impl Redis {
    /// Starts a private server, or takes the one that `TEST_REDIS_URL` names.
    pub fn start() -> Result<Self> {
        match env::var("TEST_REDIS_URL") {
            Ok(url) if !url.is_empty() => {
                Ok(Self { place: Place::Elsewhere(url.trim_end_matches('/').to_owned()) })
            }
            _ => Self::start_private(),
        }
    }

    /// Starts a private server in any case: for tests that pause or kill it.
    pub fn start_private() -> Result<Self> {
        Self::start_private_with("")
    }

    /// The same with lines of a configuration file, `name value`, for what only some tests need.
    pub fn start_private_with(settings: &str) -> Result<Self> {
        let folder = folder()?;
        fs::write(folder.path().join(SETTINGS), settings)?;
        let serve: Serve =
            |it, port| serve(it, port, &["--include", &it.path().join(SETTINGS).to_string_lossy()]);
        Ok(Self { place: Place::Private(Private::start(folder, serve)?) })
    }

    /// The address of database 0, `redis://127.0.0.1:<port>` for a private server.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Private(private) => format!("redis://127.0.0.1:{}", private.port()),
            Place::Elsewhere(url) => url.clone(),
        }
    }

    /// The port of a private server.
    pub fn port(&self) -> Option<u16> {
        match &self.place {
            Place::Private(private) => Some(private.port()),
            Place::Elsewhere(_) => None,
        }
    }

    /// Stops answering without closing a connection, as a machine does that hangs.
    pub fn pause(&mut self) -> Result<()> {
        self.place.pause()
    }

    /// Undoes [`Redis::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.place.resume()
    }

    /// Ends the server as a crash does; its keys are lost.
    pub fn kill(&mut self) -> Result<()> {
        self.place.kill()
    }

    /// Ends the server if it runs, and starts it again on the same port, empty.
    pub fn restart(&mut self) -> Result<()> {
        self.place.restart()
    }
}

/// A folder for one server.
pub(super) fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("lab-redis-").tempdir()?)
}

/// Starts a server with settings of its caller, and waits until it answers.
pub(super) fn serve(folder: &TempDir, port: u16, settings: &[&str]) -> Result<Process> {
    let mut server = Process::spawn_in(
        folder,
        "redis-server",
        Command::new(program("redis-server")?)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(folder.path())
            .args(settings),
    )?;
    server.wait_until_ready(Duration::from_secs(20), || Ok(answers_ping(port)))?;
    Ok(server)
}

/// Sends a command to a server and returns its answer as `redis-cli` prints it for programs.
pub(super) fn ask(port: u16, words: &[&str]) -> Result<String> {
    let output = Command::new(program("redis-cli")?)
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(words)
        .output()
        .context("redis-cli cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(output.status.success() && !said.starts_with("ERR"), "{}: {said}", words.join(" "));
    Ok(said)
}

pub(super) fn answers_ping(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(|mut it| {
        let mut answer = [0; 7];
        it.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && it.write_all(b"PING\r\n").is_ok()
            && it.read_exact(&mut answer).is_ok()
            && &answer == b"+PONG\r\n"
    })
}
