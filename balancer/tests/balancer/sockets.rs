//! What the program has the system do with its sockets: asked of copies of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use crate::support::{Balancer, Origin, eventually, free_port};

/// Copies of its sockets that are or can be connected by TCP.
fn sockets(balancer: &Balancer) -> Vec<Socket> {
    let pid = balancer.pid().as_raw();
    let process = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let numbers = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let sockets = numbers.filter_map(|it| {
        let path = it.unwrap().path();
        // It may be closed while it is looked at.
        let is_socket = fs::read_link(&path).ok()?.to_string_lossy().starts_with("socket:");
        let number = path.file_name()?.to_str()?.parse().ok().filter(|_| is_socket)?;
        let copy = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
        Some(Socket::from(copy))
    });
    sockets.filter(|it| it.local_addr().is_ok_and(|it| it.as_socket().is_some())).collect()
}

/// The one that listens on a port.
fn listening(balancer: &Balancer, port: u16) -> Socket {
    let mut all = sockets(balancer).into_iter();
    let is_it = |it: &Socket| it.local_addr().unwrap().as_socket().unwrap().port() == port;
    all.find(|it| is_it(it) && it.is_listener().unwrap()).unwrap()
}

/// Whether small packets are sent at once on the one whose other end has an address.
fn sends_at_once(balancer: &Balancer, peer: SocketAddr) -> bool {
    let is_it = |it: &Socket| it.peer_addr().is_ok_and(|it| it.as_socket() == Some(peer));
    sockets(balancer).into_iter().find(is_it).unwrap().tcp_nodelay().unwrap()
}

#[test]
fn small_packets_are_held_back_where_a_location_wants_it() {
    let origin = Origin::named("a");
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{}; }}
         location /held {{ tcp_nodelay off; return 200 held; }} }}",
        origin.name()
    ));
    let mut client = TcpStream::connect(("127.0.0.1", balancer.port)).unwrap();
    let own = client.local_addr().unwrap();
    let mut ask = |path: &str| {
        write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(client.read(&mut [0; 4096]).unwrap() > 0);
        sends_at_once(&balancer, own)
    };
    assert!(ask("/"));
    assert!(!ask("/held"));
    assert!(ask("/"));
}

#[test]
fn small_packets_of_a_session_are_held_back_on_both_sides() {
    let (port, plain) = (free_port(), free_port());
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = origin.local_addr().unwrap();
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; }} }}
         stream {{ proxy_connect_timeout 5s;
         server {{ listen 127.0.0.1:{port}; tcp_nodelay off; proxy_pass {target}; }}
         server {{ listen 127.0.0.1:{plain}; proxy_pass {target}; }}"
    ));
    for (port, expected) in [(port, false), (plain, true)] {
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (passed, _) = origin.accept().unwrap();
        assert_eq!(sends_at_once(&balancer, client.local_addr().unwrap()), expected);
        assert_eq!(sends_at_once(&balancer, target), expected);
        let count = sockets(&balancer).len();
        drop((client, passed));
        eventually("the session ends", || sockets(&balancer).len() < count);
    }
}

/// How many clients are connected while nobody accepts, of ten.
fn waiting(balancer: &Balancer) -> usize {
    const SHORT: Duration = Duration::from_millis(200);
    balancer.signal(Signal::SIGSTOP);
    let address = SocketAddr::from(([127, 0, 0, 1], balancer.port));
    let connect = |_| TcpStream::connect_timeout(&address, SHORT).ok();
    let clients: Vec<_> = (0..10).map_while(connect).collect();
    balancer.signal(Signal::SIGCONT);
    clients.len()
}

#[test]
fn a_socket_that_stays_open_has_its_options_changed() {
    let serving = |options: &str| format!("server {{ listen 127.0.0.1:PORT {options}; }}");
    let balancer = Balancer::start(&serving("backlog=2"));
    let socket = listening(&balancer, balancer.port);
    assert!(!socket.keepalive().unwrap());
    assert_eq!(waiting(&balancer), 3);
    balancer.reload(&serving("backlog=100 rcvbuf=20k sndbuf=30k so_keepalive=7m:8s:9"));
    assert_eq!(waiting(&balancer), 10);
    assert_eq!(
        listening(&balancer, balancer.port).local_addr().unwrap(),
        socket.local_addr().unwrap()
    );
    // The system doubles what it is told.
    assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 20 * 1024);
    assert_eq!(socket.send_buffer_size().unwrap(), 2 * 30 * 1024);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_mins(7));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(8));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 9);
    // What is not said any more stays; the number of those that wait is nginx's again.
    balancer.reload(&serving("so_keepalive=off"));
    assert!(!socket.keepalive().unwrap());
    assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 20 * 1024);
}
