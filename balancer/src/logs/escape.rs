//! How values are made safe for the line they are written into.

/// Makes the bytes from a position on safe, in place.
pub type Escape = fn(&mut Vec<u8>, usize);

/// `\xHH` for quotes, backslashes and whatever is not printable ASCII.
///
/// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_escape`.
pub fn default(out: &mut Vec<u8>, from: usize) {
    escape(
        out,
        from,
        |it| matches!(it, b'"' | b'\\' | 0..=31 | 127..),
        |byte, out| {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |it: u8| DIGITS[usize::from(it)];
            out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        },
    );
}

/// As within a JSON string; bytes that are no UTF-8 stay as they are.
///
/// Source: nginx `ngx_string.c`, `ngx_escape_json`.
pub fn json(out: &mut Vec<u8>, from: usize) {
    escape(
        out,
        from,
        |it| matches!(it, b'"' | b'\\' | 0..=31),
        |byte, out| match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            _ => {
                let tens = b'0' + (byte >> 4);
                let ones = b"0123456789ABCDEF"[usize::from(byte & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', tens, ones]);
            }
        },
    );
}

/// Leaves everything as it is.
pub fn none(_: &mut Vec<u8>, _: usize) {}

fn escape(out: &mut Vec<u8>, from: usize, is_special: fn(u8) -> bool, write: fn(u8, &mut Vec<u8>)) {
    // Nearly every value is plain, and then this is one pass over it.
    let Some(first) = out[from..].iter().position(|it| is_special(*it)) else { return };
    let rest = out.split_off(from + first);
    for byte in rest {
        if is_special(byte) { write(byte, out) } else { out.push(byte) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(escape: Escape, value: &[u8], expected: &str) {
        let mut out = b"\"kept\\".to_vec();
        escape(&mut out, 6);
        out.extend_from_slice(value);
        let from = 6;
        escape(&mut out, from);
        assert_eq!(out, [b"\"kept\\", expected.as_bytes()].concat(), "{value:?}");
    }

    #[test]
    fn the_default_form_leaves_printable_ascii_alone() {
        check(default, b"a b~/?", "a b~/?");
        check(default, b"a\"b\\c", "a\\x22b\\x5Cc");
        check(default, b"\x00\x1f\x7f\xc3\xa4", "\\x00\\x1F\\x7F\\xC3\\xA4");
    }

    #[test]
    fn the_json_form_escapes_what_json_must() {
        check(json, b"a\"b\\c", "a\\\"b\\\\c");
        check(json, b"\n\r\t\x08\x0c", "\\n\\r\\t\\b\\f");
        check(json, b"\x00\x1b", "\\u0000\\u001B");
        check(json, "ä\x7f".as_bytes(), "ä\x7f");
    }

    #[test]
    fn no_form_is_no_change() {
        check(none, b"a\"\\\n", "a\"\\\n");
    }
}
