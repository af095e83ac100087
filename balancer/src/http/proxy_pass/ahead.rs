//! How far an answer is read ahead of its client: `proxy_max_temp_file_size` and its relatives.

use std::path::PathBuf;
use std::sync::Arc;

use crate::conf::{Effect, Row, Word};
use crate::engine::ahead::Bounds;
use crate::http::{EVERYWHERE, put};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    max_temp_file_size: Option<u64>,
    /// It does nothing, but must fit the others.
    temp_file_write_size: Option<u64>,
    temp_path: Option<Arc<PathBuf>>,
    /// Bytes per second, perhaps by a variable.
    pub(super) rate: Option<Word>,
}

/// nginx's `proxy_max_temp_file_size` unless it is set.
const LARGEST: u64 = 1024 * 1024 * 1024;

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            max_temp_file_size: self.max_temp_file_size.or(outer.max_temp_file_size),
            temp_file_write_size: self.temp_file_write_size.or(outer.temp_file_write_size),
            temp_path: self.temp_path.or_else(|| outer.temp_path.clone()),
            rate: self.rate.or_else(|| outer.rate.clone()),
        }
    }

    /// `proxy_temp_file_write_size`
    #[must_use]
    pub fn write_size(&self) -> Option<u64> {
        self.temp_file_write_size
    }

    /// `proxy_max_temp_file_size`
    #[must_use]
    pub fn largest_file(&self) -> Option<u64> {
        self.max_temp_file_size
    }

    /// What that comes to beside so many buffers of a size.
    #[must_use]
    pub fn bounds(&self, (count, each): (u64, u64)) -> Bounds {
        Bounds {
            memory: usize::try_from(count.saturating_mul(each)).unwrap_or(usize::MAX),
            disk: self.max_temp_file_size.unwrap_or(LARGEST),
            folder: self.temp_path.clone(),
        }
    }
}

/// The rows.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "proxy_max_temp_file_size",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.max_temp_file_size, directive.size())),
    },
    Row {
        name: "proxy_temp_file_write_size",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Compared(
            |it, directive| put(&mut it.temp_file_write_size, directive.size()),
            "a client that waits does not wait for the size of a write",
        ),
    },
    Row {
        name: "proxy_temp_path",
        within: EVERYWHERE,
        arguments: 1..=4,
        effect: Effect::Set(|it, directive| {
            it.temp_path = Some(Arc::new(directive.text().to_path()));
            Ok(())
        }),
    },
    Row {
        name: "proxy_limit_rate",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| {
            if !directive.text().contains('$') {
                directive.size()?;
            }
            put(&mut it.rate, Ok(directive.text().clone()))
        }),
    },
];
