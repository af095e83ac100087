//! The whole product, running: data, replicas of the store, and the balancer before them.
//!
//! `lab up` shows it to people; tests and experiments start one each. It ends with its guard.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroU8,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{
    configs,
    data_services::{MariaDb, Redis},
    http::{self, Answer},
    ports::free_ports,
    process::{GRACE, Process, sibling},
};

/// How long the slowest part may take to answer its first request.
const DEADLINE: Duration = Duration::from_mins(2);

/// Where the store keeps its data.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// One SQLite file for all replicas, a cache in each.
    Embedded,
    /// A private MariaDB and a private Redis.
    Mysql,
}

/// Which data the shop starts with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Seed {
    /// Three users, four products, no orders.
    Small,
    /// A thousand users, ten thousand products, eighty thousand orders.
    Lab,
}

/// How much data a shop of another size holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Volume {
    /// Users.
    pub users: u32,
    /// Products.
    pub products: u32,
    /// Orders.
    pub orders: u32,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Replicas of the store.
    pub replicas: NonZeroU8,
    /// The name of a file in `configs/nginx`.
    pub policy: String,
    /// Where the data are kept.
    pub data: Data,
    /// What the data are.
    pub seed: Seed,
    /// The port of the shop on 127.0.0.1, the admin listener takes the next one; 0 takes two free
    /// ports.
    pub port: u16,
    /// Variables of the store beside those that say where it and its data are, such as `STORE_STAGE`.
    pub variables: Vec<(&'static str, String)>,
    /// Drawn data of this size in the place of `seed`.
    pub volume: Option<Volume>,
}

/// The variables that make a store as slow as this step of the lab.
#[must_use]
pub fn stage(step: &str) -> Vec<(&'static str, String)> {
    let mut variables = vec![("STORE_STAGE", step.to_owned())];
    if step != "fixed" {
        // The lab had no indexes for its reports.
        variables.push(("STORE_INDEXES", "lab".to_owned()));
    }
    variables
}

/// A running shop; everything in it ends with this guard.
#[derive(Debug)]
pub struct Shop {
    // The order of the fields is the order of the end: nobody loses what it stands on.
    balancer: Process,
    replicas: Vec<Replica>,
    _services: Services,
    folder: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    base: Environment,
    environment: Environment,
}

/// One replica of the store.
#[derive(Debug)]
pub struct Replica {
    /// The value of its `X-Store-Instance` header: `store-1`, `store-2`, …
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
}

/// The servers that hold the data; embedded data need none.
type Services = Option<(MariaDb, Redis)>;

