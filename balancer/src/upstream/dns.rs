//! Names → addresses by the servers of a `resolver`, without a blocking call; answers are kept as
//! long as they hold.
//!
//! Source: nginx `ngx_resolver.c`. Difference: all workers share what is known.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout};

use self::message::{Kind, Reply, Service};

pub mod message;
pub mod rows;

/// nginx's `resend_timeout` and `tcp_timeout`: a server that is silent for so long is passed over.
const RESEND: Duration = Duration::from_secs(5);
/// Names that stand for other names, one after another; nginx's `NGX_RESOLVER_MAX_RECURSION`.
const MOST_ALIASES: u32 = 50;
/// Known names from which on those that no longer hold are looked for and dropped.
const MANY_NAMES: usize = 256;
/// A datagram may hold no more.
const LARGEST: usize = 65_535;

/// Why a name has no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unresolved(pub u16);

impl Unresolved {
    /// There is no such name.
    pub const NOT_FOUND: Self = Self(3);
    /// No server answered in time.
    pub const LATE: Self = Self(110);

    /// Whether that was the answer; else nobody has answered.
    pub fn says_no(self) -> bool {
        matches!(self.0, 1 | 3)
    }
}

/// As nginx logs it: `3: Host not found`.
impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            1 => "Format error",
            2 => "Server failure",
            3 => "Host not found",
            4 => "Unimplemented",
            5 => "Operation refused",
            110 => "Operation timed out",
            _ => "Unknown error",
        };
        write!(f, "{}: {text}", self.0)
    }
}

/// What a `resolver` line comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Asked in turn.
    pub servers: Vec<SocketAddr>,
    /// How long an answer is kept, `None` for as long as it says itself.
    pub valid: Option<Duration>,
    /// Whether IPv4 addresses are asked for.
    pub ipv4: bool,
    /// Whether IPv6 addresses are asked for.
    pub ipv6: bool,
}

/// What is known of a name.
#[derive(Clone, Debug)]
struct Known {
    /// When it was found out.
    at: Instant,
    until: Instant,
    answer: Result<Answer, Unresolved>,
}

/// The addresses or the services of a name.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// As the servers list them.
    pub services: Vec<Service>,
}

/// One name: whoever asks for it waits for the one that is asking already.
#[derive(Debug, Default)]
struct Slot {
    asking: tokio::sync::Mutex<()>,
    known: Mutex<Option<Known>>,
}

impl Slot {
    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Names = HashMap<(String, bool), Arc<Slot>>;

/// The servers of one `resolver` line, and what they said.
#[derive(Debug)]
pub struct Resolver {
    plan: Plan,
    /// By name in lower case, and whether its services are meant.
    names: Mutex<Names>,
    next: AtomicUsize,
    chance: RandomState,
}

impl Resolver {
    /// One that knows nothing yet.
    pub fn new(plan: Plan) -> Self {
        let (names, next) = (Mutex::default(), AtomicUsize::new(0));
        Self { plan, names, next, chance: RandomState::new() }
    }

    /// The addresses of a name, and until when they hold. How long that may take is the caller's
    /// to limit.
    pub async fn addresses(&self, name: &str) -> Result<(Vec<IpAddr>, Instant), Unresolved> {
        let (answer, until) = self.answer(name, false).await?;
        Ok((answer.addresses, until))
    }

    /// Who offers the service of this whole name.
    pub async fn services(&self, name: &str) -> Result<(Vec<Service>, Instant), Unresolved> {
        let (answer, until) = self.answer(name, true).await?;
        Ok((answer.services, until))
    }

    async fn answer(&self, name: &str, is_service: bool) -> Result<(Answer, Instant), Unresolved> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let slot = self.slot(name.clone(), is_service);
        let came = Instant::now();
        if let Some(Known { answer: Ok(answer), until, .. }) = slot.known().clone()
            && came < until
        {
            return Ok((answer, until));
        }
        let _turn = slot.asking.lock().await;
        // Somebody may have asked meanwhile; a failure is shared by those who waited for it.
        if let Some(known) = slot.known().clone()
            && (came <= known.at || Instant::now() < known.until)
        {
            return known.answer.map(|it| (it, known.until));
        }
        let (answer, ttl) = match self.ask_all(&name, is_service).await {
            Ok((answer, ttl)) => (Ok(answer), self.plan.valid.unwrap_or(ttl)),
            Err(failed) => (Err(failed), Duration::ZERO),
        };
        let at = Instant::now();
        let until = at + ttl;
        *slot.known() = Some(Known { at, until, answer: answer.clone() });
        answer.map(|it| (it, until))
    }

