//! Which directives stand in which blocks?
//!
//! Blocks are followed whatever their names are, and `include` is resolved where it stands; what
//! a name means is for the rows to say. After a mistake reading goes on, so that one run tells
//! of every mistake.
//!
//! Source: nginx `ngx_conf_file.c`, `ngx_conf_parse` and `ngx_conf_include`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directive::{Directive, Word};
use super::error::{ConfError, os_text};
use super::lexer::{BYTE_ORDER_MARK, Broken, End, Lexer, Rest};
use super::source::{Reader, Source, Sources, Span};

/// The deepest nesting of blocks and included files together; nginx has no limit but its stack.
const DEEPEST: usize = 100;

/// What the files and the command line say, before anybody asks what it means.
#[derive(Debug, Default)]
pub struct Syntax {
    /// The files, in order of first opening.
    pub sources: Sources,
    /// The directives of the main block: those of the command line, then those of the file.
    pub directives: Vec<Directive>,
    /// Each `include` that was followed.
    pub includes: Vec<Directive>,
    /// What is wrong with the text; not sorted.
    pub problems: Vec<ConfError>,
}

/// Builds a [`Syntax`].
pub(super) struct Parser<'a> {
    reader: &'a dyn Reader,
    /// Where relative names of `include` begin: the directory of the main file.
    prefix: PathBuf,
    /// The files being read, outermost first.
    chain: Vec<String>,
    /// Statements read so far, over all files.
    order: u32,
    syntax: Syntax,
}

/// A block whose `}` has not been read.
struct Opened {
    words: Vec<Word>,
    mark: Span,
    directives: Vec<Directive>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(main: &Path, reader: &'a dyn Reader) -> Self {
        let prefix = main.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { reader, prefix, chain: Vec::new(), order: 0, syntax: Syntax::default() }
    }

    /// Reads what `-g` gave.
    pub(super) fn parameter(&mut self, text: &str) {
        let source = Source { name: None, bytes: text.as_bytes().to_vec() };
        let directives = self.text(&Arc::new(source), 0);
        self.syntax.directives.extend(directives);
    }

    /// Reads the main file and all that it includes.
    pub(super) fn main_file(&mut self, path: &Path) {
        match self.syntax.sources.open(path, self.reader) {
            Ok(source) => {
                let directives = self.text(&source, 0);
                self.syntax.directives.extend(directives);
            }
            Err(error) => {
                let reason = unreadable(&path.to_string_lossy(), &error);
                self.syntax.problems.push(ConfError::unplaced(reason));
            }
        }
    }

    pub(super) fn finish(self) -> Syntax {
        self.syntax
    }

    /// Reads one text; `depth` is the number of blocks and files around it.
    fn text(&mut self, source: &Arc<Source>, depth: usize) -> Vec<Directive> {
        self.chain.extend(source.name.clone());
        self.warn_of_byte_order_mark(source);
        let mut lexer = Lexer::new(Arc::clone(source));
        let mut directives = Vec::new();
        let mut blocks: Vec<Opened> = Vec::new();
        loop {
            self.order += 1;
            let statement = match lexer.statement(self.order) {
                Ok(it) => it,
                Err(Broken { error, rest }) => {
                    self.syntax.problems.push(error);
                    lexer.skip(rest);
                    if rest == Rest::Text {
                        break;
                    }
                    continue;
                }
            };
            let around = depth + blocks.len();
            let words = statement.words;
            let mark = statement.mark;
            let here = blocks.last_mut().map_or(&mut directives, |it| &mut it.directives);
            match statement.end {
                End::Semicolon => {
                    let directive = Directive::new(words, mark);
                    match directive.include() {
                        Some(pattern) => {
                            let pattern = self.prefix.join(pattern);
                            let included = self.include(&pattern, &directive, around + 1);
                            here.extend(included);
                            self.syntax.includes.push(directive);
                        }
                        None => here.push(directive),
                    }
                }
                End::Open if source.name.is_none() => {
                    let reason = "block directives are not supported in -g option";
                    self.syntax.problems.push(ConfError::new(reason, mark));
                    lexer.skip(Rest::Block);
                }
                End::Open if around == DEEPEST => {
                    let error = ConfError::new("too many nested blocks", mark);
                    let help = format!("at most {DEEPEST} may stand around a directive");
                    self.syntax.problems.push(error.with_help(help));
                    lexer.skip(Rest::Block);
                }
                End::Open => blocks.push(Opened { words, mark, directives: Vec::new() }),
                End::Close => match blocks.pop() {
                    Some(block) => close(block, mark, &mut directives, &mut blocks),
                    None => self.syntax.problems.push(ConfError::new("unexpected \"}\"", mark)),
                },
                End::Text => {
                    if let Some(block) = blocks.last() {
                        let reason = "unexpected end of file, expecting \"}\"";
                        let name = &block.words[0];
                        let (line, _) = name.span.position();
                        let help = format!("the block `{name}` of line {line} is not closed");
                        let error = ConfError::new(reason, mark).with_help(help);
                        self.syntax.problems.push(error);
                    }
                    break;
                }
            }
        }
        // What an unclosed block holds is still looked at, and nothing is missed before its end.
        while let Some(block) = blocks.pop() {
            let mark = Span { order: self.order + 1, ..block.mark.clone() };
            close(block, mark, &mut directives, &mut blocks);
        }
        if source.name.is_some() {
            self.chain.pop();
        }
        directives
    }

