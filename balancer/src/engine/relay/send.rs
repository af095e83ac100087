//! How much of what is ready is sent, and when.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::Relay;
use crate::engine::Stream;
use crate::engine::buffer::Input;
use crate::engine::clock;

impl Relay {
    /// Sends what is ready, as one write where there is only one part of it.
    pub(super) fn poll_send(
        &self,
        context: &mut Context<'_>,
        input: &Input,
        sink: &mut Stream,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let before = &self.before[self.before_at..];
        let is_last = self.ends && self.over;
        if room != usize::MAX {
            let parts = [before, &input.bytes[self.data.clone()], self.after];
            let first = parts.into_iter().find(|it| !it.is_empty()).unwrap_or_default();
            return Pin::new(sink).poll_write(context, &first[..first.len().min(room)]);
        }
        let data = &input.bytes[self.data.clone()];
        match (before, data, self.after) {
            (only, [], []) | ([], only, []) | ([], [], only) if is_last => {
                sink.poll_write_last(context, &[IoSlice::new(only)])
            }
            (only, [], []) | ([], only, []) | ([], [], only) => {
                Pin::new(sink).poll_write(context, only)
            }
            (before, data, after) => {
                let parts = [IoSlice::new(before), IoSlice::new(data), IoSlice::new(after)];
                if is_last {
                    sink.poll_write_last(context, &parts)
                } else {
                    Pin::new(sink).poll_write_vectored(context, &parts)
                }
            }
        }
    }

    /// How many bytes may be sent now, or how long to wait.
    pub(super) fn room(&self) -> Result<usize, Duration> {
        let Some((pace, started, until)) = &self.pace else { return Ok(usize::MAX) };
        let now = clock::now();
        if now < *until {
            return Err(until.since(now));
        }
        pace.room(self.sent, *started, now)
    }

    pub(super) fn take_pause(&mut self, sent: u64) {
        if let Some((pace, _, until)) = &mut self.pace {
            *until = clock::now() + pace.pause(self.sent - sent, self.sent);
        }
    }

    pub(super) fn advance(&mut self, mut sent: usize) {
        self.sent += sent as u64;
        let before = sent.min(self.before.len() - self.before_at);
        self.before_at += before;
        sent -= before;
        let data = sent.min(self.data.len());
        self.data.start += data;
        self.after = &self.after[sent - data..];
    }
}
