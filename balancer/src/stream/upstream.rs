//! What an `upstream` of `stream` knows beside the group: what sessions are hashed by, and which
//! time counts.

use std::collections::HashMap;

use crate::conf::ConfError;
use crate::stream::session::Session;
use crate::upstream::rows::Settings;
use crate::variable::{Names, Template, compile};

/// What is known of one group.
#[derive(Debug, Default)]
pub struct Habit {
    /// What its sessions are hashed by, where it hashes.
    pub key: Option<Template<Session>>,
    /// Whether its policy learns from the time to connect, not from that to the first byte.
    pub learns_from_connect: bool,
}

/// The habits of all groups that have a block, by name in lower case.
#[derive(Debug, Default)]
pub struct Habits {
    by_name: HashMap<String, Habit>,
}

impl Habits {
    /// Looks the variables of keys up.
    pub fn compile(
        blocks: &[Settings],
        names: &Names<Session>,
        problems: &mut Vec<ConfError>,
    ) -> Self {
        let mut by_name = HashMap::new();
        for block in blocks {
            let Some(method) = &block.method else { continue };
            let key = method.key.as_ref().map(|it| compile(it, names)).transpose();
            let key = key.map_err(|it| problems.push(it)).unwrap_or_default();
            let habit = Habit { key, learns_from_connect: method.learns_from_connect };
            by_name.insert(block.name.to_ascii_lowercase(), habit);
        }
        Self { by_name }
    }

    /// Those of a group, `None` when it has none of its own.
    #[must_use]
    pub fn of(&self, group: &str) -> Option<&Habit> {
        self.by_name.get(&group.to_ascii_lowercase())
    }
}
