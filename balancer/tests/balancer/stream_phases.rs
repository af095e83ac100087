//! Do sessions go through nginx's phases: variables, limits, names of TLS, other listeners?
//!
//! What nginx 1.22 has as well is compared with it in `differential/cases/stream`.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use crate::stream::{connect, echo, exact, hears, rest, start};
use crate::support::{Balancer, Dns, Origin, Says, eventually, free_port};

/// What a TLS client says that asks for a name.
fn hello(name: &str) -> Vec<u8> {
    let two = |it: usize| u16::try_from(it).unwrap().to_be_bytes();
    let mut names = vec![0];
    names.extend(two(name.len()));
    names.extend(name.as_bytes());
    let mut extension = two(0).to_vec();
    extension.extend(two(names.len() + 2));
    extension.extend(two(names.len()));
    extension.extend(names);
    let mut body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    body.extend(two(extension.len()));
    body.extend(extension);
    let mut record = vec![0x16, 3, 1];
    record.extend(two(body.len() + 4));
    record.extend([1, 0]);
    record.extend(two(body.len()));
    record.extend(body);
    record
}

/// What a listener says to a client that sends some bytes.
fn said(port: u16, bytes: &[u8]) -> String {
    let mut client = connect(port);
    client.write_all(bytes).unwrap();
    rest(&client)
}

#[test]
fn set_gives_variables_values_before_limits_are_judged() {
    let other = free_port();
    let balancer = start(&format!(
        "log_format f '$status $limit_conn_status'; access_log s.log f;\n\
         limit_conn_zone $key zone=z:1m;\n\
         map $mapped $seen {{ default no; yes seen; }}\n\
         map $remote_addr $mapped {{ default no; }}\n\
         server {{ listen PORT; set $first 1; set $second \"$first${{first}}x\"; set $mapped yes; \
         set $key k; limit_conn z 1; return \"$second $mapped $seen|$late|$other|\"; \
         set $late '$first'; }}\n\
         server {{ listen {other}; set $other 1; return \"$other $mapped\"; }}"
    ));
    assert_eq!(said(balancer.port, b""), "11x yes seen|1||");
    assert_eq!(said(other, b""), "1 no");
    eventually("the line is written", || balancer.file("s.log") == "200 PASSED\n200 -\n");
}

#[test]
fn sessions_count_for_their_key_until_they_end_and_beyond_a_reload() {
    let origin = echo();
    let dry = free_port();
    let text = format!(
        "log_format f '$status $limit_conn_status'; access_log s.log f;\n\
         limit_conn_zone $binary_remote_addr zone=z:1m; limit_conn z 2;\n\
         server {{ listen 127.0.0.1:PORT; proxy_pass {name}; }}\n\
         server {{ listen 127.0.0.1:{dry}; proxy_pass {name}; limit_conn_dry_run on; }}",
        name = origin.name()
    );
    let balancer = start(&text);
    let held: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut client = connect(balancer.port);
            client.write_all(b"a").unwrap();
            assert_eq!(exact(&client, 1), "a");
            client
        })
        .collect();
    assert_eq!(rest(&connect(balancer.port)), "");
    let place = format!("client: 127.0.0.1, server: 127.0.0.1:{}", balancer.port);
    hears(
        &balancer,
        &format!("limiting connections by zone \"z\" while initializing session, {place}\n"),
    );
    balancer.reload(&format!("}}\nstream {{\n{text}"));
    assert_eq!(rest(&connect(balancer.port)), "");
    assert_eq!(said(dry, b"close"), "close");
    hears(&balancer, "limiting connections, dry run, by zone \"z\" while initializing session");
    drop(held);
    eventually("the places are free", || said(balancer.port, b"close") == "close");
    let lines = "503 REJECTED\n503 REJECTED\n200 REJECTED_DRY_RUN\n";
    eventually("every session is logged", || balancer.file("s.log").starts_with(lines));
}

