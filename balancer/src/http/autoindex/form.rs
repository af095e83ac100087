//! The forms a list has, byte for byte as nginx writes them.

use jiff::Timestamp;

use super::{AutoIndex, Entry, Kind};
use crate::engine::head;
use crate::http::escape;
use crate::logs::escape::json as escape_json;

/// Columns of a name; what is longer is cut.
const COLUMNS: usize = 50;

/// Source: nginx `ngx_http_autoindex_module.c`, `ngx_http_autoindex_html`.
pub(super) fn html(path: &[u8], entries: &[Entry], how: AutoIndex) -> Vec<u8> {
    let mut out = b"<html>\r\n<head><title>Index of ".to_vec();
    escape::html(path, &mut out);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    escape::html(path, &mut out);
    out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    let offset = how.offset();
    for entry in entries {
        let is_folder = entry.kind == Kind::Folder;
        out.extend_from_slice(b"<a href=\"");
        escape::component(&entry.name, &mut out);
        if is_folder {
            out.push(b'/');
        }
        out.extend_from_slice(b"\">");
        name(entry, how.counts_characters, &mut out);
        let time = Timestamp::from_second(entry.modified).unwrap_or_default();
        let time = offset.to_datetime(time).strftime(" %d-%b-%Y %H:%M ").to_string();
        out.extend_from_slice(time.as_bytes());
        let size = match (how.is_exact, is_folder) {
            (true, true) => format!("{:>19}", '-'),
            (true, false) => format!("{:>19}", entry.size),
            (false, true) => format!("{:>7}", '-'),
            (false, false) => rounded(entry.size),
        };
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    out
}

/// The name as it is shown, its link closed and its column filled.
fn name(entry: &Entry, counts_characters: bool, out: &mut Vec<u8>) {
    let name = &entry.name[..];
    let text = std::str::from_utf8(name).ok().filter(|_| counts_characters);
    let mut width = text.map_or(name.len(), |it| it.chars().count());
    if COLUMNS < width {
        let shown = COLUMNS - 3;
        let end = text.and_then(|it| it.char_indices().nth(shown)).map_or(shown, |(at, _)| at);
        escape::html(&name[..end], out);
        out.extend_from_slice(b"..&gt;</a>");
        return;
    }
    escape::html(name, out);
    if entry.kind == Kind::Folder && width < COLUMNS {
        out.push(b'/');
        width += 1;
    }
    out.extend_from_slice(b"</a>");
    out.resize(out.len() + COLUMNS - width, b' ');
}

/// A size of at most four digits and a letter, in seven columns.
fn rounded(size: u64) -> String {
    let of = |unit: u64, letter: char| {
        let more = u64::from(unit / 2 <= size % unit);
        format!("{:>6}{letter}", size / unit + more)
    };
    match size {
        0..=9999 => format!(" {size:>6}"),
        10_000..=0xf_ffff => of(1 << 10, 'K'),
        0x10_0000..=0x3fff_ffff => of(1 << 20, 'M'),
        _ => of(1 << 30, 'G'),
    }
}

const fn word(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Folder => b"directory",
        Kind::File => b"file",
        Kind::Other => b"other",
    }
}

/// Source: nginx `ngx_http_autoindex_module.c`, `ngx_http_autoindex_json`.
pub(super) fn json(entries: &[Entry], callback: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if !callback.is_empty() {
        out.extend_from_slice(b"/* callback */\r\n");
        out.extend_from_slice(callback);
        out.push(b'(');
    }
    out.push(b'[');
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"\r\n{ \"name\":\"");
        let from = out.len();
        out.extend_from_slice(&entry.name);
        escape_json(&mut out, from);
        out.extend_from_slice(b"\", \"type\":\"");
        out.extend_from_slice(word(entry.kind));
        out.extend_from_slice(b"\", \"mtime\":\"");
        let seconds = u64::try_from(entry.modified).unwrap_or_default();
        out.extend_from_slice(head::date(seconds).as_bytes());
        out.push(b'"');
        if entry.kind == Kind::File {
            out.extend_from_slice(format!(", \"size\":{}", entry.size).as_bytes());
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    if !callback.is_empty() {
        out.extend_from_slice(b");");
    }
    out
}

/// Source: nginx `ngx_http_autoindex_module.c`, `ngx_http_autoindex_xml`.
pub(super) fn xml(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
    for entry in entries {
        let kind = word(entry.kind);
        out.push(b'<');
        out.extend_from_slice(kind);
        let time = Timestamp::from_second(entry.modified).unwrap_or_default();
        let time = time.strftime(" mtime=\"%Y-%m-%dT%H:%M:%SZ\"").to_string();
        out.extend_from_slice(time.as_bytes());
        if entry.kind == Kind::File {
            out.extend_from_slice(format!(" size=\"{}\"", entry.size).as_bytes());
        }
        out.push(b'>');
        escape::html(&entry.name, &mut out);
        out.extend_from_slice(b"</");
        out.extend_from_slice(kind);
        out.extend_from_slice(b">\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_nginx_rounds_them() {
        for (size, shown) in [
            (0, "      0"),
            (9999, "   9999"),
            (10_000, "    10K"),
            (10_751, "    10K"),
            (10_752, "    11K"),
            (1_048_575, "  1024K"),
            (1_048_576, "     1M"),
            (1 << 30, "     1G"),
        ] {
            assert_eq!(rounded(size), shown, "{size}");
        }
    }

    #[track_caller]
    fn check(text: &str, counts_characters: bool, shown: &str) {
        let name = text.as_bytes().to_vec();
        let entry = Entry { name, kind: Kind::Folder, modified: 0, size: 0 };
        let mut out = Vec::new();
        super::name(&entry, counts_characters, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), shown, "{text}");
    }

    #[test]
    fn names_have_fifty_columns() {
        check("a", false, &format!("a/</a>{:48}", ""));
        check(&"a".repeat(50), false, &format!("{}</a>", "a".repeat(50)));
        check(&"a".repeat(51), false, &format!("{}..&gt;</a>", "a".repeat(47)));
        check(&"ä".repeat(50), true, &format!("{}</a>", "ä".repeat(50)));
        check(&"ä".repeat(51), true, &format!("{}..&gt;</a>", "ä".repeat(47)));
        check("<", false, &format!("&lt;/</a>{:48}", ""));
    }
}
