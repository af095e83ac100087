//! Which log is told what: a location's own, its server's, the one of the main block.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::UdpSocket;

use nix::sys::signal::Signal;

use crate::support::{Balancer, Origin, PATIENCE, eventually, free_port};

/// The texts of the error lines of a file: level, and what follows the connection's number.
fn texts(balancer: &Balancer, name: &str) -> Vec<String> {
    let text = |line: &str| {
        let level = line.split(' ').nth(2)?;
        let (_, text) = line.split_once('*')?.1.split_once(' ')?;
        Some(format!("{level} {}", text.split(", client: ").next()?))
    };
    balancer.file(name).lines().filter_map(text).collect()
}

const REFUSED: &str =
    "[error] connect() failed (111: Connection refused) while connecting to upstream";

fn refusing(more: &str, server: &str, location: &str) -> String {
    let nobody = free_port();
    format!(
        "{more} server {{ listen 127.0.0.1:PORT; {server}
             location / {{ proxy_pass http://127.0.0.1:{nobody}; }}
             location /own {{ {location} proxy_pass http://127.0.0.1:{nobody}; }}
             location /rewritten {{ rewrite_log on; rewrite ^ /own last; }}
         }}"
    )
}

#[test]
fn each_location_has_its_own_log_its_servers_or_that_of_the_block_around() {
    let balancer = Balancer::start(&refusing(
        "error_log http.log;",
        "error_log server.log notice;",
        "error_log own.log crit; error_log both.log; error_log both.log warn;",
    ));
    for path in ["/", "/own", "/rewritten"] {
        assert_eq!(balancer.client().get(path).status, 502);
    }
    let rewritten =
        ["[notice] \"^\" matches \"/rewritten\"", "[notice] rewritten data: \"/own\", args: \"\""];
    // Each file has a writer of its own.
    eventually("all lines are told", || {
        let told = ["both.log", "server.log"].map(|it| texts(&balancer, it).len());
        told == [4, 3]
    });
    assert_eq!(texts(&balancer, "both.log"), [REFUSED; 4]);
    assert_eq!(texts(&balancer, "server.log"), [&[REFUSED], &rewritten[..]].concat());
    for name in ["own.log", "http.log", "error.log"] {
        assert_eq!(texts(&balancer, name), [""; 0], "{name}");
    }
}

#[test]
fn what_no_block_takes_goes_to_the_main_log() {
    let balancer = Balancer::start(&refusing("", "", "error_log own.log;"));
    for path in ["/", "/own"] {
        assert_eq!(balancer.client().get(path).status, 502);
    }
    eventually("the location's log is written", || texts(&balancer, "own.log") == [REFUSED]);
    eventually("the main log is written", || {
        texts(&balancer, "error.log").contains(&REFUSED.to_owned())
    });
}

#[test]
fn a_head_that_is_refused_is_told_to_the_default_server_of_its_address() {
    let balancer = Balancer::start(
        "access_log off; error_log http.log info;
         server { listen 127.0.0.1:PORT; error_log default.log info; }
         server { listen 127.0.0.1:PORT; server_name a; error_log a.log info; }",
    );
    let mut client = balancer.client();
    assert_eq!(client.send("GET / HTTP/1.1\r\n\r\n").answer().status, 400);
    let text = "[info] client sent HTTP/1.1 request without \"Host\" header while reading client request headers";
    eventually("it is told", || texts(&balancer, "default.log").contains(&text.to_owned()));
    assert_eq!(texts(&balancer, "http.log"), [""; 0]);
    assert_eq!(texts(&balancer, "a.log"), [""; 0]);
}

#[test]
fn reopening_reopens_the_logs_of_every_block() {
    let balancer = Balancer::start(&refusing(
        "error_log http.log;",
        "error_log server.log;",
        "error_log own.log; access_log access.log;",
    ));
    let names = ["own.log", "server.log", "http.log", "access.log"];
    let folder = balancer.pid_file().parent().unwrap().to_path_buf();
    for name in names {
        fs::rename(folder.join(name), folder.join(format!("{name}.1"))).unwrap();
    }
    balancer.signal(Signal::SIGUSR1);
    for name in names {
        eventually("the file is there again", || folder.join(name).exists());
    }
    assert_eq!(balancer.client().get("/own").status, 502);
    eventually("the new file is written", || texts(&balancer, "own.log") == [REFUSED]);
    eventually("the new file is written", || balancer.file("access.log").lines().count() == 1);
    assert_eq!(texts(&balancer, "own.log.1"), [""; 0]);
}

#[test]
fn an_if_and_a_limit_except_have_access_logs_of_their_own() {
    let origin = Origin::named("a");
    let balancer = Balancer::start(&format!(
        "log_format path $request_method$uri; access_log http.log path;
         server {{ listen 127.0.0.1:PORT; location / {{
             if ($arg_quiet) {{ access_log off; }}
             if ($arg_own) {{ access_log if.log path; }}
             limit_except GET {{ access_log except.log path; }}
             proxy_pass http://{}; }} }}",
        origin.name()
    ));
    for path in ["/plain", "/quiet?quiet=1", "/if?own=1"] {
        assert_eq!(balancer.client().get(path).text(), "a");
    }
    assert_eq!(balancer.client().post("/except", "x").text(), "a");
    for (name, lines) in
        [("http.log", "GET/plain\n"), ("if.log", "GET/if\n"), ("except.log", "POST/except\n")]
    {
        eventually("the line is written", || !balancer.file(name).is_empty());
        assert_eq!(balancer.file(name), lines, "{name}");
    }
}

#[test]
fn a_server_of_streams_has_a_log_of_its_own() {
    let (nobody, own, other) = (free_port(), free_port(), free_port());
    let balancer = Balancer::start(&format!(
        "}} stream {{ error_log stream.log;
             server {{ listen 127.0.0.1:{own}; error_log own.log; proxy_pass 127.0.0.1:{nobody}; }}
             server {{ listen 127.0.0.1:{other}; proxy_pass 127.0.0.1:{nobody}; }}"
    ));
    for (port, name) in [(own, "own.log"), (other, "stream.log")] {
        assert!(crate::support::Client::to(port).is_ended());
        eventually("it is told", || texts(&balancer, name) == [REFUSED]);
    }
    assert_eq!(texts(&balancer, "error.log"), [""; 0]);
}

/// The next datagram, its date left out.
fn datagram(socket: &UdpSocket) -> String {
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).unwrap();
    let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
    let (priority, rest) = text.split_once('>').unwrap();
    format!("{priority}>{}", &rest["Nov 22 11:03:55 ".len()..])
}

#[test]
fn lines_go_to_syslog_one_datagram_each() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let server = format!("server=127.0.0.1:{port},nohostname");
    let balancer = Balancer::start(&refusing(
        &format!("log_format path \"$uri:$status\"; access_log syslog:{server},tag=own path;"),
        &format!("error_log syslog:{server},facility=user;"),
        "error_log own.log; access_log off;",
    ));
    assert_eq!(balancer.client().get("/own").status, 502);
    assert_eq!(balancer.client().get("/a").status, 502);
    let lines = [datagram(&socket), datagram(&socket)];
    let error = lines.iter().find(|it| it.starts_with("<11>nginx: 20")).unwrap();
    assert!(error.contains(" [error] ") && error.contains("GET /a HTTP/1.1"), "{error}");
    assert!(lines.contains(&"<190>own: /a:502".to_owned()), "{lines:?}");
    eventually("the location's log is written", || texts(&balancer, "own.log") == [REFUSED]);
}
