//! The chunked coding, decoded where it stands in the buffer.

/// Why a body is not valid chunked coding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadChunk;

/// What the next bytes of the buffer are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// `skip` bytes of framing, then `data` bytes of body.
    Data {
        /// Framing before the data.
        skip: usize,
        /// Bytes of the body.
        data: usize,
    },
    /// `skip` bytes of framing; more bytes are needed to go on.
    More {
        /// Framing that is done with.
        skip: usize,
    },
    /// `skip` bytes of framing, and the body is over.
    End {
        /// Framing up to and with the last line.
        skip: usize,
    },
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Size,
    Digits,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

/// Reads chunk after chunk; the bytes may arrive in any portions.
///
/// A line end is CR LF and nothing else: a bare LF is how requests are smuggled past those who
/// read it differently. Extensions and trailers are skipped, at most [`SKIPPED`] bytes of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    state: State,
    digits: u8,
    size: u64,
    skipped: u32,
}

/// Longest run of extensions and trailers that is read, in bytes.
pub const SKIPPED: u32 = 32 * 1024;

impl Decoder {
    /// Bytes still to come of the chunk that is being read.
    pub fn left(&self) -> u64 {
        self.size
    }

    /// Says what `input`, the bytes after those already spoken of, begins with.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BadChunk> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match self.state {
                State::Size | State::Digits => match (byte, self.state) {
                    (b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F', _) => self.digit(byte)?,
                    (b'\r', State::Digits) => self.state = State::SizeEnd,
                    (b';' | b' ' | b'\t', State::Digits) => self.state = State::Extension,
                    _ => return Err(BadChunk),
                },
                State::Extension => match byte {
                    b'\r' => self.state = State::SizeEnd,
                    b'\n' | 0 => return Err(BadChunk),
                    _ => self.skip_one()?,
                },
                State::SizeEnd => {
                    if byte != b'\n' {
                        return Err(BadChunk);
                    }
                    self.state = if self.size == 0 { State::TrailerStart } else { State::Data };
                }
                State::Data => {
                    let left = usize::try_from(self.size).unwrap_or(usize::MAX);
                    let data = left.min(input.len() - at);
                    self.size -= data as u64;
                    if self.size == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Step::Data { skip: at, data });
                }
                State::DataCr if byte == b'\r' => self.state = State::DataLf,
                State::DataLf if byte == b'\n' => {
                    self.state = State::Size;
                    self.digits = 0;
                }
                State::TrailerStart if byte == b'\r' => self.state = State::EndLf,
                State::TrailerStart | State::Trailer => match byte {
                    b'\r' => self.state = State::TrailerLf,
                    b'\n' | 0 => return Err(BadChunk),
                    _ => {
                        self.skip_one()?;
                        self.state = State::Trailer;
                    }
                },
                State::TrailerLf if byte == b'\n' => self.state = State::TrailerStart,
                State::EndLf if byte == b'\n' => return Ok(Step::End { skip: at + 1 }),
                State::DataCr | State::DataLf | State::TrailerLf | State::EndLf => {
                    return Err(BadChunk);
                }
            }
            at += 1;
        }
        Ok(Step::More { skip: at })
    }

    fn digit(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.digits += 1;
        // Sixteen digits fill 64 bits; nobody sends a chunk that long in good faith.
        if self.digits > 16 {
            return Err(BadChunk);
        }
        let value = (byte as char).to_digit(16).ok_or(BadChunk)?;
        self.size = if self.digits == 1 { 0 } else { self.size << 4 } | u64::from(value);
        self.state = State::Digits;
        Ok(())
    }

    fn skip_one(&mut self) -> Result<(), BadChunk> {
        self.skipped += 1;
        if self.skipped > SKIPPED { Err(BadChunk) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoded body when `text` arrives in portions of `portion` bytes, and what follows it.
    fn decode(text: &str, portion: usize) -> Result<Option<(String, String)>, BadChunk> {
        let mut decoder = Decoder::default();
        let mut body = Vec::new();
        let (mut at, mut have) = (0, 0);
        loop {
            match decoder.step(&text.as_bytes()[at..have])? {
                Step::Data { skip, data } => {
                    body.extend_from_slice(&text.as_bytes()[at + skip..at + skip + data]);
                    at += skip + data;
                }
                Step::More { skip } => {
                    at += skip;
                    if have == text.len() {
                        return Ok(None);
                    }
                    have = (have + portion).min(text.len());
                }
                Step::End { skip } => {
                    let rest = text[at + skip..].to_owned();
                    return Ok(Some((String::from_utf8(body).unwrap(), rest)));
                }
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<Option<(&str, &str)>, BadChunk>) {
        for portion in 1..=text.len().max(1) {
            let found = decode(text, portion);
            let expected = expected.map(|it| it.map(|(b, r)| (b.to_owned(), r.to_owned())));
            let same = match (&found, &expected) {
                // How much of the next message has arrived depends on the portion.
                (Ok(Some((body, _))), Ok(Some((wanted, _)))) if portion < text.len() => {
                    body == wanted
                }
                _ => found == expected,
            };
            assert!(same, "{text:?} by {portion}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        check("5\r\nhello\r\n0\r\n\r\n", Ok(Some(("hello", ""))));
        check("1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n", Ok(Some(("a0123456789", ""))));
        check("0\r\n\r\n", Ok(Some(("", ""))));
        check("005\r\nhello\r\n000\r\n\r\nGET", Ok(Some(("hello", "GET"))));
    }

    #[test]
    fn extensions_and_trailers_are_skipped() {
        check("3;a=\"b\"\r\nabc\r\n0;x\r\nTrailer: y\r\n\r\n", Ok(Some(("abc", ""))));
    }

    #[test]
    fn a_body_cut_short_never_ends() {
        check("5\r\nhel", Ok(None));
        check("5\r\nhello\r\n0\r\n", Ok(None));
    }

    #[test]
    fn framing_that_others_read_differently_is_refused() {
        for text in [
            "\r\n",
            "g\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            "0x5\r\nhello",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            " 5\r\nhello\r\n",
            "11111111111111111\r\n",
            "5;a\nhello",
            "5\r\rhello",
        ] {
            check(text, Err(BadChunk));
        }
    }
}
