//! Asks the guards of a location whether a request goes on.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::client::verdict;
use crate::conf::error::os_text;
use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::h1::write;
use crate::engine::look;
use crate::http::auth_basic;
use crate::http::guard::Guards;
use crate::http::limit_req::Verdict;
use crate::logs::{self, Level};

/// What the guards say.
pub(super) enum Admitted {
    /// It goes on.
    Passed,
    /// It gets this status.
    Refused(u16),
    /// The client went while its request waited.
    Gone,
}

impl Connection<'_> {
    /// Asks all guards, in nginx's order; a request that `limit_req` holds back waits here.
    pub(super) async fn admit(&mut self, exchange: &mut Exchange, guards: &Guards) -> Admitted {
        if let Some(real_ip) = &guards.real_ip {
            real_ip.apply(exchange);
        }
        if let Some(limit) = &guards.limit_req {
            match limit.judge(exchange, clock::now()) {
                Verdict::Pass => {}
                Verdict::Wait(time) if self.holds_out(exchange, time).await => {}
                Verdict::Wait(_) => return Admitted::Gone,
                Verdict::Refuse(status) => return Admitted::Refused(status),
            }
        }
        if let Some(status) = guards.limit_conn.as_ref().and_then(|it| it.judge(exchange)) {
            return Admitted::Refused(status);
        }
        let Some(status) = check(exchange, guards) else { return Admitted::Passed };
        if status == 401 && !guards.delay.is_zero() && !self.holds_out(exchange, guards.delay).await
        {
            return Admitted::Gone;
        }
        Admitted::Refused(status)
    }

    /// Waits; false as soon as the client is gone.
    async fn holds_out(&mut self, exchange: &mut Exchange, time: Duration) -> bool {
        let mut waited = pin!(tokio::time::sleep(time));
        poll_fn(|context| {
            if waited.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            while exchange.input.has_room() {
                match exchange.input.poll_fill(context, &mut self.stream) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Asks who is there: the status of a refusal. With `satisfy any` the first consent counts, and of
/// refusals one that can be mended by a password.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_access_phase`.
fn check(exchange: &mut Exchange, guards: &Guards) -> Option<u16> {
    let client = exchange.client.as_ref().and_then(|it| it.address).map(|it| it.ip());
    let forbidden = "access forbidden by rule";
    let mut refused = None;
    match verdict(&guards.rules, client) {
        Some(true) if guards.is_any_enough => return None,
        Some(false) if guards.is_any_enough => refused = Some(403),
        Some(false) => {
            logs::note(Level::Error, exchange, forbidden, "");
            return Some(403);
        }
        Some(true) | None => {}
    }
    let judged = guards
        .auth_basic
        .as_ref()
        .map_or(auth_basic::Verdict::Open, |it| it.judge(exchange, passwords));
    match judged {
        auth_basic::Verdict::Open => {}
        auth_basic::Verdict::Pass => return None,
        auth_basic::Verdict::Ask(why, challenge) => {
            let level = if why.starts_with("no user") { Level::Info } else { Level::Error };
            logs::note(level, exchange, &why, "");
            write::field(&mut exchange.kept_fields, b"WWW-Authenticate", &challenge);
            return Some(401);
        }
        auth_basic::Verdict::Fail(status, why) => {
            logs::note(Level::Error, exchange, &why, "");
            if status != 403 || !guards.is_any_enough {
                return Some(status);
            }
            refused = Some(403);
        }
    }
    if refused.is_some() {
        logs::note(Level::Error, exchange, forbidden, "");
    }
    refused
}

/// A file of passwords, read anew for each request, as nginx does.
fn passwords(path: &[u8]) -> Result<Vec<u8>, (u16, String)> {
    look::contents(path).map_err(|error| {
        let path = String::from_utf8_lossy(path);
        let status = if error.kind() == io::ErrorKind::NotFound { 403 } else { 500 };
        (status, format!("open() \"{path}\" failed {}", os_text(&error)))
    })
}
