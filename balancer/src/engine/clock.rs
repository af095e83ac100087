//! What time is it? The only place of the engine that asks.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::time::Instant;

use policy::Time;

/// Time since the process first asked; never steps back.
pub fn now() -> Time {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed();
    // A second more than has passed: zero stays free for "never happened".
    Time::from_secs(1) + passed
}

/// Milliseconds since 1970, for what people read.
pub fn unix_millis() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

/// Nanoseconds since 1970, for those who put events of several programs in order.
pub fn unix_nanos() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX))
}

thread_local! {
    /// The second since 1970 at this worker's last tick; 0 on a thread that has none.
    static SECOND: Cell<u64> = const { Cell::new(0) };
    static DATE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

/// Moves this worker's [`with_date`] on. Whoever has called it once must go on to.
pub fn tick() {
    SECOND.set(unix_millis() / 1000);
}

/// Hands over the time as the `Date` header has it, formatted once a second; late by a tick at
/// most, so that no answer has to ask for the time.
pub fn with_date<T>(use_it: impl FnOnce(&[u8]) -> T) -> T {
    let second = match SECOND.get() {
        0 => unix_millis() / 1000,
        second => second,
    };
    DATE.with_borrow_mut(|(written, text)| {
        if *written != second {
            *written = second;
            let moment = jiff::Timestamp::from_second(i64::try_from(second).unwrap_or(i64::MAX));
            let moment = moment.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            *text = moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().into_bytes();
        }
        use_it(text)
    })
}
