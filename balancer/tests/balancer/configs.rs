//! Does a configuration come to the snapshot it describes?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use balancer::conf::ConfError;
use balancer::engine::exchange::Exchange;
use balancer::http::location::Content;
use balancer::http::proxy_pass::Goal;
use balancer::http::{Action, Entry, route};
use balancer::process::rows::Workers;
use balancer::snapshot::Snapshot;
use balancer::snapshot::build::{Configuration, Paths, build, read};
use balancer::variable::Scratch;
use policy::CATALOG;
use tempfile::TempDir;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read_file(conf: &Path, is_strict: bool) -> Result<Configuration, Vec<ConfError>> {
    let paths = Paths { prefix: "/srv/prefix/".into(), conf: conf.into() };
    read(&paths, None, is_strict)
}

/// A configuration in a folder of its own.
struct Written {
    _folder: TempDir,
    path: PathBuf,
}

impl Written {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn snapshot(&self, previous: Option<&Snapshot>) -> Result<Snapshot, Vec<String>> {
        let words = |problems: Vec<ConfError>| problems.iter().map(ToString::to_string).collect();
        let configuration = read_file(&self.path, false).map_err(words)?;
        build(&configuration, previous).map_err(words)
    }
}

/// The lines of `http`, access log off.
fn http(text: &str) -> Written {
    Written::new(&format!("events {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n"))
}

/// What stands in the one server of `http`.
fn server(text: &str) -> Written {
    http(&format!("server {{ listen 127.0.0.1:8080;\n{text}\n}}"))
}

/// The answer a path leads to: the words of its location, and who answers.
fn answer(snapshot: &Snapshot, path: &str) -> String {
    let (location, content) = led(snapshot, "", path);
    format!("{location} {content}")
}

/// Where a request for a host and a path is led.
fn led(snapshot: &Snapshot, host: &str, path: &str) -> (String, String) {
    let mut exchange =
        Exchange { path: path.as_bytes().to_vec(), changes_left: 11, ..Exchange::default() };
    let server = snapshot.listeners[0].servers.find(host.as_bytes(), &exchange.scratch);
    let (location, action) = route(&mut exchange, server, Entry::Server);
    let content = match (action, &location.content) {
        (Some(Action::Return(answer)), _) => answer.status.to_string(),
        (Some(Action::Status(status) | Action::Redirect(status)), _) => status.to_string(),
        (_, Content::Proxy(proxy)) => match &proxy.goal {
            Goal::Fixed(upstream, _) => upstream.name.clone(),
            Goal::Dynamic(_) => "dynamic".to_owned(),
        },
        (_, other) => format!("{other:?}"),
    };
    (location.name.clone(), content)
}

/// The first refusal of a configuration, without the name of its file.
#[track_caller]
fn check_refusal(written: &Written, expected: &str) {
    let problems = written.snapshot(None).expect_err("the configuration is refused");
    let first = problems[0].split(" in /").next().unwrap();
    assert_eq!(first, expected, "{problems:?}");
}

#[test]
fn the_smallest_file_of_each_policy_is_served_by_that_policy() {
    for entry in CATALOG.iter().filter(|it| it.directive.is_some()) {
        let path = workspace().join("configs/nginx").join(entry.name).with_extension("conf");
        let configuration = read_file(&path, false).unwrap();
        let snapshot = build(&configuration, None).unwrap();
        let [group] = snapshot.upstreams.as_slice() else { panic!("{}", entry.name) };
        assert_eq!(group.policy().id, entry.id);
        assert_eq!(group.key.load().is_some(), entry.needs.key, "{}", entry.name);
        assert_eq!(group.servers().len(), 2, "{}", entry.name);
    }
}

#[test]
fn the_files_for_containers_are_served() {
    for (name, groups) in [("shop", 1), ("lab", 1), ("nginx", 0)] {
        let path = workspace().join("configs/docker").join(name).with_extension("conf");
        let configuration = read_file(&path, false).unwrap();
        assert_eq!(build(&configuration, None).unwrap().upstreams.len(), groups, "{name}");
    }
}

#[test]
fn the_files_of_the_lab_load_unchanged() {
    for (name, group, servers) in [
        ("lab_2025", "flask_backend", 0),
        ("lab_2026_one_host", "store_manager_nginx", 0),
        ("lab_2026_two_machines", "store_manager_nginx", 2),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let path = folder.join(name).with_extension("conf");
        let configuration = read_file(&path, false).unwrap();
        assert!(configuration.warnings.is_empty(), "{:?}", configuration.warnings);
        let snapshot = build(&configuration, None).unwrap();
        assert_eq!(snapshot.upstreams[0].name, group);
        assert_eq!(snapshot.upstreams[0].policy().id, "nginx-least-conn");
        assert_eq!(snapshot.listeners[0].bind.to_string(), "0.0.0.0:80");
        // Their network has a `store_manager`; where there is none, the start goes on.
        if servers == 0 && !snapshot.upstreams[0].open_members().is_empty() {
            let warning = snapshot.warnings[0].reason.as_str();
            let expected =
                "host not found in upstream \"store_manager:5000\", will retry in background";
            assert_eq!(warning, expected);
        } else if servers > 0 {
            assert_eq!(snapshot.upstreams[0].servers().len(), servers);
        }
    }
}

