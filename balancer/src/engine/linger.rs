//! What a client still sends when nobody wants it any more.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::AsyncWrite;

use crate::engine::connection::Connection;
use crate::engine::exchange::Exchange;
use crate::engine::h1::body::Framing;
use crate::engine::h1::chunked::Step;
use crate::engine::{buffer, clock};

impl Connection<'_> {
    /// Reads and drops a body nobody asked for; false when the client does not finish it in time.
    pub(super) async fn discard(&mut self, exchange: &mut Exchange, mut framing: Framing) -> bool {
        let until = clock::now() + self.closing.time;
        loop {
            match framing.step(exchange.input.unread()) {
                Ok(Step::Data { skip, data }) => exchange.input.at += skip + data,
                Ok(Step::End { skip }) => {
                    exchange.input.at += skip;
                    return true;
                }
                Ok(Step::More { skip }) => {
                    exchange.input.at += skip;
                    exchange.input.compact();
                    if clock::now() >= until {
                        return false;
                    }
                    self.deadline.arm(self.closing.timeout);
                    let read = poll_fn(|context| {
                        match exchange.input.poll_fill(context, &mut self.stream) {
                            Poll::Pending => self.deadline.poll(context).map(|()| false),
                            Poll::Ready(read) => Poll::Ready(read.is_ok_and(|it| it > 0)),
                        }
                    });
                    if !read.await {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
    }

    /// Ends our side, then reads what the client still sends, so that it can read the answer.
    pub(super) async fn linger(mut self) {
        let ended = poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context));
        if ended.await.is_err() {
            return;
        }
        let until = clock::now() + self.closing.time;
        let mut rest = buffer::Input { bytes: buffer::take(), ..buffer::Input::default() };
        while clock::now() < until {
            rest.bytes.clear();
            self.deadline.arm(self.closing.timeout);
            let read = poll_fn(|context| match rest.poll_fill(context, &mut self.stream) {
                Poll::Pending if self.shared.is_stopping() => Poll::Ready(false),
                Poll::Pending => self.deadline.poll(context).map(|()| false),
                Poll::Ready(read) => Poll::Ready(read.is_ok_and(|it| it > 0)),
            });
            if !read.await {
                break;
            }
        }
        buffer::give(rest.bytes);
    }
}
