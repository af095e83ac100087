//! Which server is the right one now, and how is it reached?
//!
//! One server has one address. Sentinels are asked, all at once, where the master is, and whoever
//! they name must call itself the master. A cluster is reached through any of its nodes.

use std::collections::HashSet;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
    Value,
};
use tokio::task::JoinSet;

use crate::config;
use crate::config::Server;

/// An open connection; cloning shares it.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To every node of a cluster.
    Cluster(ClusterConnection),
}

/// Opens connections.
pub(super) struct Dialer {
    target: Target,
    timeout: Duration,
}

enum Target {
    Single(Client),
    Sentinel { sentinels: Vec<Client>, name: String, server: Server },
    Cluster(Box<ClusterClient>),
}

impl Dialer {
    /// Opens nothing yet; `timeout` is that of one step.
    pub(super) fn new(redis: &config::Redis, timeout: Duration) -> Result<Self, RedisError> {
        // TLS has to be told which cryptography it uses; an error says that it was told before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let target = match redis {
            config::Redis::Single { url } => Target::Single(Client::open(url.as_str())?),
            config::Redis::Sentinel { sentinels, name, server } => Target::Sentinel {
                sentinels: sentinels
                    .iter()
                    .map(|it| Client::open(it.as_str()))
                    .collect::<Result<_, _>>()?,
                name: name.clone(),
                server: server.clone(),
            },
            config::Redis::Cluster { nodes } => Target::Cluster(Box::new(
                ClusterClient::builder(nodes.iter().map(String::as_str))
                    .connection_timeout(timeout)
                    .response_timeout(timeout)
                    // A moved slot or a lost node costs one more attempt, no more: the caller has
                    // the database to fall back on.
                    .retries(2)
                    .min_retry_wait(10)
                    .max_retry_wait(50)
                    .build()?,
            )),
        };
        Ok(Self { target, timeout })
    }

    /// A connection to whoever takes writes now.
    pub(super) async fn dial(&self) -> Result<Connection, RedisError> {
        match &self.target {
            Target::Single(client) => Ok(Connection::One(self.open(client).await?)),
            Target::Sentinel { .. } => Ok(Connection::One(self.master().await?.1)),
            Target::Cluster(client) => {
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
        }
    }

    /// The server that takes writes now, for connections of the caller's own.
    pub(super) async fn server(&self) -> Result<Client, RedisError> {
        match &self.target {
            Target::Single(client) => Ok(client.clone()),
            Target::Sentinel { .. } => Ok(self.master().await?.0),
            Target::Cluster(_) => {
                Err((ErrorKind::InvalidClientConfig, "a cluster is not one server").into())
            }
        }
    }

    async fn master(&self) -> Result<(Client, MultiplexedConnection), RedisError> {
        let none = || (ErrorKind::MasterNameNotFoundBySentinel, "no sentinel knows a master");
        let Target::Sentinel { sentinels, name, server } = &self.target else {
            return Err(none().into());
        };
        let mut asked = JoinSet::new();
        for sentinel in sentinels {
            let (sentinel, name, config) = (sentinel.clone(), name.clone(), self.config());
            asked.spawn(async move { ask(&sentinel, &name, config).await });
        }
        let (mut tried, mut failure) = (HashSet::new(), RedisError::from(none()));
        // A sentinel that was cut off may name a master of the past, so all are heard until one
        // leads to a server that says itself that it is the master.
        while let Some(answer) = asked.join_next().await {
            let (host, port) = match answer {
                Ok(Ok(Some(place))) => place,
                Ok(Err(error)) => {
                    failure = error;
                    continue;
                }
                _ => continue,
            };
            if !tried.insert((host.clone(), port)) {
                continue;
            }
            let client = Client::open(server.at(&host, port))?;
            match self.open_master(&client).await {
                Ok(connection) => return Ok((client, connection)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn open_master(&self, client: &Client) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.open(client).await?;
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        let role = role.into_iter().next().map(String::from_redis_value).transpose()?;
        if role.as_deref() == Some("master") {
            Ok(connection)
        } else {
            Err((ErrorKind::MasterNameNotFoundBySentinel, "the sentinels name a replica").into())
        }
    }

    async fn open(&self, client: &Client) -> Result<MultiplexedConnection, RedisError> {
        client.get_multiplexed_async_connection_with_config(&self.config()).await
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
    }
}

/// Where a sentinel believes the master to be.
async fn ask(
    sentinel: &Client,
    name: &str,
    config: AsyncConnectionConfig,
) -> Result<Option<(String, u16)>, RedisError> {
    let mut connection = sentinel.get_multiplexed_async_connection_with_config(&config).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    command.query_async(&mut connection).await
}

impl Connection {
    /// Asks for a sign of life; the number changes when another server takes the place of one that
    /// was lost without anybody here noticing.
    pub(super) async fn ping(&mut self) -> Result<u64, RedisError> {
        match self {
            Self::One(it) => {
                let _: String = redis::cmd("PING").query_async(it).await?;
                Ok(0)
            }
            Self::Cluster(it) => {
                let mut command = redis::cmd("CLUSTER");
                command.arg("INFO");
                let info: String = command.query_async(it).await?;
                let field = |name| info.lines().find_map(|it| it.strip_prefix(name));
                if field("cluster_state:") == Some("ok") {
                    Ok(field("cluster_current_epoch:").and_then(|it| it.parse().ok()).unwrap_or(0))
                } else {
                    Err((ServerErrorKind::ClusterDown.into(), "not every key has a server").into())
                }
            }
        }
    }

    /// Sends one command.
    pub(super) async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::One(it) => command.query_async(it).await,
            Self::Cluster(it) => command.query_async(it).await,
        }
    }

    /// Sends several commands in one go, each with keys of one slot; the answers come in the order
    /// of the commands.
    pub(super) async fn run_all<T: FromRedisValue>(
        &mut self,
        commands: Vec<Cmd>,
    ) -> Result<Vec<T>, RedisError> {
        match self {
            Self::One(it) => {
                let mut pipeline = redis::Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command);
                }
                let answers: Vec<Value> = pipeline.query_async(it).await?;
                answers.into_iter().map(|it| Ok(T::from_redis_value(it)?)).collect()
            }
            // A pipeline goes to one node; here each command finds its own, all at the same time.
            Self::Cluster(it) => {
                let mut sent = JoinSet::new();
                for (place, command) in commands.into_iter().enumerate() {
                    let mut connection = it.clone();
                    sent.spawn(async move {
                        (place, command.query_async::<Value>(&mut connection).await)
                    });
                }
                let mut answers = Vec::with_capacity(sent.len());
                while let Some(answer) = sent.join_next().await {
                    let (place, answer) = answer.map_err(|_| {
                        RedisError::from((ErrorKind::Client, "a command did not end"))
                    })?;
                    answers.push((place, T::from_redis_value(answer?)?));
                }
                answers.sort_unstable_by_key(|(place, _)| *place);
                Ok(answers.into_iter().map(|(_, it)| it).collect())
            }
        }
    }
}