#[test]
fn the_name_a_tls_client_asks_for_chooses_the_server() {
    let balancer = start(
        "ssl_preread on;\n\
         log_format f '$server_name $ssl_preread_server_name'; access_log s.log f;\n\
         server { listen PORT; server_name first.test; return \"first $server_name\"; }\n\
         server { listen PORT default_server; server_name other.test; return default; }\n\
         server { listen PORT; server_name *.wild.test .both.test; return wild; }\n\
         server { listen PORT; server_name tail.*; return tail; }\n\
         server { listen PORT; server_name ~^(?<who>[a-z]+)\\.regex\\.test$; return \"regex $who\"; }",
    );
    let asks = |name: &str| said(balancer.port, &hello(name));
    assert_eq!(asks("First.Test"), "first first.test");
    assert_eq!(asks("nobody.test"), "default");
    assert_eq!(asks("a.wild.test"), "wild");
    assert_eq!(asks("both.test."), "wild");
    assert_eq!(asks("tail.example"), "tail");
    assert_eq!(asks("ann.regex.test"), "regex ann");
    assert_eq!(asks("bad..name"), "default");
    assert_eq!(said(balancer.port, b"no TLS at all"), "default");
    eventually("every session is logged", || balancer.file("s.log").lines().count() == 8);
    let log = balancer.file("s.log");
    assert!(log.starts_with("first.test First.Test\nother.test nobody.test\n"), "{log}");
    assert!(log.ends_with("other.test -\n"), "{log}");
}

#[test]
fn what_was_preread_goes_to_the_server_first() {
    let origin = echo();
    let balancer = start(&format!(
        "server {{ listen 127.0.0.1:PORT; ssl_preread on; proxy_protocol on; proxy_pass {}; }}",
        origin.name()
    ));
    let mut client = connect(balancer.port);
    let from = client.local_addr().unwrap().port();
    let bytes = hello("a.test");
    let (head, tail) = bytes.split_at(20);
    client.write_all(head).unwrap();
    client.write_all(tail).unwrap();
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {}\r\n", balancer.port);
    let mut echoed = vec![0; header.len() + bytes.len()];
    std::io::Read::read_exact(&mut client, &mut echoed).unwrap();
    assert_eq!(echoed, [header.as_bytes(), &bytes].concat());
}

#[test]
fn a_session_is_passed_to_another_listener_of_stream_or_http() {
    let [stream, http, wildcard] = [(); 3].map(|()| free_port());
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:{http}; location / {{ return 200 \"$server_port $args\"; }} }}\n\
         }}\nstream {{\n\
         log_format f '$server_port $status'; access_log s.log f;\n\
         map $ssl_preread_server_name $to {{ default 127.0.0.1:{http}; a.test 127.0.0.1:{stream}; \
         wild.test 127.0.0.1:{wildcard}; none.test 127.0.0.1:1; name.test some.name:1; }}\n\
         server {{ listen 127.0.0.1:PORT; ssl_preread on; pass $to; }}\n\
         server {{ listen 127.0.0.1:{stream}; ssl_preread on; \
         return \"$server_port $ssl_preread_server_name\"; }}\n\
         server {{ listen {wildcard}; return \"$server_addr:$server_port\"; }}"
    ));
    let port = balancer.port;
    assert_eq!(said(port, &hello("a.test")), format!("{stream} a.test"));
    assert_eq!(said(port, &hello("wild.test")), format!("127.0.0.1:{wildcard}"));
    assert_eq!(said(port, &hello("none.test")), "");
    hears(
        &balancer,
        "port not found for \"127.0.0.1:1\" while passing connection to port, client: ",
    );
    assert_eq!(said(port, &hello("name.test")), "");
    hears(&balancer, "no addresses in pass \"some.name:1\" while passing connection to port, ");
    let mut client = balancer.client();
    let expected = |args: &str| format!("{http} {args}");
    assert_eq!(client.get("/?one").text(), expected("one"));
    assert_eq!(client.get("/?two").text(), expected("two"));
    // A session that was passed on is logged where it went.
    let lines = format!("{stream} 200\n{wildcard} 200\n{port} 200\n{port} 500\n");
    eventually("every session is logged once", || balancer.file("s.log") == lines);
}

