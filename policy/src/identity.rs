//! What is a backend called?

use crate::digest::{Crc32, xxh64};

/// A backend's names, as far as a hash ring needs them: small, and the same after every reload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    /// State of the checksum from which nginx starts the points of a `server` line.
    pub(crate) line: Crc32,
    /// Digest of the address.
    pub(crate) address: u64,
}

impl Identity {
    /// No name at all. Candidates without a name are one and the same to a ring.
    pub const NONE: Self = Self { line: Crc32::START, address: 0 };

    /// The names of a backend: the address on its `server` line, such as `store:5000` or
    /// `unix:/run/store.sock`, and the address that this was resolved to, port included.
    ///
    /// Several addresses of one line share a name; consistent hashing treats them as one.
    pub fn new(line: &str, address: &str) -> Self {
        let (host, port) = host_and_port(line);
        let line = Crc32::START.then(host.as_bytes()).then(&[0]).then(port.as_bytes());
        Self { line, address: xxh64(address.as_bytes(), 0) }
    }
}

/// Splits at the last colon if only digits follow; a path is a host.
///
/// Source: nginx `ngx_http_upstream_hash_module.c`, `ngx_http_upstream_update_chash`.
fn host_and_port(line: &str) -> (&str, &str) {
    match line.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("unix:") => (&line[5..], ""),
        _ => match line.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => (host, port),
            _ => (line, ""),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_what_digits_follow_the_last_colon() {
        assert_eq!(host_and_port("store:5000"), ("store", "5000"));
        assert_eq!(host_and_port("store"), ("store", ""));
        assert_eq!(host_and_port("[2001:db8::1]:80"), ("[2001:db8::1]", "80"));
        assert_eq!(host_and_port("[2001:db8::1]"), ("[2001:db8::1]", ""));
        assert_eq!(host_and_port("UNIX:/run/store:1"), ("/run/store:1", ""));
        assert_eq!(host_and_port("Übung"), ("Übung", ""));
    }
}
