//! The balancer before such servers.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    http,
    metrics::samples,
    ports::free_ports,
    process::{Process, sibling},
};

/// How long it may take to start.
const DEADLINE: Duration = Duration::from_mins(1);

/// A running balancer, until dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Balancer {
    /// Starts it before servers, with lines of its own in their `upstream`.
    pub(crate) fn start(
        servers: &[SocketAddr],
        lines: &str,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lab-known-").tempdir()?;
        let ports = free_ports(2)?;
        let [address, admin] = [0, 1].map(|it| SocketAddr::from(([127, 0, 0, 1], ports[it])));
        let servers: Vec<_> =
            servers.iter().map(|it| format!("        server {it} max_fails=0;\n")).collect();
        let text = format!(
            "worker_processes 1;\nevents {{ worker_connections 20000; }}\nhttp {{\n    \
             access_log off;\n    upstream servers {{\n        {lines}\n{}        keepalive 256;\n    \
             }}\n    server {{\n        listen {address} backlog=4096;\n        \
             keepalive_requests 1000000;\n        location / {{\n            \
             proxy_pass http://servers;\n        }}\n    }}\n}}\n",
            servers.concat()
        );
        let file = folder.path().join("known.conf");
        fs::write(&file, text)?;
        fs::create_dir(folder.path().join("logs"))?;
        let mut command = Command::new(sibling("balancer")?);
        command.arg("-c").arg(&file).arg("-p").arg(folder.path());
        // A line of the error log for each refusal would be the disk's overload.
        let globals = "daemon off; error_log stderr error;";
        command.args(["-e", "stderr", "-g", globals, "--admin", &admin.to_string()]);
        let mut process = Process::spawn_in(&folder, "balancer", &mut command)?;
        process.wait_until_ready(DEADLINE, || {
            go_on()?;
            // A request would have been placed by the policy.
            let is_told = http::get(admin, "/metrics").is_ok_and(|it| it.status == 200);
            Ok(is_told && TcpStream::connect(address).is_ok())
        })?;
        Ok(Self { address, admin, _process: process, _folder: folder })
    }

    /// How many are let in at once, 0 without a limit.
    pub(crate) fn limit(&self) -> Result<f64> {
        let text = http::get(self.admin, "/metrics")?.text();
        let all = samples(&text)?;
        let limits = all.iter().filter(|it| it.name == "balancer_upstream_concurrency_limit");
        Ok(limits.map(|it| it.value).fold(0.0, f64::max))
    }
}
