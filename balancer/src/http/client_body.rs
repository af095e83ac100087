//! `client_body_temp_path`, `client_body_in_file_only`: in which files are bodies of requests held?
//! `client_body_early_read`: which of them are read before anything is done with a request?
//!
//! Source: nginx `ngx_http_core_module.c`, and `ngx_file.c`, `ngx_conf_set_path_slot`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::conf::value::number;
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::spool::Folder;
use crate::http::variable::{Template, compile};
use crate::http::{EVERYWHERE, put};
use crate::variable::Names;

/// Which bodies are held in files, and what becomes of these.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Which {
    /// Large ones, in files without a name.
    #[default]
    Large,
    /// All, in files that are removed with their request.
    Clean,
    /// All, in files that stay.
    All,
}

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    path: Option<(Arc<PathBuf>, Vec<usize>)>,
    which: Option<Which>,
    early: Option<Vec<Word>>,
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "client_body_temp_path",
        within: EVERYWHERE,
        arguments: 1..=4,
        effect: Effect::Set(Settings::path),
    },
    Row {
        name: "client_body_in_file_only",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| {
            let words = [("off", Which::Large), ("on", Which::All), ("clean", Which::Clean)];
            put(&mut it.which, directive.choice(&words))
        }),
    },
    Row {
        name: "client_body_early_read",
        within: &[Block::Http, Block::Server],
        arguments: 1..=MANY,
        effect: Effect::Set(|it, directive| {
            it.early = Some(directive.arguments().to_vec());
            Ok(())
        }),
    },
];

impl Settings {
    fn path(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let levels = directive.arguments()[1..].iter().map(|word| {
            let digits = number(word).and_then(|it| usize::try_from(it).ok());
            digits.filter(|it| 0 < *it).ok_or_else(|| directive.refuse("invalid value"))
        });
        let levels = levels.collect::<Result<_, _>>()?;
        self.path = Some((Arc::new(directive.text().to_path()), levels));
        Ok(())
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            path: self.path.or_else(|| outer.path.clone()),
            which: self.which.or(outer.which),
            early: self.early.or_else(|| outer.early.clone()),
        }
    }

    /// The texts of which one has to be true for a body to be read early.
    pub fn early(&self, names: &Names<Exchange>) -> Result<Vec<Template>, ConfError> {
        self.early.iter().flatten().map(|it| compile(it, names)).collect()
    }

    /// What a request needs; the folder is yet to be found.
    pub fn compile(&self) -> BodyFiles {
        let which = self.which.unwrap_or_default();
        let (folder, levels) = match &self.path {
            Some((folder, levels)) => (Some(Arc::clone(folder)), levels.clone()),
            None if which == Which::Large => (None, Vec::new()),
            None => (Some(Arc::new(PathBuf::from("client_body_temp"))), Vec::new()),
        };
        BodyFiles { folder, levels, which }
    }
}

/// In which files bodies are held.
#[derive(Clone, Debug, Default)]
pub struct BodyFiles {
    /// Their folder, `None` for the system's temporary one.
    pub folder: Option<Arc<PathBuf>>,
    /// How many digits name the folders below it.
    levels: Vec<usize>,
    which: Which,
}

impl BodyFiles {
    /// Whether bodies are held in files however short they are.
    pub fn are_for_all(&self) -> bool {
        self.which != Which::Large
    }

    /// Where a file is made.
    pub fn place(&self) -> Folder {
        let path = self.folder.as_deref().cloned();
        match self.which {
            Which::Large => Folder::Nameless(path),
            which => Folder::Named {
                path: path.unwrap_or_else(std::env::temp_dir),
                levels: self.levels.clone(),
                stays: which == Which::All,
            },
        }
    }
}
