//! A Redis cluster: three masters that share the keys, and a replica of the first.

use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::redis::{ask, folder, serve};
use crate::{
    ports::free_ports,
    process::{Process, eventually_within},
};

/// How long the nodes may take to find each other.
const DEADLINE: Duration = Duration::from_secs(30);

/// The slots of the three masters.
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// The cluster; everything in it ends with this guard.
#[derive(Debug)]
pub struct RedisCluster {
    /// Each with its port and its folder; the last begins as the replica of the first.
    nodes: Vec<(Process, u16, TempDir)>,
}

impl RedisCluster {
    /// Starts the nodes and waits until all keys can be written and the replica follows.
    pub fn start() -> Result<Self> {
        let ports = free_ports(2 * (SLOTS.len() + 1))?;
        let (ports, buses) = ports.split_at(SLOTS.len() + 1);
        let mut nodes = Vec::new();
        for (port, bus) in ports.iter().zip(buses) {
            let (folder, bus) = (folder()?, bus.to_string());
            let settings = [
                ["--cluster-enabled", "yes"],
                ["--cluster-port", &bus],
                ["--cluster-node-timeout", "1000"],
                ["--repl-diskless-sync-delay", "0"],
            ];
            nodes.push((serve(&folder, *port, &settings.concat())?, *port, folder));
        }
        for (port, (first, last)) in ports.iter().zip(SLOTS) {
            ask(*port, &["CLUSTER", "ADDSLOTSRANGE", first, last])?;
        }
        for (port, bus) in ports.iter().zip(buses).skip(1) {
            let (port, bus) = (port.to_string(), bus.to_string());
            ask(ports[0], &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        let cluster = Self { nodes };
        let whole =
            || cluster.all_say("cluster_known_nodes:4") && cluster.all_say("cluster_state:ok");
        ensure!(eventually_within(DEADLINE, whole), "the nodes do not find each other");
        let (master, replica) = (ask(ports[0], &["CLUSTER", "MYID"])?, ports[SLOTS.len()]);
        ask(replica, &["CLUSTER", "REPLICATE", &master])?;
        let linked = || {
            ask(replica, &["INFO", "replication"])
                .is_ok_and(|it| it.contains("master_link_status:up"))
        };
        ensure!(eventually_within(DEADLINE, linked), "the replica does not follow its master");
        Ok(cluster)
    }

    /// The addresses of the nodes for the store.
    pub fn url(&self) -> String {
        let places: Vec<_> =
            self.nodes.iter().map(|(_, port, _)| format!("127.0.0.1:{port}")).collect();
        format!("redis-cluster://{}", places.join(","))
    }

    /// Ends the first master as a crash does; the replica takes over.
    pub fn kill_master(&mut self) {
        self.nodes[0].0.kill();
    }

    /// Whether the replica has become a master.
    pub fn has_failed_over(&self) -> bool {
        self.nodes.last().is_some_and(|(_, port, _)| {
            ask(*port, &["INFO", "replication"]).is_ok_and(|it| it.contains("role:master"))
        })
    }

    /// The keys that all masters hold together.
    pub fn keys(&self) -> Result<usize> {
        let masters = self.nodes[..SLOTS.len()].iter();
        masters.map(|(_, port, _)| Ok(ask(*port, &["DBSIZE"])?.parse::<usize>()?)).sum()
    }

    fn all_say(&self, words: &str) -> bool {
        let says =
            |port| ask(port, &["CLUSTER", "INFO"]).is_ok_and(|it| it.lines().any(|it| it == words));
        self.nodes.iter().all(|(_, port, _)| says(*port))
    }
}
