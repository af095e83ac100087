//! Do servers that stand in a file of their own stay what they were made?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin_changes::tell;
use crate::support::{Balancer, Gate, Origin, eventually, text};

const SERVERS: &str = "/api/9/http/upstreams/shop/servers";

/// A place for a file that is not there yet, where whoever serves may write.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = folder.path().join("servers.conf");
    (folder, file)
}

fn shop(state: &str) -> String {
    format!(
        "upstream shop {{ zone shop 64k; state {state}; }} \
         server {{ listen PORT; location / {{ proxy_pass http://shop; }} }}"
    )
}

#[test]
fn what_the_api_has_changed_outlasts_a_reload_and_a_restart() {
    let (_folder, file) = place();
    let origins = [Origin::named("0"), Origin::named("1")];
    let block = shop(&file.display().to_string());
    let balancer = Balancer::start_changeable(&block);
    assert_eq!(balancer.client().get("/").status, 502, "nobody is there yet");
    let kept = || fs::read_to_string(&file).unwrap();

    let [first, second] = [0, 1].map(|it: usize| {
        let asked = json!({"server": origins[it].name(), "weight": it + 1});
        let (status, added) = tell(&balancer, "POST", SERVERS, &asked);
        assert_eq!(status, 201);
        format!("{SERVERS}/{}", added["id"])
    });
    let [zero, one] = [0, 1].map(|it: usize| format!("server {}", origins[it].name()));
    assert_eq!(kept(), format!("{zero};\n{one} weight=2;\n"));
    let change = json!({"down": true, "max_fails": 0});
    assert_eq!(tell(&balancer, "PATCH", &first, &change).0, 200);
    assert_eq!(kept(), format!("{zero} max_fails=0 down;\n{one} weight=2;\n"));

    balancer.reload(&block);
    assert_eq!(balancer.client().get("/").text(), "1");
    drop(balancer);
    let balancer = Balancer::start_changeable(&block);
    assert_eq!(balancer.client().get("/").text(), "1");
    let listed: Value = serde_json::from_slice(&balancer.admin().get(SERVERS).body).unwrap();
    assert_eq!((&listed[0]["down"], &listed[1]["weight"]), (&json!(true), &json!(2)));
    let second = second.replace(SERVERS, "");
    assert_eq!(tell(&balancer, "DELETE", &format!("{SERVERS}{second}"), &json!({})).0, 200);
    assert_eq!(kept(), format!("{zero} max_fails=0 down;\n"));
}

#[test]
fn a_file_that_others_write_is_followed_and_a_mistake_in_it_is_not() {
    let (_folder, file) = place();
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let old = Origin::start(move |seen, stream| {
        if seen.path() == "/held" {
            held.wait();
        }
        text(stream, "old")
    });
    let new = Origin::named("new");
    fs::write(&file, format!("server {};\n", old.name())).unwrap();
    let balancer = Balancer::start(&shop(&format!("{} watch=50ms", file.display())));
    let serves = |name: &str| balancer.client().get("/").text() == name;
    assert!(serves("old"));
    let mut slow = balancer.client();
    slow.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is placed", || balancer.active() == 1);

    fs::write(&file, format!("# by hand\nserver {} weight=2;\n", new.name())).unwrap();
    eventually("the new one serves", || serves("new"));
    gate.open();
    assert_eq!(slow.answer().text(), "old");

    fs::write(&file, format!("server {}; least_conn;\n", old.name())).unwrap();
    let told = || balancer.said().matches("is not followed").count();
    eventually("the mistake is told", || told() == 1);
    fs::remove_file(&file).unwrap();
    assert!(serves("new"));
    fs::write(&file, format!("server {};\n", old.name())).unwrap();
    eventually("the old one is back", || serves("old"));
    assert_eq!(told(), 1);
}

#[test]
fn a_reload_refuses_a_file_with_a_mistake_and_serves_on() {
    let (_folder, file) = place();
    let origin = Origin::named("good");
    fs::write(&file, format!("server {};\n", origin.name())).unwrap();
    let block = shop(&file.display().to_string());
    let balancer = Balancer::start(&block);
    assert_eq!(balancer.client().get("/").text(), "good");
    fs::write(&file, "server 127.0.0.1:1 wieght=2;\n").unwrap();
    balancer.signal(nix::sys::signal::Signal::SIGHUP);
    let refusal = format!("invalid parameter \"wieght=2\" in {}:1", file.display());
    eventually("it is refused", || balancer.said().contains(&refusal));
    assert_eq!(balancer.client().get("/").text(), "good");
}
