//! One header line: where its name and value stand, and which name it is.

use super::name::eight;
use super::write;

pub use super::name::{Name, hash};

/// A stretch of the buffer a head was parsed from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Piece {
    start: u32,
    end: u32,
}

impl Piece {
    /// The bytes from `start` up to `end`.
    #[expect(clippy::cast_possible_truncation, reason = "a head is refused long before 4 GiB")]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes themselves, from the buffer the head was parsed from.
    pub fn of<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.start as usize..self.end as usize]
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Position of the first byte.
    pub fn start(&self) -> usize {
        self.start as usize
    }

    /// Position after the last byte.
    pub fn end(&self) -> usize {
        self.end as usize
    }
}

/// One header line of a parsed head.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As written by the sender.
    pub name: Piece,
    /// Without the blanks around it.
    pub value: Piece,
    /// Of the name in lower case, by [`hash`]; equal names have equal hashes.
    pub hash: u32,
    /// Which known name it is.
    pub known: Name,
}

impl Field {
    /// Appends the line as `name: value`: in one piece where its sender has written it so.
    pub fn write(&self, buffer: &[u8], out: &mut Vec<u8>) {
        let (name, value) = (self.name.end(), self.value.start());
        let is_plain = name + 2 == value
            && &buffer[name..value] == b": "
            && buffer.get(self.value.end()..self.value.end() + 2) == Some(b"\r\n");
        if is_plain {
            out.extend_from_slice(&buffer[self.name.start()..self.value.end() + 2]);
        } else {
            write::field(out, self.name.of(buffer), self.value.of(buffer));
        }
    }
}

/// What became of one line.
#[derive(Clone, Copy, Debug)]
pub enum Line {
    /// A field to keep.
    Field(Field),
    /// Its name has bytes nginx does not expect: dropped, or kept, as the configuration says.
    Odd(Field),
    /// The whole message has to be refused.
    Bad,
}

/// Where a line ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Not within what has arrived.
    Open,
    /// At the first position, its line end excluded; the next line begins at the second.
    At(usize, usize),
    /// A carriage return stands in it by itself, or a byte that ends texts in other programs.
    Bare,
}

/// Looks for the end of the header line that begins at `start`.
///
/// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_header_line`. Difference: a carriage return
/// stands before a line feed and nowhere else, as other readers take it for the end of a line.
#[expect(clippy::inline_always, reason = "run for each line, a call costs as much as a line")]
#[inline(always)]
pub fn ending(buffer: &[u8], start: usize) -> Ending {
    let mut from = start;
    while let Some(end) = next_control(buffer, from) {
        match (buffer[end], buffer.get(end + 1)) {
            (b'\n', _) => return Ending::At(end, end + 1),
            (b'\r', Some(b'\n')) => return Ending::At(end, end + 2),
            (b'\r', None) => return Ending::Open,
            (b'\r' | 0, _) => return Ending::Bare,
            _ => from = end + 1,
        }
    }
    Ending::Open
}

/// The first control character from `at` on, looked for in eight bytes at a time: lines are short,
/// and a call costs more than the search.
fn next_control(buffer: &[u8], mut at: usize) -> Option<usize> {
    while let Some(word) = buffer[at..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte below a blank; above the first of them, it may be wrong.
        let found = word.wrapping_sub(eight(b' ')) & !word & eight(0x80);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    buffer[at..].iter().position(|it| *it < b' ').map(|it| at + it)
}

/// What the bytes of a name are to nginx.
const EXPECTED: u8 = 0;
const ODD: u8 = 1;
const BAD: u8 = 2;

const KINDS: [u8; 256] = {
    let mut kinds = [ODD; 256];
    let mut byte = 0;
    while byte < 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 128")]
        let value = byte as u8;
        kinds[byte] = match value {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => EXPECTED,
            0..=b' ' | 0x7f => BAD,
            _ => ODD,
        };
        byte += 1;
    }
    kinds
};

