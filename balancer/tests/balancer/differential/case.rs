//! A case: what is configured, sent and answered, as its file tells it.
//!
//! ```text
//! # What the case shows, in a sentence
//! --- server                    lines of one server that listens on %PORT%
//! --- http                      lines of the http block
//! --- main                      lines outside of every block
//! --- stream                    lines of the stream block; upstreams then speak no HTTP
//! --- file html/a.txt           a file below the folder %DIR%
//! --- upstream u1 FLAGS         next answer of the upstream %u1%; its last one is repeated
//! --- get                       requests, each `[METHOD] TARGET [| Name: value]…`
//! --- send FLAGS                the bytes of one connection
//! --- level warn                least level of the error log that is compared, else `info`
//! --- normal                    lines of `REGEX => TEXT`, applied to both accounts
//! --- differs                   what differs: `# reason`, then lines as a failure prints them
//! ```
//!
//! In answers and in what is sent, each line ends with CR LF unless its last byte is `\`. There
//! are `\r`, `\n`, `\t`, `\\`, `\xHH`, and `\p` for a pause. `%DEAD%` is an address where nobody
//! listens. Flags of an upstream: `keep` waits for another request, else the connection ends;
//! `reset` resets it; `hang` answers nothing; `early` answers before the body is read; `echo`
//! sends back what comes after the answer. Flags of a client: `half` ends its side after the last
//! byte, with `asked` once an upstream was asked; `leave` closes then; `second` goes to %PORT2%,
//! `after N` waits for N bytes before its last piece; `abreast` has upstreams asked in no order.
//!
//! With a `stream` block an upstream sends its answer as soon as it is connected to (`ask`: after
//! the first bytes it gets) and ends its side (`keep`: does not); what it gets is told at the end,
//! connection by connection.

use std::path::Path;

use pcre2::bytes::Regex;

/// A file, taken apart.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) main: String,
    pub(super) http: String,
    pub(super) stream: String,
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) upstreams: Vec<(String, Vec<Script>)>,
    pub(super) talks: Vec<Talk>,
    pub(super) level: String,
    pub(super) normal: Vec<(Regex, String)>,
    pub(super) differs: Vec<String>,
}

/// One answer of an upstream.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// With pauses between them.
    pub(super) parts: Vec<Vec<u8>>,
    pub(super) flags: Vec<String>,
}

/// One connection of a client.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) label: String,
    /// With pauses between them.
    pub(super) parts: Vec<Vec<u8>>,
    pub(super) flags: Vec<String>,
}

impl Case {
    #[track_caller]
    pub(super) fn parse(path: &Path, text: &str) -> Self {
        let name = path.display().to_string();
        let name = name.rsplit_once("cases/").map_or(name.clone(), |it| it.1.to_owned());
        let (title, sections) = text.split_once("\n--- ").expect("a section");
        let title = title.trim_start_matches("# ").replace("\n# ", " ");
        let mut case = Self { name, title, level: "info".to_owned(), ..Self::default() };
        let sections = sections.strip_suffix('\n').unwrap_or(sections);
        for section in sections.split("\n--- ") {
            let (head, text) = section.split_once('\n').unwrap_or((section, ""));
            let mut words = head.split(' ').map(str::to_owned);
            let kind = words.next().unwrap_or_default();
            match kind.as_str() {
                "server" => {
                    case.http += &format!("server {{\nlisten 127.0.0.1:%PORT%;\n{text}\n}}\n");
                }
                "http" => case.http += &format!("{text}\n"),
                "stream" => case.stream += &format!("{text}\n"),
                "main" => case.main += &format!("{text}\n"),
                "file" => {
                    let parts = unescape(text, "\n").concat();
                    case.files.push((words.next().expect("a path"), parts));
                }
                "upstream" => {
                    let name = words.next().expect("a name");
                    let script = Script { parts: unescape(text, "\r\n"), flags: words.collect() };
                    match case.upstreams.iter_mut().find(|it| it.0 == name) {
                        Some((_, scripts)) => scripts.push(script),
                        None => case.upstreams.push((name, vec![script])),
                    }
                }
                "get" => case.talks.extend(text.lines().map(get)),
                "send" => {
                    let label = text.lines().next().unwrap_or_default().to_owned();
                    let parts = unescape(text, "\r\n");
                    case.talks.push(Talk { label, parts, flags: words.collect() });
                }
                "level" => case.level = words.next().expect("a level"),
                "normal" => {
                    let pair = |it: &str| {
                        let (regex, text) = it.split_once(" => ").expect("REGEX => TEXT");
                        (Regex::new(regex).unwrap(), text.to_owned())
                    };
                    case.normal.extend(text.lines().map(pair));
                }
                "differs" => {
                    assert!(text.starts_with("# "), "{}: a difference has a reason", case.name);
                    let lines = text.lines().filter(|it| !it.starts_with("# "));
                    case.differs.extend(lines.map(str::to_owned));
                }
                other => panic!("{}: no section is called {other}", case.name),
            }
        }
        assert!(!case.talks.is_empty(), "{}: nothing is sent", case.name);
        case
    }
}

/// `[METHOD] TARGET [| Name: value]…`, on a connection of its own.
fn get(line: &str) -> Talk {
    let mut pieces = line.split(" | ");
    let first = pieces.next().unwrap_or_default();
    let first = if first.starts_with('/') { format!("GET {first}") } else { first.to_owned() };
    let mut text = format!("{first} HTTP/1.1\r\n");
    let fields: Vec<_> = pieces.collect();
    if !fields.iter().any(|it| it.starts_with("Host:")) {
        text += "Host: a\r\n";
    }
    for field in fields {
        text += &format!("{field}\r\n");
    }
    text += "Connection: close\r\n\r\n";
    Talk { label: line.to_owned(), parts: vec![text.into_bytes()], flags: Vec::new() }
}

/// Bytes of a text, in pieces with a pause between them.
fn unescape(text: &str, end: &str) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    if text.is_empty() {
        return parts;
    }
    for line in text.split('\n') {
        let mut bytes = line.bytes();
        let mut goes_on = false;
        while let Some(byte) = bytes.next() {
            let part = parts.last_mut().expect("there is always one");
            if byte != b'\\' {
                part.push(byte);
                continue;
            }
            match bytes.next() {
                None => goes_on = true,
                Some(b'r') => part.push(b'\r'),
                Some(b'n') => part.push(b'\n'),
                Some(b't') => part.push(b'\t'),
                Some(b'x') => {
                    let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                    let hex = std::str::from_utf8(&hex).unwrap();
                    part.push(u8::from_str_radix(hex, 16).unwrap());
                }
                Some(b'p') => parts.push(Vec::new()),
                Some(other) => part.push(other),
            }
        }
        if !goes_on {
            parts.last_mut().expect("there is always one").extend_from_slice(end.as_bytes());
        }
    }
    parts
}
