//! Who serves when root has started the program, and what it can still do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::support::{Balancer, Client, Origin, eventually, free_port};

fn serving(origin: &Origin, more: &str, outside: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:PORT; {more} location / {{ proxy_pass http://{}; }} }} }}
         {outside} stream {{",
        origin.name()
    )
}

#[test]
fn root_becomes_the_user_and_can_still_reload_reopen_and_end() {
    let origin = Origin::named("a");
    if !geteuid().is_root() {
        let balancer = Balancer::start(&serving(&origin, "", "user nobody;"));
        let text = "[warn] the \"user\" directive makes sense only if the master process runs";
        eventually("the line is told to be ignored", || balancer.said().contains(text));
        return;
    }
    let daemon = User::from_name("daemon").unwrap().unwrap();
    let mut balancer = Balancer::start(&serving(&origin, "", "user daemon;"));
    let uid = daemon.uid.as_raw();
    let are = |name: &str, id: u32| {
        let ids = [id; 4].map(|it| it.to_string()).join("\t");
        balancer.of_threads("", name).iter().all(|it| *it == ids)
    };
    // The main thread writes the pid file as root.
    eventually("every thread is the user's", || are("Uid", uid));
    eventually("and the group's", || are("Gid", daemon.gid.as_raw()));
    let powerful = balancer
        .of_threads("", "CapEff")
        .iter()
        .filter(|it| !it.trim_matches('0').is_empty())
        .count();
    assert_eq!(powerful, 1, "only the main thread keeps something");
    // A new file in a folder of root's, and its logs opened again there.
    let port = free_port();
    balancer.reload(&serving(
        &origin,
        &format!("access_log new.log; listen 127.0.0.1:{port};"),
        "user daemon;",
    ));
    assert_eq!(Client::to(port).get("/").text(), "a");
    let folder = balancer.pid_file().parent().unwrap().to_path_buf();
    let of_folder = fs::metadata(&folder).unwrap();
    assert_eq!((of_folder.uid(), of_folder.mode() & 0o022), (0, 0), "it is root's alone");
    fs::rename(folder.join("new.log"), folder.join("old.log")).unwrap();
    balancer.signal(Signal::SIGUSR1);
    eventually("the log is there again", || folder.join("new.log").exists());
    eventually("it is the user's", || fs::metadata(folder.join("new.log")).unwrap().uid() == uid);
    assert_eq!(balancer.client().get("/").text(), "a");
    assert!(!balancer.said().contains("[warn]"), "{}", balancer.said());
    let bin = User::from_name("bin").unwrap().unwrap();
    balancer.reload(&serving(&origin, "", "user bin;"));
    let ids = [bin.uid.as_raw(); 4].map(|it| it.to_string()).join("\t");
    eventually("those who serve are another user's", || {
        balancer.of_threads("worker", "Uid").iter().all(|it| *it == ids)
    });
    let is_none = |it: &String| it.trim_matches('0').is_empty();
    assert!(balancer.of_threads("worker", "CapPrm").iter().all(is_none), "they keep nothing");
    let groups = balancer.of_threads("worker", "Groups");
    assert!(
        groups.iter().all(|it| it.split(' ').any(|it| it == bin.gid.to_string())),
        "{groups:?}"
    );
    assert_eq!(balancer.client().get("/").text(), "a");
    balancer.reload(&serving(&origin, "", "user daemon;"));
    assert_eq!(balancer.client().get("/").text(), "a");
    balancer.signal(Signal::SIGQUIT);
    assert_eq!(balancer.ended().code(), Some(0));
    assert!(!balancer.pid_file().exists());
    assert!(!balancer.said().contains("[alert]"), "{}", balancer.said());
}

#[test]
fn priority_and_limits_are_those_of_the_configuration() {
    let origin = Origin::named("a");
    let outside = "user root; worker_priority 5; worker_rlimit_nofile 300; worker_rlimit_core 1m; worker_cpu_affinity 01;";
    let balancer = Balancer::start_with(2, &serving(&origin, "", outside));
    let limits = fs::read_to_string(format!("/proc/{}/limits", balancer.pid())).unwrap();
    let soft = |name: &str| {
        let line = limits.lines().find_map(|it| it.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(soft("Max open files"), "600");
    assert_eq!(soft("Max core file size"), "1048576");
    let tasks = fs::read_dir(format!("/proc/{}/task", balancer.pid())).unwrap();
    let workers = tasks.filter_map(|task| {
        let path = task.unwrap().path();
        let name = fs::read_to_string(path.join("comm")).unwrap();
        name.starts_with("worker").then_some(path)
    });
    let mut count = 0;
    for worker in workers {
        let stat = fs::read_to_string(worker.join("stat")).unwrap();
        let nice = stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap();
        assert_eq!(nice, "5");
        let status = fs::read_to_string(worker.join("status")).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        count += 1;
    }
    assert_eq!(count, 2);
}

/// Where its threads of a name are.
fn places(balancer: &Balancer, thread: &str) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", balancer.pid())).unwrap();
    let place = |task: PathBuf| {
        let name = fs::read_to_string(task.join("comm")).unwrap();
        name.starts_with(thread).then(|| fs::read_link(task.join("cwd")).unwrap())
    };
    tasks.filter_map(|it| place(it.unwrap().path())).collect()
}

#[test]
fn workers_are_where_the_configuration_wants_them() {
    let origin = Origin::named("a");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    // Whoever serves may have to look into it.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let outside = format!("working_directory {};", folder.display());
    let balancer = Balancer::start_with(2, &serving(&origin, "", &outside));
    assert_eq!(places(&balancer, "worker"), [folder.clone(), folder.clone()]);
    let here = std::env::current_dir().unwrap();
    assert_eq!(places(&balancer, "balancer"), std::slice::from_ref(&here));
    balancer.configure(&serving(&origin, "", "working_directory /nowhere;"));
    balancer.signal(Signal::SIGHUP);
    let text = "chdir(\"/nowhere\") failed (2: No such file or directory)";
    eventually("the reload is refused", || balancer.said().contains(text));
    balancer.reload(&serving(&origin, "", "working_directory /;"));
    assert_eq!(places(&balancer, "worker"), [PathBuf::from("/"), PathBuf::from("/")]);
    balancer.reload(&serving(&origin, "", ""));
    assert_eq!(places(&balancer, "worker"), [here.clone(), here]);
    assert_eq!(balancer.client().get("/").text(), "a");
}
