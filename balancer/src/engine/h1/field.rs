//! One header line: where its name and value stand, and which name it is.

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

/// Names the engine itself acts on; every other name is [`Name::Other`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each variant is the header of that name")]
pub enum Name {
    Other,
    AcceptRanges,
    Authorization,
    CacheControl,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentRange,
    ContentType,
    Cookie,
    Date,
    Etag,
    Expect,
    Expires,
    Host,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    LastModified,
    Location,
    ProxyAuthorization,
    ProxyConnection,
    Refresh,
    Server,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    XAccelBuffering,
    XAccelCharset,
    XAccelExpires,
    XAccelLimitRate,
    XAccelRedirect,
    XForwardedFor,
    XPad,
}

impl Name {
    /// Which of the known names this is, ignoring case.
    pub fn of(name: &[u8]) -> Self {
        let among = |known: &[(&str, Self)]| {
            known.iter().find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes())).map(|it| it.1)
        };
        let found = match name.len() {
            2 => among(&[("te", Self::Te)]),
            4 => among(&[("host", Self::Host), ("date", Self::Date), ("etag", Self::Etag)]),
            5 => among(&[("x-pad", Self::XPad)]),
            6 => among(&[
                ("cookie", Self::Cookie),
                ("server", Self::Server),
                ("expect", Self::Expect),
            ]),
            7 => among(&[
                ("upgrade", Self::Upgrade),
                ("expires", Self::Expires),
                ("refresh", Self::Refresh),
                ("trailer", Self::Trailer),
            ]),
            8 => among(&[
                ("location", Self::Location),
                ("if-match", Self::IfMatch),
                ("if-range", Self::IfRange),
            ]),
            10 => among(&[
                ("connection", Self::Connection),
                ("keep-alive", Self::KeepAlive),
                ("set-cookie", Self::SetCookie),
            ]),
            12 => among(&[("content-type", Self::ContentType)]),
            13 => among(&[
                ("accept-ranges", Self::AcceptRanges),
                ("authorization", Self::Authorization),
                ("cache-control", Self::CacheControl),
                ("content-range", Self::ContentRange),
                ("if-none-match", Self::IfNoneMatch),
                ("last-modified", Self::LastModified),
            ]),
            14 => among(&[("content-length", Self::ContentLength)]),
            15 => among(&[
                ("x-forwarded-for", Self::XForwardedFor),
                ("x-accel-charset", Self::XAccelCharset),
                ("x-accel-expires", Self::XAccelExpires),
            ]),
            16 => among(&[
                ("content-encoding", Self::ContentEncoding),
                ("proxy-connection", Self::ProxyConnection),
                ("x-accel-redirect", Self::XAccelRedirect),
            ]),
            17 => among(&[
                ("transfer-encoding", Self::TransferEncoding),
                ("if-modified-since", Self::IfModifiedSince),
                ("x-accel-buffering", Self::XAccelBuffering),
            ]),
            18 => among(&[("x-accel-limit-rate", Self::XAccelLimitRate)]),
            19 => among(&[
                ("if-unmodified-since", Self::IfUnmodifiedSince),
                ("proxy-authorization", Self::ProxyAuthorization),
            ]),
            _ => None,
        };
        found.unwrap_or(Self::Other)
    }

    /// A bit of its own for each known name, to count lines with one word; 0 for other names.
    pub fn bit(self) -> u64 {
        if self == Self::Other { 0 } else { 1 << (self as u64) }
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

/// What nginx makes of the bytes of a name: its lower case, or 0 where it is not allowed.
const LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "at is below 256")]
        let byte = at as u8;
        table[at] = match byte {
            b'A'..=b'Z' => byte | 0x20,
            b'a'..=b'z' | b'0'..=b'9' | b'-' => byte,
            _ => 0,
        };
        at += 1;
    }
    table
};

/// The hash by which fields are compared with the names of a configuration, ignoring case.
pub fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash, byte| mix(hash, byte.to_ascii_lowercase()))
}

fn mix(hash: u32, lower: u8) -> u32 {
    hash.wrapping_mul(31).wrapping_add(u32::from(lower))
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

/// Parses the line of `buffer` from `start` up to `end`, its line end excluded.
///
/// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_header_line`. Difference: a bare carriage
/// return is refused wherever it stands, and so is every name that holds white space.
pub fn parse(buffer: &[u8], start: usize, end: usize) -> Line {
    let line = &buffer[start..end];
    let mut lower_hash = 0_u32;
    let mut odd = false;
    let mut colon = line.len();
    for (at, byte) in line.iter().enumerate() {
        let lower = LOWER[*byte as usize];
        if lower != 0 {
            lower_hash = mix(lower_hash, lower);
            continue;
        }
        if *byte == b':' {
            colon = at;
            break;
        }
        if *byte <= b' ' || *byte == 0x7f {
            return Line::Bad;
        }
        odd = true;
        lower_hash = mix(lower_hash, byte.to_ascii_lowercase());
    }
    if colon == 0 || colon == line.len() {
        return Line::Bad;
    }
    let rest = &line[colon + 1..];
    // NUL, CR and LF are the bytes by which one message is made to look like two.
    if rest.iter().any(|it| matches!(it, 0 | b'\r' | b'\n')) {
        return Line::Bad;
    }
    let blank = |it: &&u8| matches!(it, b' ' | b'\t');
    let before = rest.iter().take_while(blank).count();
    let after = rest[before..].iter().rev().take_while(blank).count();
    let value = start + colon + 1 + before;
    let field = Field {
        name: Piece::new(start, start + colon),
        value: Piece::new(value, start + line.len() - after),
        hash: lower_hash,
        known: Name::of(&line[..colon]),
    };
    if odd { Line::Odd(field) } else { Line::Field(field) }
}

/// Whether a list of words such as `keep-alive, Upgrade` holds `word`, ignoring case.
pub fn lists(value: &[u8], word: &str) -> bool {
    value.split(|it| *it == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
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
    fn lines_that_could_smuggle_are_refused() {
        for line in [
            " folded: x",
            "\tfolded",
            "Host : a",
            "Ho st: a",
            ": a",
            "no colon",
            "a: \0",
            "a: b\rc",
        ] {
            assert!(matches!(parse(line.as_bytes(), 0, line.len()), Line::Bad), "{line:?}");
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
