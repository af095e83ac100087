//! Prometheus and its checker, where they are installed.

#![expect(clippy::print_stdout, reason = "who reads of a test that was skipped wants to know why")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Client, eventually, free_port};

/// One that reads metrics each second and knows the alerts that are shipped, until dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts it and waits for the first metrics of an address; `None` where it is missing.
    #[track_caller]
    pub(crate) fn start(target: &str) -> Option<Self> {
        let program = find("prometheus")?;
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/alerts.yml");
        fs::copy(alerts, folder.path().join("alerts.yml")).unwrap();
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yml]\n\
             scrape_configs: [{{job_name: balancer, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), text).unwrap();
        let mut command = Command::new(program);
        command.current_dir(folder.path()).arg("--config.file=prometheus.yml");
        command
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut prometheus = Self { child, port, _folder: folder };
        eventually("Prometheus listens", || {
            assert!(prometheus.child.try_wait().unwrap().is_none(), "Prometheus has ended");
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        eventually("Prometheus reads the metrics", || {
            prometheus.query("up == 1").is_ok_and(|it| !it.is_empty())
        });
        Some(prometheus)
    }

    /// What an expression comes to now; an error is in Prometheus's words.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        use std::fmt::Write as _;
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in expression.bytes() {
            write!(path, "%{byte:02x}").unwrap();
        }
        let answer = self.ask(&path);
        match answer["data"]["result"].as_array() {
            Some(found) => Ok(found.clone()),
            None => Err(answer.to_string()),
        }
    }

    /// The alerts that wait or tell, with their states.
    pub(crate) fn alerts(&self) -> Vec<(String, String)> {
        let answer = self.ask("/api/v1/alerts");
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let alerts = answer["data"]["alerts"].as_array().into_iter().flatten();
        alerts.map(|it| (text(&it["labels"]["alertname"]), text(&it["state"]))).collect()
    }

    fn ask(&self, path: &str) -> Value {
        serde_json::from_slice(&Client::to(self.port).get(path).body).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command of `promtool`, `None` with a word about it where it is missing.
pub(crate) fn checker(words: &[&str]) -> Option<Command> {
    let mut command = Command::new(find("promtool")?);
    command.args(words);
    Some(command)
}

/// Where a program is, `None` with a word about it where it is missing.
pub(crate) fn find(program: &str) -> Option<String> {
    let folders = std::env::var("PATH").unwrap_or_default();
    let found = folders.split(':').chain(["/usr/bin", "/usr/local/bin"]);
    let found = found.map(|it| format!("{it}/{program}")).find(|it| Path::new(it).is_file());
    if found.is_none() {
        println!("skipped: {program} is not installed; script/bootstrap installs it");
    }
    found
}
