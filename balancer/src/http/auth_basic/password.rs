//! Does a password belong to a line of a password file?
//!
//! Source: nginx `ngx_crypt.c`; the algorithm of `$1$` and `$apr1$` is Poul-Henning Kamp's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::Sha1;

mod des;

/// Whether the password is that of the entry; `None` where the entry is of no kind that is known.
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
    if entry.starts_with(b"$5$") || entry.starts_with(b"$6$") {
        let entry = std::str::from_utf8(entry).ok()?;
        return Some(ShaCrypt::default().verify_password(password, entry).is_ok());
    }
    des::crypt(password, entry).map(|it| it == entry)
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
        assert_eq!(verify(b"secret", b"$9$unknown"), None);
    }
}
