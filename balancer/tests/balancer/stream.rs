//! Are TCP sessions passed on, limited, logged and ended as nginx does it?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use nix::sys::signal::Signal;

use crate::support::{Balancer, Origin, PATIENCE, eventually, free_port};

/// Starts with what stands in the `stream` block; `PORT` is a free port.
pub(crate) fn start(stream: &str) -> Balancer {
    Balancer::start(&format!("}}\nstream {{\n{stream}"))
}

/// Waits until the error log has a text; a line is written a moment after what it tells.
#[track_caller]
pub(crate) fn hears(balancer: &Balancer, text: &str) {
    eventually(text, || balancer.said().contains(text));
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the connection ends, a reset included.
pub(crate) fn rest(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends every byte back until its client ends its side, then says `end` and closes.
pub(crate) fn echo() -> Origin {
    Origin::raw(|mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(read) = stream.read(&mut buffer) {
            if read == 0 {
                let _ = stream.write_all(b"end");
                break;
            }
            let _ = stream.write_all(&buffer[..read]);
            if buffer[..read].ends_with(b"close") {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    })
}

pub(crate) fn exact(mut stream: &TcpStream, count: usize) -> String {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn bytes_pass_both_ways_and_are_counted() {
    let origin = echo();
    let balancer = start(&format!(
        "log_format f '$remote_addr $protocol $status $bytes_received/$bytes_sent \
         $upstream_bytes_sent/$upstream_bytes_received $upstream_addr';\n\
         access_log s.log f;\n\
         server {{ listen 127.0.0.1:PORT; proxy_pass {}; }}",
        origin.name()
    ));
    let mut client = connect(balancer.port);
    client.write_all(b"hello").unwrap();
    assert_eq!(exact(&client, 5), "hello");
    client.write_all(b"close").unwrap();
    assert_eq!(rest(&client), "close");
    let line = format!("127.0.0.1 TCP 200 10/10 10/10 {}\n", origin.name());
    eventually("the line is written", || balancer.file("s.log") == line);
    let from = client.local_addr().unwrap();
    let to = balancer.port;
    hears(&balancer, &format!("client {from} connected to 127.0.0.1:{to}\n"));
    hears(&balancer, &format!("connected to {}\n", origin.name()));
    hears(
        &balancer,
        "upstream disconnected, bytes from/to client:10/10, bytes from/to upstream:10/10\n",
    );
    hears(&balancer, " proxy 127.0.0.1:");
    assert_eq!(balancer.active(), 0);
}

#[test]
fn much_data_arrives_whole_through_small_buffers() {
    let origin = echo();
    let name = origin.name();
    let balancer =
        start(&format!("server {{ listen PORT; proxy_buffer_size 1k; proxy_pass {name}; }}"));
    let client = connect(balancer.port);
    let sent: Vec<u8> = (0..2_000_000_u32).map(|it| u8::try_from(it % 251).unwrap()).collect();
    let mut writer = client.try_clone().unwrap();
    let bytes = sent.clone();
    let sender = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let mut received = vec![0; sent.len()];
    (&client).read_exact(&mut received).unwrap();
    sender.join().unwrap();
    assert!(received == sent);
}

#[test]
fn a_server_that_cannot_be_connected_to_is_passed_over() {
    let origin = echo();
    let (dead, other) = (free_port(), free_port());
    let balancer = start(&format!(
        "log_format f '$status $upstream_addr'; access_log s.log f;\n\
         upstream u {{ server 127.0.0.1:{dead}; server {} backup; }}\n\
         server {{ listen PORT; proxy_pass u; }}\n\
         server {{ listen 127.0.0.1:{other}; proxy_pass 127.0.0.1:{dead}; }}",
        origin.name()
    ));
    let mut client = connect(balancer.port);
    client.write_all(b"close").unwrap();
    assert_eq!(rest(&client), "close");
    let line = format!("200 127.0.0.1:{dead}, {}\n", origin.name());
    eventually("the line is written", || balancer.file("s.log") == line);
    assert_eq!(rest(&connect(other)), "");
    let more = format!("{line}502 127.0.0.1:{dead}\n");
    eventually("the line is written", || balancer.file("s.log") == more);
    let text = format!(
        "connect() failed (111: Connection refused) while connecting to upstream, client: \
         127.0.0.1, server: 127.0.0.1:{other}, upstream: \"127.0.0.1:{dead}\", bytes from/to \
         client:0/0, bytes from/to upstream:0/0"
    );
    hears(&balancer, &text);
}

#[test]
fn next_upstream_off_and_down_servers_end_the_session() {
    let origin = echo();
    let (dead, other) = (free_port(), free_port());
    let balancer = start(&format!(
        "proxy_next_upstream off;\n\
         upstream u {{ server 127.0.0.1:{dead} max_fails=0; server {} backup; }}\n\
         upstream none {{ server 127.0.0.1:{dead} down; }}\n\
         server {{ listen PORT; proxy_pass u; }}\n\
         server {{ listen 127.0.0.1:{other}; proxy_pass none; }}",
        origin.name()
    ));
    assert_eq!(rest(&connect(balancer.port)), "");
    assert_eq!(origin.opened(), 0);
    assert_eq!(rest(&connect(other)), "");
    let text = format!(
        "no live upstreams while connecting to upstream, client: 127.0.0.1, server: \
         127.0.0.1:{other}, upstream: \"none\""
    );
    hears(&balancer, &text);
}

#[test]
fn a_proxy_header_is_believed_from_those_who_are_trusted() {
    let (trusted, refusing) = (free_port(), free_port());
    let text = "'$remote_addr:$remote_port $realip_remote_addr $proxy_protocol_server_addr'";
    let balancer = start(&format!(
        "log_format f '$status'; access_log s.log f;\n\
         server {{ listen PORT proxy_protocol; return {text}; }}\n\
         server {{ listen {trusted} proxy_protocol; set_real_ip_from 127.0.0.0/8; return {text}; }}\n\
         server {{ listen {refusing} proxy_protocol; set_real_ip_from 127.0.0.1; \
         deny 192.0.2.0/24; return no; }}"
    ));
    let ask = |port: u16, header: &str| {
        let mut client = connect(port);
        client.write_all(header.as_bytes()).unwrap();
        (client.local_addr().unwrap().port(), rest(&client))
    };
    let header = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 5678\r\n";
    let (own, said) = ask(balancer.port, header);
    assert_eq!(said, format!("127.0.0.1:{own} 127.0.0.1 192.0.2.2"));
    assert_eq!(ask(trusted, header).1, "192.0.2.1:1234 127.0.0.1 192.0.2.2");
    assert_eq!(ask(refusing, header).1, "");
    assert_eq!(ask(balancer.port, "GET / HTTP/1.1\r\n\r\n").1, "");
    eventually("every session is logged", || balancer.file("s.log") == "200\n200\n403\n400\n");
    hears(&balancer, "broken header: \"GET / HTTP/1.1\" while reading PROXY protocol, client: ");
    hears(
        &balancer,
        "access forbidden by rule while initializing session, client: 192.0.2.1, server: ",
    );
}

#[test]
fn servers_are_told_who_the_client_is() {
    let origin = echo();
    let second = free_port();
    let balancer = start(&format!(
        "proxy_protocol on;\nserver {{ listen 127.0.0.1:PORT; proxy_pass {name}; }}\n\
         server {{ listen 127.0.0.1:{second}; proxy_pass {name}; proxy_protocol v2; }}",
        name = origin.name()
    ));
    let mut client = connect(balancer.port);
    let from = client.local_addr().unwrap().port();
    client.write_all(b"close").unwrap();
    let to = balancer.port;
    assert_eq!(rest(&client), format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\nclose"));
    let client = connect(second);
    let mut header = [0; 28];
    (&client).read_exact(&mut header).unwrap();
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"));
}

#[test]
fn the_end_of_one_side_ends_both_unless_half_closed_sessions_are_wanted() {
    let origin = echo();
    let half = free_port();
    let balancer = start(&format!(
        "server {{ listen PORT; proxy_pass {name}; }}\n\
         server {{ listen {half}; proxy_pass {name}; proxy_half_close on; }}",
        name = origin.name()
    ));
    let said = |port| {
        let mut client = connect(port);
        client.write_all(b"hi").unwrap();
        assert_eq!(exact(&client, 2), "hi");
        client.shutdown(Shutdown::Write).unwrap();
        rest(&client)
    };
    assert_eq!(said(balancer.port), "");
    assert_eq!(said(half), "end");
}

#[test]
fn silence_and_rates_are_limited() {
    let origin = echo();
    let slow = free_port();
    let balancer = start(&format!(
        "server {{ listen PORT; proxy_pass {name}; proxy_timeout 100ms; }}\n\
         server {{ listen {slow}; proxy_pass {name}; proxy_timeout 100ms; \
         proxy_download_rate 1000; }}",
        name = origin.name()
    ));
    let client = connect(balancer.port);
    assert_eq!(rest(&client), "");
    let timed_out = "connection timed out (110: Connection timed out) while proxying connection";
    hears(&balancer, timed_out);
    let mut client = connect(slow);
    let began = std::time::Instant::now();
    client.write_all(&[b'x'; 2500]).unwrap();
    assert_eq!(exact(&client, 2500).len(), 2500);
    assert!(began.elapsed() >= std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn sessions_are_balanced_by_their_count_and_counted_once() {
    let (one, two) = (echo(), echo());
    let balancer = start(&format!(
        "upstream u {{ least_conn; server {}; server {}; }}\nserver {{ listen PORT; proxy_pass u; }}",
        one.name(),
        two.name()
    ));
    let clients: Vec<TcpStream> = (0..6).map(|_| connect(balancer.port)).collect();
    eventually("every session has a server", || one.opened() + two.opened() == 6);
    assert_eq!((one.opened(), two.opened()), (3, 3));
    assert_eq!(balancer.active(), 6);
    drop(clients);
    eventually("no session is left", || balancer.active() == 0);
}

#[test]
fn a_stop_waits_for_sessions_and_a_reload_leaves_them_alone() {
    let origin = echo();
    let server = format!("server {{ listen PORT; proxy_pass {}; }}", origin.name());
    let mut balancer = start(&server);
    let mut client = connect(balancer.port);
    client.write_all(b"a").unwrap();
    assert_eq!(exact(&client, 1), "a");
    balancer.reload("}\nstream {\nserver { listen PORT; return new; }");
    assert_eq!(rest(&connect(balancer.port)), "new");
    client.write_all(b"b").unwrap();
    assert_eq!(exact(&client, 1), "b");
    let port = balancer.port;
    balancer.signal(Signal::SIGQUIT);
    eventually("the port is closed", || TcpListener::bind(("127.0.0.1", port)).is_ok());
    assert!(!balancer.has_ended());
    client.write_all(b"close").unwrap();
    assert_eq!(rest(&client), "close");
    assert!(balancer.ended().success());
}

#[test]
fn a_session_that_outlasts_the_shutdown_timeout_is_cut_and_logged() {
    let origin = echo();
    let mut balancer = Balancer::start(&format!(
        "}}\nworker_shutdown_timeout 100ms;\nstream {{\n\
         log_format f '$status $bytes_received'; access_log s.log f;\n\
         server {{ listen PORT; proxy_pass {}; }}",
        origin.name()
    ));
    let mut client = connect(balancer.port);
    client.write_all(b"a").unwrap();
    assert_eq!(exact(&client, 1), "a");
    balancer.signal(Signal::SIGQUIT);
    assert_eq!(rest(&client), "");
    assert!(balancer.ended().success());
    assert_eq!(balancer.file("s.log"), "200 1\n");
    hears(&balancer, "shutdown timeout while proxying connection, client: 127.0.0.1");
}

#[test]
fn an_address_moves_from_http_to_stream_without_closing() {
    let balancer = Balancer::start("server { listen PORT; return 200 http; }");
    let mut client = balancer.client();
    assert_eq!(client.get("/").text(), "http");
    balancer.reload("}\nstream {\nserver { listen PORT; return stream; }");
    assert_eq!(rest(&connect(balancer.port)), "stream");
}

/// What `-t` says of a `stream` block.
fn refusal(stream: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("events {{}}\nstream {{\n{stream}\n}}\n");
    std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_balancer"));
    command.arg("-t").arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
    let said = command.output().unwrap().stderr;
    String::from_utf8(said).unwrap()
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    for (stream, expected) in [
        ("server { listen 1; }", "no handler for server"),
        ("server { return a; }", "no \"listen\" is defined for server"),
        ("server { listen a; return a; }", "host not found in \"a\" of the \"listen\" directive"),
        ("server { listen 1; return $nope; }", "unknown \"nope\" variable"),
        ("server { listen 1; proxy_pass 127.0.0.1; }", "no port in upstream \"127.0.0.1\""),
        ("upstream u { server 127.0.0.1; }", "no port in upstream \"127.0.0.1\""),
        ("upstream u { server a:1; ip_hash; }", "\"ip_hash\" directive is not allowed here"),
        ("upstream u { server a:1; keepalive 1; }", "\"keepalive\" directive is not allowed here"),
        ("access_log a;", "log format is not specified"),
        ("open_log_file_cache valid=1s;", "\"open_log_file_cache\" must have \"max\" parameter"),
        ("access_log a f; server { listen 1; return a; }", "unknown log format \"f\""),
        ("server { listen 1 udp; return a; }", "invalid parameter \"udp\""),
        ("server { listen 1 ssl; return a; }", "the \"ssl\" parameter requires"),
        ("proxy_next_upstream error;", "invalid value \"error\" in \"proxy_next_upstream\""),
        ("proxy_requests 1;", "unknown directive \"proxy_requests\""),
        ("map $a $b { }", "unknown \"a\" variable"),
        ("geo $a { proxy 10.0.0.0/8; }", "invalid network \"proxy\""),
        ("server { listen 9; listen 9; return a; }", "a duplicate listen 0.0.0.0:9"),
        (
            "server { listen 9 bind; return a; } server { listen 9 backlog=5; return b; }",
            "duplicate listen options for 0.0.0.0:9",
        ),
        (
            "server { listen 9 default_server; return a; } \
             server { listen 9 default_server; return b; }",
            "a duplicate default server for 0.0.0.0:9",
        ),
        ("server { listen 9; set a b; return a; }", "invalid variable name \"a\""),
        ("server { listen 9; set $pid 1; return a; }", "the duplicate \"pid\" variable"),
        ("server { listen 9; pass name:1; }", "\"pass\" directive has no addresses"),
        ("server { listen 9; pass 127.0.0.1; }", "\"pass\" directive has no port"),
        (
            "server { listen 9; pass 127.0.0.1:x; }",
            "invalid port in \"127.0.0.1:x\" of the \"pass\"",
        ),
        ("server { listen 9; pass 1.1.1.1:1; pass 1.1.1.1:1; }", "\"pass\" directive is duplicate"),
        ("limit_conn z 1; server { listen 9; return a; }", "zero size shared memory zone \"z\""),
        ("limit_conn_zone $pid zone=z;", "invalid zone size \"zone=z\""),
        ("limit_conn_status 500;", "\"limit_conn_status\" directive is not allowed here"),
        ("server { listen 9; proxy_bind name; return a; }", "invalid address \"name\""),
        ("proxy_socket_rcvbuf 1k;", "\"proxy_socket_rcvbuf\" directive is not allowed here"),
        ("proxy_upload_rate x;", "\"proxy_upload_rate\" directive invalid value"),
        ("upstream u { server a:1 route=x; }", "invalid parameter \"route=x\""),
        ("upstream u { server a:1; least_time header; }", "invalid parameter \"header\""),
    ] {
        let said = refusal(stream);
        assert!(said.contains(&format!("[emerg] {expected}")), "{stream}: {said}");
    }
}
