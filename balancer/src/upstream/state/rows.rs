//! `state FILE [watch=TIME]`: nginx's commercial edition has it without `watch`.

use std::path::PathBuf;
use std::time::Duration;

use crate::conf::value::{Unit, time};
use crate::conf::{Block, ConfError, Directive, Effect, Reading, Row, Word};
use crate::upstream::rows::Settings;

/// Where the servers of a block are, and what was found there.
#[derive(Clone, Debug)]
pub struct Asked {
    /// As it is written.
    pub file: Word,
    /// How often is looked whether somebody else has changed it, `None` for never.
    pub watch: Option<Duration>,
    /// Where that is; known when the file has been read.
    pub path: PathBuf,
    /// What it held then.
    pub text: Vec<u8>,
}

const fn row(within: &'static [Block], effect: Effect<Settings>) -> Row<Settings> {
    Row { name: "state", within, arguments: 1..=2, effect }
}

/// In `upstream`.
pub const ROWS: &[Row<Settings>] = &[row(
    &[Block::Upstream],
    Effect::Read(|it, directive, reading| read(it, directive, Block::Upstream, reading)),
)];

/// In `upstream` of `stream`.
pub const STREAM_ROWS: &[Row<Settings>] = &[row(
    &[Block::StreamUpstream],
    Effect::Read(|it, directive, reading| read(it, directive, Block::StreamUpstream, reading)),
)];

fn read(
    settings: &mut Settings,
    directive: &Directive,
    block: Block,
    reading: &mut Reading<'_>,
) -> Result<(), ConfError> {
    if settings.state.is_some() {
        return Err(directive.name().refuse("\"state\" directive is duplicate"));
    }
    let (file, mut watch) = (directive.text().clone(), None);
    if let Some(word) = directive.arguments().get(1) {
        let pause = word.parameter("watch").and_then(|it| time(it, Unit::Milliseconds));
        let pause = pause.filter(|it| !it.is_zero());
        watch = Some(pause.ok_or_else(|| word.invalid_parameter())?);
        reading.extension(directive, block, word)?;
    }
    settings.state = Some(Asked { file, watch, path: PathBuf::new(), text: Vec::new() });
    Ok(())
}
