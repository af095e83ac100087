//! Answers of our own: pages, `return`, `stub_status`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::engine::connection::{After, Connection};
use crate::engine::exchange::Exchange;
use crate::engine::h1::body::Framing;
use crate::engine::h1::request::Version;
use crate::engine::h1::write;
use crate::engine::{Totals, clock};
use crate::http::location::Location;
use crate::http::rewrite::Return;
use crate::http::{Action, page};

/// Statuses after which nginx closes the connection.
fn closes(status: u16) -> bool {
    matches!(status, 400 | 413 | 414 | 494..=497 | 500 | 501)
}

impl Connection<'_> {
    /// Answers without an upstream, then reads what is left of the request.
    pub(super) async fn answer(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        action: Action<'_>,
    ) -> After {
        let (status, body, content_type, target) = self.content(exchange, location, action);
        exchange.status = status;
        let stays = exchange.request.keep_alive && !closes(status);
        let framing = body_framing(exchange);
        if exchange.request.version != Version::Http09 {
            let head = Head {
                status,
                content_type: &content_type,
                length: body.as_ref().map(Vec::len),
                location: target.as_deref(),
                stays,
            };
            write_head(exchange, location, &head);
        }
        let mut out = std::mem::take(&mut exchange.out);
        exchange.sent_head = out.len() as u64;
        if !exchange.is_head() {
            out.extend_from_slice(body.as_deref().unwrap_or_default());
        }
        let sent = self.send(&out, location.core.send_timeout).await;
        out.clear();
        exchange.out = out;
        exchange.ended = clock::now();
        match sent {
            Ok(sent) => exchange.sent += sent,
            Err(_) => return After::Close,
        }
        exchange.completed = true;
        let has_rest = !framing.is_over();
        if stays && (!has_rest || self.discard(exchange, framing).await) {
            After::Keep
        } else if has_rest || closes(status) {
            After::Linger
        } else {
            After::Close
        }
    }

    /// Status, body, type and target of an answer.
    fn content(
        &self,
        exchange: &Exchange,
        location: &Location,
        action: Action<'_>,
    ) -> (u16, Option<Vec<u8>>, String, Option<Vec<u8>>) {
        let html = || "text/html".to_owned();
        let page = |status| page::body(status, location.core.server, pads(exchange));
        match action {
            Action::Return(answer) => returned(exchange, location, answer, page),
            Action::StubStatus => {
                let body = stub_status(&self.shared.stats.totals());
                (200, Some(body.into_bytes()), "text/plain".to_owned(), None)
            }
            Action::Status(status) => {
                (status, Some(page(status).unwrap_or_default()), html(), None)
            }
            Action::Forward(_) | Action::Close => (500, page(500), html(), None),
        }
    }

    /// Sends bytes; the number of them when all are sent.
    pub(super) async fn send(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<u64> {
        let mut at = 0;
        self.deadline.arm(timeout);
        poll_fn(|context| {
            while at < bytes.len() {
                match Pin::new(&mut self.stream).poll_write(context, &bytes[at..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(sent)) => {
                        at += sent;
                        self.deadline.arm(timeout);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        return self
                            .deadline
                            .poll(context)
                            .map(|()| Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        Ok(at as u64)
    }
}

fn returned(
    exchange: &Exchange,
    location: &Location,
    answer: &Return,
    page: impl Fn(u16) -> Option<Vec<u8>>,
) -> (u16, Option<Vec<u8>>, String, Option<Vec<u8>>) {
    let mut text = Vec::new();
    if let Some(template) = &answer.text {
        template.write(exchange, &mut text);
    }
    let html = || "text/html".to_owned();
    if answer.is_redirect() && answer.text.is_some() {
        return (answer.status, page(answer.status), html(), Some(absolute(exchange, text)));
    }
    match (&answer.text, answer.status) {
        (_, 204) => (204, None, String::new(), None),
        (Some(_), status) => {
            (status, Some(text), location.core.content_type(&exchange.path).to_owned(), None)
        }
        (None, status @ 400..) => (status, Some(page(status).unwrap_or_default()), html(), None),
        (None, status) => (status, Some(Vec::new()), String::new(), None),
    }
}

/// Makes a target that starts with `/` absolute, as `absolute_redirect on` does.
fn absolute(exchange: &Exchange, target: Vec<u8>) -> Vec<u8> {
    if target.first() != Some(&b'/') {
        return target;
    }
    let mut out = b"http://".to_vec();
    if exchange.host.is_empty() {
        let name = exchange.server.as_ref().map_or("", |it| it.name.as_str());
        out.extend_from_slice(name.as_bytes());
    } else {
        out.extend_from_slice(&exchange.host);
    }
    let port = exchange.client.as_ref().and_then(|it| it.local).map(|it| it.port());
    if let Some(port) = port.filter(|it| *it != 80) {
        out.push(b':');
        write::decimal(&mut out, u64::from(port));
    }
    out.extend_from_slice(&target);
    out
}

/// Whether the browser is one that replaces short error pages by its own.
fn pads(exchange: &Exchange) -> bool {
    let hash = crate::engine::h1::field::hash(b"user-agent");
    let agent = exchange.field(hash, b"user-agent").map(|it| exchange.text(it.value));
    agent.is_some_and(|it| {
        memchr::memmem::find(it, b"MSIE ").is_some()
            || memchr::memmem::find(it, b"Chrome/").is_some()
    })
}

fn stub_status(totals: &Totals) -> String {
    let Totals { accepted, handled, requests, active, reading, writing, waiting, .. } = totals;
    format!(
        "Active connections: {active} \nserver accepts handled requests\n {accepted} {handled} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    )
}

/// How the request's body ends, nothing of it read yet.
pub(super) fn body_framing(exchange: &Exchange) -> Framing {
    match exchange.request.content_length {
        _ if exchange.request.chunked => Framing::chunked(),
        Some(length) => Framing::Length(length),
        None => Framing::Empty,
    }
}

struct Head<'a> {
    status: u16,
    content_type: &'a str,
    length: Option<usize>,
    location: Option<&'a [u8]>,
    stays: bool,
}

/// Writes the head of a local answer, in nginx's order.
fn write_head(exchange: &mut Exchange, location: &Location, head: &Head<'_>) {
    let mut out = std::mem::take(&mut exchange.out);
    out.clear();
    let sent = page::sent_status(head.status);
    write::status_line(&mut out, sent, page::reason(head.status).as_bytes());
    write::field(&mut out, b"Server", location.core.server.as_bytes());
    clock::with_date(|date| write::field(&mut out, b"Date", date));
    if head.length.is_some_and(|it| it > 0) && !head.content_type.is_empty() {
        write::field(&mut out, b"Content-Type", head.content_type.as_bytes());
    }
    if let Some(length) = head.length {
        out.extend_from_slice(b"Content-Length: ");
        write::decimal(&mut out, length as u64);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(target) = head.location {
        write::field(&mut out, b"Location", target);
    }
    connection(&mut out, location, head.stays);
    added(&mut out, exchange, location, head.status);
    out.extend_from_slice(b"\r\n");
    exchange.out = out;
}

/// Appends `Connection` and, where it is configured, `Keep-Alive`.
pub(super) fn connection(out: &mut Vec<u8>, location: &Location, stays: bool) {
    if !stays {
        out.extend_from_slice(b"Connection: close\r\n");
        return;
    }
    out.extend_from_slice(b"Connection: keep-alive\r\n");
    if let Some(timeout) = location.core.keepalive_header {
        out.extend_from_slice(b"Keep-Alive: timeout=");
        write::decimal(out, timeout.as_secs());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the `add_header` lines that go with a status.
pub(super) fn added(out: &mut Vec<u8>, exchange: &Exchange, location: &Location, status: u16) {
    for add in location.add_headers.iter().filter(|it| it.applies_to(status)) {
        let line = out.len();
        out.extend_from_slice(&add.name);
        out.extend_from_slice(b": ");
        let value = out.len();
        add.value.write(exchange, out);
        if out.len() == value {
            out.truncate(line);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
}
