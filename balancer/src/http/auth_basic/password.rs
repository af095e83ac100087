//! Does a password belong to a line of a password file?
//!
//! Source: nginx `ngx_crypt.c`; the algorithm of `$1$` and `$apr1$` is Poul-Henning Kamp's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::Sha1;

mod des;

/// Kinds of entries that crypt(3) knows and this program does not.
const UNKNOWN: [&[u8]; 8] = [b"$y$", b"$gy$", b"$7$", b"$sha1", b"$md5", b"$3$", b"_", b"$2x$"];

/// Whether checking a password against the entry takes so long that others would notice.
pub fn is_slow(entry: &[u8]) -> bool {
    [&b"$2"[..], b"$5$", b"$6$"].iter().any(|it| entry.starts_with(it))
}

/// Whether the password is that of the entry; `None` where the entry is of a kind that only crypt(3)
/// knows. To what is no entry at all no password belongs.
pub fn verify(password: &[u8], entry: &[u8]) -> Option<bool> {
    // Nothing hashes to nothing.
    if entry.is_empty() {
        return Some(false);
    }
    if let Some(plain) = entry.strip_prefix(b"{PLAIN}") {
        return Some(plain == password);
    }
    if let Some(digest) = entry.strip_prefix(b"{SHA}") {
        return Some(BASE64.encode(Sha1::digest(password)).as_bytes() == digest);
    }
    if let Some(salted) = entry.strip_prefix(b"{SSHA}") {
        return Some(is_salted(password, salted));
    }
    if let Some(rest) = entry.strip_prefix(b"$apr1$") {
        return Some(md5_crypt(password, rest, b"$apr1$") == entry);
    }
    if let Some(rest) = entry.strip_prefix(b"$1$") {
        return Some(md5_crypt(password, rest, b"$1$") == entry);
    }
    // The rest is for crypt(3), to which passwords end at a zero.
    let password = password.split(|it| *it == 0).next().unwrap_or_default();
    if entry.starts_with(b"$5$") || entry.starts_with(b"$6$") {
        let Ok(entry) = std::str::from_utf8(entry) else { return Some(false) };
        return Some(ShaCrypt::default().verify_password(password, entry).is_ok());
    }
    // The sign of bytes beyond ASCII is all that `$2x$` sees differently.
    let is_plain = || entry.starts_with(b"$2x$") && password.is_ascii();
    if [b"$2a$", b"$2b$", b"$2y$"].iter().any(|it| entry.starts_with(*it)) || is_plain() {
        let Ok(entry) = std::str::from_utf8(entry) else { return Some(false) };
        return Some(bcrypt::verify(password, entry).unwrap_or_default());
    }
    if UNKNOWN.iter().any(|it| entry.starts_with(it)) {
        return None;
    }
    Some(des::crypt(password, entry).is_some_and(|it| it == entry))
}

/// Source: nginx `ngx_crypt_ssha`.
fn is_salted(password: &[u8], salted: &[u8]) -> bool {
    let Ok(bytes) = BASE64.decode(salted) else { return false };
    let Some((digest, salt)) = bytes.split_at_checked(20) else { return false };
    Sha1::new().chain_update(password).chain_update(salt).finalize()[..] == *digest
}

/// The whole entry for a password; `rest` begins with the salt.
fn md5_crypt(password: &[u8], rest: &[u8], magic: &[u8]) -> Vec<u8> {
    let end = rest.iter().position(|it| *it == b'$').unwrap_or(rest.len());
    let salt = &rest[..end.min(8)];
    let once = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let once = once.finalize();
    let mut sum = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for at in (0..password.len()).step_by(16) {
        sum.update(&once[..(password.len() - at).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        sum.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut last = sum.finalize();
    for round in 0..1000 {
        let mut sum = Md5::new();
        sum.update(if round % 2 == 1 { password } else { &last[..] });
        if round % 3 != 0 {
            sum.update(salt);
        }
        if round % 7 != 0 {
            sum.update(password);
        }
        sum.update(if round % 2 == 1 { &last[..] } else { password });
        last = sum.finalize();
    }
    let mut out = [magic, salt, b"$"].concat();
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        letters(u32::from_be_bytes([0, last[a], last[b], last[c]]), 4, &mut out);
    }
    letters(u32::from(last[11]), 2, &mut out);
    out
}

/// Six bits a letter, the lowest first.
fn letters(mut value: u32, count: usize, out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..count {
        out.push(ALPHABET[(value & 63) as usize]);
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: &[&str] = &[
        "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
        "$1$xyz$Qia9Wq6FxQkYcwNWMk/RM0",
        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
        "{SSHA}8nC2N8ogaf+3dCnNOL31CJfOWeQwMTIz",
        "abNANd1rDfiNc",
        "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2x$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    ];

    #[track_caller]
    fn check(entry: &str) {
        assert_eq!(verify(b"secret", entry.as_bytes()), Some(true), "{entry}");
        assert_eq!(verify(b"Secret", entry.as_bytes()), Some(false), "{entry}");
        assert_eq!(verify(b"", entry.as_bytes()), Some(false), "{entry}");
    }

    #[test]
    fn entries_are_those_that_openssl_writes() {
        check("{PLAIN}secret");
        check("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=");
        ENTRIES.iter().for_each(|it| check(it));
        assert_eq!(verify(b"secret", b"$y$j9T$abc$def"), None);
    }

    #[test]
    fn no_password_belongs_to_what_is_no_entry() {
        for entry in [
            "$9$unknown",
            "x",
            "*0",
            "$2b$03$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        ] {
            assert_eq!(verify(b"secret", entry.as_bytes()), Some(false), "{entry}");
        }
    }

    #[test]
    fn a_password_of_bcrypt_has_72_bytes_and_ends_at_a_zero() {
        let long = b"$2b$04$abcdefghijklmnopqrstuuNt.0ah97gHY3F7JC1Z6EXmQc0bQBhIO";
        assert_eq!(verify(&[b'p'; 80], long), Some(true));
        assert_eq!(verify(&[b'p'; 71], long), Some(false));
        let short = b"$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
        assert_eq!(verify(b"secret\0more", short), Some(true));
        let signed = b"$2a$04$abcdefghijklmnopqrstuuetdUGRt.ONb03YnMQzKcw7ARaz.rve.";
        assert_eq!(verify("p\u{e4}\u{ff}".as_bytes(), signed), Some(true));
    }
}
