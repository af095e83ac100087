//! Bytes that have arrived and are not used up yet, and the free lists their memory goes back to.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Room of a fresh buffer, in bytes: a head and a body of some size, in one read. What is never
/// written to takes no memory.
pub const ROOM: usize = 32 * 1024;

/// Room of a buffer through which a large body passes.
pub const LARGE: usize = 128 * 1024;

/// How many unused buffers of a size a worker keeps.
const KEPT: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Takes an empty buffer of [`ROOM`] bytes.
pub fn take() -> Vec<u8> {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(ROOM))
}

/// Gives a buffer's memory back.
pub fn give(mut buffer: Vec<u8>) {
    if (ROOM..2 * ROOM).contains(&buffer.capacity()) {
        buffer.clear();
        // Not reachable while the thread ends.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}

/// What has been read from one side: a head that is kept, then bytes, used up before `at`.
#[derive(Debug, Default)]
pub struct Input {
    /// Everything read and kept.
    pub bytes: Vec<u8>,
    /// Where the unused bytes begin.
    pub at: usize,
    /// Length of the head at the front, which stays for logs and variables.
    pub head: usize,
}

impl Input {
    /// The bytes not used up.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Keeps the first `length` bytes as the head; the unused ones begin behind it.
    pub fn keep_head(&mut self, length: usize) {
        self.head = length;
        self.at = length;
    }

    /// Forgets the head and all that is used up: what is left begins the next message.
    pub fn next_message(&mut self) {
        self.head = 0;
        self.compact();
    }

    /// Forgets what is used up behind the head, so that the next read has the whole room.
    pub fn compact(&mut self) {
        if self.at > self.head {
            self.close_gap(self.head);
        }
    }

    /// Moves the unused bytes up to `end`, over what was used up before them.
    pub fn close_gap(&mut self, end: usize) {
        self.bytes.copy_within(self.at.., end);
        self.bytes.truncate(end + self.bytes.len() - self.at);
        self.at = end;
    }

    /// Forgets everything.
    pub fn restart(&mut self) {
        self.bytes.clear();
        self.at = 0;
        self.head = 0;
    }

    /// Whether a read could add anything.
    pub fn has_room(&self) -> bool {
        self.bytes.len() < self.bytes.capacity()
    }

    /// Makes room for a whole read of a large body.
    pub fn grow(&mut self) {
        if self.bytes.capacity() < LARGE {
            self.bytes.reserve_exact(LARGE - self.bytes.len());
        }
    }

    /// Reads once into the room that is left; 0 bytes mean the other side has ended.
    ///
    /// Call only while [`Input::has_room`].
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut S,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.has_room(), "a read without room looks like the end");
        Poll::Ready(Ok(ready!(poll_read_buf(Pin::new(from), context, &mut self.bytes))?))
    }
}
