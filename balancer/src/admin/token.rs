//! Who may change something: whoever knows the token.

use std::fmt;
use std::io;
use std::path::Path;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use super::api::refusal::Refusal;

/// Fewer characters could be guessed.
const SHORTEST: usize = 16;

/// What has to be told by whoever changes something. It is kept as a digest and never printed.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads it from a file; white space around it does not count.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds fewer than 16 characters.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        Self::of(text.trim()).ok_or_else(|| {
            let text = format!("it holds fewer than {SHORTEST} characters");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn of(text: &str) -> Option<Self> {
        (text.len() >= SHORTEST).then(|| Self(Sha256::digest(text).into()))
    }

    /// Lets through who tells it as `Authorization: Bearer TOKEN`.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let told = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let told = told.and_then(|it| {
            let (scheme, token) = it.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        let digest: [u8; 32] = Sha256::digest(told.ok_or(Refusal::NO_TOKEN)?.trim_ascii()).into();
        // Of digests, and of all of their bytes: the time it takes says nothing about the token.
        let differs = digest.iter().zip(&self.0).fold(0, |all, (one, other)| all | (one ^ other));
        if differs == 0 { Ok(()) } else { Err(Refusal::WRONG_TOKEN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "calls are a table")]
    #[track_caller]
    fn check(told: Option<&str>, expected: Result<(), Refusal>) {
        let mut headers = HeaderMap::new();
        if let Some(told) = told {
            headers.insert(AUTHORIZATION, told.parse().unwrap());
        }
        let token = Token::of("0123456789abcdef").unwrap();
        assert_eq!(token.check(&headers), expected, "{told:?}");
    }

    #[test]
    fn only_the_whole_token_opens() {
        check(Some("Bearer 0123456789abcdef"), Ok(()));
        check(Some("bearer  0123456789abcdef "), Ok(()));
        check(None, Err(Refusal::NO_TOKEN));
        check(Some("Basic 0123456789abcdef"), Err(Refusal::NO_TOKEN));
        check(Some("Bearer"), Err(Refusal::NO_TOKEN));
        check(Some("Bearer 0123456789abcde"), Err(Refusal::WRONG_TOKEN));
        check(Some("Bearer 0123456789abcdef0"), Err(Refusal::WRONG_TOKEN));
    }

    #[test]
    fn a_token_is_long_and_not_shown() {
        assert!(Token::of("0123456789abcde").is_none());
        assert_eq!(format!("{:?}", Token::of("0123456789abcdef").unwrap()), "Token");
    }
}
