//! Exact and prefix locations: which one a path belongs to, and what that one does.

use std::time::Duration;

use crate::http::header::AddHeader;
use crate::http::proxy_pass::Proxy;
use crate::http::rewrite::Return;
use crate::logs::AccessLog;

/// Who produces the answer.
#[derive(Debug)]
pub enum Content {
    /// `return`.
    Return(Return),
    /// `proxy_pass`.
    Proxy(Box<Proxy>),
    /// `stub_status`.
    StubStatus,
    /// Nobody: 404.
    Nothing,
}

/// Settings of the core module that matter while a request is served.
#[derive(Clone, Debug)]
pub struct Core {
    /// Largest body in bytes, `None` for no limit.
    pub client_max_body_size: Option<u64>,
    /// Bytes of a body held in memory before it is passed on.
    pub client_body_buffer_size: usize,
    /// Longest wait for the next bytes of a body.
    pub client_body_timeout: Duration,
    /// Longest wait for room to send.
    pub send_timeout: Duration,
    /// How long a connection may be idle; `None` closes it after the answer.
    pub keepalive_timeout: Option<Duration>,
    /// Value of the `Keep-Alive` header, `None` to send none.
    pub keepalive_header: Option<Duration>,
    /// Requests after which a connection is closed.
    pub keepalive_requests: u64,
    /// Age after which a connection is closed.
    pub keepalive_time: Duration,
    /// What the `Server` header and error pages call us.
    pub server: &'static str,
    /// Type of an answer whose name has no known ending.
    pub default_type: String,
}

impl Core {
    /// Whether a body of this announced length is refused.
    pub fn refuses_body(&self, length: u64) -> bool {
        self.client_max_body_size.is_some_and(|limit| limit < length)
    }
}

impl Default for Core {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            client_max_body_size: Some(1 << 20),
            client_body_buffer_size: 16 * 1024,
            client_body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            keepalive_timeout: Some(Duration::from_secs(75)),
            keepalive_header: None,
            keepalive_requests: 1000,
            keepalive_time: Duration::from_secs(3600),
            server: crate::NGINX,
            default_type: "text/plain".to_owned(),
        }
    }
}

/// One location, with everything its requests need.
#[derive(Debug)]
pub struct Location {
    /// The words it is written with; empty for what a server does where no location matches.
    pub name: String,
    /// Settings of the core module.
    pub core: Core,
    /// Who answers.
    pub content: Content,
    /// `add_header` lines.
    pub add_headers: Vec<AddHeader>,
    /// `access_log` lines.
    pub access_logs: Vec<AccessLog>,
}

/// The locations of one level.
#[derive(Debug, Default)]
pub struct Locations {
    /// `location = /path`, by path.
    exact: Vec<(Vec<u8>, usize)>,
    /// `location /path`, sorted by path; each knows the longest other one that it extends.
    prefixes: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    path: Vec<u8>,
    location: usize,
    /// Position of the longest prefix of this path among the others.
    parent: Option<usize>,
}

impl Locations {
    /// Sorts the locations of a level; the numbers are the caller's.
    pub fn new(mut exact: Vec<(Vec<u8>, usize)>, prefixes: Vec<(Vec<u8>, usize)>) -> Self {
        exact.sort();
        let mut sorted = prefixes;
        sorted.sort();
        let parent = |at: usize| {
            let (path, _): &(Vec<u8>, usize) = &sorted[at];
            sorted[..at].iter().rposition(|(it, _)| path.starts_with(it))
        };
        let parents: Vec<_> = (0..sorted.len()).map(parent).collect();
        let prefixes = sorted
            .into_iter()
            .zip(parents)
            .map(|((path, location), parent)| Prefix { path, location, parent })
            .collect();
        Self { exact, prefixes }
    }

    /// The number of the exact location of this path, else of the longest prefix.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        if let Ok(at) = self.exact.binary_search_by(|(it, _)| it.as_slice().cmp(path)) {
            return Some(self.exact[at].1);
        }
        // The last path not after this one shares the longest beginning with it, or its parents do.
        let after = self.prefixes.partition_point(|it| it.path.as_slice() <= path);
        let mut at = after.checked_sub(1);
        while let Some(prefix) = at.map(|it| &self.prefixes[it]) {
            if path.starts_with(&prefix.path) {
                return Some(prefix.location);
            }
            at = prefix.parent;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words `=/path` and `/path`; the answer is the word that was found.
    #[track_caller]
    fn check(locations: &str, path: &str, expected: Option<&str>) {
        let words: Vec<_> = locations.split_whitespace().collect();
        let numbered = words.iter().enumerate();
        let (exact, prefixes): (Vec<_>, Vec<_>) = numbered.partition(|(_, it)| it.starts_with('='));
        let exact = exact.into_iter().map(|(n, it)| (it[1..].as_bytes().to_vec(), n)).collect();
        let prefixes = prefixes.into_iter().map(|(n, it)| (it.as_bytes().to_vec(), n)).collect();
        let found = Locations::new(exact, prefixes).find(path.as_bytes());
        assert_eq!(found.map(|it| words[it]), expected, "{path} in {locations}");
    }

    #[test]
    fn the_longest_prefix_wins() {
        check("/ /a /a/b /ab", "/", Some("/"));
        check("/ /a /a/b /ab", "/a/c", Some("/a"));
        check("/ /a /a/b /ab", "/a/b/c", Some("/a/b"));
        check("/ /a /a/b /ab", "/abc", Some("/ab"));
        check("/ /a /a/b /a/bb", "/a/ba", Some("/a/b"));
        check("/a/b /a/c", "/a", None);
        check("/ /a /a/b /a/b/c /a/b/c/d", "/a/b/cx", Some("/a/b/c"));
        check("/ /a /m /z", "/k", Some("/"));
    }

    #[test]
    fn an_exact_location_wins_over_every_prefix() {
        check("/ =/ /a =/a", "/", Some("=/"));
        check("/ =/ /a =/a", "/a", Some("=/a"));
        check("/ =/ /a =/a", "/a/", Some("/a"));
    }
}
