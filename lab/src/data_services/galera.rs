//! A Galera cluster of two MariaDB nodes that hold the same data.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use tempfile::TempDir;

use super::mariadb::{ACCOUNT, DEADLINE, SETTINGS, client, greets, install, server};
use crate::{
    ports::free_ports,
    process::{Process, eventually_within},
};

/// Where Debian keeps the library, and where Red Hat does.
const PROVIDERS: [&str; 2] =
    ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so"];

/// Who serves when root asks: the copying of data is done by a daemon that refuses to write as root.
const NOBODY: &str = "nobody";

/// The cluster; everything in it ends with this guard.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    process: Option<Process>,
    ports: Ports,
    folder: TempDir,
}

/// What one node listens on.
#[derive(Clone, Copy, Debug)]
struct Ports {
    sql: u16,
    /// For the other nodes.
    group: u16,
    /// For what a node missed, and for everything.
    catch_up: u16,
    copy: u16,
}

impl Galera {
    /// Starts the first node, has the second copy its data, and waits until both are in step.
    pub fn start() -> Result<Self> {
        let mut nodes = Vec::new();
        for ports in free_ports(8)?.chunks(4) {
            let folder = tempfile::Builder::new().prefix("lab-galera-").tempdir()?;
            let ports =
                Ports { sql: ports[0], group: ports[1], catch_up: ports[2], copy: ports[3] };
            nodes.push(Node { process: None, ports, folder });
        }
        install(nodes[0].folder.path())?;
        // The second has all tables from the first, and nothing of its own but these two files.
        for file in ["accounts.sql", SETTINGS] {
            fs::write(nodes[1].folder.path().join(file), "")?;
        }
        let mut cluster = Self { nodes };
        cluster.start_node(0, &["--wsrep-new-cluster"])?;
        cluster.replace_second()?;
        Ok(cluster)
    }

    /// Creates a database on every node and returns its URL at each of them.
    pub fn urls(&self, name: &str) -> Result<Vec<String>> {
        self.run(0, &format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"))?;
        let url =
            |it: &Node| format!("mysql://{ACCOUNT}:{ACCOUNT}@127.0.0.1:{}/{name}", it.ports.sql);
        Ok(self.nodes.iter().map(url).collect())
    }

    /// Runs statements on one node, see [`super::MariaDb::run`].
    pub fn run(&self, node: usize, statements: &str) -> Result<String> {
        client(ACCOUNT, ACCOUNT, "127.0.0.1", self.nodes[node].ports.sql, statements)
    }

    /// Ends the second node as a crash does; the first one has the majority and goes on.
    pub fn kill_second(&mut self) {
        if let Some(process) = &mut self.nodes[1].process {
            process.kill();
        }
    }

    /// Starts the second node as a new machine does: with nothing, so that it copies all.
    pub fn replace_second(&mut self) -> Result<()> {
        let data = self.nodes[1].folder.path().join("data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir(data)?;
        self.start_node(1, &[])
    }

    fn start_node(&mut self, position: usize, more: &[&str]) -> Result<()> {
        let peers: Vec<_> =
            self.nodes.iter().map(|it| format!("127.0.0.1:{}", it.ports.group)).collect();
        let node = &mut self.nodes[position];
        node.process = None;
        hand_over(node.folder.path())?;
        let Ports { sql, group, catch_up, copy } = node.ports;
        let weight = if position == 0 { 2 } else { 1 };
        let options = format!(
            "gmcast.listen_addr=tcp://127.0.0.1:{group}; ist.recv_addr=127.0.0.1:{catch_up}; \
             gcache.size=32M; pc.weight={weight}"
        );
        let mut command = server(node.folder.path(), sql)?;
        if Uid::effective().is_root() {
            command.arg(format!("--user={NOBODY}"));
        }
        command
            .args(["--wsrep-on=ON", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2"])
            .args(["--innodb-log-file-size=16M", "--wsrep-slave-threads=2"])
            .arg(format!("--wsrep-provider={}", provider()?.display()))
            .arg(format!("--wsrep-cluster-name=lab-{}", peers[0]))
            .arg(format!("--wsrep-cluster-address=gcomm://{}", peers.join(",")))
            .arg(format!("--wsrep-node-name=node-{}", position + 1))
            .arg(format!("--wsrep-node-address=127.0.0.1:{group}"))
            .arg("--wsrep-sst-method=rsync")
            .arg(format!("--wsrep-sst-receive-address=127.0.0.1:{copy}"))
            .arg(format!("--wsrep-provider-options={options}"))
            .args(more);
        let mut process =
            Process::spawn_in(&node.folder, format!("node {}", position + 1), &mut command)?;
        // A node that copies data does not speak before it has them.
        process.wait_until_ready(DEADLINE, || Ok(greets(sql)))?;
        node.process = Some(process);
        let in_step = || {
            self.run(position, "SHOW STATUS LIKE 'wsrep_ready'").is_ok_and(|it| it.contains("ON"))
        };
        ensure!(eventually_within(DEADLINE, in_step), "node {} does not join", position + 1);
        Ok(())
    }
}

impl Drop for Galera {
    fn drop(&mut self) {
        // Both hear of the end before one is waited for.
        for process in self.nodes.iter_mut().filter_map(|it| it.process.as_mut()) {
            process.ask_to_end();
        }
    }
}

/// Gives a folder to the user who serves it.
fn hand_over(folder: &Path) -> Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let status = Command::new("chown").arg("-R").arg(NOBODY).arg(folder).status();
    ensure!(status.context("chown cannot be started")?.success(), "chown failed");
    Ok(())
}

fn provider() -> Result<PathBuf> {
    let found = PROVIDERS.iter().map(Path::new).find(|it| it.is_file());
    Ok(found.context("galera-4 is not installed: run script/bootstrap")?.to_path_buf())
}
