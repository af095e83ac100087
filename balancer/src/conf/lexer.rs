//! Where does a word end?
//!
//! Exactly where nginx ends it: this is its state machine, byte for byte, with its messages. What
//! it adds is the place of each word, and a way to go on after a mistake.
//!
//! Source: nginx `ngx_conf_file.c`, `ngx_conf_read_token`.

use std::ops::Range;
use std::sync::Arc;

use super::directive::Word;
use super::error::ConfError;
use super::source::{Source, Span};

/// The longest word, in bytes as written: the size of nginx's read buffer.
const LONGEST_WORD: usize = 4096;

/// The words up to a `;`, `{`, `}` or the end of the text.
#[derive(Debug)]
pub(super) struct Statement {
    /// What stood before the end; empty for a `}` and the end of the text.
    pub(super) words: Vec<Word>,
    /// What ended it.
    pub(super) end: End,
    /// The bytes that ended it; empty at the end of the text.
    pub(super) mark: Span,
}

/// What ends a statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}`
    Close,
    /// The end of the text.
    Text,
}

/// A mistake, and what to skip before reading on.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) error: ConfError,
    pub(super) rest: Rest,
}

/// What a mistake leaves behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// Nothing: the next statement begins here.
    Nothing,
    /// The words up to the next `;`, or a whole block.
    Statement,
    /// A block whose `{` has been read.
    Block,
    /// All of the text: nothing in it can be trusted.
    Text,
}

/// Reads one text.
#[derive(Debug)]
pub(super) struct Lexer {
    source: Arc<Source>,
    at: usize,
    line: u32,
}

/// What is known in the middle of a statement.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "nginx's state machine, flag by flag")]
struct Scan {
    words: Vec<Word>,
    order: u32,
    /// Where the word began; behind its quote, because nginx measures its length from there.
    start: usize,
    start_line: u32,
    /// Between words, not in one.
    between: bool,
    comment: bool,
    /// The next byte stands behind a backslash.
    hidden: bool,
    /// The last byte was a `$`, so a `{` belongs to the word.
    variable: bool,
    quote: Quote,
}

impl Scan {
    fn new(order: u32, start: usize, start_line: u32) -> Self {
        Self {
            words: Vec::new(),
            order,
            start,
            start_line,
            between: true,
            comment: false,
            hidden: false,
            variable: false,
            quote: Quote::Absent,
        }
    }
}

/// What ends the word that is being read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quote {
    /// White space, `;` or `{`.
    Absent,
    /// This byte.
    Until(u8),
    /// It has ended with its quote: white space, `;`, `{` or `)` must follow.
    Closed,
}

impl Lexer {
    /// Starts at the first byte, behind a byte order mark.
    pub(super) fn new(source: Arc<Source>) -> Self {
        let at = if source.bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self { source, at, line: 1 }
    }

