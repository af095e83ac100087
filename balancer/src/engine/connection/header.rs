//! A PROXY header before the first request: who asks, said by the proxy in front of us.
//!
//! Source: nginx `ngx_http_request.c`, `ngx_http_wait_request_handler`.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::conf::error::os_text;
use crate::engine::buffer::{self, Input};
use crate::engine::clock;
use crate::engine::connection::Connection;
use crate::engine::connection::count::During;
use crate::engine::connection::unread::{Gone, TIMED_OUT};
use crate::logs::rows::Severity;
use crate::proxy_protocol::{self, Header, Progress};

/// What is known of a connection before its first request.
#[derive(Debug, Default)]
pub struct Early {
    /// What was read of it and belongs to the first request.
    pub read: Vec<u8>,
    /// Its PROXY header.
    pub header: Option<Header>,
}

const ACTION: &str = "reading PROXY protocol";

impl Connection<'_> {
    /// Reads the header, where the address asks for one; whether the connection may go on.
    pub(super) async fn introduce(&mut self) -> bool {
        let asks = self.snapshot.listener(&self.address).is_some_and(|it| it.proxy_protocol);
        // Boxed, so that other connections keep no room for it.
        !asks || self.client.header.is_some() || Box::pin(self.read_header()).await
    }

    async fn read_header(&mut self) -> bool {
        let _waiting = During::start(&self.stats.waiting);
        let began = clock::now();
        self.deadline.arm(self.idle_timeout);
        let mut input = Input { bytes: buffer::take(), ..Input::default() };
        input.bytes.append(&mut self.early);
        let is_read = self.read_header_into(&mut input).await;
        if is_read {
            self.early.extend_from_slice(input.unread());
        }
        buffer::give(input.bytes);
        // What is left is for the head of the first request.
        self.idle_timeout = self.idle_timeout.saturating_sub(clock::now().since(began));
        is_read
    }

    async fn read_header_into(&mut self, input: &mut Input) -> bool {
        loop {
            match proxy_protocol::parse(input.unread()) {
                Ok(Progress::Complete { length, header }) => {
                    input.at += length;
                    if let Some(client) = Arc::get_mut(&mut self.client) {
                        client.header = header.map(Arc::new);
                    }
                    return true;
                }
                Ok(Progress::Partial) => {}
                Err(broken) => {
                    self.tell(Severity::Error, &broken.0, ACTION);
                    return false;
                }
            }
            let read = poll_fn(|context| match input.poll_fill(context, &mut self.stream) {
                Poll::Pending if self.shared.is_stopping() => Poll::Ready(None),
                Poll::Pending => self.deadline.poll(context).map(|()| None),
                Poll::Ready(read) => Poll::Ready(Some(read)),
            });
            let Some(read) = read.await else {
                self.tell(Severity::Info, TIMED_OUT, ACTION);
                return false;
            };
            match Gone::of(read) {
                None => {}
                Some(Gone::Closed) if input.unread().is_empty() => {
                    self.tell(Severity::Info, "client closed connection", ACTION);
                    return false;
                }
                Some(Gone::Closed) => {
                    let shown = String::from_utf8_lossy(input.unread());
                    self.tell(Severity::Error, &format!("broken header: \"{shown}\""), ACTION);
                    return false;
                }
                Some(Gone::Failed(error)) => {
                    let text = format!("recv() failed {}", os_text(&error));
                    self.tell(Severity::Info, &text, ACTION);
                    return false;
                }
            }
        }
    }
}
