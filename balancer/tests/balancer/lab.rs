//! Do the lab's own files serve as they are: port 80, its names, its addresses?
//!
//! The test starts itself again in a network of its own, where port 80 is free, `store_manager` is
//! a name with several addresses, and 192.168.1.101 is this machine.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::support::{Client, eventually};

/// File, name of its group, addresses of the replicas.
const FILES: [(&str, &str, &[&str]); 3] = [
    ("lab_2025", "flask_backend", &["127.0.0.2", "127.0.0.3", "127.0.0.4"]),
    ("lab_2026_one_host", "store_manager_nginx", &["127.0.0.2", "127.0.0.3"]),
    ("lab_2026_two_machines", "store_manager_nginx", &["192.168.1.101", "192.168.1.102"]),
];

const NETWORK: &str = "\
    ip link set lo up
    ip address add 192.168.1.101/32 dev lo
    ip address add 192.168.1.102/32 dev lo
    mount --bind \"$HOSTS\" /etc/hosts
    exec \"$@\"";

#[test]
fn the_lab_s_files_serve_unchanged() {
    for (file, group, replicas) in FILES {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        let names: String = replicas.iter().map(|it| format!("{it} store_manager\n")).collect();
        std::fs::write(&hosts, format!("127.0.0.1 localhost\n{names}")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--mount", "sh", "-ec", NETWORK, "sh"]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["lab::within_a_network_of_its_own", "--exact", "--ignored", "--nocapture"]);
        command.env("HOSTS", &hosts).env("LAB_FILE", file).env("LAB_GROUP", group);
        let output = command.env("LAB_REPLICAS", replicas.join(" ")).output();
        let output = output.expect("unshare is not installed: run script/bootstrap");
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{file}: {said}");
    }
}

#[test]
#[ignore = "the test above starts it, where port 80 and /etc/hosts are its own"]
fn within_a_network_of_its_own() {
    let of = |name| std::env::var(name).unwrap();
    let (file, group, replicas) = (of("LAB_FILE"), of("LAB_GROUP"), of("LAB_REPLICAS"));
    replicas.split(' ').for_each(serve);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut command = Command::new(env!("CARGO_BIN_EXE_balancer"));
    command.arg("-c").arg(corpus.join(file).with_extension("conf"));
    command
        .arg("-p")
        .arg(folder.path())
        .args(["-g", "daemon off; user root root;"])
        .stdin(Stdio::null());
    let mut balancer = command.spawn().unwrap();
    let pid = folder.path().join("logs/nginx.pid");
    eventually("it serves", || pid.exists() || balancer.try_wait().unwrap().is_some());
    let mut served = BTreeMap::new();
    for _ in 0..12 {
        let answer = Client::to(80).get("/health-check");
        assert_eq!(answer.status, 200, "{answer:?}");
        let (replica, host) = answer.text().split_once(' ').unwrap();
        assert_eq!(host, group, "the name of the group is asked for");
        *served.entry(replica.to_owned()).or_insert(0) += 1;
    }
    balancer.kill().unwrap();
    balancer.wait().unwrap();
    // One after another, all are idle: they take turns.
    let count = replicas.split(' ').count();
    let expected = replicas.split(' ').map(|it| (it.to_owned(), 12 / count));
    assert_eq!(served, expected.collect());
}

/// A replica of the store that says who it is and which host was asked for.
fn serve(address: &str) {
    let listener = TcpListener::bind((address, 5000)).unwrap();
    let address = address.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let address = address.clone();
            thread::spawn(move || answer(stream.unwrap(), &address));
        }
    });
}

fn answer(mut stream: TcpStream, address: &str) {
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        input.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&input).into_owned();
        let Some(head) = text.strip_suffix("\r\n\r\n") else { continue };
        let host = head.lines().find_map(|it| it.strip_prefix("Host: ")).unwrap();
        let body = format!("{address} {host}");
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        input.clear();
    }
}
