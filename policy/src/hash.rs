//! Which server does a key belong to?

use crate::digest::Crc32;
use crate::wheel::Wheel;
use crate::{Candidate, Draw, Event, Policy, Request, Time};

/// Hashes the key over the weights, as `Cache::Memcached` does. Every change of the list moves keys.
///
/// A server that is not eligible makes the key be hashed again with the number of the attempt before
/// it, more than 20 times is round robin; so is an empty key, or none.
///
/// Source: nginx `ngx_http_upstream_hash_module.c`, `ngx_http_upstream_get_hash_peer`; the 20 as in
/// [`crate::IpHash`]. A binary search for each hash, no allocation.
#[derive(Debug, Default)]
pub struct Hash {
    wheel: Wheel,
}

impl Policy for Hash {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        let key = request.key.unwrap_or_default();
        if key.is_empty() {
            return self.wheel.turn(request, candidates, draw);
        }
        let mut hash = 0;
        self.wheel.pick(request, candidates, draw, |attempt, total, _| {
            let checksum = numbered(attempt).then(key).end();
            hash += u64::from(checksum >> 16 & 0x7fff);
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

/// The checksum of the number of an attempt in decimal digits; the first has none.
fn numbered(attempt: u8) -> Crc32 {
    let (tens, ones) = (b'0' + attempt / 10, b'0' + attempt % 10);
    match attempt {
        0 => Crc32::START,
        1..=9 => Crc32::START.then(&[ones]),
        _ => Crc32::START.then(&[tens, ones]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{letters, pool};

    #[track_caller]
    fn check(backends: &str, keys: &[&str], expected: &str) {
        let (mut policy, mut draw) = (Hash::default(), SplitMix64::new(1));
        let candidates = pool(backends);
        let mut serve = |key: &&str| {
            let request = Request::at(Time::ZERO).with_key(key.as_bytes());
            policy.pick(&request, &candidates, &mut draw)
        };
        let served = keys.iter().map(&mut serve).collect::<Vec<_>>();
        assert_eq!(letters(&served), expected, "{backends}, {keys:?}");
    }

    #[test]
    fn a_key_keeps_its_server() {
        check("1 1 1", &["a", "1", "g", "a", "1", "g"], "cbacba");
    }

    #[test]
    fn an_unusable_server_hands_its_keys_on_and_keeps_the_others() {
        // Attempt 1 of the key "g": ((crc32("1g") >> 16) & 0x7fff) + the first hash, modulo 3.
        let hashes = [b"g".as_slice(), b"1g"].map(|it| Crc32::START.then(it).end() >> 16 & 0x7fff);
        let second = (hashes[0] + hashes[1]) % 3;
        assert_ne!(second, 0);
        let expected = ["a", "b", "c"][second as usize].to_owned() + "bc";
        check("!1 1 1", &["g", "1", "a"], &expected);
    }

    #[test]
    fn an_empty_key_takes_turns() {
        check("1 1 1", &["", "", "", ""], "abca");
    }

    #[test]
    fn attempts_are_numbered_in_decimal() {
        assert_eq!(numbered(7), Crc32::START.then(b"7"));
        assert_eq!(numbered(20), Crc32::START.then(b"20"));
        assert_eq!(numbered(0), Crc32::START);
    }
}