    /// Reads the files that an `include` names.
    fn include(&mut self, pattern: &Path, directive: &Directive, depth: usize) -> Vec<Directive> {
        let name = pattern.to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            return self.included(pattern, directive, depth);
        }
        match self.reader.glob(pattern) {
            Ok(paths) => {
                paths.iter().flat_map(|path| self.included(path, directive, depth)).collect()
            }
            Err(error) => {
                let reason = format!("glob() \"{name}\" failed {}", os_text(&error));
                self.refuse(reason, directive);
                Vec::new()
            }
        }
    }

    /// Reads one file that an `include` names.
    fn included(&mut self, path: &Path, directive: &Directive, depth: usize) -> Vec<Directive> {
        let name = path.to_string_lossy().into_owned();
        if self.chain.contains(&name) {
            // nginx opens it again and again until no descriptor is left.
            let reason = format!("open() \"{name}\" failed (24: Too many open files)");
            let error = ConfError::new(reason, directive.words[1].span.clone());
            self.syntax.problems.push(error.with_help("this file includes itself"));
            return Vec::new();
        }
        if depth > DEEPEST {
            self.refuse(format!("too many nested files at \"{name}\""), directive);
            return Vec::new();
        }
        match self.syntax.sources.open(path, self.reader) {
            Ok(source) => self.text(&source, depth),
            Err(error) => {
                self.refuse(unreadable(&name, &error), directive);
                Vec::new()
            }
        }
    }

    fn refuse(&mut self, reason: String, include: &Directive) {
        self.syntax.problems.push(ConfError::new(reason, include.words[1].span.clone()));
    }

    fn warn_of_byte_order_mark(&mut self, source: &Arc<Source>) {
        if source.bytes.starts_with(BYTE_ORDER_MARK) {
            self.order += 1;
            let source = Arc::clone(source);
            let span = Span { source, start: 0, end: 3, line: 1, order: self.order };
            let reason = "the byte order mark at the start of the file is ignored";
            self.syntax.problems.push(ConfError::new(reason, span).warning());
        }
    }
}

/// Which call nginx would have seen fail: a directory opens, and fails to be read.
fn unreadable(name: &str, error: &io::Error) -> String {
    let call = if error.kind() == io::ErrorKind::IsADirectory { "pread()" } else { "open()" };
    format!("{call} \"{name}\" failed {}", os_text(error))
}

/// Puts a finished block into the one around it.
fn close(block: Opened, end: Span, directives: &mut Vec<Directive>, blocks: &mut [Opened]) {
    let directive = Directive::new(block.words, block.mark).with_block(block.directives, end);
    blocks.last_mut().map_or(directives, |it| &mut it.directives).push(directive);
}

#[cfg(test)]
mod tests;