    fn slot(&self, name: String, is_service: bool) -> Arc<Slot> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if MANY_NAMES <= names.len() {
            let now = Instant::now();
            names.retain(|_, slot| {
                1 < Arc::strong_count(slot)
                    || slot.known().as_ref().is_some_and(|it| now < it.until)
            });
        }
        Arc::clone(names.entry((name, is_service)).or_default())
    }

    /// Asks for everything that is wanted of a name.
    async fn ask_all(
        &self,
        name: &str,
        is_service: bool,
    ) -> Result<(Answer, Duration), Unresolved> {
        let seconds = |it: &Reply| Duration::from_secs(it.ttl.into());
        if is_service {
            let reply = self.follow(name, Kind::Srv, self.turn()).await?;
            let ttl = seconds(&reply);
            return Ok((Answer { services: reply.services, ..Answer::default() }, ttl));
        }
        let first = self.turn();
        let ask = async |kind, is_wanted: bool| {
            if is_wanted { Some(self.follow(name, kind, first).await) } else { None }
        };
        let (four, six) =
            tokio::join!(ask(Kind::A, self.plan.ipv4), ask(Kind::Aaaa, self.plan.ipv6));
        let replies = [four, six].into_iter().flatten();
        let (mut answer, mut ttl, mut failed) = (Answer::default(), Duration::MAX, None);
        for reply in replies {
            match reply {
                Ok(reply) => {
                    ttl = ttl.min(seconds(&reply));
                    answer.addresses.extend(reply.addresses);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if answer.addresses.is_empty() {
            return Err(failed.unwrap_or(Unresolved::NOT_FOUND));
        }
        Ok((answer, ttl))
    }

    /// Asks for one kind of record, and for that of the name it stands for where none comes along.
    async fn follow(&self, name: &str, kind: Kind, first: usize) -> Result<Reply, Unresolved> {
        let mut name = name.to_owned();
        let mut ttl = u32::MAX;
        for _ in 0..MOST_ALIASES {
            let mut reply = self.ask(&name, kind, first).await?;
            if reply.code != 0 {
                return Err(Unresolved(reply.code.into()));
            }
            ttl = ttl.min(reply.ttl);
            reply.ttl = ttl;
            if !reply.addresses.is_empty() || !reply.services.is_empty() {
                return Ok(reply);
            }
            name = reply.alias.ok_or(Unresolved::NOT_FOUND)?;
        }
        Err(Unresolved::NOT_FOUND)
    }

    /// Which server the next name is asked of first.
    fn turn(&self) -> usize {
        // Relaxed: the number only spreads names over servers.
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks one server after another until one answers.
    async fn ask(&self, name: &str, kind: Kind, first: usize) -> Result<Reply, Unresolved> {
        for turn in 0.. {
            let server = self.plan.servers[first.wrapping_add(turn) % self.plan.servers.len()];
            // Chance stands in the way of answers nobody was asked for.
            let mut hasher = self.chance.build_hasher();
            hasher.write_usize(first);
            hasher.write_usize(turn);
            hasher.write_u16(kind as u16);
            let id = u16::try_from(hasher.finish() & 0xffff).unwrap_or_default();
            let question = message::question(id, name, kind).ok_or(Unresolved::NOT_FOUND)?;
            let asked = Instant::now();
            let reply = match timeout(RESEND, by_datagram(server, &question)).await {
                Ok(Ok(reply)) if reply.is_truncated => {
                    timeout(RESEND, by_stream(server, &question)).await
                }
                reply => reply,
            };
            match reply {
                Ok(Ok(reply)) => return Ok(reply),
                // A server that is not there is asked again no sooner than a silent one, unless
                // there is another.
                Ok(Err(_)) if (turn + 1) % self.plan.servers.len() == 0 => {
                    sleep(RESEND.saturating_sub(asked.elapsed())).await;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(Unresolved::LATE)
    }
}

async fn by_datagram(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Sent at once: what is asked first comes first.
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    socket.send(question)?;
    let socket = UdpSocket::from_std(socket)?;
    let mut bytes = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut bytes).await?;
        if let Some(reply) = message::reply(&bytes[..length], question) {
            return Ok(reply);
        }
    }
}

async fn by_stream(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    message::reply(&bytes, question).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
