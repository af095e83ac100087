//! What does the text of a configuration say?
//!
//! Text becomes words, words become directives and blocks, and the rows of the modules turn those
//! into typed settings. Every mistake is collected, each with its place. Nothing here opens a
//! file: the one who asks brings a [`Reader`].
//!
//! Reading order: [`source`], `lexer`, `parser`, [`directive`], [`row`], [`reading`], [`value`],
//! [`address`],
//! [`error`], [`catalog`], [`suggest`], [`foreign`], [`pattern`].

pub mod address;
pub mod catalog;
pub mod directive;
pub mod error;
pub mod foreign;
mod lexer;
mod parser;
pub mod pattern;
pub mod reading;
pub mod row;
pub mod source;
pub mod suggest;
#[cfg(test)]
pub(crate) mod testing;
pub mod value;

use std::path::Path;

pub use catalog::Catalog;
pub use directive::{Directive, Word};
pub use error::{ConfError, Level};
pub use parser::Syntax;
pub use reading::{Dialect, Judgement, Reading, Verdict};
pub use row::{Block, Declared, Effect, Group, MANY, Origin, Row, Rows, Table};
pub use source::{Reader, Source, Sources, Span};

use parser::Parser;

/// Reads the main file and all that it includes; `parameter` is what `-g` gave and comes first.
///
/// Relative names of `include` begin at the directory of `path`.
#[must_use]
pub fn read(path: &Path, parameter: &str, reader: &dyn Reader) -> Syntax {
    let mut parser = Parser::new(path, reader);
    parser.parameter(parameter);
    parser.main_file(path);
    parser.finish()
}
