//! Which Redis remembers for all replicas?

use std::fmt;

use super::database::masked;
use super::value::Reader;

/// The Redis that was asked for: one URL, or several of one cluster. Passwords do not print.
#[derive(Clone, Eq, PartialEq)]
pub struct Redis {
    /// At least one.
    pub urls: Vec<String>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.urls.iter().map(|it| masked(it))).finish()
    }
}

pub(super) fn read(read: &mut Reader<'_>) -> Option<Redis> {
    let host = read.text("REDIS_HOST");
    let port = read.port("REDIS_PORT");
    let database: Option<u8> = read.number("REDIS_DB", 0, 255);
    if let Some(list) = read.text("REDIS_URL") {
        let urls: Vec<_> = list.split(',').map(|it| it.trim().to_owned()).collect();
        let foreign =
            urls.iter().find(|it| !it.starts_with("redis://") && !it.starts_with("rediss://"));
        if let Some(url) = foreign {
            let scheme = url.split(':').next().unwrap_or("");
            read.refuse_unseen(
                "REDIS_URL",
                &format!("scheme \"{scheme}\" is not supported (redis, rediss)"),
            );
        }
        return Some(Redis { urls });
    }
    if host.is_none() && port.is_none() && database.is_none() {
        return None;
    }
    let host = host.as_deref().unwrap_or("127.0.0.1");
    let url = format!("redis://{host}:{}/{}", port.unwrap_or(6379), database.unwrap_or(0));
    Some(Redis { urls: vec![url] })
}
