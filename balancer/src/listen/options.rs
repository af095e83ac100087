//! Options of listening sockets: accepted ones inherit them. One that cannot be set is told, and the
//! socket is used without it.
//!
//! Source: nginx `ngx_connection.c`, `ngx_configure_listening_sockets`.

use std::io;

use socket2::{Socket, TcpKeepalive};

use crate::conf::error::os_text;
use crate::snapshot::listen::Keepalive;
use crate::snapshot::{Bind, ListenOptions};

/// Sets what the options say; what they leave open stays as it is. Small packets are sent at once
/// until a location wants otherwise.
pub(super) fn set(socket: &Socket, bind: &Bind, options: &ListenOptions) {
    if matches!(bind, Bind::Inet(_)) {
        tell(socket.set_tcp_nodelay(true), || format!("setsockopt(TCP_NODELAY) {bind}"));
    }
    if let Some(bytes) = options.receive_buffer {
        let set = socket.set_recv_buffer_size(bytes);
        tell(set, || format!("setsockopt(SO_RCVBUF, {bytes}) {bind}"));
    }
    if let Some(bytes) = options.send_buffer {
        let set = socket.set_send_buffer_size(bytes);
        tell(set, || format!("setsockopt(SO_SNDBUF, {bytes}) {bind}"));
    }
    if let Some(keepalive) = &options.keepalive {
        let is_on = i32::from(keepalive.is_on);
        let set = keep_alive(socket, keepalive);
        tell(set, || format!("setsockopt(SO_KEEPALIVE, {is_on}) {bind}"));
    }
}

/// As [`set`], for a socket that listens already: how many may wait is said anew.
pub(super) fn follow(socket: &Socket, bind: &Bind, options: &ListenOptions) {
    set(socket, bind, options);
    let backlog = options.backlog;
    tell(socket.listen(backlog), || format!("listen() to {bind}, backlog {backlog}"));
}

fn keep_alive(socket: &Socket, how: &Keepalive) -> io::Result<()> {
    socket.set_keepalive(how.is_on)?;
    let mut times = TcpKeepalive::new();
    if let Some(idle) = how.idle {
        times = times.with_time(idle);
    }
    if let Some(interval) = how.interval {
        times = times.with_interval(interval);
    }
    if let Some(count) = how.count {
        times = times.with_retries(count);
    }
    if how.is_on { socket.set_tcp_keepalive(&times) } else { Ok(()) }
}

fn tell(done: io::Result<()>, text: impl FnOnce() -> String) {
    if let Err(error) = done {
        let (text, why) = (text(), os_text(&error));
        tracing::error!(severity = "alert", "{text} failed {why}, ignored");
    }
}
