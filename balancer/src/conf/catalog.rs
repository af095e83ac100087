//! Which names does the whole program know, and where may they stand?
//!
//! A block's own tables decide what it accepts; the catalog tells apart a name that is unknown
//! everywhere from one that has strayed into the wrong block.

use std::collections::{BTreeMap, BTreeSet};

use super::reading::Dialect;
use super::row::{Block, Declared, Origin, Rows};

/// Every row of the program, by name.
#[derive(Debug, Default)]
pub struct Catalog {
    rows: BTreeMap<&'static str, Vec<Declared>>,
}

impl Catalog {
    /// Adds the rows of tables that read one kind of settings.
    #[must_use]
    pub fn with<S>(mut self, tables: &[&dyn Rows<S>]) -> Self {
        for table in tables {
            table.visit(&mut |row| self.rows.entry(row.name).or_default().push(row));
        }
        self
    }

    /// All rows, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Declared> {
        self.rows.values().flatten()
    }

    /// Whether a name is accepted in some block.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !self.blocks_of(name, Dialect::Extended).is_empty()
    }

    /// The blocks in which a name is accepted; none when it is unknown.
    #[must_use]
    pub fn blocks_of(&self, name: &str, dialect: Dialect) -> BTreeSet<Block> {
        let rows = self.rows.get(name).into_iter().flatten();
        rows.filter(|it| it.accepted(dialect)).flat_map(|it| it.within).copied().collect()
    }

    /// The way out, when the name is one that is refused wherever it stands.
    #[must_use]
    pub fn refused(&self, name: &str) -> Option<&'static str> {
        let rows = self.rows.get(name)?;
        if rows.iter().any(|it| it.refused.is_none()) {
            return None;
        }
        rows.first()?.refused
    }

    /// The names accepted in a block, in alphabetical order.
    pub fn names_in(&self, block: Block, dialect: Dialect) -> impl Iterator<Item = &'static str> {
        let fits = move |it: &Declared| it.accepted(dialect) && it.within.contains(&block);
        self.rows.iter().filter(move |(_, rows)| rows.iter().any(fits)).map(|(name, _)| *name)
    }
}

impl Declared {
    fn accepted(&self, dialect: Dialect) -> bool {
        self.refused.is_none() && (dialect == Dialect::Extended || self.origin == Origin::Nginx)
    }
}
