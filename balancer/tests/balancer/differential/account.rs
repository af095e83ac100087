//! What was seen of one program, as lines that can be compared.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use pcre2::bytes::Regex;

use super::case::Case;

/// What is never the same twice, or belongs to the version: all that is normalized in every case.
static NORMAL: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"^< Date: .{29}$", "< Date: DATE"),
        (r"nginx/1\.(22\.1|31\.4)", "nginx/VERSION"),
        (r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", "[TIME]"),
        (r"client 127\.0\.0\.1:\d+ connected", "client CLIENT connected"),
        (r"proxy 127\.0\.0\.1:\d+ connected", "proxy OWN connected"),
        (r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] \d+#\d+: (\*\d+ )?", "[$1] "),
    ]
    .into_iter()
    .map(|(regex, text)| (Regex::new(regex).unwrap(), text))
    .collect()
});

/// The lines of one program.
#[derive(Debug)]
pub(super) struct Account {
    names: Vec<(String, String)>,
    normal: Vec<(Regex, String)>,
    lines: Vec<String>,
}

impl Account {
    pub(super) fn new(names: Vec<(String, String)>, case: &Case) -> Self {
        Self { names, normal: case.normal.clone(), lines: Vec::new() }
    }

    /// The configuration was not accepted.
    pub(super) fn refused(&mut self, said: &str) {
        self.line("refused: ", said);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.lines.first().is_some_and(|it| it.starts_with("refused: "))
    }

    /// What a client got.
    pub(super) fn talk(&mut self, label: &str, received: &[u8]) {
        self.lines.push(format!("==> {label}"));
        self.bytes("<", &merge_chunks(received));
    }

    /// What an upstream got.
    pub(super) fn asked(&mut self, name: &str, request: &[u8]) {
        self.bytes(&format!("{name}>"), request);
    }

    /// The logs below a folder. A client may be gone, and the next one served, before its line is
    /// written: lines of the error log stand in the order of their connections, others by their
    /// text.
    pub(super) fn logs(&mut self, folder: &Path) {
        let mut paths: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().path())
            .filter(|it| it.extension().is_some_and(|it| it == "log"))
            .collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&text);
            let before = self.lines.len();
            if name == "error.log" {
                // Lines about the process itself are compared elsewhere.
                let mut lines: Vec<_> =
                    text.lines().filter_map(|it| Some((connection(it)?, it))).collect();
                lines.sort_by_key(|it| it.0);
                for (_, line) in lines {
                    self.line("error.log: ", line);
                }
            } else {
                for line in text.lines() {
                    self.line(&format!("{name}: "), line);
                }
                self.lines[before..].sort();
            }
        }
    }

    /// Lines end with CR LF; other ends are shown.
    fn bytes(&mut self, mark: &str, bytes: &[u8]) {
        for line in bytes.split_inclusive(|it| *it == b'\n') {
            let (line, end) = match line {
                [line @ .., b'\r', b'\n'] => (line, ""),
                [line @ .., b'\n'] => (line, "\\n"),
                line => (line, "\\"),
            };
            let text: String = match std::str::from_utf8(line) {
                Ok(text) if !text.contains(|it: char| it.is_control()) => text.to_owned(),
                _ => line.escape_ascii().to_string(),
            };
            let text = if 400 < text.len() {
                let sum = line
                    .iter()
                    .fold(7_u64, |sum, it| sum.wrapping_mul(31).wrapping_add(u64::from(*it)));
                format!("{} bytes, sum {sum:x}", line.len())
            } else {
                text
            };
            let line = format!("{mark} {text}{end}");
            self.line("", &line);
        }
    }

    fn line(&mut self, mark: &str, line: &str) {
        let mut line = line.to_owned();
        // First, since a process may have the number of a port.
        for (regex, text) in NORMAL.iter() {
            line = substitute(regex, text, &line);
        }
        for (name, value) in &self.names {
            line = line.replace(value, name);
        }
        for (regex, text) in &self.normal {
            line = substitute(regex, text, &line);
        }
        self.lines.push(format!("{mark}{line}"));
    }
}

/// Every match replaced; `$1` is its first group.
fn substitute(regex: &Regex, text: &str, line: &str) -> String {
    let mut whole = String::new();
    let mut at = 0;
    for found in regex.captures_iter(line.as_bytes()) {
        let found = found.unwrap();
        let all = found.get(0).unwrap();
        if all.start() == all.end() {
            continue;
        }
        whole += &line[at..all.start()];
        let group = found.get(1).map_or("", |it| &line[it.start()..it.end()]);
        whole += &text.replace("$1", group);
        at = all.end();
    }
    whole + &line[at..]
}

/// Chunks of one body in one piece: where an answer is cut is a matter of chance.
fn merge_chunks(bytes: &[u8]) -> Vec<u8> {
    const FIELD: &[u8] = b"\r\nTransfer-Encoding: chunked\r\n";
    let Some(field) = bytes.windows(FIELD.len()).position(|it| it == FIELD) else {
        return bytes.to_vec();
    };
    let Some(end) = bytes[field..].windows(4).position(|it| it == b"\r\n\r\n") else {
        return bytes.to_vec();
    };
    let (head, mut rest) = bytes.split_at(field + end + 4);
    let mut body = Vec::new();
    let last = loop {
        let Some(line) = rest.windows(2).position(|it| it == b"\r\n") else { break false };
        let size = std::str::from_utf8(&rest[..line]).ok();
        let Some(size) = size.and_then(|it| usize::from_str_radix(it, 16).ok()) else {
            break false;
        };
        if size == 0 {
            break true;
        }
        let Some(chunk) = rest.get(line + 2..line + 2 + size) else { break false };
        body.extend_from_slice(chunk);
        rest = rest.get(line + 4 + size..).unwrap_or_default();
    };
    let mut whole = head.to_vec();
    if !body.is_empty() {
        whole.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        whole.extend_from_slice(&body);
        whole.extend_from_slice(b"\r\n");
    }
    if last && let Some(after) = rest.strip_prefix(b"0\r\n\r\n") {
        whole.extend_from_slice(b"0\r\n\r\n");
        whole.extend_from_slice(&merge_chunks(after));
    } else {
        whole.extend_from_slice(rest);
    }
    whole
}

/// What two accounts do not share.
#[derive(Debug)]
pub(super) struct Difference {
    /// `-` for what nginx has, `+` for what we have.
    pub(super) changed: Vec<String>,
    /// The same in its place.
    pub(super) text: String,
}

/// Compares by the longest common subsequence of lines.
pub(super) fn difference(theirs: &Account, ours: &Account) -> Difference {
    let (a, b) = (&theirs.lines, &ours.lines);
    let mut longest = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = if a[i] == b[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut changed, mut text, mut label) = (Vec::new(), String::new(), None);
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            if a[i].starts_with("==> ") {
                label = Some(&a[i]);
            }
            i += 1;
            j += 1;
            continue;
        }
        let line = if j == b.len() || i < a.len() && longest[i][j + 1] <= longest[i + 1][j] {
            i += 1;
            format!("-{}", a[i - 1])
        } else {
            j += 1;
            format!("+{}", b[j - 1])
        };
        if let Some(label) = label.take() {
            text += &format!("  {label}\n");
        }
        text += &format!("  {line}\n");
        changed.push(line);
    }
    Difference { changed, text }
}

/// The number of the connection that a line of the error log is about.
fn connection(line: &str) -> Option<u64> {
    let rest = line.split_once(": *")?.1;
    rest.split(' ').next()?.parse().ok()
}
