//! Percent escapes, where nginx writes them.

/// Characters that a path may not hold as they are.
fn in_path(byte: u8) -> bool {
    byte <= b' '
        || byte >= 0x7f
        || matches!(
            byte,
            b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// Appends a path with everything escaped that a target may not hold.
///
/// Source: nginx `ngx_string.c`, `ngx_escape_uri` with `NGX_ESCAPE_URI`.
pub fn path(path: &[u8], out: &mut Vec<u8>) {
    append(path, in_path, out);
}

/// Escapes what stands from `from` on as a part of a query.
///
/// Source: as for [`path`], with `NGX_ESCAPE_ARGS`.
pub fn args(out: &mut Vec<u8>, from: usize) {
    let is_escaped = |byte: u8| in_path(byte) || matches!(byte, b'&' | b'+' | b';');
    if out[from..].iter().any(|it| is_escaped(*it)) {
        let text = out.split_off(from);
        append(&text, is_escaped, out);
    }
}

/// Appends a text as a part of a target, with everything escaped that means something there.
///
/// Source: as for [`path`], with `NGX_ESCAPE_URI_COMPONENT`.
pub fn component(text: &[u8], out: &mut Vec<u8>) {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_' | b'~');
    append(text, |it| !is_plain(it), out);
}

/// Appends a text as a part of a page.
///
/// Source: nginx `ngx_string.c`, `ngx_escape_html`.
pub fn html(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            other => out.push(*other),
        }
    }
}

fn append(text: &[u8], is_escaped: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    for byte in text {
        if is_escaped(*byte) {
            let digit = |it: u8| b"0123456789ABCDEF"[usize::from(it)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(*byte);
        }
    }
}

fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

/// A path without its escapes; of one that is none, what cannot be read is left out.
///
/// Source: nginx `ngx_string.c`, `ngx_unescape_uri`.
pub fn resolved(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match rest.next().map(|it| (it, hexadecimal(it))) {
            Some((_, Some(high))) => {
                out.extend(rest.next().and_then(hexadecimal).map(|low| high << 4 | low));
            }
            Some((other, None)) => out.push(other),
            None => {}
        }
    }
    out
}

/// Resolves the escapes of a redirect's path that are printable and safe there.
///
/// Source: nginx `ngx_string.c`, `ngx_unescape_uri` with `NGX_UNESCAPE_REDIRECT`.
pub fn unescape_redirect(text: &mut Vec<u8>) {
    let end = memchr::memchr(b'?', text).unwrap_or(text.len());
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < end {
        let code = match &text[at..end] {
            [b'%', high, low, ..] => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        match code.map(|(high, low)| high << 4 | low) {
            // What follows a question mark stays as it is.
            Some(b'?') => {
                out.push(b'?');
                at += 3;
                break;
            }
            Some(byte) if byte > b'%' && byte < 0x7f => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out.extend_from_slice(&text[at..]);
    *text = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut text = text.as_bytes().to_vec();
        unescape_redirect(&mut text);
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn safe_escapes_of_a_redirect_are_resolved_before_its_query() {
        check("/a%62c", "/abc");
        check("/%20%25%7f%41", "/%20%25%7fA");
        check("/a%3Fb%62", "/a?b%62");
        check("/a?b%62", "/a?b%62");
        check("/a%6", "/a%6");
    }

    #[test]
    fn escapes_of_a_path_are_resolved_as_far_as_they_can_be_read() {
        for (text, expected) in [("/a%20b%2e%2E", "/a b.."), ("/%zz%4zb%", "/zzb"), ("/%4", "/")] {
            assert_eq!(resolved(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_a_target_may_not_hold_is_escaped() {
        let mut out = Vec::new();
        path(b"/a \"#%<>?\\^`{|}\x7f!$&'()*+,;=:@~[]", &mut out);
        let expected = "/a%20%22%23%25%3C%3E%3F%5C%5E%60%7B%7C%7D%7F!$&'()*+,;=:@~[]";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn groups_of_a_query_are_escaped() {
        let mut out = b"x=".to_vec();
        out.extend_from_slice(b"a b&c%+;?/");
        args(&mut out, 2);
        assert_eq!(out, b"x=a%20b%26c%25%2B%3B%3F/");
    }
}
