//! What a location says about files: where they are, and how they are sent.

use std::path::Path;

use crate::conf::{ConfError, Effect, Row};
use crate::engine::exchange::Exchange;
use crate::http::autoindex::AutoIndex;
use crate::http::not_modified::Since;
use crate::http::packed::Packed;
use crate::http::root::Root;
use crate::http::try_files::TryFiles;
use crate::http::variable::Template;
use crate::http::{EVERYWHERE, put};
use crate::modules::{Own, Scope};
use crate::variable::Names;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    etag: Option<bool>,
    if_modified_since: Option<Since>,
    max_ranges: Option<u64>,
    log_not_found: Option<bool>,
}

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

/// The rows.
pub const ROWS: &[Row<Settings>] = &[
    one("etag", Effect::Set(|it, directive| put(&mut it.etag, directive.flag()))),
    one(
        "if_modified_since",
        Effect::Set(|it, directive| {
            let words = [("off", Since::Off), ("exact", Since::Exact), ("before", Since::Before)];
            put(&mut it.if_modified_since, directive.choice(&words))
        }),
    ),
    one("max_ranges", Effect::Set(|it, directive| put(&mut it.max_ranges, directive.number()))),
    one("log_not_found", Effect::Set(|it, directive| put(&mut it.log_not_found, directive.flag()))),
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            etag: self.etag.or(outer.etag),
            if_modified_since: self.if_modified_since.or(outer.if_modified_since),
            max_ranges: self.max_ranges.or(outer.max_ranges),
            log_not_found: self.log_not_found.or(outer.log_not_found),
        }
    }
}

/// How a location serves files.
#[derive(Debug)]
pub struct Files {
    /// Where they are.
    pub root: Root,
    /// Names that stand for a folder.
    pub index: Vec<Template>,
    /// How a folder is shown that none of them stands for.
    pub auto_index: Option<AutoIndex>,
    /// What is tried before anything else.
    pub try_files: Option<TryFiles>,
    /// Which are sent compressed.
    pub packed: Option<Packed>,
    /// Whether they have an `ETag`.
    pub etag: bool,
    /// How `If-Modified-Since` is compared.
    pub since: Since,
    /// Most ranges of one request.
    pub max_ranges: u64,
    /// Whether files that are not there are told.
    pub log_not_found: bool,
}

impl Files {
    /// Those of a location whose lines are refused.
    pub fn none(prefix: &Path) -> Self {
        let (scope, own) = (Scope::default(), Own::default());
        Self::compile(&scope, &own, &Names::default(), prefix).expect("defaults have no variables")
    }

    /// Those of a location; relative folders are below `prefix`.
    pub fn compile(
        scope: &Scope,
        own: &Own,
        names: &Names<Exchange>,
        prefix: &Path,
    ) -> Result<Self, ConfError> {
        let settings = &scope.files;
        Ok(Self {
            root: scope.root.compile(names, prefix)?,
            index: scope.index.compile(names)?,
            auto_index: scope.auto_index.compile(scope.charset.is_utf8()),
            try_files: own.try_files.compile(names)?,
            packed: scope.packed.files(scope.gzip.rules()),
            etag: settings.etag.unwrap_or(true),
            since: settings.if_modified_since.unwrap_or_default(),
            max_ranges: settings.max_ranges.unwrap_or(u64::MAX),
            log_not_found: settings.log_not_found.unwrap_or(true),
        })
    }
}
