//! What is told of clients that leave or fall silent before their request is whole.
//!
//! The lines are those of the installed nginx for the same clients.

use crate::support::{Balancer, Client, eventually};

/// The texts at `info` that tell of a client.
fn told(balancer: &Balancer) -> Vec<String> {
    let port = balancer.port.to_string();
    let text = |line: &str| {
        let text = line.split_once("] ")?.1.split_once('*')?.1.split_once(' ')?.1;
        Some(text.replace(&port, "PORT"))
    };
    balancer.file("error.log").lines().filter(|it| it.contains("[info]")).filter_map(text).collect()
}

/// What is told of a client that sends something and then leaves.
#[track_caller]
fn check(leave: fn(Client), after: &str, before: &str, line: &str, access: &str) {
    let balancer = Balancer::start(
        "log_format short '\"$request\" $status $body_bytes_sent'; access_log access.log short;
         client_header_timeout 300ms;
         server { listen 127.0.0.1:PORT; server_name srv; return 200 x; }",
    );
    let mut client = balancer.client();
    if !after.is_empty() {
        client.send(after);
        assert_eq!(client.answer().text(), "x");
        eventually("the request is logged", || balancer.file("access.log").lines().count() == 1);
    }
    client.send(before);
    leave(client);
    eventually("it is told", || !told(&balancer).is_empty());
    assert_eq!(told(&balancer), [line]);
    eventually("it is logged", || balancer.file("access.log").ends_with(access));
}

const WHOLE: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const HEAD: &str = "GET /a HTTP/1.1\r\nHost: h\r\n";
const WHO: &str = "client: 127.0.0.1, server: srv, request:";

fn close(client: Client) {
    drop(client);
}

fn stay(mut client: Client) {
    assert!(client.is_ended());
}

#[test]
fn a_client_that_closes_is_told_of_by_what_it_left_open() {
    let waiting = "while waiting for request, client: 127.0.0.1, server: 127.0.0.1:PORT";
    check(close, "", "", &format!("client closed connection {waiting}"), "");
    check(stay, "", "", &format!("client timed out (110: Connection timed out) {waiting}"), "");
    check(close, WHOLE, "", "client 127.0.0.1 closed keepalive connection", "200 1\n");
    let line = "while reading client request line";
    check(
        close,
        "",
        "GET /",
        &format!("client prematurely closed connection {line}, {WHO} \"GET /\""),
        "\"GET /\" 400 0\n",
    );
    let headers =
        format!("while reading client request headers, {WHO} \"GET /a HTTP/1.1\", host: \"h\"");
    check(
        close,
        "",
        HEAD,
        &format!("client prematurely closed connection {headers}"),
        "\"GET /a HTTP/1.1\" 400 0\n",
    );
    check(
        stay,
        "",
        HEAD,
        &format!("client timed out (110: Connection timed out) {headers}"),
        "\"GET /a HTTP/1.1\" 408 0\n",
    );
}
