//! Virtual servers: which one a request's host belongs to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::engine::h1::request::Limits;
use crate::http::location::{Location, Locations};
use crate::upstream::backend::{Durations, add};

/// What is counted for one virtual server, since the program started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests by method, in the order of [`METHODS`], and class of status, 1xx to 5xx.
    pub requests: [[AtomicU64; 5]; METHODS.len() + 1],
    /// From the first byte of a request to the last of its answer.
    pub durations: Durations,
}

/// The methods that are counted by name; every other is `other`.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

impl Counters {
    /// Counts one request.
    pub fn observe(&self, status: u16, method: &[u8], duration: Duration) {
        let method = METHODS.iter().position(|it| it.as_bytes() == method).unwrap_or(METHODS.len());
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        add(&self.requests[method][class], 1);
        self.durations.observe(duration);
    }
}

/// One `server` block.
#[derive(Debug)]
pub struct Server {
    /// Its first name, empty when it has none.
    pub name: String,
    /// Every location, found by number.
    pub locations: Vec<Location>,
    /// Which of them a path belongs to.
    pub tree: Locations,
    /// What is done where no location matches.
    pub fallback: Location,
    /// What is counted, shared with the configuration before this one.
    pub counters: Arc<Counters>,
}

impl Server {
    /// The location a path belongs to.
    pub fn location(&self, path: &[u8]) -> &Location {
        self.tree.find(path).map_or(&self.fallback, |it| &self.locations[it])
    }
}

/// What holds for a connection before its server is known; from the default server.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// From the first wait to the end of the head.
    pub header_timeout: Duration,
    /// Of the head.
    pub limits: Limits,
    /// Whether slashes in a row are one.
    pub merge_slashes: bool,
}

impl Default for Entrance {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(60),
            limits: Limits::default(),
            merge_slashes: true,
        }
    }
}

/// The servers that listen on one address.
#[derive(Debug)]
pub struct Servers {
    /// Before a server is known.
    pub entrance: Entrance,
    /// In the order of the file; the numbers below are positions in it.
    pub servers: Vec<Arc<Server>>,
    /// Serves hosts that nobody names.
    pub default: usize,
    /// By exact name, in lower case.
    pub exact: HashMap<Vec<u8>, usize>,
    /// `*.example.com`, by `.example.com`.
    pub leading: HashMap<Vec<u8>, usize>,
    /// `www.example.*`, by `www.example.`.
    pub trailing: HashMap<Vec<u8>, usize>,
}

impl Servers {
    /// The server for a host in lower case, by nginx's order: exact, longest wildcard at the
    /// start, longest wildcard at the end, default.
    pub fn find(&self, host: &[u8]) -> &Arc<Server> {
        &self.servers[self.position(host).unwrap_or(self.default)]
    }

    fn position(&self, host: &[u8]) -> Option<usize> {
        if self.servers.len() == 1 {
            return None;
        }
        if let Some(found) = self.exact.get(host) {
            return Some(*found);
        }
        let dots = |it: &(usize, &u8)| *it.1 == b'.';
        let starts = || host.iter().enumerate().filter(dots).map(|(at, _)| at);
        let leading = || starts().find_map(|at| self.leading.get(&host[at..]));
        let trailing = || {
            let longest_first = host.iter().enumerate().rev().filter(dots).map(|(at, _)| at);
            longest_first.into_iter().find_map(|at| self.trailing.get(&host[..=at]))
        };
        leading().or_else(trailing).copied()
    }
}
