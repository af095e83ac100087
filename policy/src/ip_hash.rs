//! How does a client stay with its server without a cookie?

use std::net::IpAddr;

use crate::wheel::Wheel;
use crate::{Candidate, Draw, Event, Policy, Request, Time};

/// Hashes the client's network: three bytes of an IPv4 address, all sixteen of an IPv6 address.
///
/// All clients of one /24 share a server; clients on Unix sockets hash as 0.0.0. A server that is
/// not eligible makes the hash go on, more than 20 times is round robin.
///
/// Source: nginx `ngx_http_upstream_ip_hash_module.c`, `ngx_http_upstream_get_ip_hash_peer`. nginx
/// counts the 20 over all attempts of a request, not counting those it made; here a server tried
/// before counts in each attempt. A binary search for each hash, no allocation.
#[derive(Debug, Default)]
pub struct IpHash {
    wheel: Wheel,
}

impl Policy for IpHash {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let mut bytes = [0; 16];
        let hashed = client_bytes(request.client, &mut bytes);
        let mut hash = 89;
        self.wheel.pick(request, candidates, draw, |_, total, _| {
            hash = hashed.iter().fold(hash, |hash, it| (hash * 113 + u64::from(*it)) % 6271);
            hash % total
        })
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.wheel.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.wheel.learn(position, event, now);
    }
}

fn client_bytes(client: Option<IpAddr>, bytes: &mut [u8; 16]) -> &[u8] {
    match client {
        Some(IpAddr::V6(address)) => {
            *bytes = address.octets();
            bytes
        }
        Some(IpAddr::V4(address)) => {
            bytes[..3].copy_from_slice(&address.octets()[..3]);
            &bytes[..3]
        }
        None => &bytes[..3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{letters, pool};

    #[track_caller]
    fn check(backends: &str, clients: &str, expected: &str) {
        let (mut policy, mut draw) = (IpHash::default(), SplitMix64::new(1));
        let candidates = pool(backends);
        let mut serve = |client: &str| {
            let request = Request { client: client.parse().ok(), ..Request::at(Time::ZERO) };
            policy.pick(&request, &candidates, &mut draw)
        };
        let served = clients.split_whitespace().map(&mut serve).collect::<Vec<_>>();
        assert_eq!(letters(&served), expected, "{backends}, {clients}");
    }

    #[test]
    fn an_unusable_server_hands_its_clients_on_and_keeps_the_others() {
        check("1 1 1", "10.0.0.1 10.0.1.1 10.0.2.1", "abc");
        check("!1 1 1", "10.0.0.1 10.0.1.1 10.0.2.1", "bbc");
        check("1 1 1", "unix: 0.0.0.9", "bb");
    }

    #[test]
    fn where_hashing_finds_no_one_round_robin_does() {
        // The two eligible servers have 2 of 2002 slots, which the 21 hashes of this client miss.
        check("!1000 !1000 1 1", "10.0.0.1 10.0.0.1", "cd");
        check("!1 !1", "10.0.0.1", "-");
        check("!1", "10.0.0.1", "-");
    }
}