#[test]
fn strictness_makes_an_unresolvable_name_a_refusal() {
    let written = http("upstream u { server no.such.name.invalid; }");
    let snapshot = written.snapshot(None).unwrap();
    assert_eq!(snapshot.upstreams[0].open_members().len(), 1);
    let configuration = read_file(&written.path, true).unwrap();
    let problems = build(&configuration, None).unwrap_err();
    assert_eq!(problems[0].reason, "host not found in upstream \"no.such.name.invalid\"");
}

#[test]
fn main_settings_have_nginx_s_defaults() {
    let process = read_file(&Written::new("events {}").path, false).unwrap().process;
    assert_eq!(process.workers.count(), 1);
    assert_eq!(process.pid, Path::new("/srv/prefix/logs/nginx.pid"));
    assert!(process.daemon);
    assert_eq!(process.worker_connections, 512);
    let text = "worker_processes auto; pid /run/a.pid; daemon off;\n\
                worker_shutdown_timeout 5s; events { worker_connections 64; }";
    let process = read_file(&Written::new(text).path, false).unwrap().process;
    assert_eq!(process.workers, Workers::Auto);
    assert_eq!(process.pid, Path::new("/run/a.pid"));
    assert!(!process.daemon);
    assert_eq!(process.worker_connections, 64);
    assert_eq!(process.worker_shutdown_timeout.unwrap().as_secs(), 5);
}

#[test]
fn a_location_takes_what_its_blocks_leave_open() {
    let text = "client_max_body_size 2m; keepalive_timeout 5s 4s;\n\
                server { listen 8080; client_max_body_size 3m;\n\
                location /a { client_max_body_size 0; location /a/b { keepalive_timeout 0; } }\n\
                location /c { server_tokens off; } }";
    let snapshot = http(text).snapshot(None).unwrap();
    let server = snapshot.listeners[0].servers.find(b"", &Scratch::default());
    let core = |path: &str| {
        let exchange = Exchange { path: path.as_bytes().to_vec(), ..Exchange::default() };
        server.location(&exchange).core.clone()
    };
    assert_eq!(core("/").client_max_body_size, Some(3 << 20));
    assert_eq!(core("/a").client_max_body_size, None);
    assert_eq!(core("/a/b").client_max_body_size, None);
    assert_eq!(core("/a").keepalive_timeout.unwrap().as_secs(), 5);
    assert_eq!(core("/a").keepalive_header.unwrap().as_secs(), 4);
    assert_eq!(core("/a/b").keepalive_timeout, None);
    assert_eq!((core("/").server, core("/c").server), ("nginx/1.31.4", "nginx"));
}

#[test]
fn a_return_of_the_server_stands_before_its_locations() {
    let both = "location / { return 200 ok; }";
    assert_eq!(answer(&server(both).snapshot(None).unwrap(), "/x"), "/ 200");
    let first = format!("return 403; {both}");
    assert_eq!(answer(&server(&first).snapshot(None).unwrap(), "/x"), " 403");
}

#[test]
fn a_name_without_its_slash_leads_to_the_location_behind_a_proxy() {
    let text = "location /a/ { proxy_pass http://127.0.0.1:1; }\n\
                location /a { return 200; }\n\
                location /b/ { proxy_pass http://127.0.0.1:1; }\n\
                location = /b { return 204; }\n\
                location /c/ { return 200; }";
    let snapshot = server(text).snapshot(None).unwrap();
    assert_eq!(answer(&snapshot, "/a"), "/a 301");
    assert_eq!(answer(&snapshot, "/a/"), "/a/ 127.0.0.1:1");
    assert_eq!(answer(&snapshot, "/ab"), "/a 200");
    assert_eq!(answer(&snapshot, "/b"), "/b 204");
    assert_eq!(answer(&snapshot, "/c"), " Files");
}

#[test]
fn expressions_are_tried_after_exact_locations_and_before_prefixes() {
    let text = "location / { return 201; }\n\
                location ~ \\.php$ { proxy_pass http://127.0.0.1:1; }\n\
                location ~ ^/x/ { return 202; location ~* \\.PNG$ { return 203; } }\n\
                location ^~ /static/ { return 204; }";
    let snapshot = server(text).snapshot(None).unwrap();
    assert_eq!(answer(&snapshot, "/a"), "/ 201");
    assert_eq!(answer(&snapshot, "/a.php"), "\\.php$ 127.0.0.1:1");
    assert_eq!(answer(&snapshot, "/x/a"), "^/x/ 202");
    assert_eq!(answer(&snapshot, "/x/a.png"), "\\.PNG$ 203");
    assert_eq!(answer(&snapshot, "/static/a.php"), "/static/ 204");
}

