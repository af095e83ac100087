//! The oldest kind of entry in a password file: `crypt(3)` with DES, two letters of salt.
//!
//! Source: the manual of `crypt(3)`, and FIPS 46-3, whose tables stand here as it numbers them.

/// The first permutation begins each of its rows here and goes down by eights.
const FIRST_ROWS: [u8; 8] = [58, 60, 62, 64, 57, 59, 61, 63];

const CHOICE_1: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60,
    52, 44, 36, 63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29,
    21, 13, 5, 28, 20, 12, 4,
];

const CHOICE_2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52,
    31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];

const SHIFTS: [usize; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];

const LAST: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19,
    13, 30, 6, 22, 11, 4, 25,
];

/// Four rows of sixteen for each box, a hexadecimal digit an entry.
const BOXES: [&[u8; 64]; 8] = [
    b"E4D12FB83A6C59070F74E2D1A6CB953841E8D62BFC973A50FC8249175B3EA06D",
    b"F18E6B34972DC05A3D47F28EC01A69B50E7BA4D158C6932FD8A13F42B67C05E9",
    b"A09E63F51DC7B428D709346A285ECBF1D6498F30B12C5AE71AD069874FE3B52C",
    b"7DE3069A1285BC4FD8B56F03472C1AE9A690CB7DF13E52843F06A1D8945BC72E",
    b"2C417AB6853FD0E9EB2C47D150FA3986421BAD78F9C5630EB8C71E2D6F09A453",
    b"C1AF92680D34E75BAF427C9561DE0B389EF528C3704A1DB6432C95FABE17608D",
    b"4B2EF08D3C975A61D0B7491AE35C2F8614BDC37EAF6805926BD814A7950FE23C",
    b"D2846FB1A93E50C71FD8A374C56B0E927B419CE206ADF35821E74A8DFC90356B",
];

/// A bit a byte: this is read at human pace, and by humans.
type Bits<const N: usize> = [u8; N];

/// The entry for a password whose salt is that of another entry; `None` where that has none.
pub(super) fn crypt(password: &[u8], entry: &[u8]) -> Option<Vec<u8>> {
    let salt = [*entry.first()?, *entry.get(1)?];
    let values = [number(salt[0])?, number(salt[1])?];
    let mut expansion: [usize; 48] = std::array::from_fn(|at| (4 * (at / 6) + at % 6 + 31) % 32);
    for (at, value) in values.into_iter().enumerate() {
        for bit in (0..6).filter(|it| value >> it & 1 == 1) {
            expansion.swap(6 * at + bit, 6 * at + bit + 24);
        }
    }
    let mut key: Bits<64> = [0; 64];
    for (at, byte) in password.iter().take(8).enumerate() {
        for bit in 0..7 {
            key[8 * at + bit] = byte >> (6 - bit) & 1;
        }
    }
    let keys = schedule(&key);
    let mut block: Bits<64> = [0; 64];
    for _ in 0..25 {
        block = encrypt(&block, &keys, &expansion);
    }
    let mut out = salt.to_vec();
    for at in 0..11 {
        let bits = (6 * at..6 * at + 6).map(|it| block.get(it).copied().unwrap_or_default());
        out.push(letter(bits.fold(0, |sum, bit| sum << 1 | bit)));
    }
    Some(out)
}

fn schedule(key: &Bits<64>) -> [Bits<48>; 16] {
    let mut halves: Bits<56> = std::array::from_fn(|at| key[usize::from(CHOICE_1[at]) - 1]);
    SHIFTS.map(|shift| {
        let (left, right) = halves.split_at_mut(28);
        left.rotate_left(shift);
        right.rotate_left(shift);
        std::array::from_fn(|at| halves[usize::from(CHOICE_2[at]) - 1])
    })
}

/// Where the first permutation takes a bit from.
fn first(at: usize) -> usize {
    usize::from(FIRST_ROWS[at / 8]) - 8 * (at % 8) - 1
}

fn encrypt(block: &Bits<64>, keys: &[Bits<48>; 16], expansion: &[usize; 48]) -> Bits<64> {
    let mut left: Bits<32> = std::array::from_fn(|at| block[first(at)]);
    let mut right: Bits<32> = std::array::from_fn(|at| block[first(at + 32)]);
    for key in keys {
        let mixed: Bits<48> = std::array::from_fn(|at| right[expansion[at]] ^ key[at]);
        let mut chosen: Bits<32> = [0; 32];
        for (at, table) in BOXES.iter().enumerate() {
            let bit = |it: usize| usize::from(mixed[6 * at + it]);
            let row = bit(0) << 1 | bit(5);
            let column = bit(1) << 3 | bit(2) << 2 | bit(3) << 1 | bit(4);
            let digit = (table[16 * row + column] as char).to_digit(16).unwrap_or_default();
            for it in 0..4 {
                chosen[4 * at + it] = u8::from(digit >> (3 - it) & 1 == 1);
            }
        }
        let next = std::array::from_fn(|at| left[at] ^ chosen[usize::from(LAST[at]) - 1]);
        left = std::mem::replace(&mut right, next);
    }
    let mut out = [0; 64];
    // The last permutation undoes the first; the halves have changed places.
    for (at, bit) in right.into_iter().chain(left).enumerate() {
        out[first(at)] = bit;
    }
    out
}

/// What a letter of the salt stands for.
fn number(letter: u8) -> Option<u8> {
    match letter {
        b'.' | b'/' => Some(letter - b'.'),
        b'0'..=b'9' => Some(letter - b'0' + 2),
        b'A'..=b'Z' => Some(letter - b'A' + 12),
        b'a'..=b'z' => Some(letter - b'a' + 38),
        _ => None,
    }
}

fn letter(number: u8) -> u8 {
    match number {
        0..=1 => b'.' + number,
        2..=11 => b'0' + number - 2,
        12..=37 => b'A' + number - 12,
        _ => b'a' + number - 38,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as `crypt(3)` of the system gives them.
    const ENTRIES: &[(&str, &str)] = &[
        ("secret", "abNANd1rDfiNc"),
        ("", "./Una9Fi.seRo"),
        ("password", "zZDDIZ0NOlPzw"),
        ("12345678longer", "9atYJuhJzAPFA"),
        ("ä", "Q7.qGxC6yRO3s"),
    ];

    #[test]
    fn entries_are_those_of_the_system() {
        for (password, entry) in ENTRIES {
            let made = crypt(password.as_bytes(), entry.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(made).unwrap(), *entry, "{password}");
        }
    }

    #[test]
    fn eight_letters_count() {
        assert_eq!(crypt(b"12345678", b"zZ"), crypt(b"123456789", b"zZ"));
        assert_eq!(crypt(b"a", b"!!"), None);
        assert_eq!(crypt(b"a", b"x"), None);
    }
}
