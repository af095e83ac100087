//! Where a message's body ends.

use crate::engine::h1::chunked::{self, BadChunk, Step};

/// An announced length: digits alone, below 2^63 as nginx's offsets are.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|it| i64::try_from(*it).is_ok())
}

/// How the sender marks the end of its body.
#[derive(Clone, Copy, Debug)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// This many bytes are still to come.
    Length(u64),
    /// Chunked coding.
    Chunked(chunked::Decoder),
    /// The body ends with the connection.
    UntilClose,
}

impl Framing {
    /// Chunked coding from its first byte.
    pub fn chunked() -> Self {
        Self::Chunked(chunked::Decoder::default())
    }

    /// Whether nothing more belongs to this body, without reading further.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Empty | Self::Length(0))
    }

    /// Bytes still to come of the chunk that is being read; 0 where there are no chunks.
    pub fn left_of_chunk(&self) -> u64 {
        match self {
            Self::Chunked(decoder) => decoder.left(),
            _ => 0,
        }
    }

    /// Says what `input` begins with, and remembers it as read.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BadChunk> {
        match self {
            Self::Empty | Self::Length(0) => Ok(Step::End { skip: 0 }),
            Self::Length(left) => {
                if input.is_empty() {
                    return Ok(Step::More { skip: 0 });
                }
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= data as u64;
                Ok(Step::Data { skip: 0, data })
            }
            Self::Chunked(decoder) => decoder.step(input),
            Self::UntilClose if input.is_empty() => Ok(Step::More { skip: 0 }),
            Self::UntilClose => Ok(Step::Data { skip: 0, data: input.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_ends_after_that_many_bytes() {
        let mut framing = Framing::Length(5);
        assert_eq!(framing.step(b"abc"), Ok(Step::Data { skip: 0, data: 3 }));
        assert!(!framing.is_over());
        assert_eq!(framing.step(b""), Ok(Step::More { skip: 0 }));
        assert_eq!(framing.step(b"defg"), Ok(Step::Data { skip: 0, data: 2 }));
        assert!(framing.is_over());
        assert_eq!(framing.step(b"fg"), Ok(Step::End { skip: 0 }));
    }

    #[test]
    fn a_body_until_close_takes_everything() {
        let mut framing = Framing::UntilClose;
        assert_eq!(framing.step(b"abc"), Ok(Step::Data { skip: 0, data: 3 }));
        assert_eq!(framing.step(b""), Ok(Step::More { skip: 0 }));
        assert!(!framing.is_over());
    }
}