#[test]
fn equal_hosts_are_one_group_and_named_groups_take_no_port() {
    let text = "upstream Shop { server 127.0.0.1:1; }\nserver { listen 8080;\n\
                location /a { proxy_pass http://shop; }\n\
                location /b { proxy_pass http://127.0.0.1:2/x; }\n\
                location /c { proxy_pass http://127.0.0.1:2; }\n\
                location /d { proxy_pass http://unix:/run/d:/y; } }";
    let snapshot = http(text).snapshot(None).unwrap();
    let names: Vec<_> = snapshot.upstreams.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["Shop", "127.0.0.1:2", "unix:/run/d"]);
    assert_eq!(answer(&snapshot, "/a"), "/a Shop");
    let port = http(
        "upstream u { server 127.0.0.1:1; }\n\
         server { location / { proxy_pass http://u:81; } }",
    );
    check_refusal(&port, "upstream \"u\" may not have port 81");
}

#[test]
fn servers_are_found_by_name_on_their_address() {
    let text = "server { listen 8080; return 201; }\n\
                server { listen 8080; server_name a.example b.example; return 202; }\n\
                server { listen 8080; server_name *.example .dot.test www.*; return 203; }\n\
                server { listen 8080 default_server; server_name ''; return 204; }\n\
                server { listen 8081; server_name a.example; return 205; }";
    let snapshot = http(text).snapshot(None).unwrap();
    assert_eq!(snapshot.listeners.len(), 2);
    let found = |host: &str| led(&snapshot, host, "/").1;
    assert_eq!(found("a.example"), "202");
    assert_eq!(found("c.example"), "203");
    assert_eq!(found("dot.test"), "203");
    assert_eq!(found("x.y.dot.test"), "203");
    assert_eq!(found("www.org"), "203");
    assert_eq!(found("nobody"), "204");
    assert_eq!(found(""), "201");
    let warnings: Vec<_> = snapshot.warnings.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(warnings, ["conflicting server name \"\" on 0.0.0.0:8080, ignored"]);
}

#[test]
fn mistakes_between_blocks_are_refused_with_nginx_s_text() {
    for (text, expected) in [
        ("server { listen 1; listen 1; }", "a duplicate listen 0.0.0.0:1"),
        (
            "server { listen 1 default_server; } server { listen *:1 default_server; }",
            "a duplicate default server for 0.0.0.0:1",
        ),
        (
            "server { listen 1 backlog=1; } server { listen 1 backlog=1; }",
            "duplicate listen options for 0.0.0.0:1",
        ),
        (
            "server { server_name a.*.b; } server { }",
            &*format!(
                "invalid server name or wildcard \"a.*.b\" on 0.0.0.0:{}",
                if nix::unistd::geteuid().is_root() { 80 } else { 8000 }
            ),
        ),
        (
            "server { location ~ a { proxy_pass http://127.0.0.1/b; } }",
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or \
             inside named location, or inside \"if\" statement, or inside \"limit_except\" block",
        ),
        ("server { location /a { } location /a { } }", "duplicate location \"/a\""),
        ("server { location / { return 200 $nope; } }", "unknown \"nope\" variable"),
        ("server { access_log a.log nope; }", "unknown log format \"nope\""),
        ("server { proxy_buffers 1 4k; }", "there must be at least 2 \"proxy_buffers\""),
        ("upstream u { }", "no servers are inside upstream"),
        (
            "upstream u { server 127.0.0.1; } upstream U { server 127.0.0.1; }",
            "duplicate upstream \"U\"",
        ),
        (
            "server { listen no.such.name.invalid:1; }",
            "host not found in \
          \"no.such.name.invalid:1\" of the \"listen\" directive",
        ),
        ("server { limit_req zone=a; }", "zero size shared memory zone \"a\""),
    ] {
        check_refusal(&http(text), expected);
    }
    check_refusal(&Written::new("http { }"), "no \"events\" section in configuration");
    check_refusal(&Written::new("events {} events {}"), "\"events\" directive is duplicate");
}

#[test]
fn a_directive_that_is_not_built_is_refused_with_a_way_out() {
    let written = server("fastcgi_pass 127.0.0.1:1;");
    let problems = read_file(&written.path, false).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].reason, "unknown directive \"fastcgi_pass\"");
    assert!(problems[0].help.is_some());
}

#[test]
fn a_reload_keeps_the_counts_of_servers_that_stay() {
    let group =
        |servers: &str| http(&format!("upstream u {{ {servers} }} server {{ listen 8080; }}"));
    let old = group("server 127.0.0.1:1; server 127.0.0.1:2;").snapshot(None).unwrap();
    let new = group("server 127.0.0.1:2 weight=3; server 127.0.0.1:3;");
    let new = new.snapshot(Some(&old)).unwrap();
    let (was, is) = (old.upstreams[0].servers(), new.upstreams[0].servers());
    assert!(Arc::ptr_eq(&was[1].backend, &is[0].backend));
    assert_eq!(is[0].terms.weight.get(), 3);
    assert!(Arc::ptr_eq(&old.upstreams[0].idle, &new.upstreams[0].idle));
    let counters = |it: &Snapshot| Arc::clone(&it.listeners[0].servers.servers[0].counters);
    assert!(Arc::ptr_eq(&counters(&old), &counters(&new)));
    assert_eq!((old.generation, new.generation), (1, 2));
}
