//! What does an `upstream` block come to, before there is a group?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use policy::Choice;

use super::member::Member;
use super::probe::Probe;
use super::protection::Protections;
use super::state::State;
use super::sticky::Sticky;
use super::{Server, check};
use crate::http::variable::Template;

/// How many idle connections a group keeps, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// Most idle connections over all cores; 0 closes each after its answer.
    pub idle: u32,
    /// Requests after which a connection is closed.
    pub requests: u64,
    /// Age after which a connection is closed at the end of its request.
    pub time: Duration,
    /// How long a connection may be idle.
    pub timeout: Duration,
    /// Whether a connection serves again only the location it was opened for.
    pub local: bool,
}

impl Keepalive {
    /// What an `upstream` block has unless it says otherwise.
    pub const DEFAULT: Self = Self {
        idle: 32,
        requests: 1000,
        time: Duration::from_hours(1),
        timeout: Duration::from_mins(1),
        local: true,
    };

    /// What a `proxy_pass` to a plain address has: each connection serves one request.
    pub const NONE: Self = Self { idle: 0, ..Self::DEFAULT };
}

/// What is counted for a group, since the program started.
#[derive(Debug, Default)]
pub struct Totals {
    /// Attempts beyond the first of their request.
    pub retries: AtomicU64,
    /// Health checks by result.
    pub checks: check::Results,
}

/// What the rows of an `upstream` block come to.
#[derive(Debug)]
pub struct Plan {
    /// The group's name, or host and port of a plain `proxy_pass`.
    pub name: String,
    /// The policy, and two of it: for the primary and for the backup servers.
    pub choices: [Choice<'static>; 2],
    /// What requests are hashed by, where the policy hashes.
    pub key: Option<Template>,
    /// How clients are bound to servers.
    pub sticky: Option<Sticky>,
    /// Its lines, in the order of the file.
    pub members: Vec<Member>,
    /// Whether it is one of `stream`.
    pub is_stream: bool,
    /// Of idle connections.
    pub keepalive: Keepalive,
    /// Idle connections of all workers, carried over from the configuration before this one.
    pub idle: Arc<AtomicU32>,
    /// Counts, carried over likewise.
    pub totals: Arc<Totals>,
    /// Servers of that configuration.
    pub before: Vec<Server>,
    /// What keeps it serving, carried over as far as it stays what it was.
    pub protections: Protections,
    /// The file that its servers stand in, `None` where that is the configuration.
    pub state: Option<State>,
    /// How servers are asked for their load, `None` where the balancer answers for them.
    pub probe: Option<Probe>,
    /// Where the policy's chance begins.
    pub seed: u64,
}

/// nginx's default policy, for the primary and for the backup servers.
pub(crate) fn default_choices() -> [Choice<'static>; 2] {
    [(); 2].map(|()| Choice::of_directive(&[]).expect("the default policy is in the catalog"))
}
