//! The request target and the Host: what they name, and what is refused.

/// The host in an authority or a Host header, its port split off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Host<'a> {
    /// Without port and without the dot at its end, in the sender's case.
    pub name: &'a [u8],
    /// `None` when none was given.
    pub port: Option<u16>,
}

/// Splits and checks `host[:port]` or `[v6][:port]`; `None` when it is not valid.
///
/// Source: nginx `ngx_http_request.c`, `ngx_http_validate_host`, with the stricter port of 1.31.
pub fn host(text: &[u8]) -> Option<Host<'_>> {
    let (name, rest) = if text.first() == Some(&b'[') {
        let close = memchr::memchr(b']', text)?;
        let inner = &text[1..close];
        let is_legal = |it: &u8| is_plain_byte(*it) || *it == b':';
        if !inner.iter().all(is_legal) || has_two_dots(text) {
            return None;
        }
        text.split_at(close + 1)
    } else {
        text.split_at(memchr::memchr(b':', text).unwrap_or(text.len()))
    };
    let port = match rest {
        [] | [b':'] => None,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
        }
        _ => return None,
    };
    let is_bracketed = name.first() == Some(&b'[');
    if !is_bracketed {
        let mut previous = 0;
        for byte in name {
            if !PLAIN_OR_PERCENT[usize::from(*byte)] || (*byte == b'.' && previous == b'.') {
                return None;
            }
            previous = *byte;
        }
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    (!name.is_empty()).then_some(Host { name, port })
}

fn has_two_dots(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"..").is_some()
}

/// The bytes of a name that stands without brackets. Looked up, as every request has one.
const PLAIN_OR_PERCENT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = is_plain_byte(byte) || byte == b'%';
        byte += 1;
    }
    table
};

/// RFC 3986, `unreserved` and `sub-delims`.
const fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!')
        || matches!(byte, b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// Why a path cannot be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadPath;

/// Whether the path of `target` needs [`normalize`] to be matched with locations.
pub fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    for byte in path {
        if *byte == b'%' || *byte == b'#' || (previous == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        previous = *byte;
    }
    true
}

/// Writes the path locations are matched with: percent codes decoded once, `.` and `..` resolved,
/// and, when `merge_slashes` says so, slashes in a row made one. `path` has no query.
///
/// Source: nginx `ngx_http_parse.c`, `ngx_http_parse_complex_uri`.
pub fn normalize(path: &[u8], merge_slashes: bool, out: &mut Vec<u8>) -> Result<(), BadPath> {
    out.clear();
    let mut at = 0;
    while at < path.len() {
        let byte = match path[at] {
            b'#' => break,
            b'%' => {
                let digit = |it: Option<&u8>| it.and_then(|it| (*it as char).to_digit(16));
                let (high, low) = (digit(path.get(at + 1)), digit(path.get(at + 2)));
                let (Some(high), Some(low)) = (high, low) else { return Err(BadPath) };
                at += 2;
                u8::try_from(high * 16 + low).map_err(|_| BadPath)?
            }
            byte => byte,
        };
        at += 1;
        if byte == 0 {
            return Err(BadPath);
        }
        if byte == b'/' {
            // After a dot the slash that is about to be written stands there already.
            let resolved = resolve_dots(out)?;
            if resolved || (merge_slashes && out.last() == Some(&b'/')) {
                continue;
            }
        }
        out.push(byte);
    }
    resolve_dots(out).map(|_| ())
}

/// Takes a `.` or `..` off the end of `out`, with the latter the segment before it, and says
/// whether there was one.
fn resolve_dots(out: &mut Vec<u8>) -> Result<bool, BadPath> {
    if out.ends_with(b"/.") {
        out.pop();
    } else if out.ends_with(b"/..") {
        out.truncate(out.len() - 3);
        let parent = out.iter().rposition(|it| *it == b'/').ok_or(BadPath)?;
        out.truncate(parent + 1);
    } else {
        return Ok(false);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let mut out = Vec::new();
        let found = normalize(path.as_bytes(), true, &mut out);
        let found = found.ok().map(|()| String::from_utf8(out).unwrap());
        assert_eq!(found.as_deref(), expected, "{path}");
        if is_plain(path.as_bytes()) {
            assert_eq!(expected, Some(path));
        }
    }

    #[test]
    fn a_path_is_decoded_once() {
        check("/a%20b", Some("/a b"));
        check("/a%252e", Some("/a%2e"));
        check("/%2e%2e/x", None);
        check("/a/%2E%2E/x", Some("/x"));
        check("/a%2fb", Some("/a/b"));
    }

    #[test]
    fn dots_are_resolved_inside_the_root_only() {
        check("/", Some("/"));
        check("/a/./b", Some("/a/b"));
        check("/a/../b", Some("/b"));
        check("/a/b/..", Some("/a/"));
        check("/a/.", Some("/a/"));
        check("/..", None);
        check("/a/../../b", None);
        check("/.a/..b/c..", Some("/.a/..b/c.."));
    }

    #[test]
    fn slashes_in_a_row_are_one() {
        check("//a///b//", Some("/a/b/"));
        let mut out = Vec::new();
        assert_eq!(normalize(b"//a///b", false, &mut out), Ok(()));
        assert_eq!(out, b"//a///b");
    }

    #[test]
    fn broken_percent_codes_are_refused() {
        for path in ["/%", "/%4", "/%zz", "/%00"] {
            check(path, None);
        }
    }

    #[test]
    fn a_fragment_is_not_part_of_the_path() {
        check("/a#b", Some("/a"));
    }

    #[track_caller]
    fn check_host(text: &str, expected: Option<(&str, Option<u16>)>) {
        let expected = expected.map(|(name, port)| Host { name: name.as_bytes(), port });
        assert_eq!(host(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn a_host_is_split_from_its_port() {
        check_host("example.com", Some(("example.com", None)));
        check_host("example.com.:80", Some(("example.com", Some(80))));
        check_host("example.com:", Some(("example.com", None)));
        check_host("[::1]:8080", Some(("[::1]", Some(8080))));
        check_host("[v1.a!$~]", Some(("[v1.a!$~]", None)));
        check_host("a,b", Some(("a,b", None)));
        check_host("store_manager:5000", Some(("store_manager", Some(5000))));
    }

    #[test]
    fn invalid_hosts_are_refused() {
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@host",
            "a:b",
            "a:65536",
            "a:-1",
            "[::1",
            "::1]",
            "a..b",
            "[::1]x",
            "[fe80::1%25a]",
            "[ab..cd::1]",
            "a..",
            "a|b",
            "\u{e9}",
            "a:80:80",
        ] {
            check_host(text, None);
        }
    }
}
