//! Which Redis remembers for all replicas?

use std::fmt;

use super::database::masked;
use super::value::Reader;

/// The Redis that was asked for. Passwords do not print.
#[derive(Clone, Eq, PartialEq)]
pub struct Redis {
    /// Its address, as the client understands it.
    pub url: String,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.url))
    }
}

pub(super) fn read(read: &mut Reader<'_>) -> Option<Redis> {
    let host = read.text("REDIS_HOST");
    let port = read.port("REDIS_PORT");
    let database: Option<u8> = read.number("REDIS_DB", 0, 255);
    if let Some(url) = read.text("REDIS_URL") {
        if !url.starts_with("redis://") {
            let scheme = url.split(':').next().unwrap_or("");
            read.refuse_unseen(
                "REDIS_URL",
                &format!("scheme \"{scheme}\" is not supported (redis)"),
            );
        } else if url.contains(',') {
            read.refuse_unseen("REDIS_URL", "a list of addresses is not supported");
        }
        return Some(Redis { url });
    }
    if host.is_none() && port.is_none() && database.is_none() {
        return None;
    }
    let host = host.as_deref().unwrap_or("127.0.0.1");
    Some(Redis {
        url: format!("redis://{host}:{}/{}", port.unwrap_or(6379), database.unwrap_or(0)),
    })
}
