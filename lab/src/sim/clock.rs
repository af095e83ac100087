//! How do seconds become the clock's nanoseconds?

/// Nanoseconds, rounded; a time beyond the clock's range is its end.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast to u64 ends at its range, and half a nanosecond is lost on purpose"
)]
pub(super) fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9 + 0.5) as u64
}

/// Seconds, to the 53 bits of a double.
#[expect(clippy::cast_precision_loss, reason = "a run is far shorter than 2^53 ns, 104 days")]
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests are there at a time")]
pub(super) fn count(things: usize) -> f64 {
    things as f64
}
