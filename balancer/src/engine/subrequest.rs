//! A request of our own, made to decide about another one: its answer is read, and sent to nobody.

use std::sync::Arc;

use crate::engine::buffer::Input;
use crate::engine::clock;
use crate::engine::connection::{Connection, Outcome};
use crate::engine::exchange::{Exchange, MOST_CHANGES};
use crate::engine::file::{self, Found};
use crate::http::error_page::Target;
use crate::http::{self, Action, Entry};
use crate::logs::{self, Level};

impl Exchange {
    /// As [`Self::within`], a question: it is answered before the first goes on.
    fn subrequest(&mut self, path: &[u8]) -> Box<Self> {
        let mut sub = self.within(path);
        sub.own_method = Some(b"GET");
        // Both see the same variables.
        std::mem::swap(&mut sub.scratch, &mut self.scratch);
        sub
    }

    /// A request for another path with the same head, whose body is left to the first.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_subrequest`.
    pub(super) fn within(&self, path: &[u8]) -> Box<Self> {
        let head = self.input.head;
        let mut sub = Box::<Self>::default();
        // Without room behind the head, nothing that the client sends next is read into it.
        sub.input = Input { bytes: self.input.bytes[..head].to_vec(), at: head, head };
        sub.request = self.request.clone();
        sub.request.expects_continue = false;
        sub.client.clone_from(&self.client);
        sub.peer.clone_from(&self.peer);
        sub.server.clone_from(&self.server);
        sub.host.clone_from(&self.host);
        sub.path.extend_from_slice(path);
        sub.has_own_target = true;
        sub.is_internal = true;
        sub.is_subrequest = true;
        sub.held = Some(0);
        sub.trace = self.trace.get().map(|it| it.within().into()).unwrap_or_default();
        sub.changes_left = MOST_CHANGES;
        (sub.started, sub.serial) = (clock::now(), self.serial);
        sub
    }

    /// Shows it the body of the first as well, which has been read.
    pub(super) fn take_body_of(&mut self, first: &Self) {
        let length = first.held.and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
        let head = first.input.head;
        self.input.bytes.extend_from_slice(&first.input.bytes[head..head + length]);
        // Nothing of it grows: the next request is the first one's.
        self.input.bytes.shrink_to_fit();
        self.held = first.held.or(Some(0));
        self.spooled.clone_from(&first.spooled);
    }
}

impl Connection<'_> {
    /// Has a path answered for a request, and gives back what the answer left; its status is 499
    /// where the client went meanwhile.
    ///
    /// What guards a location is not asked: the first request has been, or is being.
    pub(super) async fn ask_within(
        &mut self,
        exchange: &mut Exchange,
        path: &[u8],
    ) -> Box<Exchange> {
        let mut sub = exchange.subrequest(path);
        match sub.server.clone() {
            Some(server) => self.answered(&mut sub, &server).await,
            None => sub.status = 500,
        }
        std::mem::swap(&mut sub.scratch, &mut exchange.scratch);
        sub
    }

    /// Has such a request go through the phases that find an answer, and is told its status.
    ///
    /// Source: nginx `ngx_http_request.c`, `ngx_http_finalize_request`, for the line of the log.
    pub(super) async fn answered(
        &mut self,
        sub: &mut Exchange,
        server: &Arc<http::server::Server>,
    ) {
        sub.status = self.find_answer(sub, server).await;
        sub.ended = clock::now();
        if let Some(location) = sub.location().filter(|it| it.core.logs_within) {
            logs::access(sub, location);
        }
    }

    async fn find_answer(&mut self, sub: &mut Exchange, server: &Arc<http::server::Server>) -> u16 {
        let mut entry = Entry::Server;
        loop {
            let (location, action) = http::route(sub, server, entry);
            let mut found = match action {
                Some(action) => Found::Answer(action),
                None => file::find(sub, location),
            };
            if let Found::Answer(Action::Forward(proxy)) = found {
                found = match self.forward(sub, location, proxy).await {
                    Outcome::Answer(next) => Found::Answer(next),
                    Outcome::Over(_) => return 499,
                };
            }
            let target = match found {
                Found::File(_) | Found::Answer(Action::StubStatus | Action::Listing) => return 200,
                Found::Answer(Action::Return(answer)) => return answer.status,
                Found::Answer(Action::Status(status) | Action::Redirect(status)) => return status,
                Found::Answer(Action::Close) => return 444,
                Found::Answer(Action::File | Action::Forward(_)) => return 404,
                Found::Answer(Action::Lead) => Target::of(sub.redirect.take().unwrap_or_default()),
                Found::Lead(target) => target,
            };
            let goes_on = match target {
                Target::Elsewhere(status, _) => return status,
                Target::Path(path, args) => {
                    entry = Entry::Server;
                    sub.lead_to(&path, &args)
                }
                Target::Named(name) => match server.named.get(&name) {
                    Some(named) => {
                        entry = Entry::Named(&server.locations[*named]);
                        sub.lead_within()
                    }
                    None => return 500,
                },
            };
            if !goes_on {
                let path = String::from_utf8_lossy(&sub.path).into_owned();
                let text = format!(
                    "rewrite or internal redirection cycle while internally redirecting to \"{path}\""
                );
                logs::note(Level::Error, sub, &text, "");
                return 500;
            }
        }
    }
}
