//! The phases of a request, in nginx's order, until it is answered.

use crate::engine::admit::Admitted;
use crate::engine::answer::body_framing;
use crate::engine::clock;
use crate::engine::connection::{After, Connection, Outcome};
use crate::engine::exchange::Exchange;
use crate::engine::file::{self, Found};
use crate::engine::h1::body::Framing;
use crate::engine::mirror;
use crate::http::error_page::Target;
use crate::http::location::Location;
use crate::http::server::Server;
use crate::http::variable::Template;
use crate::http::{self, Action, Entry};
use crate::logs::{self, Level};

impl Connection<'_> {
    /// Has a request go through nginx's phases until it is answered, and all that it led to is over.
    pub(super) async fn process<'s>(
        &mut self,
        exchange: &mut Exchange,
        server: &'s Server,
        refused: Option<Action<'s>>,
    ) -> (&'s Location, After) {
        let processed = self.respond(exchange, server, refused).await;
        if exchange.mirrors.is_some() {
            mirror::wait(exchange).await;
        }
        processed
    }

    /// An answer may lead back to the first phase: an `error_page`, a named location.
    #[expect(clippy::too_many_lines, reason = "the whole of it is one loop")]
    async fn respond<'s>(
        &mut self,
        exchange: &mut Exchange,
        server: &'s Server,
        refused: Option<Action<'s>>,
    ) -> (&'s Location, After) {
        let mut entry = Entry::Server;
        let (mut location, mut action) = match refused {
            Some(action) => (&server.fallback, Some(action)),
            None => match self.read_early(exchange, server).await {
                Ok(()) => http::route(exchange, server, entry),
                Err(Outcome::Answer(action)) => (&server.fallback, Some(action)),
                Err(Outcome::Over(after)) => return (&server.fallback, after),
            },
        };
        loop {
            self.idle_timeout = location.core.keepalive_timeout.unwrap_or_default();
            exchange.request.keep_alive &= self.may_stay(exchange, location);
            self.closing = location.closing;
            self.follow_delay(location);
            let found = match action.take() {
                Some(action) => Found::Answer(action),
                // Most have nobody to ask: what is waited for nowhere needs no future of its own.
                None if location.guards.is_none() && location.mirror.is_none() => {
                    found(exchange, location)
                }
                None => match self.find(exchange, location).await {
                    Ok(found) => found,
                    Err(after) => return (location, after),
                },
            };
            let (next, target) = match found {
                Found::Answer(next) => (next, None),
                Found::File(reply) => match self.send_file(exchange, location, reply).await {
                    Outcome::Over(after) => return (location, after),
                    Outcome::Answer(next) => {
                        action = Some(next);
                        continue;
                    }
                },
                Found::Lead(target) => (Action::File, Some(target)),
            };
            let led = match next {
                Action::Forward(proxy) => match self.forward(exchange, location, proxy).await {
                    Outcome::Over(after) => return (location, after),
                    Outcome::Answer(next) => {
                        action = Some(next);
                        continue;
                    }
                },
                Action::Close => {
                    exchange.status = 444;
                    exchange.ended = clock::now();
                    return (location, After::Late);
                }
                Action::Status(status @ (408 | 499)) => {
                    exchange.status = status;
                    exchange.ended = clock::now();
                    return (location, After::Close);
                }
                Action::Status(status) | Action::Redirect(status) => {
                    location.error_pages.lead(exchange, status)
                }
                Action::Return(answer) if answer.is_redirect() && answer.text.is_some() => {
                    self.invite(exchange, location).await;
                    exchange.redirect = answer.text.as_ref().map(|it| it.value(exchange));
                    action = Some(Action::Redirect(answer.status));
                    continue;
                }
                Action::File => target,
                Action::Lead => Some(Target::of(exchange.redirect.take().unwrap_or_default())),
                Action::Return(_) | Action::StubStatus | Action::Listing => None,
            };
            let goes_on = match led {
                None => return (location, self.answer(exchange, location, next).await),
                Some(Target::Elsewhere(status, target)) => {
                    exchange.redirect = Some(target);
                    exchange.error_status = None;
                    let answer = self.answer(exchange, location, Action::Redirect(status));
                    return (location, answer.await);
                }
                Some(Target::Path(path, args)) => {
                    entry = Entry::Server;
                    exchange.lead_to(&path, &args)
                }
                Some(Target::Named(name)) => {
                    let Some(named) = server.named.get(&name) else {
                        let name = String::from_utf8_lossy(&name).into_owned();
                        let text = format!("could not find named location \"{name}\"");
                        logs::note(Level::Error, exchange, &text, exchange.doing);
                        action = Some(Action::Status(500));
                        continue;
                    };
                    entry = Entry::Named(&server.locations[*named]);
                    exchange.lead_within()
                }
            };
            if goes_on {
                (location, action) = http::route(exchange, server, entry);
            } else {
                let place = match entry {
                    Entry::Named(named) => {
                        format!("redirect to named location \"{}\"", named.name)
                    }
                    Entry::Server => {
                        let path = String::from_utf8_lossy(&exchange.path);
                        format!("internally redirecting to \"{path}\"")
                    }
                };
                let text = format!("rewrite or internal redirection cycle while {place}");
                logs::note(Level::Error, exchange, &text, "");
                action = Some(Action::Status(500));
            }
        }
    }

    /// Has small packets wait for others or not, as the location says.
    fn follow_delay(&mut self, location: &Location) {
        let wanted = location.core.sends_at_once;
        if std::mem::replace(&mut self.sends_at_once, wanted) != wanted {
            // A socket that refuses it is broken, as its use will tell.
            let _ = self.stream.send_at_once(wanted);
        }
    }

    /// Reads the body of a request whose server wants it read before anything else.
    ///
    /// Source: nginx's documentation of `client_body_early_read`.
    async fn read_early<'s>(
        &mut self,
        exchange: &mut Exchange,
        server: &Server,
    ) -> Result<(), Outcome<'s>> {
        let is_true = |it: &Template| !matches!(it.value(exchange).as_slice(), b"" | b"0");
        let framing = body_framing(exchange);
        if matches!(framing, Framing::Empty) || !server.reads_early.iter().any(is_true) {
            return Ok(());
        }
        if http::refuses_body(exchange, &server.fallback) {
            return Err(Outcome::Answer(Action::Status(413)));
        }
        self.invite(exchange, &server.fallback).await;
        let held = self.hold(exchange, &server.fallback, framing).await;
        held.map_err(|abort| Self::abort(exchange, abort))
    }

    /// Asks the guards, tries files, shows the request to mirrors, and finds what is sent.
    async fn find<'s>(
        &mut self,
        exchange: &mut Exchange,
        location: &'s Location,
    ) -> Result<Found<'s>, After> {
        if let Some(guards) = &location.guards {
            match self.admit(exchange, guards).await {
                Admitted::Passed => {}
                Admitted::Refused(status) => return Ok(Found::Answer(Action::Status(status))),
                Admitted::Gone => {
                    exchange.status = 499;
                    exchange.ended = clock::now();
                    return Err(After::Close);
                }
            }
        }
        if let Some(found) = file::tried(exchange, location) {
            return Ok(found);
        }
        match self.mirror(exchange, location).await {
            Ok(()) => Ok(file::content(exchange, location)),
            Err(Outcome::Answer(next)) => Ok(Found::Answer(next)),
            Err(Outcome::Over(after)) => Err(after),
        }
    }
}

/// As [`Connection::find`], where there are neither guards nor mirrors.
fn found<'s>(exchange: &mut Exchange, location: &'s Location) -> Found<'s> {
    file::tried(exchange, location).unwrap_or_else(|| file::content(exchange, location))
}
