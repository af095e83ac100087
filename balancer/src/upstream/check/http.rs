//! A check over HTTP: a request as the location would send it, and what its answer is worth.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use policy::Time;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::test::Test;
use crate::NGINX_VERSION;
use crate::engine::exchange::Exchange;
use crate::engine::h1::body::Framing;
use crate::engine::h1::chunked::Step;
use crate::engine::h1::request::{Limits, Progress};
use crate::engine::h1::response::Response;
use crate::engine::peer::{self, Outgoing};
use crate::engine::{Stream, clock};
use crate::http::location::Content;
use crate::http::proxy_pass::{Announced, Proxy};
use crate::http::server::Server;
use crate::upstream::Address;

/// Most of a body that is looked at, as in nginx.
const LONGEST_BODY: usize = 256 * 1024;

/// Who is asked, and for what.
#[derive(Debug)]
pub(super) struct Http {
    /// The server whose location it is.
    pub(super) server: Arc<Server>,
    /// The number of the location; it has a `proxy_pass`.
    pub(super) location: usize,
    /// What is asked for.
    pub(super) uri: Vec<u8>,
    /// What answers are held against, `None` for nginx's default: 2xx and 3xx are good.
    pub(super) test: Option<Arc<Test>>,
    /// How long a connection serves check after check.
    pub(super) keepalive_time: Duration,
}

/// A connection that may serve the next check.
#[derive(Debug)]
pub(in crate::upstream) struct Kept {
    pub(in crate::upstream) stream: Stream,
    pub(in crate::upstream) opened: Time,
}

/// What was being done when a check failed, and why.
pub(in crate::upstream) type Failed = (&'static str, String);

pub(super) const CONNECTING: &str = "connecting to upstream";
pub(super) const SENDING: &str = "sending request to upstream";
pub(super) const READING: &str = "reading response header from upstream";
const BODY: &str = "reading upstream";

/// Waits for something, but not too long.
pub(super) async fn within<T, E: Display>(
    patience: Duration,
    doing: &'static str,
    what: impl Future<Output = Result<T, E>>,
) -> Result<T, Failed> {
    match timeout(patience, what).await {
        Ok(done) => done.map_err(|it| (doing, it.to_string())),
        Err(_) => Err((doing, "upstream timed out (110: Connection timed out)".to_owned())),
    }
}

fn closed() -> io::Error {
    io::Error::other("upstream prematurely closed connection")
}

impl Http {
    /// How the location sends requests, `None` where it does not.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        match &self.server.locations[self.location].content {
            Content::Proxy(proxy) => Some(proxy),
            _ => None,
        }
    }

    /// The request that stands for a check: nobody's, for the URI of the check.
    fn exchange(&self, proxy: &Proxy) -> Exchange {
        let mut exchange = Exchange {
            server: Some(Arc::clone(&self.server)),
            location: Some(self.location),
            proxy_uri: Some(self.uri.clone()),
            proxy_host: proxy.host.clone(),
            started: clock::now(),
            ..Exchange::default()
        };
        let bytes = &mut exchange.input.bytes;
        bytes.extend_from_slice(b"GET ");
        bytes.extend_from_slice(&self.uri);
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        bytes.extend_from_slice(&proxy.host);
        bytes.extend_from_slice(b"\r\n\r\n");
        // What of it cannot be read leaves variables without a value.
        let limits = Limits::default();
        let parsed = exchange.request.parse(&exchange.input.bytes, &limits);
        if parsed.is_ok_and(|it| it == Progress::Complete) && exchange.split_path(true).is_ok() {
            exchange.input.keep_head(exchange.request.end);
        }
        exchange
    }

    fn request(&self, proxy: &Proxy) -> (Vec<u8>, Outgoing) {
        let exchange = self.exchange(proxy);
        let mut head = Vec::new();
        proxy.write_head(&exchange, Announced::None, &mut head);
        head.truncate(head.len() - 2);
        let sets = |name: &str| {
            proxy.set_headers.iter().any(|it| it.name.eq_ignore_ascii_case(name.as_bytes()))
        };
        if !sets("User-Agent") {
            let agent = format!("User-Agent: nginx/{NGINX_VERSION} (health check)\r\n");
            head.extend_from_slice(agent.as_bytes());
        }
        if self.keepalive_time.is_zero() && !sets("Connection") {
            head.extend_from_slice(b"Connection: close\r\n");
        }
        head.extend_from_slice(b"\r\n");
        (head, proxy.sockets.of(&exchange).unwrap_or_else(|(plain, _)| plain))
    }

    /// Makes the check.
    pub(super) async fn probe(
        &self,
        address: &Address,
        kept: &mut Option<Kept>,
    ) -> Result<(), Failed> {
        let Some(proxy) = self.proxy() else { return Ok(()) };
        let (request, way) = self.request(proxy);
        let patience = [proxy.send_timeout, proxy.read_timeout];
        let is_fresh = |it: &Kept| clock::now().since(it.opened) < self.keepalive_time;
        // A kept connection that its server has closed says nothing: a new one is asked.
        let again = match kept.take().filter(is_fresh) {
            Some(kept) => Answer::ask(kept, &request, patience).await.ok(),
            None => None,
        };
        let mut answer = match again {
            Some(answer) => answer,
            None => {
                let opening = peer::open(address, &way);
                let stream = within(proxy.connect_timeout, CONNECTING, opening).await?;
                let fresh = Kept { stream, opened: clock::now() };
                Answer::ask(fresh, &request, patience).await?
            }
        };
        let may_stay = answer.response.keep_alive && !self.keepalive_time.is_zero();
        if may_stay || self.test.as_ref().is_some_and(|it| it.reads_body()) {
            within(proxy.read_timeout, BODY, answer.read_body()).await?;
        }
        let Answer { from, bytes, response, body, is_whole } = answer;
        if may_stay && is_whole {
            *kept = Some(from);
        }
        let status = response.status;
        let objection = match &self.test {
            None => (!(200..400).contains(&status)).then_some("checking status code"),
            Some(test) => {
                let mut exchange = self.exchange(proxy);
                (exchange.reply.bytes, exchange.response) = (bytes, response);
                test.objection(&exchange, &body)
            }
        };
        objection.map_or(Ok(()), |it| Err((it, format!("upstream answered {status}"))))
    }
}

