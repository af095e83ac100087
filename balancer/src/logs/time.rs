//! The ways nginx writes a time in a log, each formatted once a second.

use std::cell::RefCell;

use jiff::Zoned;

use crate::engine::clock;

#[derive(Default)]
struct Texts {
    second: u64,
    local: String,
    iso8601: String,
    error: String,
    syslog: String,
}

thread_local! {
    static TEXTS: RefCell<Texts> = RefCell::default();
}

/// Hands over `22/Nov/2026:11:04:07 +0000`.
pub fn with_local<T>(use_it: impl FnOnce(&str) -> T) -> T {
    with_texts(|it| use_it(&it.local))
}

/// Hands over `2026-11-22T11:04:07+00:00`.
pub fn with_iso8601<T>(use_it: impl FnOnce(&str) -> T) -> T {
    with_texts(|it| use_it(&it.iso8601))
}

/// Hands over `2026/11/22 11:04:07`.
pub fn with_error<T>(use_it: impl FnOnce(&str) -> T) -> T {
    with_texts(|it| use_it(&it.error))
}

/// Hands over `Nov 22 11:04:07`.
pub fn with_syslog<T>(use_it: impl FnOnce(&str) -> T) -> T {
    with_texts(|it| use_it(&it.syslog))
}

fn with_texts<T>(use_it: impl FnOnce(&Texts) -> T) -> T {
    TEXTS.with_borrow_mut(|texts| {
        let second = clock::unix_millis() / 1000;
        if texts.second != second {
            let now = Zoned::now();
            *texts = Texts {
                second,
                local: now.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
                iso8601: now.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
                syslog: now.strftime("%b %e %H:%M:%S").to_string(),
                error: now.strftime("%Y/%m/%d %H:%M:%S").to_string(),
            };
        }
        use_it(texts)
    })
}
