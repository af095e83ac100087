//! Which Redis remembers for all replicas?

use std::fmt;

use super::database::masked;
use super::value::Reader;

/// The port of a sentinel that names none.
const SENTINEL_PORT: u16 = 26379;

/// The port of a server that names none.
const PORT: u16 = 6379;

/// The Redis that was asked for. Passwords do not print.
#[derive(Clone, Eq, PartialEq)]
pub enum Redis {
    /// One server.
    Single {
        /// Its address, as the client understands it.
        url: String,
    },
    /// The server that sentinels call the master.
    Sentinel {
        /// Addresses of sentinels.
        sentinels: Vec<String>,
        /// What they call the master.
        name: String,
        /// How to log in where they lead to.
        server: Server,
    },
    /// Servers that share the keys.
    Cluster {
        /// Those to ask first.
        nodes: Vec<String>,
    },
}

/// An address without its place.
#[derive(Clone, Eq, PartialEq)]
pub struct Server {
    scheme: &'static str,
    /// `user:password@`, or nothing.
    login: String,
    database: u8,
}

impl Server {
    /// The address of this server at a place.
    pub fn at(&self, host: &str, port: u16) -> String {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{}://{}{host}:{port}/{}", self.scheme, self.login, self.database)
    }
}

impl Redis {
    fn urls(&self) -> &[String] {
        match self {
            Self::Single { url } => std::slice::from_ref(url),
            Self::Sentinel { sentinels, .. } => sentinels,
            Self::Cluster { nodes } => nodes,
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls().iter().map(|it| masked(it)).collect();
        match self {
            Self::Single { .. } => f.write_str(&urls.join(",")),
            Self::Sentinel { name, .. } => write!(f, "sentinel {name} of {}", urls.join(",")),
            Self::Cluster { .. } => write!(f, "cluster {}", urls.join(",")),
        }
    }
}

pub(super) fn read(read: &mut Reader<'_>) -> Option<Redis> {
    let host = read.text("REDIS_HOST");
    let port = read.port("REDIS_PORT");
    let database: Option<u8> = read.number("REDIS_DB", 0, 255);
    if let Some(url) = read.text("REDIS_URL") {
        return match parse(&url) {
            Ok(redis) => Some(redis),
            Err(reason) => {
                read.refuse_unseen("REDIS_URL", &reason);
                None
            }
        };
    }
    if host.is_none() && port.is_none() && database.is_none() {
        return None;
    }
    let server =
        Server { scheme: "redis", login: String::new(), database: database.unwrap_or_default() };
    let host = host.as_deref().unwrap_or("127.0.0.1");
    Some(Redis::Single { url: server.at(host, port.unwrap_or(PORT)) })
}

const NO_ADDRESS: &str = "not an address (redis://host:6379/0)";

fn parse(url: &str) -> Result<Redis, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or((url.split(':').next().unwrap_or(""), ""));
    let (places, path) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let (login, places) = match places.rsplit_once('@') {
        Some((login, places)) => (format!("{login}@"), places),
        None => (String::new(), places),
    };
    let several = places.contains(',');
    let tls = scheme.starts_with("rediss");
    let server = |database| Server {
        scheme: if tls { "rediss" } else { "redis" },
        login: login.clone(),
        database,
    };
    let addresses = |server: &Server, usual| -> Result<Vec<_>, String> {
        let places = places.split(',').map(|it| place(it, usual));
        places.map(|it| it.map(|(host, port)| server.at(host, port))).collect()
    };
    let redis = match scheme {
        // Without a host the library would take this machine's.
        "redis" | "rediss" if places.is_empty() => return Err(NO_ADDRESS.to_owned()),
        "redis" | "rediss" if !several => Redis::Single { url: url.to_owned() },
        "redis" | "rediss" | "redis-cluster" | "rediss-cluster" => {
            if !matches!(path, "" | "0") {
                return Err("a cluster has only database 0".to_owned());
            }
            Redis::Cluster { nodes: addresses(&server(0), PORT)? }
        }
        "redis-sentinel" | "rediss-sentinel" => {
            let (name, database) = path.split_once('/').unwrap_or((path, "0"));
            if name.is_empty() {
                return Err(
                    "the name of the master is missing (redis-sentinel://host:26379/mymaster)"
                        .to_owned(),
                );
            }
            let database = database.parse().map_err(|_| "not a database number".to_owned())?;
            // Sentinels have accounts of their own: the login is for the server they lead to.
            let open = Server { login: String::new(), ..server(0) };
            Redis::Sentinel {
                sentinels: addresses(&open, SENTINEL_PORT)?,
                name: name.to_owned(),
                server: server(database),
            }
        }
        scheme => {
            return Err(format!(
                "scheme \"{scheme}\" is not supported (redis, rediss, redis-sentinel, redis-cluster)"
            ));
        }
    };
    match redis.urls().iter().find(|it| redis::parse_redis_url(it).is_none()) {
        Some(_) => Err(NO_ADDRESS.to_owned()),
        None => Ok(redis),
    }
}

/// Host and port of one entry of a list.
fn place(text: &str, usual: u16) -> Result<(&str, u16), String> {
    let bracketed = text.strip_prefix('[').and_then(|it| it.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port =
        port.map_or(Ok(usual), |it| it.parse().map_err(|_| format!("\"{it}\" is not a port")));
    if host.is_empty() { Err("a host is missing".to_owned()) } else { Ok((host, port?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<&str, &str>) {
        let shown = parse(url).map(|it| format!("{it:?}"));
        assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{url}");
    }

    #[test]
    fn the_scheme_and_the_list_say_what_is_asked_for() {
        check("redis://h", Ok("redis://h"));
        check("rediss://u:p@h:1/2", Ok("rediss://u:***@h:1/2"));
        check("redis://a:1,b", Ok("cluster redis://a:1/0,redis://b:6379/0"));
        check("redis-cluster://a:1", Ok("cluster redis://a:1/0"));
        check(
            "rediss://:p@a:1,[::1]:2/0",
            Ok("cluster rediss://:***@a:1/0,rediss://:***@[::1]:2/0"),
        );
        check(
            "redis-sentinel://u:p@a,b:7/shop",
            Ok("sentinel shop of redis://a:26379/0,redis://b:7/0"),
        );
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused() {
        check("redis-cluster://a/1", Err("a cluster has only database 0"));
        check("redis://a:x,b", Err("\"x\" is not a port"));
        check("redis-cluster://,b", Err("a host is missing"));
        check(
            "redis-sentinel://a:1",
            Err("the name of the master is missing (redis-sentinel://host:26379/mymaster)"),
        );
        check("redis-sentinel://a:1/m/x", Err("not a database number"));
        check(
            "http://a",
            Err("scheme \"http\" is not supported (redis, rediss, redis-sentinel, redis-cluster)"),
        );
        check("redis://", Err("not an address (redis://host:6379/0)"));
    }

    #[test]
    fn a_server_behind_sentinels_keeps_login_and_database() {
        let Ok(Redis::Sentinel { server, .. }) = parse("redis-sentinel://u:p@a/m/3") else {
            panic!("not a sentinel");
        };
        assert_eq!(server.at("10.0.0.1", 7), "redis://u:p@10.0.0.1:7/3");
        assert_eq!(server.at("::1", 7), "redis://u:p@[::1]:7/3");
    }
}
