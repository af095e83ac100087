//! What the system knows of a connection.

use std::os::fd::RawFd;

use pingora_core::protocols::l4::ext::get_tcp_info;

/// Times in microseconds, sizes as the system counts them.
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// Round trip time.
    pub rtt: u32,
    /// How much that varies.
    pub rttvar: u32,
    /// Segments that may be on their way.
    pub snd_cwnd: u32,
    /// Bytes that may come.
    pub rcv_space: u32,
}

/// What is known of a socket; `None` where it is no TCP.
pub fn of(descriptor: RawFd) -> Option<TcpInfo> {
    let info = get_tcp_info(descriptor).ok()?;
    Some(TcpInfo {
        rtt: info.tcpi_rtt,
        rttvar: info.tcpi_rttvar,
        snd_cwnd: info.tcpi_snd_cwnd,
        rcv_space: info.tcpi_rcv_space,
    })
}
