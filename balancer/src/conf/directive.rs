//! What is a directive?
//!
//! A name with arguments and perhaps a block. Nothing here knows what any name means: that is
//! declared in rows, see [`super::row`].

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use super::error::ConfError;
use super::source::Span;

/// One word of a directive: quotes taken off, escapes resolved.
#[derive(Clone, Debug)]
pub struct Word {
    /// The place of the word, quotes included; its line is that of the directive's end.
    pub span: Span,
    text: String,
    /// Kept only when they are not UTF-8.
    bytes: Option<Vec<u8>>,
}

impl Word {
    pub(super) fn new(bytes: Vec<u8>, span: Span) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { span, text, bytes: None },
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Self { span, text, bytes: Some(error.into_bytes()) }
            }
        }
    }

    /// The value; malformed UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value, byte for byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// The value as a path, byte for byte.
    #[must_use]
    pub fn to_path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(self.as_bytes()))
    }

    /// The same place with another value: what is left of the word when a part is taken off.
    #[must_use]
    pub fn with_bytes(&self, bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec(), self.span.clone())
    }

    /// A refusal that points at this word.
    pub fn refuse(&self, reason: impl Into<String>) -> ConfError {
        ConfError::new(reason, self.span.clone())
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// A name with its arguments, and the block it opens, if any.
#[derive(Clone, Debug)]
pub struct Directive {
    /// The name, then the arguments; never empty.
    pub words: Vec<Word>,
    /// What stands between its braces, includes resolved; `None` when it ends with `;`.
    pub block: Option<Vec<Directive>>,
    /// From the name to the last argument.
    pub span: Span,
    /// The `;` or `{` that ends the words.
    pub mark: Span,
    /// The `}`, where nginx makes the checks of a finished block; the mark without a block.
    pub close: Span,
}

impl Directive {
    pub(super) fn new(words: Vec<Word>, mark: Span) -> Self {
        let last = words.last().expect("the lexer ends no statement without a word");
        let span = words[0].span.to(&last.span);
        Self { span, words, block: None, close: mark.clone(), mark }
    }

    pub(super) fn with_block(mut self, block: Vec<Self>, close: Span) -> Self {
        self.block = Some(block);
        self.close = close;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Word {
        &self.words[0]
    }

    /// The words after the name.
    #[must_use]
    pub fn arguments(&self) -> &[Word] {
        &self.words[1..]
    }

    /// The directives of its block; none when it has no block.
    #[must_use]
    pub fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The lines of a block that is a list, like that of `types` or `map`: none may open a block.
    pub fn entries(&self) -> impl Iterator<Item = Result<&Self, ConfError>> {
        self.children().iter().map(|it| match it.block {
            None => Ok(it),
            Some(_) => Err(ConfError::new("unexpected \"{\"", it.mark.clone())),
        })
    }

    /// The pattern, when this is an `include` to be followed.
    pub(super) fn include(&self) -> Option<PathBuf> {
        match self.words.as_slice() {
            [name, pattern] if *name == "include" => Some(pattern.to_path()),
            _ => None,
        }
    }

    /// A refusal in nginx's form for what a setter returns: `"NAME" directive WHAT`.
    pub fn refuse(&self, what: &str) -> ConfError {
        let span = self.words.get(1).map_or(&self.span, |it| &it.span);
        ConfError::new(format!("\"{}\" directive {what}", self.name()), span.clone())
    }
}
