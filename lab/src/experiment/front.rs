//! What stands before the replicas: the balancer, or another proxy in its place as a control.

use std::{fmt::Write, fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{
    configs, http,
    ports::free_ports,
    process::{GRACE, Process, program, sibling},
};

/// How long a proxy may take to answer.
const DEADLINE: Duration = Duration::from_mins(1);

/// Lines for the block `http`: a log would cost each proxy something else, and without root nginx
/// may not write where it was built to.
const HTTP: &str = "http {
    access_log off;
    client_body_temp_path temp_client;
    proxy_temp_path temp_proxy;
";

/// More of the same for protocols that only nginx speaks.
const NGINX: &str = "    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
";

/// A proxy and its policy, as plans name them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Kind {
    proxy: Proxy,
    policy: String,
    name: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Proxy {
    Balancer,
    Nginx,
    Haproxy,
}

impl Kind {
    /// Reads `least_conn`, `nginx:least_conn` or `haproxy:leastconn`; a name may be given behind a
    /// space, so that one policy can stand against itself: `least_conn again`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let word = text.split(' ').next().unwrap_or_default();
        let (proxy, policy) = match word.split_once(':') {
            None => (Proxy::Balancer, word),
            Some(("nginx", it)) => (Proxy::Nginx, it),
            Some(("haproxy", it)) => (Proxy::Haproxy, it),
            Some((other, _)) => bail!("there is no proxy \"{other}\": nginx or haproxy"),
        };
        if proxy != Proxy::Haproxy {
            configs::read(&configs::workspace()?, policy)?;
        }
        Ok(Self { proxy, policy: policy.to_owned(), name: text.to_owned() })
    }

    /// As it was typed.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has the balancer's metrics.
    pub(super) fn is_ours(&self) -> bool {
        self.proxy == Proxy::Balancer
    }

    fn text(&self, address: SocketAddr, servers: &[SocketAddr]) -> Result<String> {
        if self.proxy == Proxy::Haproxy {
            return Ok(haproxy(&self.policy, address, servers));
        }
        let text = configs::read(&configs::workspace()?, &self.policy)?;
        let text = configs::with_addresses(&text, address, servers);
        // Both speak HTTP/1.1 to the replicas and keep some connections, whatever their version does
        // unless told so.
        let kept =
            "        proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n";
        let text = text.replacen("location / {\n", &format!("location / {{\n    {kept}"), 1);
        let http = HTTP.to_owned() + if self.is_ours() { "" } else { NGINX };
        let end = text.find("    }\n").context("a configuration without an upstream")?;
        let (upstream, rest) = text.split_at(end);
        let keepalive = if upstream.contains("keepalive") { "" } else { "        keepalive 32;\n" };
        Ok(format!("{upstream}{keepalive}{rest}").replacen("http {\n", &http, 1))
    }
}

fn haproxy(policy: &str, address: SocketAddr, servers: &[SocketAddr]) -> String {
    let mut text = format!(
        "global\n    maxconn 4000\n    nbthread 1\n\ndefaults\n    mode http\n    retries 1\n    \
         option redispatch 1\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\n\
         frontend shop\n    bind {address}\n    default_backend store\n\nbackend store\n    \
         balance {policy}\n    http-reuse safe\n"
    );
    for (number, server) in servers.iter().enumerate() {
        // Writing to a string does not fail.
        _ = writeln!(text, "    server store-{} {server} check inter 1s", number + 1);
    }
    text
}

/// A running proxy, until dropped.
#[derive(Debug)]
pub(super) struct Front {
    process: Process,
    pub(super) address: SocketAddr,
    /// Where the balancer's metrics are, `None` for other proxies.
    pub(super) admin: Option<SocketAddr>,
    folder: TempDir,
}

impl Front {
    /// Starts a proxy and waits until an answer comes through it; `more` are lines for the block `http`.
    pub(super) fn start(
        kind: &Kind,
        servers: &[SocketAddr],
        more: &str,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lab-front-").tempdir()?;
        let ports = free_ports(2)?;
        let [address, admin] = [0, 1].map(|it| SocketAddr::from(([127, 0, 0, 1], ports[it])));
        let file = folder.path().join("front.conf");
        let mut text = kind.text(address, servers)?;
        if !more.is_empty() {
            text = text.replacen("    access_log off;\n", more, 1);
        }
        fs::write(&file, text)?;
        fs::create_dir(folder.path().join("logs"))?;
        let mut command = kind.command(&file, folder.path(), admin)?;
        let mut process = Process::spawn_in(&folder, kind.name(), &mut command)?;
        process.wait_until_ready(DEADLINE, || {
            go_on()?;
            Ok(http::get(address, "/ready").is_ok_and(|it| it.status == 200))
        })?;
        let admin = kind.is_ours().then_some(admin);
        Ok(Self { process, address, admin, folder })
    }
}

impl Front {
    /// Ends it and leaves its folder, with everything written that it had to write.
    pub(super) fn end(mut self) -> TempDir {
        self.process.stop(GRACE);
        self.folder
    }
}

impl Kind {
    fn command(&self, file: &Path, folder: &Path, admin: SocketAddr) -> Result<Command> {
        Ok(match self.proxy {
            Proxy::Balancer => {
                let mut it = Command::new(sibling("balancer")?);
                it.arg("-c").arg(file).arg("-p").arg(folder);
                it.args(["-e", "stderr", "-g", "daemon off;", "--admin", &admin.to_string()]);
                it
            }
            Proxy::Nginx => {
                let pid = folder.join("nginx.pid");
                let mut it = Command::new(program("nginx")?);
                it.arg("-c").arg(file).arg("-p").arg(folder).arg("-g");
                it.arg(format!("daemon off; pid {}; error_log stderr;", pid.display()));
                it
            }
            Proxy::Haproxy => {
                let mut it = Command::new(program("haproxy")?);
                it.arg("-db").arg("-f").arg(file);
                it
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_proxies_policies_and_their_aliases() {
        let kind = |it| Kind::parse(it);
        assert!(kind("least_conn").unwrap().is_ours());
        assert!(!kind("nginx:least_conn").unwrap().is_ours());
        assert_eq!(kind("least_conn again").unwrap().name(), "least_conn again");
        for text in ["leastconn", "apache:least_conn", "nginx:first"] {
            assert!(kind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_configuration_is_the_shipped_one_with_kept_connections_and_without_a_log() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = Kind::parse("nginx:least_conn").unwrap().text(at(80), &[at(1), at(2)]).unwrap();
        for line in [
            "least_conn;",
            "server 127.0.0.1:2;",
            "keepalive 32;",
            "listen 127.0.0.1:80;",
            "access_log off;",
        ] {
            assert_eq!(text.matches(line).count(), 1, "{line} in\n{text}");
        }
        let upstream = &text[text.find("upstream").unwrap()..];
        assert!(upstream.find("keepalive").unwrap() < upstream.find('}').unwrap(), "{text}");
    }
}