/// Where the colon of a line stands, its length where there is none. Eight bytes at a time.
fn colon(line: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = line[at..].first_chunk() {
        let word = u64::from_le_bytes(*word) ^ eight(b':');
        // The high bit of each byte that is 0; above the first of them, it may be wrong.
        let found = word.wrapping_sub(eight(1)) & !word & eight(0x80);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    line[at..].iter().position(|it| *it == b':').map_or(line.len(), |it| at + it)
}

/// Parses the line of `buffer` from `start` up to `end`, as [`ending`] found it.
///
/// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_header_line`. Difference: every name that
/// holds white space is refused.
#[expect(clippy::inline_always, reason = "run for each line, and taken apart at once")]
#[inline(always)]
pub fn parse(buffer: &[u8], start: usize, end: usize) -> Line {
    let line = &buffer[start..end];
    let colon = colon(line);
    if colon == 0 {
        return Line::Bad;
    }
    let name = &line[..colon];
    let hash = hash(name);
    let known = Name::of(name, hash);
    let mut is_odd = false;
    if known == Name::Other {
        // The worst of its bytes counts.
        match name.iter().fold(EXPECTED, |worst, it| worst.max(KINDS[usize::from(*it)])) {
            EXPECTED => {}
            ODD => is_odd = true,
            _ => return Line::Bad,
        }
    }
    let is_blank = |at: usize| matches!(line[at], b' ' | b'\t');
    // A name alone has an empty value.
    let (mut from, mut to) = ((colon + 1).min(line.len()), line.len());
    while from < to && is_blank(from) {
        from += 1;
    }
    while from < to && is_blank(to - 1) {
        to -= 1;
    }
    let field = Field {
        name: Piece::new(start, start + colon),
        value: Piece::new(start + from, start + to),
        hash,
        known,
    };
    if is_odd { Line::Odd(field) } else { Line::Field(field) }
}

/// Whether a list of words such as `keep-alive, Upgrade` holds `word`, ignoring case.
pub fn lists(value: &[u8], word: &str) -> bool {
    value.split(|it| *it == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// The beginning of a line that is none, up to the byte by which nginx sees it.
pub fn shown(buffer: &[u8], start: usize) -> String {
    let odd = start + odd_at(&buffer[start..]);
    let byte = buffer.get(odd).copied().unwrap_or_default();
    format!("{}\\x{byte:02x}...", String::from_utf8_lossy(&buffer[start..odd]))
}

/// The byte of a line at which nginx sees that it is none.
///
/// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_header_line`.
fn odd_at(line: &[u8]) -> usize {
    let is_odd = |it: &u8| *it <= b' ' || *it == 0x7f;
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    if colon == 0 {
        return 0;
    }
    if let Some(at) = line[..colon].iter().position(is_odd) {
        return at;
    }
    let value = &line[colon..];
    let nul = memchr::memchr(0, value);
    // A line may end with more than one CR, but not go on behind it.
    let broken = value.windows(2).position(|it| it[0] == b'\r' && !matches!(it[1], b'\r' | b'\n'));
    let at = nul.into_iter().chain(broken).min();
    colon + at.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, &str)>) {
        let found = match parse(line.as_bytes(), 0, line.len()) {
            Line::Field(it) => Some((it.name, it.value)),
            Line::Odd(_) | Line::Bad => None,
        };
        let found =
            found.map(|(name, value)| (name.of(line.as_bytes()), value.of(line.as_bytes())));
        assert_eq!(found, expected.map(|(n, v)| (n.as_bytes(), v.as_bytes())), "{line:?}");
    }

    #[test]
    fn a_value_loses_the_blanks_around_it() {
        check("Host: a", Some(("Host", "a")));
        check("Host:a", Some(("Host", "a")));
        check("Accept: \t a b \t", Some(("Accept", "a b")));
        check("Empty:", Some(("Empty", "")));
        check("Empty:   ", Some(("Empty", "")));
    }

    #[test]
    fn a_line_is_passed_on_with_one_blank_and_both_line_ends() {
        for text in ["A: b c\r\n", "A:b c\r\n", "A: b c\n", "A: b c  \r\n", "A:  b c\r\n", "A: b c"]
        {
            let end = text.trim_end_matches(['\r', '\n']).len();
            let Line::Field(field) = parse(text.as_bytes(), 0, end) else { panic!("a field") };
            let mut out = Vec::new();
            field.write(text.as_bytes(), &mut out);
            assert_eq!(out, b"A: b c\r\n", "{text:?}");
        }
    }

    #[test]
    fn lines_that_could_smuggle_are_refused() {
        for line in [" folded: x", "\tfolded", "Host : a", "Ho st: a", ": a", "no colon"] {
            assert!(matches!(parse(line.as_bytes(), 0, line.len()), Line::Bad), "{line:?}");
        }
    }

    #[test]
    fn a_line_ends_with_a_line_feed_and_one_carriage_return_at_most_before_it() {
        for (text, ending) in [
            ("a: b\r\nc", Ending::At(4, 6)),
            ("a: b\nc", Ending::At(4, 5)),
            ("\r\n", Ending::At(0, 2)),
            ("a: b", Ending::Open),
            ("a: b\r", Ending::Open),
            ("a: b\rc\r\n", Ending::Bare),
            ("a: b\r\r\n", Ending::Bare),
            ("a: \0b\r\n", Ending::Bare),
            ("a: b\tc\x01\r\n", Ending::At(7, 9)),
            ("a: caf\u{e9}\u{ff} \u{2028}, long enough\r\n", Ending::At(27, 29)),
        ] {
            assert_eq!(super::ending(text.as_bytes(), 0), ending, "{text:?}");
        }
    }

    #[test]
    fn unexpected_names_are_told_apart() {
        for line in ["under_score: 1", "dot.ted: 1", "caf\u{e9}: 1"] {
            assert!(matches!(parse(line.as_bytes(), 0, line.len()), Line::Odd(_)), "{line:?}");
        }
    }

    #[test]
    fn names_are_known_and_hashed_in_any_case() {
        let line = b"CONTENT-Length: 1";
        let Line::Field(field) = parse(line, 0, line.len()) else { panic!("a field") };
        assert_eq!(field.known, Name::ContentLength);
        assert_eq!(field.hash, hash(b"content-length"));
    }

    #[test]
    fn a_list_is_searched_word_by_word() {
        assert!(lists(b"keep-alive, Upgrade", "upgrade"));
        assert!(!lists(b"keep-alive-upgrade", "upgrade"));
    }
}
