//! Asks the guards of a location whether a request goes on.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::client::verdict;
use crate::conf::error::os_text;
use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::h1::write;
use crate::engine::look;
use crate::http::auth_basic;
use crate::http::auth_request::AuthRequest;
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
        let before = exchange.kept_fields.len();
        let mut opinion = check(exchange, guards).await;
        if let Some(auth_request) = &guards.auth_request
            && opinion.is_open(guards.is_any_enough)
        {
            let asked = Box::pin(self.authorize(exchange, auth_request)).await;
            opinion = match (opinion, asked) {
                (_, None) => return Admitted::Gone,
                // Of two refusals one that can be mended counts.
                (Opinion::Refuses(401), Some(Opinion::Refuses(403))) => Opinion::Refuses(401),
                (_, Some(asked)) => asked,
            };
        }
        let status = match opinion {
            Opinion::Silent => return Admitted::Passed,
            Opinion::Consents => {
                // Nobody is to be asked for a password who is let in without.
                exchange.kept_fields.truncate(before);
                return Admitted::Passed;
            }
            Opinion::Refuses(status) => status,
        };
        if status == 403 && guards.is_any_enough {
            logs::note(Level::Error, exchange, FORBIDDEN, "");
        }
        if status == 401 && !guards.delay.is_zero() && !self.holds_out(exchange, guards.delay).await
        {
            return Admitted::Gone;
        }
        Admitted::Refused(status)
    }

    /// Asks another location; `None` when the client is gone.
    ///
    /// Source: nginx `ngx_http_auth_request_module.c`, `ngx_http_auth_request_handler`.
    async fn authorize(
        &mut self,
        exchange: &mut Exchange,
        auth_request: &AuthRequest,
    ) -> Option<Opinion> {
        let answered = self.ask_within(exchange, &auth_request.target).await;
        auth_request.set(exchange, &answered);
        match answered.status {
            499 => None,
            200..=299 => Some(Opinion::Consents),
            403 => Some(Opinion::Refuses(403)),
            401 => {
                let reply = &answered.reply.bytes;
                for field in &answered.response.fields {
                    let name = field.name.of(reply);
                    if name.eq_ignore_ascii_case(b"www-authenticate") {
                        write::field(&mut exchange.kept_fields, name, field.value.of(reply));
                    }
                }
                Some(Opinion::Refuses(401))
            }
            status => {
                let text = format!("auth request unexpected status: {status}");
                // nginx is where the other request has left it.
                let action = if answered.attempts.is_empty() { "" } else { "sending to client" };
                logs::note(Level::Error, exchange, &text, action);
                Some(Opinion::Refuses(500))
            }
        }
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

const FORBIDDEN: &str = "access forbidden by rule";

/// What the guards that know at once say of who is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Opinion {
    /// Nothing against it.
    Silent,
    /// One has consented, and no other is to be asked.
    Consents,
    Refuses(u16),
}

impl Opinion {
    /// Whether another guard may still decide.
    fn is_open(self, is_any_enough: bool) -> bool {
        match self {
            Self::Silent => true,
            Self::Consents => false,
            Self::Refuses(status) => is_any_enough && matches!(status, 401 | 403),
        }
    }
}

/// Asks who is there. With `satisfy any` the first consent counts, and of refusals one that can be
/// mended by a password.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_access_phase`.
async fn check(exchange: &mut Exchange, guards: &Guards) -> Opinion {
    let client = exchange.client.as_ref().and_then(|it| it.address).map(|it| it.ip());
    let mut opinion = Opinion::Silent;
    match verdict(&guards.rules, client) {
        Some(true) if guards.is_any_enough => return Opinion::Consents,
        Some(false) if guards.is_any_enough => opinion = Opinion::Refuses(403),
        Some(false) => {
            logs::note(Level::Error, exchange, FORBIDDEN, "");
            return Opinion::Refuses(403);
        }
        Some(true) | None => {}
    }
    let judged = guards
        .auth_basic
        .as_ref()
        .map_or(auth_basic::Verdict::Open, |it| it.judge(exchange, passwords));
    let judged = match judged {
        // What is made to be slow would hold up every connection of this worker.
        auth_basic::Verdict::Check(proof) if proof.is_slow() => {
            let checked = spawn_blocking(|| proof.check()).await;
            checked.unwrap_or_else(|it| auth_basic::Verdict::Fail(500, it.to_string()))
        }
        auth_basic::Verdict::Check(proof) => proof.check(),
        known => known,
    };
    match judged {
        auth_basic::Verdict::Open | auth_basic::Verdict::Check(_) => {}
        auth_basic::Verdict::Pass if guards.is_any_enough => return Opinion::Consents,
        auth_basic::Verdict::Pass => {}
        auth_basic::Verdict::Ask(why, challenge) => {
            let level = if why.starts_with("no user") { Level::Info } else { Level::Error };
            logs::note(level, exchange, &why, "");
            write::field(&mut exchange.kept_fields, b"WWW-Authenticate", &challenge);
            return Opinion::Refuses(401);
        }
        auth_basic::Verdict::Fail(status, why) => {
            logs::note(Level::Error, exchange, &why, "");
            return Opinion::Refuses(status);
        }
    }
    opinion
}

/// A file of passwords, read anew for each request, as nginx does.
fn passwords(path: &[u8]) -> Result<Vec<u8>, (u16, String)> {
    look::contents(path).map_err(|error| {
        let path = String::from_utf8_lossy(path);
        let status = if error.kind() == io::ErrorKind::NotFound { 403 } else { 500 };
        (status, format!("open() \"{path}\" failed {}", os_text(&error)))
    })
}
