//! How do names become numbers, the same everywhere and always?

/// CRC-32 with the polynomial of Ethernet, as nginx's `ngx_crc32.h` computes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    /// The state before the first byte.
    pub(crate) const START: Self = Self(u32::MAX);

    /// The state after `bytes`.
    #[must_use]
    pub(crate) fn then(self, bytes: &[u8]) -> Self {
        let next = |state: u32, byte: &u8| {
            let index = usize::from(state.to_le_bytes()[0] ^ byte);
            CRC_TABLE[index] ^ (state >> 8)
        };
        Self(bytes.iter().fold(self.0, next))
    }

    /// The checksum of what was read.
    pub(crate) const fn end(self) -> u32 {
        !self.0
    }
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    let mut start = 0;
    while index < table.len() {
        let mut state: u32 = start;
        let mut bit = 0;
        while bit < 8 {
            let carry = if state & 1 == 1 { 0xedb8_8320 } else { 0 };
            state = (state >> 1) ^ carry;
            bit += 1;
        }
        table[index] = state;
        index += 1;
        start += 1;
    }
    table
};

/// xxHash64 of `bytes`.
///
/// Source: Y. Collet, "xxHash fast digest algorithm", XXH64, format version 0.1.1.
pub(crate) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let (stripes, tail) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(PRIME_5)
    } else {
        let mut lanes = [
            seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2),
            seed.wrapping_add(PRIME_2),
            seed,
            seed.wrapping_sub(PRIME_1),
        ];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(it, by)| it.rotate_left(by));
        let mut hash = turned.fold(0, u64::wrapping_add);
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        }
        hash
    };
    hash = hash.wrapping_add(bytes.len() as u64);

    let (words, tail) = tail.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    }
    let (halves, tail) = tail.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1);
        hash = hash.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
    }
    for byte in tail {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11);
        hash = hash.wrapping_mul(PRIME_1);
    }
    avalanche(hash)
}

/// A digest that is to be mixed with many others, by one multiplication for each.
///
/// Only digests are mixed well: words that differ in few bits stay alike.
///
/// Source: M. Dietzfelbinger et al., "A Reliable Randomized Algorithm for the Closest-Pair Problem",
/// 1997, whose upper bits of a product with an odd factor these are; here a factor for each digest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixer {
    mask: u64,
    factor: u64,
}

impl Mixer {
    pub(crate) fn new(digest: u64) -> Self {
        Self { mask: digest, factor: avalanche(digest ^ PRIME_1) | 1 }
    }

    /// A digest of both, of which the upper bits are the better ones.
    pub(crate) fn mix(self, digest: u64) -> u64 {
        self.signed(digest).cast_unsigned() ^ SIGN
    }

    /// The highest that any of them is [mixed](Self::mix) to, 0 without any.
    pub(crate) fn highest(self, digests: &[u64]) -> u64 {
        // Four rows do not wait for each other.
        let mut rows = [i64::MIN; 4];
        let (fours, rest) = digests.as_chunks::<4>();
        for four in fours {
            for (row, digest) in rows.iter_mut().zip(four) {
                *row = self.signed(*digest).max(*row);
            }
        }
        let [a, b, c, d] = rows;
        let all = a.max(b).max(c.max(d));
        rest.iter().fold(all, |it, digest| self.signed(*digest).max(it)).cast_unsigned() ^ SIGN
    }

    /// In this order processors find the higher of two in one step less.
    fn signed(self, digest: u64) -> i64 {
        (digest ^ self.mask).wrapping_mul(self.factor).cast_signed()
    }
}

const SIGN: u64 = 1 << 63;

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draw, SplitMix64};

    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(Crc32::START.then(b"123456789").end(), 0xcbf4_3926);
        assert_eq!(Crc32::START.then(b"1234").then(b"56789").end(), 0xcbf4_3926);
        assert_eq!(Crc32::START.end(), 0);
    }

    #[test]
    fn digests_are_the_published_ones() {
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        let long = b"Nobody inspects the spammish repetition";
        assert_eq!(xxh64(long, 0), 0xfbce_a83c_8a37_8bf1);
        assert_eq!(xxh64(b"xxhash", 20_141_025), 0xb559_b98d_844e_0635);
    }

    #[test]
    fn the_highest_of_many_is_the_one_a_search_finds() {
        let (mixer, mut draw) = (Mixer::new(xxh64(b"key", 0)), SplitMix64::new(1));
        for len in 0..40 {
            let digests = (0..len).map(|_| draw.bits()).collect::<Vec<_>>();
            let highest = digests.iter().map(|it| mixer.mix(*it)).max();
            assert_eq!(mixer.highest(&digests), highest.unwrap_or(0), "{len}");
        }
    }
}
