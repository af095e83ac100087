//! The memory of exchanges, kept for the next ones.

use crate::engine::buffer;
use crate::engine::exchange::Exchange;

thread_local! {
    #[expect(clippy::vec_box, reason = "an exchange is large, and moves from hand to hand")]
    static UNUSED: std::cell::RefCell<Vec<Box<Exchange>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// An exchange with room to read into.
pub(super) fn fresh() -> Box<Exchange> {
    let mut exchange = UNUSED.with_borrow_mut(Vec::pop).unwrap_or_default();
    if exchange.input.bytes.capacity() == 0 {
        exchange.input.bytes = buffer::take();
    }
    exchange
}

/// Keeps an exchange's memory for the next connection of this worker that needs one.
pub(super) fn recycle(mut exchange: Box<Exchange>) {
    /// All requests that have come since a worker last looked are begun before the first of them has
    /// its answer: so many exchanges come back together as go out.
    const KEPT: usize = 64;
    exchange.client = None;
    exchange.server = None;
    let plain = |it: &Vec<u8>| it.capacity() < 2 * buffer::ROOM;
    if plain(&exchange.input.bytes) && plain(&exchange.reply.bytes) {
        UNUSED.with_borrow_mut(|unused| {
            if unused.len() < KEPT {
                exchange.input.bytes.clear();
                unused.push(exchange);
            } else {
                buffer::give(std::mem::take(&mut exchange.input.bytes));
            }
        });
    }
}
