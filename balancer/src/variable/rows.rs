//! `map`, `geo`, `split_clients`: variables that are worked out when they are asked for.

use super::{Compute, Definitions, Names, Subject, geo, map, split_clients};
use crate::conf::{Block, ConfError, Effect, Row};
use crate::engine::exchange::Exchange;
use crate::http::core::{HASH, number};
use crate::stream::session::Session;

/// The blocks of `http` or `stream`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    maps: Vec<map::Block>,
    geos: Vec<geo::Block>,
    splits: Vec<split_clients::Block>,
}

/// Directives of `http`.
pub const ROWS: &[Row<Settings>] = &rows::<Exchange>(&[Block::Http]);

/// Directives of `stream`.
pub const STREAM_ROWS: &[Row<Settings>] = &rows::<Session>(&[Block::Stream]);

const fn rows<S: Subject>(within: &'static [Block]) -> [Row<Settings>; 5] {
    [
        Row {
            name: "map",
            within,
            arguments: 2..=2,
            effect: Effect::Open(|it, directive, reading| {
                it.maps.push(map::Block::read::<S>(directive, reading)?);
                Ok(())
            }),
        },
        Row {
            name: "geo",
            within,
            arguments: 1..=2,
            effect: Effect::Open(|it, directive, reading| {
                it.geos.push(geo::Block::read::<S>(directive, reading)?);
                Ok(())
            }),
        },
        Row {
            name: "split_clients",
            within,
            arguments: 2..=2,
            effect: Effect::Open(|it, directive, reading| {
                it.splits.push(split_clients::Block::read::<S>(directive, reading)?);
                Ok(())
            }),
        },
        size("map_hash_max_size", within),
        size("map_hash_bucket_size", within),
    ]
}

const fn size(name: &'static str, within: &'static [Block]) -> Row<Settings> {
    Row { name, within, arguments: 1..=1, effect: Effect::Checked(number, HASH) }
}

impl Settings {
    /// Looks the variables up. Of two blocks for one variable the later counts.
    pub fn compile<S: Subject>(
        &self,
        names: &Names<S>,
        problems: &mut Vec<ConfError>,
    ) -> Definitions<S> {
        let mut definitions = Definitions::default();
        let mut define = |name: &str, compiled: Result<Box<dyn Compute<S>>, ConfError>| match (
            compiled,
            names.slot(name),
        ) {
            (Ok(compute), Some(slot)) => definitions.define(slot, compute),
            (Ok(_), None) => {}
            (Err(problem), _) => problems.push(problem),
        };
        for block in &self.maps {
            define(&block.name, block.compile(names).map(|it| Box::new(it) as _));
        }
        for block in &self.geos {
            define(&block.name, block.compile(names).map(|it| Box::new(it) as _));
        }
        for block in &self.splits {
            define(&block.name, block.compile(names).map(|it| Box::new(it) as _));
        }
        definitions
    }
}
