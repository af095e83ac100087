//! Do servers answer when nobody asks? Checks in the background, each with a time of its own.
//!
//! A reload starts and stops checks by difference: what a check has found about a server, and when
//! it is due next, stands with the server.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policy::{Draw as _, SplitMix64};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::http::{CONNECTING, Failed, Http, Kept, READING, SENDING, within};
use self::rows::Line;
use self::talk::Talk;
use super::standing::{Change, Watched};
use super::{Address, Server, Upstream};
use crate::engine::peer::{self, Outgoing};
use crate::engine::{Shared, clock};
use crate::snapshot::Snapshot;

pub(super) mod http;
pub mod rows;
pub mod talk;
pub mod test;
pub mod watch;

/// One `health_check` and the group it is made of.
#[derive(Debug)]
pub struct Check {
    /// Whose servers are checked.
    pub upstream: Arc<Upstream>,
    watched: Watched,
    line: Line,
    how: How,
}

#[derive(Debug)]
enum How {
    Http(Http),
    /// A connection, and perhaps a talk over it.
    Plain {
        way: Outgoing,
        patience: Duration,
        talk: Option<Arc<Talk>>,
    },
}

/// How often the task looks for a new configuration and new servers.
const LOOK: Duration = Duration::from_millis(100);

impl Check {
    /// Has a location's group checked over HTTP.
    pub fn of_location(
        upstream: Arc<Upstream>,
        line: &Line,
        (server, location): (Arc<crate::http::server::Server>, usize),
        test: Option<Arc<test::Test>>,
    ) -> Self {
        let judged = format!("{test:?}");
        let uri = line.uri.as_bytes().to_vec();
        let keepalive_time = line.keepalive_time;
        let http = Http { server, location, uri, test, keepalive_time };
        let how = match http.proxy() {
            Some(proxy) if line.is_plain => {
                How::Plain { way: Outgoing::default(), patience: proxy.connect_timeout, talk: None }
            }
            _ => How::Http(http),
        };
        Self::new(upstream, line, how, &judged)
    }

    /// Has the group of a `stream` server checked.
    pub fn of_stream(
        upstream: Arc<Upstream>,
        line: &Line,
        patience: Duration,
        talk: Option<Arc<Talk>>,
    ) -> Self {
        let judged = format!("{talk:?}");
        let how = How::Plain { way: Outgoing::default(), patience, talk };
        Self::new(upstream, line, how, &judged)
    }

    fn new(upstream: Arc<Upstream>, line: &Line, how: How, judged: &str) -> Self {
        let watched = Watched {
            name: format!("{} {judged}", line.text).into(),
            is_mandatory: line.is_mandatory,
            is_persistent: line.is_persistent,
        };
        Self { upstream, watched, line: line.clone(), how }
    }

    /// Where a server is asked.
    fn address(&self, own: &Address) -> Address {
        match (own, self.line.port) {
            (Address::Inet(own), Some(port)) => Address::Inet(SocketAddr::new(own.ip(), port)),
            _ => own.clone(),
        }
    }

    async fn probe(&self, own: &Address, kept: &mut Option<Kept>) -> Result<(), Failed> {
        let address = self.address(own);
        match &self.how {
            How::Http(http) => http.probe(&address, kept).await,
            How::Plain { way, patience, talk } => {
                let made = timeout(*patience, talk_to(&address, way, *patience, talk.as_deref()));
                made.await.unwrap_or_else(|_| {
                    Err((READING, "upstream timed out (110: Connection timed out)".to_owned()))
                })
            }
        }
    }

    /// What the log calls it.
    fn title(&self) -> &str {
        match &self.how {
            How::Http(_) => self.line.uri.as_str(),
            How::Plain { .. } => "tcp",
        }
    }

    fn tell(&self, server: &Server, change: Change, found: &Result<(), Failed>) {
        let (title, peer, upstream) = (self.title(), &server.backend.name, &self.upstream.name);
        let check = format!("health check \"{title}\" of peer {peer} in upstream \"{upstream}\"");
        match (change, found) {
            (Change::Unhealthy, Err((doing, why))) => {
                tracing::warn!("peer is unhealthy while {doing} ({why}), {check}");
            }
            _ => tracing::info!("peer is healthy, {check}"),
        }
    }
}

/// Connects, says what there is to say, and listens until enough was heard.
async fn talk_to(
    address: &Address,
    way: &Outgoing,
    patience: Duration,
    talk: Option<&Talk>,
) -> Result<(), Failed> {
    let mut stream = within(patience, CONNECTING, peer::open(address, way)).await?;
    let Some(talk) = talk else { return Ok(()) };
    within(patience, SENDING, stream.write_all(talk.opening())).await?;
    let mut said = Vec::new();
    while talk.is_answered() && !talk.accepts(&said) {
        let reading = stream.read_buf(&mut said);
        if within(patience, READING, reading).await? == 0 || LONGEST_TALK < said.len() {
            return Err((READING, "upstream did not say what was expected".to_owned()));
        }
    }
    Ok(())
}

/// Most of what a server says that is listened to, in bytes.
const LONGEST_TALK: usize = 64 * 1024;

/// Watches the servers of a configuration that comes into force, and no others any more: what was
/// found about those that stay, stays.
pub fn prepare(snapshot: &Snapshot) {
    for upstream in snapshot.upstreams.iter().chain(&snapshot.stream_upstreams) {
        let own = snapshot.checks.iter().filter(|it| Arc::ptr_eq(&it.upstream, upstream));
        upstream.watch(own.map(|it| it.watched.clone()).collect());
    }
}

/// Makes the checks of the configuration in force; never ends.
pub async fn follow(shared: Arc<Shared>) {
    loop {
        let snapshot = shared.snapshot.load_full();
        // Those of the configuration before end when this is dropped.
        let mut checks = JoinSet::new();
        for check in &snapshot.checks {
            checks.spawn(keep(Arc::clone(check)));
        }
        while shared.generation() == snapshot.generation {
            sleep(LOOK).await;
        }
    }
}

/// Makes one check of every server, those that come and go included.
async fn keep(check: Arc<Check>) {
    loop {
        let revision = check.upstream.revision();
        let mut watches = JoinSet::new();
        for server in check.upstream.members().into_iter().filter(|it| !it.terms.down) {
            watches.spawn(watch(Arc::clone(&check), server));
        }
        while check.upstream.revision() == revision {
            sleep(LOOK).await;
        }
    }
}

/// Makes one check of one server again and again, while it is asked for.
async fn watch(check: Arc<Check>, server: Server) {
    let (name, line, backend) = (&check.watched.name, &check.line, &server.backend);
    let mut draw = SplitMix64::new(RandomState::new().build_hasher().finish());
    let mut kept = None;
    while let Some(due) = backend.due(name) {
        sleep(due.since(clock::now())).await;
        let began = clock::now();
        let found = check.probe(&backend.address, &mut kept).await;
        let now = clock::now();
        let next = now + line.interval + line.jitter.mul_f64(draw.unit());
        let times = (began, now, next);
        let change = backend.checked(name, found.is_ok(), line.limits, times, &server.terms);
        let results = &check.upstream.totals.checks;
        // Relaxed: a counter publishes no other memory.
        results[usize::from(found.is_err())].fetch_add(1, Ordering::Relaxed);
        if let Some(change) = change {
            check.tell(&server, change, &found);
        }
    }
}

/// Checks that passed, and that did not.
pub type Results = [AtomicU64; 2];