/// What a store is told about its data.
type Environment = Vec<(&'static str, String)>;

impl Shop {
    /// Starts everything and waits until an answer comes through the balancer.
    ///
    /// `go_on` is asked again and again while waiting; its error ends the start.
    ///
    /// # Errors
    ///
    /// When a port is taken, a program is missing, a part ends or is not ready in time: one
    /// sentence, then what the part printed last. What was started is stopped.
    pub fn start(plan: &Plan, go_on: &dyn Fn() -> Result<()>) -> Result<Self> {
        let text = configs::read(&configs::workspace()?, &plan.policy)?;
        let (store, balancer) = (sibling("store")?, sibling("balancer")?);
        let (address, admin) = addresses(plan.port)?;
        let folder = tempfile::Builder::new().prefix("lab-up-").tempdir()?;
        let (services, mut environment) = start_services(plan.data, folder.path())?;
        environment.push(("STORE_REPLICAS", plan.replicas.to_string()));
        let base = environment.clone();
        environment.extend(plan.variables.iter().cloned());
        // They may say where the data are, too.
        seed(&store, plan, &environment, folder.path(), go_on)?;

        let count = usize::from(plan.replicas.get());
        let mut replicas = Vec::with_capacity(count);
        for (i, port) in free_ports(count)?.into_iter().enumerate() {
            let address = local(port);
            let name = format!("store-{}", i + 1);
            let process = serve(&store, &name, address, &environment, folder.path())?;
            replicas.push(Replica { name, address, process });
        }
        for replica in &mut replicas {
            replica.wait_until_ready(go_on)?;
        }

        let servers: Vec<_> = replicas.iter().map(|it| it.address).collect();
        fs::write(config_file(folder.path()), configs::with_addresses(&text, address, &servers))?;
        fs::create_dir(folder.path().join("logs"))?;
        let mut balancer = Process::spawn_in(
            &folder,
            "balancer",
            Command::new(balancer)
                .arg("-c")
                .arg(config_file(folder.path()))
                .arg("-p")
                .arg(folder.path())
                .args(["-e", "stderr", "-g", "daemon off;", "--admin", &admin.to_string()]),
        )?;
        balancer.wait_until_ready(DEADLINE, || {
            go_on()?;
            Ok(is_ok(address, "/ready") && is_ok(admin, "/metrics"))
        })?;
        Ok(Self {
            balancer,
            replicas,
            _services: services,
            folder,
            address,
            admin,
            base,
            environment,
        })
    }

    /// Where clients go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the balancer's own listener answers `/metrics`.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The configuration the balancer was started with; edit it and [`Shop::reload`].
    pub fn config_file(&self) -> PathBuf {
        config_file(self.folder.path())
    }

    /// The balancer, for its process id and for signals.
    pub fn balancer(&mut self) -> &mut Process {
        &mut self.balancer
    }

    /// The replicas, in the order of the configuration.
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// Has the balancer read its file again.
    pub fn reload(&mut self) {
        self.balancer.signal(Signal::SIGHUP);
    }

    /// Ends the replica at `position` as a crash does.
    pub fn kill_replica(&mut self, position: usize) {
        self.replicas[position].process.kill();
    }

    /// Starts every replica again, with these variables in the place of those it was started with;
    /// the data stay.
    pub fn configure(
        &mut self,
        variables: &[(&'static str, String)],
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        self.environment.clone_from(&self.base);
        self.environment.extend(variables.iter().cloned());
        self.replicas.iter_mut().for_each(|it| it.process.ask_to_end());
        let store = sibling("store")?;
        for it in &mut self.replicas {
            it.process.stop(GRACE);
            it.process =
                serve(&store, &it.name, it.address, &self.environment, self.folder.path())?;
        }
        self.replicas.iter_mut().try_for_each(|it| it.wait_until_ready(go_on))
    }

    /// Starts the replica at `position` again, on the same address, and waits until it is ready.
    pub fn restart_replica(
        &mut self,
        position: usize,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let replica = &mut self.replicas[position];
        replica.process.stop(GRACE);
        replica.process = serve(
            &sibling("store")?,
            &replica.name,
            replica.address,
            &self.environment,
            self.folder.path(),
        )?;
        replica.wait_until_ready(go_on)
    }

    /// How the balancer has ended, in one sentence with its last lines below; `None` while it runs.
    pub fn balancer_end(&mut self) -> Option<String> {
        self.balancer.ended().is_some().then(|| self.balancer.obituary())
    }

    /// The same of the replica at `position`.
    pub fn replica_end(&mut self, position: usize) -> Option<String> {
        let process = &mut self.replicas[position].process;
        process.ended().is_some().then(|| process.obituary())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.balancer.stop(GRACE);
        // All hear of the end before the first is waited for, so they drain at the same time.
        for replica in &mut self.replicas {
            replica.process.ask_to_end();
        }
    }
}

impl Replica {
    /// The process id, for signals and `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn wait_until_ready(&mut self, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let Self { name, address, process } = self;
        process.wait_until_ready(DEADLINE, || {
            go_on()?;
            let ready = |it: &Answer| {
                it.status == 200 && it.header("X-Store-Instance") == Some(name.as_str())
            };
            Ok(http::get(*address, "/ready").is_ok_and(|it| ready(&it)))
        })
    }
}

fn start_services(data: Data, folder: &Path) -> Result<(Services, Environment)> {
    match data {
        Data::Embedded => {
            let file = folder.join("store.sqlite3").display().to_string();
            Ok((None, vec![("STORE_DATA", file)]))
        }
        Data::Mysql => {
            let (mariadb, redis) = (MariaDb::start_private()?, Redis::start_private()?);
            let environment =
                vec![("DATABASE_URL", mariadb.url("shop")?), ("REDIS_URL", redis.url())];
            Ok((Some((mariadb, redis)), environment))
        }
    }
}

/// A command that runs the store in `folder` and knows nothing of the caller's environment: a
/// stray `DB_HOST` or a `.env` must not lead it to somebody else's data.
fn store_command(store: &Path, environment: &Environment, folder: &Path) -> Command {
    let mut command = Command::new(store);
    command.env_clear().envs(environment.iter().cloned()).current_dir(folder);
    command
}

fn seed(
    store: &Path,
    plan: &Plan,
    environment: &Environment,
    folder: &Path,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let profile = match (plan.volume, plan.seed) {
        (Some(_), _) => "custom",
        (None, Seed::Small) => "small",
        (None, Seed::Lab) => "lab",
    };
    let sizes = plan.volume.map(|it| {
        [("--users", it.users), ("--products", it.products), ("--orders", it.orders)]
            .map(|(flag, count)| [flag.to_owned(), count.to_string()])
            .concat()
    });
    let mut process = Process::spawn(
        "store seed",
        store_command(store, environment, folder)
            .args(["seed", profile])
            .args(sizes.unwrap_or_default()),
    )?;
    let status = process.wait(go_on)?;
    ensure!(status.success(), "{}", process.obituary());
    Ok(())
}

fn serve(
    store: &Path,
    name: &str,
    address: SocketAddr,
    environment: &Environment,
    folder: &Path,
) -> Result<Process> {
    Process::spawn(
        name,
        store_command(store, environment, folder)
            .arg("serve")
            .env("STORE_LISTEN", address.to_string())
            .env("STORE_INSTANCE", name)
            .env("STORE_SEED", "none")
            // The balancer ends first, so nobody has to notice that a replica drains.
            .env("STORE_DRAIN_DELAY", "0s"),
    )
}

fn addresses(port: u16) -> Result<(SocketAddr, SocketAddr)> {
    if port == 0 {
        let ports = free_ports(2)?;
        return Ok((local(ports[0]), local(ports[1])));
    }
    let admin = port.checked_add(1).context("the port of the shop must be below 65535")?;
    for (port, name) in [(port, "shop"), (admin, "admin listener")] {
        if let Err(error) = TcpListener::bind(local(port)) {
            bail!("port {port} of the {name} cannot be used ({error}): choose another with --port");
        }
    }
    Ok((local(port), local(admin)))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn config_file(folder: &Path) -> PathBuf {
    folder.join("nginx.conf")
}

fn is_ok(server: SocketAddr, path: &str) -> bool {
    http::get(server, path).is_ok_and(|it| it.status == 200)
}
