//! What went wrong in an attempt, whose fault it is, and what the client is told.

use policy::{Class, Sent};

use crate::upstream::Reason;

/// An attempt that failed before an answer could be passed on.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// In the words of `proxy_next_upstream`.
    pub class: Class,
    /// For the metric.
    pub reason: Reason,
    /// How much of the request is gone.
    pub sent: Sent,
    /// Whether the server is at fault.
    pub charged: bool,
    /// For the error log, in nginx's words.
    pub text: &'static str,
    /// What was being done, for the error log.
    pub action: &'static str,
}

impl Failure {
    /// A connection that could not be opened.
    pub fn connect(error: &std::io::Error) -> Self {
        let text = match error.raw_os_error() {
            Some(111) => "connect() failed (111: Connection refused)",
            Some(113) => "connect() failed (113: No route to host)",
            Some(101) => "connect() failed (101: Network is unreachable)",
            Some(2) => "connect() failed (2: No such file or directory)",
            _ => "connect() failed",
        };
        Self {
            class: Class::Error,
            reason: Reason::Connect,
            sent: Sent::Nothing,
            charged: true,
            text,
            action: "connecting to upstream",
        }
    }

    /// What the system lacks for another connection, in nginx's words; `None` when the server is at
    /// fault.
    ///
    /// Source: nginx `ngx_event_connect.c`, `ngx_event_connect_peer`: whoever gets no socket blames
    /// nobody.
    pub fn lack(error: &std::io::Error) -> Option<&'static str> {
        match error.raw_os_error()? {
            12 => Some("socket() failed (12: Cannot allocate memory)"),
            23 => Some("socket() failed (23: Too many open files in system)"),
            24 => Some("socket() failed (24: Too many open files)"),
            105 => Some("socket() failed (105: No buffer space available)"),
            _ => None,
        }
    }

    /// A server that took too long.
    pub fn timeout(sent: Sent, action: &'static str) -> Self {
        Self {
            class: Class::Timeout,
            reason: Reason::Timeout,
            sent,
            charged: true,
            text: "upstream timed out (110: Connection timed out)",
            action,
        }
    }

    /// What the client is told when no other server is tried.
    pub fn status(&self) -> u16 {
        if self.class == Class::Timeout { 504 } else { 502 }
    }
}

/// How an exchange ended that got no answer of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Abort {
    /// The client left; logged as 499, nothing is sent.
    ClientGone,
    /// The client took too long to send its body; logged as 408, nothing is sent.
    ClientTimeout,
    /// The client's body is not valid.
    BadBody,
    /// The client's body grew beyond its limit.
    TooLarge,
    /// We could not do our part.
    Own,
}

impl Abort {
    /// As logged, and as sent where something is sent.
    pub fn status(self) -> u16 {
        match self {
            Self::ClientGone => 499,
            Self::ClientTimeout => 408,
            Self::BadBody => 400,
            Self::TooLarge => 413,
            Self::Own => 500,
        }
    }
}
