//! A Redis master, its replica, and three sentinels that watch over both.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::redis::{answers_ping, ask, folder, serve};
use crate::{
    ports::free_ports,
    process::{Process, eventually_within, program},
};

/// What the sentinels call the master.
const NAME: &str = "shop";

/// How long the group may take to find itself, and to agree on another master.
const DEADLINE: Duration = Duration::from_secs(30);

/// The group; everything in it ends with this guard.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<(Process, u16)>,
    /// Each with its port and its folder; which is the master, the sentinels know.
    servers: Vec<(Process, u16, TempDir)>,
    _folder: TempDir,
}

impl Sentinels {
    /// Starts the group and waits until every sentinel knows all of it.
    pub fn start() -> Result<Self> {
        let ports = free_ports(5)?;
        let master = ports[0];
        let mut servers = Vec::new();
        for (i, port) in ports[..2].iter().enumerate() {
            let folder = folder()?;
            let of = format!("127.0.0.1 {master}");
            let settings: &[&str] = if i == 0 { &[] } else { &["--replicaof", &of] };
            // A pause before the first copy serves diskless replicas that come later: none do.
            let settings = [settings, &["--repl-diskless-sync-delay", "0"]].concat();
            servers.push((serve(&folder, *port, &settings)?, *port, folder));
        }
        let linked = || {
            ask(ports[1], &["INFO", "replication"])
                .is_ok_and(|it| it.contains("master_link_status:up"))
        };
        ensure!(eventually_within(DEADLINE, linked), "the replica does not follow its master");

        let folder = folder()?;
        let mut sentinels = Vec::new();
        for port in &ports[2..] {
            let file = folder.path().join(format!("{port}.conf"));
            fs::write(
                &file,
                format!(
                    "port {port}\nbind 127.0.0.1\ndir {}\n\
                     sentinel monitor {NAME} 127.0.0.1 {master} 2\n\
                     sentinel down-after-milliseconds {NAME} 1000\n\
                     sentinel failover-timeout {NAME} 5000\n",
                    folder.path().display()
                ),
            )?;
            let mut command = Command::new(program("redis-server")?);
            command.arg(file).arg("--sentinel");
            let mut process = Process::spawn(format!("sentinel {port}"), &mut command)?;
            process.wait_until_ready(DEADLINE, || Ok(answers_ping(*port)))?;
            sentinels.push((process, *port));
        }
        let group = Self { sentinels, servers, _folder: folder };
        let complete = || group.sentinels.iter().all(|(_, port)| knows_all(*port));
        ensure!(eventually_within(DEADLINE, complete), "the sentinels do not find each other");
        Ok(group)
    }

    /// The address of the group for the store.
    pub fn url(&self) -> String {
        let places: Vec<_> =
            self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/{NAME}", places.join(","))
    }

    /// Ends the master as a crash does, and returns its port.
    pub fn kill_master(&mut self) -> Result<u16> {
        let master = self.master()?;
        let server = self.servers.iter_mut().find(|(_, port, _)| *port == master);
        server.context("the master is none of ours")?.0.kill();
        Ok(master)
    }

    /// Ends one sentinel; two are enough to agree.
    pub fn kill_sentinel(&mut self) {
        self.sentinels[0].0.kill();
    }

    /// The port of the master, as the last sentinel knows it.
    pub fn master(&self) -> Result<u16> {
        let (_, sentinel) = self.sentinels.last().context("no sentinel")?;
        let answer = ask(*sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        let port = answer.lines().last().unwrap_or_default();
        port.parse().with_context(|| format!("no port in {answer:?}"))
    }
}

/// Whether a sentinel knows the replica and both other sentinels.
fn knows_all(port: u16) -> bool {
    let Ok(answer) = ask(port, &["SENTINEL", "MASTER", NAME]) else { return false };
    let lines: Vec<_> = answer.lines().collect();
    let field = |name| lines.iter().position(|it| *it == name).and_then(|it| lines.get(it + 1));
    field("num-slaves") == Some(&"1") && field("num-other-sentinels") == Some(&"2")
}
