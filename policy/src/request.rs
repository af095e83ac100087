//! What may a policy know of the request it places?

use std::net::IpAddr;

use crate::Time;

/// The request being placed, as far as a policy may look.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// What to hash, `None` when the configuration names no key. An empty key is no key.
    pub key: Option<&'a [u8]>,
    /// Who asks, `None` for a client on a Unix socket.
    pub client: Option<IpAddr>,
    /// The time of the decision.
    pub now: Time,
}

impl<'a> Request<'a> {
    /// A request without key and client.
    #[must_use]
    pub const fn at(now: Time) -> Self {
        Self { key: None, client: None, now }
    }

    /// The same request with a key to hash.
    #[must_use]
    pub const fn with_key(self, key: &'a [u8]) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The same request from a known address.
    #[must_use]
    pub const fn from_client(self, client: IpAddr) -> Self {
        Self { client: Some(client), ..self }
    }
}