    /// Reads to the end of the next statement; `order` is its place in reading order.
    pub(super) fn statement(&mut self, order: u32) -> Result<Statement, Broken> {
        let source = Arc::clone(&self.source);
        let mut scan = Scan::new(order, self.at, self.line);
        loop {
            let Some(&byte) = source.bytes.get(self.at) else {
                if scan.words.is_empty() && scan.between {
                    return Ok(self.end(scan.words, End::Text, self.at, order));
                }
                return Err(self.unfinished(&scan));
            };
            // What `-g` gives is not read through nginx's buffer.
            if self.at - scan.start == LONGEST_WORD && source.name.is_some() {
                self.line = scan.start_line;
                return Err(self.too_long(&scan));
            }
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                scan.comment = false;
            }
            if scan.comment || std::mem::take(&mut scan.hidden) {
                continue;
            }
            if scan.quote == Quote::Closed {
                match byte {
                    b';' | b'{' => (),
                    b')' => scan.quote = Quote::Absent,
                    _ if is_space(byte) => {
                        (scan.between, scan.quote) = (true, Quote::Absent);
                        continue;
                    }
                    _ => return Err(self.unexpected(Rest::Statement, order)),
                }
                scan.between = true;
            }
            let end = if scan.between {
                self.outside(byte, &mut scan)?
            } else {
                self.inside(byte, &mut scan)
            };
            if let Some(end) = end {
                return Ok(self.end(scan.words, end, self.at - 1, order));
            }
        }
    }

    /// Takes a byte between two words.
    fn outside(&mut self, byte: u8, scan: &mut Scan) -> Result<Option<End>, Broken> {
        (scan.start, scan.start_line) = (self.at - 1, self.line);
        let first = scan.words.is_empty();
        match byte {
            _ if is_space(byte) => return Ok(None),
            b';' if first => return Err(self.unexpected(Rest::Nothing, scan.order)),
            b'{' if first => return Err(self.unexpected(Rest::Block, scan.order)),
            b';' => return Ok(Some(End::Semicolon)),
            b'{' => return Ok(Some(End::Open)),
            b'}' if first => return Ok(Some(End::Close)),
            b'}' => {
                let error = self.unexpected(Rest::Nothing, scan.order);
                // The brace still closes its block.
                self.at -= 1;
                return Err(error);
            }
            b'#' => {
                scan.comment = true;
                return Ok(None);
            }
            b'\\' => scan.hidden = true,
            b'"' | b'\'' => {
                scan.start += 1;
                scan.quote = Quote::Until(byte);
            }
            b'$' => scan.variable = true,
            _ => (),
        }
        scan.between = false;
        Ok(None)
    }

    /// Takes a byte of a word, or the one behind it.
    fn inside(&self, byte: u8, scan: &mut Scan) -> Option<End> {
        if byte == b'{' && scan.variable {
            return None;
        }
        scan.variable = byte == b'$';
        let last = self.at - 1;
        match scan.quote {
            _ if byte == b'\\' => scan.hidden = true,
            Quote::Until(end) if byte == end => {
                let word = self.word(scan.start..last, scan.start - 1..self.at, scan.order);
                scan.words.push(word);
                scan.quote = Quote::Closed;
            }
            Quote::Absent if is_space(byte) || matches!(byte, b';' | b'{') => {
                scan.words.push(self.word(scan.start..last, scan.start..last, scan.order));
                scan.between = true;
                match byte {
                    b';' => return Some(End::Semicolon),
                    b'{' => return Some(End::Open),
                    _ => (),
                }
            }
            _ => (),
        }
        None
    }

    /// Reads over what a mistake has left.
    pub(super) fn skip(&mut self, rest: Rest) {
        let mut depth = match rest {
            Rest::Nothing => return,
            Rest::Text => {
                self.at = self.source.bytes.len();
                return;
            }
            Rest::Statement => 0_usize,
            Rest::Block => 1,
        };
        loop {
            let line = self.line;
            let at = self.at;
            match self.statement(0) {
                Ok(it) if it.end == End::Text => return,
                Ok(it) if it.end == End::Open => depth += 1,
                Ok(it) if it.end == End::Close => match depth {
                    // The brace closes the block in which the mistake stands.
                    0 => {
                        (self.at, self.line) = (at, line);
                        return;
                    }
                    1 => return,
                    _ => depth -= 1,
                },
                Err(it) if it.rest == Rest::Block => depth += 1,
                Err(it) if it.rest == Rest::Text => return self.skip(Rest::Text),
                Err(it) if it.rest == Rest::Statement => (),
                Ok(_) | Err(_) => {
                    if depth == 0 {
                        return;
                    }
                }
            }
        }
    }

    fn span(&self, start: usize, end: usize, order: u32) -> Span {
        let offset = |it| u32::try_from(it).expect("a source is shorter than 4 GiB");
        let source = Arc::clone(&self.source);
        Span { source, start: offset(start), end: offset(end), line: self.line, order }
    }

    fn word(&self, text: Range<usize>, written: Range<usize>, order: u32) -> Word {
        let bytes = unescape(&self.source.bytes[text]);
        Word::new(bytes, self.span(written.start, written.end, order))
    }

    /// Ends a statement at the byte `mark`; its words are told at the line on which it ends.
    fn end(&self, mut words: Vec<Word>, end: End, mark: usize, order: u32) -> Statement {
        for word in &mut words {
            word.span.line = self.line;
        }
        Statement { words, end, mark: self.span(mark, self.at, order) }
    }

    fn unexpected(&self, rest: Rest, order: u32) -> Broken {
        let start = self.at - 1;
        let shown = self.source.bytes[start..].utf8_chunks().next();
        let shown = shown.and_then(|it| it.valid().chars().next()).unwrap_or('\u{fffd}');
        let end = (start + shown.len_utf8()).min(self.source.bytes.len());
        let error = ConfError::new(format!("unexpected \"{shown}\""), self.span(start, end, order));
        Broken { error, rest }
    }

    fn unfinished(&self, scan: &Scan) -> Broken {
        let reason = match self.source.name {
            Some(_) => "unexpected end of file, expecting \";\" or \"}\"",
            None => "unexpected end of parameter, expecting \";\"",
        };
        let error = match scan.quote {
            Quote::Until(_) => {
                let quote = self.span(scan.start - 1, scan.start, scan.order);
                ConfError::new(reason, quote).with_help("this quote is never closed")
            }
            Quote::Absent | Quote::Closed => {
                ConfError::new(reason, self.span(scan.start, self.at, scan.order))
            }
        };
        Broken { error, rest: Rest::Text }
    }

    fn too_long(&self, scan: &Scan) -> Broken {
        let (reason, at) = match scan.quote {
            Quote::Until(end) => {
                let text = "too long parameter, probably missing terminating";
                (format!("{text} \"{}\" character", char::from(end)), scan.start - 1)
            }
            Quote::Absent | Quote::Closed => {
                let first = &self.source.bytes[scan.start..scan.start + 10];
                let first = String::from_utf8_lossy(first);
                (format!("too long parameter \"{first}...\" started"), scan.start)
            }
        };
        let error = ConfError::new(reason, self.span(at, at + 1, scan.order));
        Broken { error, rest: Rest::Text }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// UTF-8's byte order mark, which some editors write.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The value of a word: three pairs lose their backslash, three become control bytes, every other
/// pair is kept, so that regular expressions need no doubling.
fn unescape(written: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(written.len());
    let mut rest = written;
    while let [byte, after @ ..] = rest {
        let (kept, used) = match (byte, after.first()) {
            (b'\\', Some(next @ (b'"' | b'\'' | b'\\'))) => (*next, 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            _ => (*byte, 1),
        };
        value.push(kept);
        rest = &rest[used..];
    }
    value
}

#[cfg(test)]
mod tests;