#[test]
fn a_passed_connection_keeps_its_client_its_header_and_its_limits() {
    let [stream, http] = [(); 2].map(|()| free_port());
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:{http}; location / {{ return 200 $remote_addr; }} }}\n\
         }}\nstream {{\n\
         limit_conn_zone $server_port zone=z:1m;\n\
         map $proxy_protocol_port $to {{ default 127.0.0.1:{stream}; 1 127.0.0.1:{http}; }}\n\
         server {{ listen 127.0.0.1:PORT proxy_protocol; set_real_ip_from 127.0.0.1; \
         limit_conn z 1; pass $to; }}\n\
         server {{ listen 127.0.0.1:{stream}; \
         return \"$remote_addr $proxy_protocol_addr $proxy_protocol_port\"; }}"
    ));
    let header = |port: u16| format!("PROXY TCP4 192.0.2.1 192.0.2.2 {port} 80\r\n");
    assert_eq!(said(balancer.port, header(7).as_bytes()), "192.0.2.1 192.0.2.1 7");
    let mut client = balancer.client();
    client.send(header(1));
    assert_eq!(client.get("/").text(), "192.0.2.1");
    assert_eq!(said(balancer.port, header(7).as_bytes()), "");
    hears(&balancer, "limiting connections by zone \"z\" while initializing session, client: 192");
    drop(client);
    eventually("the place is free", || !said(balancer.port, header(7).as_bytes()).is_empty());
}

#[test]
fn sessions_are_not_passed_in_circles() {
    let other = free_port();
    let balancer = start(&format!(
        "server {{ listen 127.0.0.1:PORT; pass 127.0.0.1:{other}; }}\n\
         server {{ listen 127.0.0.1:{other}; pass 127.0.0.1:PORT; }}"
    ));
    assert_eq!(rest(&connect(balancer.port)), "");
    hears(&balancer, "stream pass cycle while passing connection to port, client: 127.0.0.1");
    assert_eq!(balancer.said().matches(" connected to 127.0.0.1:").count(), 11);
}

#[test]
fn names_in_proxy_pass_are_looked_up_when_a_session_comes() {
    let (dns, origin) = (Dns::start(), echo());
    let addresses = ["127.0.0.1".parse().unwrap()].into();
    dns.says("shop.test", Says { addresses, ttl: 60, ..Says::default() });
    let bare = free_port();
    let balancer = start(&format!(
        "map $ssl_preread_server_name $to {{ default $ssl_preread_server_name:{port}; }}\n\
         ssl_preread on;\n\
         server {{ listen 127.0.0.1:PORT; resolver 127.0.0.1:{dns} ipv6=off; proxy_pass $to; }}\n\
         server {{ listen 127.0.0.1:{bare}; proxy_pass $to; }}",
        port = origin.port,
        dns = dns.port
    ));
    let mut client = connect(balancer.port);
    let bytes = [&hello("shop.test")[..], b"close"].concat();
    client.write_all(&bytes).unwrap();
    let mut echoed = vec![0; bytes.len()];
    std::io::Read::read_exact(&mut client, &mut echoed).unwrap();
    assert_eq!(echoed, bytes);
    assert_eq!(said(balancer.port, &hello("none.test")), "");
    hears(&balancer, "none.test could not be resolved (3: Host not found), client: 127.0.0.1, ");
    assert_eq!(said(bare, &hello("shop.test")), "");
    hears(&balancer, "no resolver defined to resolve shop.test, client: 127.0.0.1, server: ");
}

#[test]
fn a_group_follows_its_names() {
    let (dns, origin) = (Dns::start(), echo());
    let says = |ip: &str| Says { addresses: vec![ip.parse().unwrap()], ttl: 1, ..Says::default() };
    dns.says("shop.test", says("127.0.0.1"));
    let balancer = start(&format!(
        "resolver 127.0.0.1:{dns} ipv6=off valid=1s;\n\
         upstream u {{ zone z 64k; least_time connect; server shop.test:{port} resolve; }}\n\
         server {{ listen PORT; proxy_pass u; }}",
        port = origin.port,
        dns = dns.port
    ));
    eventually("the name is known", || said(balancer.port, b"close") == "close");
    dns.says("shop.test", says("127.0.0.9"));
    eventually("the name is followed", || said(balancer.port, b"close").is_empty());
    hears(&balancer, &format!("upstream: \"127.0.0.9:{}\"", origin.port));
}

#[test]
fn a_server_may_be_reached_from_an_address_of_choice() {
    let origin = Origin::raw(|mut stream| {
        let peer = stream.peer_addr().unwrap().ip();
        let _ = stream.write_all(peer.to_string().as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    });
    let bad = free_port();
    let balancer = start(&format!(
        "map $server_port $from {{ {bad} nonsense; default 127.0.0.8; }}\n\
         proxy_bind $from;\n\
         server {{ listen PORT; proxy_pass {name}; }}\n\
         server {{ listen 127.0.0.1:{bad}; proxy_pass {name}; }}",
        name = origin.name()
    ));
    assert_eq!(rest(&connect(balancer.port)), "127.0.0.8");
    assert_eq!(rest(&connect(bad)), "127.0.0.1");
    hears(&balancer, "invalid local address \"nonsense\", client: 127.0.0.1, server: 127.0.0.1:");
}
