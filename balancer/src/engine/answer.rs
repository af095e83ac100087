//! Answers of our own: pages, `return`, `stub_status`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::engine::coding::{self, Then};
use crate::engine::connection::{After, Connection};
use crate::engine::exchange::Exchange;
use crate::engine::h1::body::Framing;
use crate::engine::h1::chunked::Step;
use crate::engine::h1::request::Version;
use crate::engine::head::Head;
use crate::engine::{Totals, clock};
use crate::http::filter::Outlet;
use crate::http::location::Location;
use crate::http::not_modified::Conditions;
use crate::http::rewrite::Return;
use crate::http::{Action, browser, page};
use crate::logs::{self, Level};

/// Statuses after which nginx closes the connection.
pub(super) fn closes(status: u16) -> bool {
    matches!(status, 400 | 413 | 414 | 495..=497 | 500 | 501)
}

impl Connection<'_> {
    /// Answers without an upstream, then reads what is left of the request.
    pub(super) async fn answer(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        action: Action<'_>,
    ) -> After {
        let is_served = match action {
            Action::Return(answer) => answer.text.is_some() || answer.status < 400,
            Action::StubStatus | Action::Listing => true,
            _ => false,
        };
        if is_served {
            self.invite(exchange, location).await;
        }
        let action = if is_served && has_bad_body(exchange) { Action::Status(400) } else { action };
        let is_listing = matches!(action, Action::Listing);
        let (mut status, mut body, mut content_type, mut target) =
            self.content(exchange, location, action);
        if matches!(status, 301 | 302) && location.browsers.refreshes(exchange) {
            body = Some(browser::refresh_page(&target.take().unwrap_or_default()));
            status = 200;
        }
        // An `error_page` decides on the status of whatever answers in the end.
        let status = exchange.error_status.take().unwrap_or(status);
        let framing = body_framing(exchange);
        // It may have waited until now.
        exchange.request.keep_alive &= !self.is_leaving();
        let status = if status == 200 { held(exchange, location).unwrap_or(200) } else { status };
        if status == 412 {
            (_, body, content_type, target) =
                self.content(exchange, location, Action::Status(status));
        }
        exchange.status = page::sent_status(status);
        let head = begin(exchange, location, status);
        if !matches!(status, 204 | 304) {
            head.content_type.extend_from_slice(content_type.as_bytes());
            // nginx sends a list while it writes it.
            head.content_length = body.as_ref().filter(|_| !is_listing).map(|it| it.len() as u64);
        }
        if let Some(target) = target {
            location.redirects.tell(exchange, &target);
        }
        let has_body = body.is_some() && !exchange.is_head() && !matches!(status, 204 | 304);
        let mut outlet = location.filters.apply(exchange, has_body);
        let mut out = finish_head(exchange, location);
        let body = body.filter(|_| has_body);
        let encoded = body.map(|it| end_body(exchange, location, &mut outlet, &it, &mut out));
        let sent = match encoded {
            Some(Err(error)) => Err(error),
            _ => self.pour(exchange, location, &out).await,
        };
        out.clear();
        exchange.out = out;
        self.finish(exchange, sent, framing).await
    }

    /// Asks a client that waits for it to send the body of its request.
    ///
    /// Source: nginx `ngx_http_request_body.c`, `ngx_http_test_expect`.
    pub(super) async fn invite(&mut self, exchange: &mut Exchange, location: &Location) {
        if std::mem::take(&mut exchange.request.expects_continue) {
            // A client that is gone is met again when the answer is sent.
            let line = b"HTTP/1.1 100 Continue\r\n\r\n";
            let sent = self.send(line, location.core.send_timeout).await;
            // nginx counts them for the body of the answer.
            exchange.sent += sent.unwrap_or_default();
        }
    }

    /// Sends bytes of an answer, as fast as `limit_rate` allows, and counts them.
    pub(super) async fn pour(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        bytes: &[u8],
    ) -> io::Result<()> {
        let timeout = location.core.send_timeout;
        let Some(pace) = location.filters.limit_rate.pace(exchange) else {
            exchange.sent += self.send(bytes, timeout).await?;
            return Ok(());
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            match pace.room(exchange.sent, exchange.started, clock::now()) {
                Ok(room) => {
                    let (part, later) = rest.split_at(room.min(rest.len()));
                    let before = exchange.sent;
                    exchange.sent += self.send(part, timeout).await?;
                    rest = later;
                    if !rest.is_empty() {
                        self.pause(exchange, pace.pause(before, exchange.sent)).await?;
                    }
                }
                Err(wait) => self.pause(exchange, wait).await?,
            }
        }
        Ok(())
    }

    /// Waits; an error as soon as the client is gone.
    async fn pause(&mut self, exchange: &mut Exchange, time: Duration) -> io::Result<()> {
        self.deadline.arm(time);
        poll_fn(|context| {
            if self.client_is_gone(context, exchange) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.deadline.poll(context).map(Ok)
        })
        .await
    }

    /// Reads what is left of a request whose answer was sent.
    pub(super) async fn finish(
        &mut self,
        exchange: &mut Exchange,
        sent: io::Result<()>,
        framing: Framing,
    ) -> After {
        exchange.ended = clock::now();
        if let Err(error) = sent {
            let is_late = error.kind() == io::ErrorKind::TimedOut;
            return if is_late { After::Late } else { After::Close };
        }
        exchange.completed = true;
        let has_rest = exchange.has_dropped_body || !framing.is_over();
        let stays = exchange.request.keep_alive;
        if stays && (!has_rest || self.discard(exchange, framing).await) {
            After::Keep
        } else if has_rest || closes(exchange.status) {
            After::Linger
        } else {
            After::Close
        }
    }

    /// Status, body, type and target of an answer.
    fn content(
        &self,
        exchange: &mut Exchange,
        location: &Location,
        action: Action<'_>,
    ) -> (u16, Option<Vec<u8>>, String, Option<Vec<u8>>) {
        let html = || "text/html".to_owned();
        let pads = location.browsers.pads(exchange);
        let page = |status| page::body(status, location.core.server, pads);
        match action {
            Action::Return(answer) => returned(exchange, location, answer, page),
            Action::Listing => match exchange.listing.take() {
                Some(it) => (200, Some(it.body), it.content_type.to_owned(), None),
                None => (500, page(500), html(), None),
            },
            Action::StubStatus => {
                let body = stub_status(&self.shared.stats.totals());
                (200, Some(body.into_bytes()), "text/plain".to_owned(), None)
            }
            Action::Redirect(status) => {
                exchange.error_status = None;
                let target = exchange.redirect.take().unwrap_or_default();
                (status, page(status), html(), Some(target))
            }
            Action::Status(status) => {
                let status = exchange.error_status.unwrap_or(status);
                let target = exchange.redirect.take();
                match page(status) {
                    Some(body) => (status, Some(body), html(), target),
                    None => (status, Some(Vec::new()), String::new(), target),
                }
            }
            Action::Forward(_) | Action::Close | Action::Lead | Action::File => {
                (500, page(500), html(), None)
            }
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
    exchange: &mut Exchange,
    location: &Location,
    answer: &Return,
    page: impl Fn(u16) -> Option<Vec<u8>>,
) -> (u16, Option<Vec<u8>>, String, Option<Vec<u8>>) {
    let mut text = Vec::new();
    exchange.status = exchange.error_status.unwrap_or(answer.status);
    if let Some(template) = &answer.text {
        template.write(exchange, &mut text);
    }
    let target = exchange.redirect.take();
    match (&answer.text, answer.status) {
        (Some(_), status) => (status, Some(text), kind_of(exchange, location), target),
        (None, status @ 400..) if let Some(page) = page(status) => {
            (status, Some(page), "text/html".to_owned(), None)
        }
        (None, status) => {
            let is_redirect = matches!(status, 301..=303 | 307 | 308);
            let kind = if is_redirect { String::new() } else { kind_of(exchange, location) };
            (status, Some(Vec::new()), kind, None)
        }
    }
}

/// The type of what a path stands for, unless an answer that led here has named it.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_set_content_type`.
pub(super) fn kind_of(exchange: &Exchange, location: &Location) -> String {
    match exchange.kept_type.as_str() {
        "" => location.core.content_type(&exchange.path).to_owned(),
        kept => kept.to_owned(),
    }
}

fn stub_status(totals: &Totals) -> String {
    let Totals { accepted, handled, requests, active, reading, writing, waiting, .. } = totals;
    format!(
        "Active connections: {active} \nserver accepts handled requests\n {accepted} {handled} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    )
}

/// Whether what has come of the request's body are chunks that are none; tells of it.
///
/// Source: nginx `ngx_http_request_body.c`, `ngx_http_discard_request_body`.
pub(super) fn has_bad_body(exchange: &Exchange) -> bool {
    let mut framing = body_framing(exchange);
    let mut rest = exchange.input.unread();
    let is_bad = loop {
        match framing.step(rest) {
            Ok(Step::Data { skip, data }) => rest = &rest[skip + data..],
            Ok(Step::More { .. } | Step::End { .. }) => break false,
            Err(_) => break true,
        }
    };
    if is_bad {
        logs::note(Level::Error, exchange, "client sent invalid chunked body", "");
    }
    is_bad
}

/// How the request's body ends, nothing of it read yet.
pub(super) fn body_framing(exchange: &Exchange) -> Framing {
    match exchange.request.content_length {
        _ if exchange.held == Some(0) => Framing::Empty,
        _ if exchange.held.is_some() => Framing::Length(exchange.held.unwrap_or_default()),
        _ if exchange.request.chunked => Framing::chunked(),
        Some(length) => Framing::Length(length),
        None => Framing::Empty,
    }
}

/// What is sent instead of an answer that the client has, or does not want: 412, 304 or nothing.
fn held(exchange: &Exchange, location: &Location) -> Option<u16> {
    Conditions::of(exchange).status(None, None, location.files.since)
}

/// Begins the head of an answer of ours.
pub(super) fn begin<'a>(
    exchange: &'a mut Exchange,
    location: &Location,
    status: u16,
) -> &'a mut Head {
    let head = &mut exchange.head;
    head.clear();
    head.status = page::sent_status(status);
    head.reason.extend_from_slice(page::reason(status).as_bytes());
    head.stays = exchange.request.keep_alive && !closes(status);
    head.keep_alive = location.core.keepalive_header;
    if !exchange.binding_cookie.is_empty() {
        head.add(b"Set-Cookie", &exchange.binding_cookie);
    }
    head.fields.extend_from_slice(&exchange.kept_fields);
    head
}

/// Writes the head, for which the exchange's own memory is taken.
pub(super) fn finish_head(exchange: &mut Exchange, location: &Location) -> Vec<u8> {
    exchange.request.keep_alive = exchange.head.stays;
    let mut out = std::mem::take(&mut exchange.out);
    out.clear();
    if exchange.request.version != Version::Http09 {
        exchange.head.write(location.core.server, &mut out);
    }
    exchange.sent_head = out.len() as u64;
    out
}

/// Writes the last bytes of a body, and what follows it.
pub(super) fn end_body(
    exchange: &mut Exchange,
    location: &Location,
    outlet: &mut Outlet,
    data: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let Some(coding) = &mut outlet.coding else {
        coding::chunk(outlet.chunked, data, out);
        if outlet.chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        return Ok(());
    };
    coding.encode(data, Then::End, out)?;
    exchange.compressed = coding.ratio();
    if outlet.has_trailers {
        location.filters.trail(exchange, out);
    }
    Ok(())
}