/// The answer to a check, on the connection it comes from.
pub(in crate::upstream) struct Answer {
    from: Kept,
    /// The head, and behind it what has been read and not looked at.
    pub(in crate::upstream) bytes: Vec<u8>,
    pub(in crate::upstream) response: Response,
    body: Vec<u8>,
    /// Whether nothing more comes.
    is_whole: bool,
}

impl Answer {
    /// Sends a request and reads the head of its answer, each within a time.
    pub(in crate::upstream) async fn ask(
        mut from: Kept,
        request: &[u8],
        [to_send, to_read]: [Duration; 2],
    ) -> Result<Self, Failed> {
        within(to_send, SENDING, from.stream.write_all(request)).await?;
        let (mut bytes, mut response) = (Vec::new(), Response::default());
        let reading = async {
            loop {
                let parsed = response.parse(&bytes).map_err(|it| io::Error::other(it.0))?;
                if parsed == Progress::Complete && 200 <= response.status {
                    return Ok(());
                }
                if parsed == Progress::Complete {
                    bytes.drain(..response.end);
                    response.clear();
                } else if LONGEST_BODY < bytes.len() {
                    return Err(io::Error::other("upstream sent too big header"));
                } else if from.stream.read_buf(&mut bytes).await? == 0 {
                    return Err(closed());
                }
            }
        };
        within(to_read, READING, reading).await?;
        Ok(Self { from, bytes, response, body: Vec::new(), is_whole: false })
    }

    /// Reads the body to its end, or as much of it as is looked at.
    async fn read_body(&mut self) -> io::Result<()> {
        let mut framing = self.response.framing(false);
        let mut at = self.response.end;
        while self.body.len() < LONGEST_BODY {
            match framing.step(&self.bytes[at..]).map_err(|_| io::Error::other("bad chunk"))? {
                Step::Data { skip, data } => {
                    self.body.extend_from_slice(&self.bytes[at + skip..][..data]);
                    at += skip + data;
                }
                Step::End { skip } => {
                    self.is_whole = at + skip == self.bytes.len();
                    return Ok(());
                }
                Step::More { skip } => {
                    at += skip;
                    if self.from.stream.read_buf(&mut self.bytes).await? == 0 {
                        return if matches!(framing, Framing::UntilClose) {
                            Ok(())
                        } else {
                            Err(closed())
                        };
                    }
                }
            }
        }
        Ok(())
    }
}
