//! Does the balancer live in a cluster as the manifests of `configs/kubernetes` have it live?
//!
//! Its own command line, its own `nginx.conf`, another user, a file system that cannot be written,
//! process 1 of its namespace; it ends by the signal that the image names. The test starts itself again
//! in namespaces of its own, where the names of the cluster mean replicas of the test.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Client, Dns, Gate, Origin, eventually, text};

const NAMESPACES: &str = "\
    ip link set lo up
    mount -t tmpfs none /run
    mkdir /run/balancer
    mount --bind \"$HOSTS\" /etc/hosts
    mount -o remount,bind,ro /
    exec \"$@\"";

/// The user of the manifest.
const USER: &str = "10001";

/// Where standard output goes.
const LOG: &str = "/run/log";

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("configs/kubernetes")
}

/// What the manifest gives the program of the image.
fn arguments() -> Vec<String> {
    let manifest = fs::read_to_string(configs().join("balancer.yaml")).unwrap();
    let list = manifest.lines().find_map(|it| it.trim().strip_prefix("args: [")).unwrap();
    let words = list.strip_suffix(']').unwrap().split(", ");
    words.map(|it| it.trim_matches('"').to_owned()).collect()
}

/// The signal that the image of the balancer names for its end.
fn stop_signal() -> Signal {
    let file = fs::read_to_string(configs().join("../../Dockerfile")).unwrap();
    let stage = file.split("\nFROM ").find(|it| it.starts_with("scratch AS balancer\n")).unwrap();
    let name = stage.lines().find_map(|it| it.strip_prefix("STOPSIGNAL ")).unwrap();
    name.parse().unwrap()
}

#[test]
fn the_manifests_lead_to_a_balancer_that_follows_replicas_and_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let names = "127.0.0.1 localhost kube-dns.kube-system.svc.cluster.local\n";
    fs::write(&hosts, names).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "sh", "-ec", NAMESPACES, "sh"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["kubernetes::within_namespaces", "--exact", "--ignored", "--nocapture"]);
    let output = command.env("HOSTS", &hosts).output();
    let output = output.expect("unshare is not installed: run script/bootstrap");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A replica of the store that says who it is, and keeps those waiting who ask for `/slow`.
fn replica(address: [u8; 4], name: &'static str, gate: &Arc<Gate>) -> Origin {
    let gate = Arc::clone(gate);
    Origin::on(SocketAddr::from((address, 5000)), move |seen, stream| {
        if seen.path() == "/slow" {
            gate.wait();
        }
        text(stream, name)
    })
}

/// A process 1 that ends with its guard.
struct First(Child);

impl Drop for First {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the balancer as the user of the manifest and process 1.
fn start(words: &[String]) -> First {
    let (user, group) = (format!("--map-user={USER}"), format!("--map-group={USER}"));
    let mut command = Command::new("unshare");
    command.args(["--user", &user, &group, "--pid", "--fork", "--kill-child"]);
    command.arg(env!("CARGO_BIN_EXE_balancer")).args(words);
    // A file, as nobody reads a pipe meanwhile.
    let log = fs::File::create(LOG).unwrap();
    First(command.stdin(Stdio::null()).stdout(log).spawn().unwrap())
}

#[test]
#[ignore = "the test above starts it, where names, ports and files are its own"]
fn within_namespaces() {
    let name = "store-replicas.shop.svc.cluster.local";
    let gate = Arc::new(Gate::default());
    let dns = Dns::at(53);
    let one = replica([127, 0, 0, 2], "one", &gate);
    let two = replica([127, 0, 0, 3], "two", &gate);
    dns.knows(name, &["127.0.0.2"]);
    assert!(fs::write("/var/tmp/balancer", "").is_err(), "the root can be written");

    let conf = configs().join("nginx.conf").display().to_string();
    let words = arguments().into_iter();
    let words: Vec<_> =
        words.map(|it| if it == "/etc/balancer/nginx.conf" { conf.clone() } else { it }).collect();
    assert!(words.contains(&conf), "{words:?}");
    let tested = start(&[words.clone(), vec!["-t".to_owned()]].concat()).0.wait().unwrap();
    assert!(tested.success());
    let mut balancer = start(&words);
    let is_open = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    let ready = || Client::to(8081).get("/health").status;
    eventually("it listens", || is_open(8080) && is_open(8081));
    let started = || Client::to(8080).get("/health-check").status == 200;
    eventually("a request comes back from a replica", started);
    assert_eq!(ready(), 200);

    let ask = || Client::to(8080).get("/").text().to_owned();
    let all = |who: &str| (0..8).all(|_| ask() == who);
    assert!(all("one"));
    dns.knows(name, &["127.0.0.2", "127.0.0.3"]);
    eventually("the second replica serves", || ask() == "two");
    dns.knows(name, &["127.0.0.3"]);
    eventually("the first one does not any more", || all("two"));
    assert!(!one.seen().is_empty() && !two.seen().is_empty());

    let mut slow = Client::to(8080);
    slow.send("GET /slow HTTP/1.1\r\nHost: client\r\n\r\n");
    eventually("it is placed", || two.seen().iter().any(|it| it.path() == "/slow"));
    let children = format!("/proc/{0}/task/{0}/children", balancer.0.id());
    let process = fs::read_to_string(children).unwrap();
    // While it is waited for others to know that it ends, they still send requests.
    assert_eq!(ask(), "two");
    kill(Pid::from_raw(process.trim().parse().unwrap()), stop_signal()).unwrap();
    eventually("it is not ready any more", || ready() == 503);
    eventually("nobody new is let in", || !is_open(8080));
    assert_eq!(balancer.0.try_wait().unwrap(), None, "a request is being served");
    gate.open();
    assert_eq!(slow.answer().text(), "two");
    assert!(balancer.0.wait().unwrap().success());
    let log = fs::read_to_string(LOG).unwrap();
    assert!(log.contains("\"GET /slow HTTP/1.1\" 200"), "{log}");
}
