//! A Redis server of our own, which keeps nothing on disk.

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::{GRACE, Process, free_port, program};

/// A Redis server: a private one that ends with this guard, or the one `TEST_REDIS_URL` names.
#[derive(Debug)]
pub struct Redis {
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Started by us. `server` stands first, so that it ends before its folder is removed.
    Private { server: Process, port: u16, folder: TempDir },
    /// Started by somebody else.
    Elsewhere { url: String },
}

impl Redis {
    /// Starts a private server, or takes the one that `TEST_REDIS_URL` names.
    pub fn start() -> Result<Self> {
        match env::var("TEST_REDIS_URL") {
            Ok(url) if !url.is_empty() => {
                let url = url.trim_end_matches('/').to_owned();
                Ok(Self { place: Place::Elsewhere { url } })
            }
            _ => Self::start_private(),
        }
    }

    /// Starts a private server in any case: for tests that pause or kill it.
    pub fn start_private() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lab-redis-").tempdir()?;
        let port = free_port()?;
        let server = serve(&folder, port)?;
        Ok(Self { place: Place::Private { server, port, folder } })
    }

    /// The address of database 0, `redis://127.0.0.1:<port>` for a private server.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Private { port, .. } => format!("redis://127.0.0.1:{port}"),
            Place::Elsewhere { url } => url.clone(),
        }
    }

    /// Stops answering without closing a connection, as a machine does that hangs.
    pub fn pause(&mut self) -> Result<()> {
        self.private()?.0.signal(Signal::SIGSTOP);
        Ok(())
    }

    /// Undoes [`Redis::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.private()?.0.signal(Signal::SIGCONT);
        Ok(())
    }

    /// Ends the server as a crash does; its keys are lost.
    pub fn kill(&mut self) -> Result<()> {
        self.private()?.0.kill();
        Ok(())
    }

    /// Ends the server if it runs, and starts it again on the same port, empty.
    pub fn restart(&mut self) -> Result<()> {
        let (server, port, folder) = self.private()?;
        server.stop(GRACE);
        *server = serve(folder, port)?;
        Ok(())
    }

    fn private(&mut self) -> Result<(&mut Process, u16, &TempDir)> {
        match &mut self.place {
            Place::Private { server, port, folder } => Ok((server, *port, folder)),
            Place::Elsewhere { .. } => {
                bail!("only a private Redis can be paused, killed or restarted")
            }
        }
    }
}

fn serve(folder: &TempDir, port: u16) -> Result<Process> {
    let mut server = Process::spawn(
        "redis-server",
        Command::new(program("redis-server")?)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(folder.path()),
    )?;
    server.wait_until_ready(Duration::from_secs(20), || Ok(answers_ping(port)))?;
    Ok(server)
}

fn answers_ping(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(|mut it| {
        let mut answer = [0; 7];
        it.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && it.write_all(b"PING\r\n").is_ok()
            && it.read_exact(&mut answer).is_ok()
            && &answer == b"+PONG\r\n"
    })
}
