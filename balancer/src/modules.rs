//! Which modules are there, in which blocks do their directives stand, what do they set?
//!
//! The only list of row tables and settings, with that of the settings handed on in [`Scope`]. A
//! new module adds its settings to the blocks it serves, and its rows to their tables;
//! [`crate::http`] holds the phases.

use crate::conf::{
    Block, Catalog, ConfError, Directive, Effect, Group, MANY, Row, Rows, Span, Table, Word,
};
use crate::http::otel::exporter;
use crate::http::{limit_zone, listen, location, plain, rewrite, server, try_files};
use crate::logs::rows as logs;
use crate::process::rows as process;
use crate::upstream::protection::rows as protection;
use crate::upstream::{check, dns, extensions, rows as upstream, state};
use crate::variable::rows as variable;

use scope::SCOPE;
pub use scope::Scope;

mod blocks;
mod missing;
mod scope;
pub mod stream;

/// Everything outside all braces.
#[derive(Debug, Default)]
pub struct MainBlock {
    /// Workers, files, limits; `events` included.
    pub process: process::Settings,
    /// Whether there is an `events` block.
    pub has_events: bool,
    /// The `http` block.
    pub http: Option<HttpBlock>,
    /// The `stream` block.
    pub stream: Option<stream::StreamBlock>,
}

/// The `http` block.
#[derive(Debug, Default)]
pub struct HttpBlock {
    /// Handed on.
    pub scope: Scope,
    /// Handed on to servers.
    pub entrance: server::EntranceSettings,
    /// `map`, `geo`, `split_clients`
    pub variables: variable::Settings,
    /// `limit_req_zone`, `limit_conn_zone`
    pub zones: limit_zone::Settings,
    /// `otel_exporter` and its relatives
    pub exporter: exporter::Settings,
    /// `log_format`
    pub formats: logs::Formats,
    /// Its servers.
    pub servers: Vec<ServerBlock>,
    /// Its groups.
    pub upstreams: Vec<upstream::Settings>,
    /// `match` blocks by name.
    pub tests: Vec<(Word, check::test::Settings)>,
    /// Where the block ends, and nginx judges what its blocks come to; `None` without a block.
    pub close: Option<Span>,
}

/// A `server` block.
#[derive(Debug)]
pub struct ServerBlock {
    /// Handed on.
    pub scope: Scope,
    /// Before a location is known.
    pub entrance: server::EntranceSettings,
    /// Where it listens.
    pub listen: listen::Settings,
    /// Its names.
    pub names: server::Names,
    /// What it does itself, before and without its locations.
    pub own: Own,
    /// Its locations.
    pub locations: Vec<LocationBlock>,
    /// The word `server`.
    pub span: Span,
}

/// A `location` block, or an `if` or `limit_except` within one.
#[derive(Clone, Debug)]
pub struct LocationBlock {
    /// Which paths it is for.
    pub pattern: location::Pattern,
    /// Handed on.
    pub scope: Scope,
    /// What it does itself.
    pub own: Own,
    /// The locations within.
    pub locations: Vec<LocationBlock>,
    /// `limit_except`: the methods it leaves alone, and what holds for the others.
    pub limit_except: Option<Box<(Vec<Vec<u8>>, LocationBlock)>>,
    /// Where the block ends.
    pub close: Span,
}

/// What a block does itself; nothing of it is handed on.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// `rewrite`, `set`, `if`, `return`, `break`
    pub rewrite: rewrite::Settings,
    /// `try_files`
    pub try_files: try_files::Settings,
    /// `internal`
    pub is_internal: bool,
    /// Whether it shows the counters of `stub_status`.
    pub stub_status: bool,
    /// `health_check`
    pub checks: check::rows::Settings,
}

/// Outside all braces.
pub const MAIN: &[&dyn Rows<MainBlock>] = &[
    &Table::new(process::ROWS, |it: &mut MainBlock| &mut it.process),
    &Table::new(MAIN_ROWS, |it: &mut MainBlock| it),
    &Table::new(stream::MAIN_ROWS, |it: &mut MainBlock| it),
    &Table::new(missing::ROWS, |it: &mut MainBlock| it),
];

const EVENTS: &[&dyn Rows<MainBlock>] =
    &[&Table::new(process::EVENT_ROWS, |it: &mut MainBlock| &mut it.process)];

const OWN: &[&dyn Rows<Own>] = &[
    &Table::new(rewrite::ROWS, |it: &mut Own| &mut it.rewrite),
    &Table::new(try_files::ROWS, |it: &mut Own| &mut it.try_files),
    &Table::new(OWN_ROWS, |it: &mut Own| it),
    &Table::new(check::rows::ROWS, |it: &mut Own| &mut it.checks),
];

const HTTP: &[&dyn Rows<HttpBlock>] = &[
    &Table::new(HTTP_ROWS, |it: &mut HttpBlock| it),
    &Group::new(SCOPE, |it: &mut HttpBlock| &mut it.scope),
    &Table::new(server::ENTRANCE_ROWS, |it: &mut HttpBlock| &mut it.entrance),
    &Table::new(plain::ROWS, |it: &mut HttpBlock| &mut it.entrance),
    &Table::new(variable::ROWS, |it: &mut HttpBlock| &mut it.variables),
    &Table::new(limit_zone::ROWS, |it: &mut HttpBlock| &mut it.zones),
    &Table::new(exporter::ROWS, |it: &mut HttpBlock| &mut it.exporter),
    &Table::new(logs::FORMAT_ROWS, |it: &mut HttpBlock| &mut it.formats),
];

const SERVER: &[&dyn Rows<ServerBlock>] = &[
    &Table::new(SERVER_ROWS, |it: &mut ServerBlock| it),
    &Table::new(listen::ROWS, |it: &mut ServerBlock| &mut it.listen),
    &Table::new(server::NAME_ROWS, |it: &mut ServerBlock| &mut it.names),
    &Table::new(server::ENTRANCE_ROWS, |it: &mut ServerBlock| &mut it.entrance),
    &Table::new(plain::ROWS, |it: &mut ServerBlock| &mut it.entrance),
    &Group::new(SCOPE, |it: &mut ServerBlock| &mut it.scope),
    &Group::new(OWN, |it: &mut ServerBlock| &mut it.own),
];

const LOCATION: &[&dyn Rows<LocationBlock>] = &[
    &Table::new(LOCATION_ROWS, |it: &mut LocationBlock| it),
    &Group::new(SCOPE, |it: &mut LocationBlock| &mut it.scope),
    &Group::new(OWN, |it: &mut LocationBlock| &mut it.own),
];

const UPSTREAM: &[&dyn Rows<upstream::Settings>] = &[
    &Table::new(upstream::SERVER_ROWS, |it| it),
    &Table::new(state::rows::ROWS, |it| it),
    &Table::new(upstream::ROWS, |it| it),
    &Table::new(dns::rows::ROWS, |it: &mut upstream::Settings| &mut it.resolver),
    &Table::new(protection::ROWS, |it: &mut upstream::Settings| &mut it.protection),
    &Table::extension(protection::OWN_ROWS, |it: &mut upstream::Settings| &mut it.protection),
    &Table::extension(extensions::ROWS, |it| it),
];

const MATCH: &[&dyn Rows<check::test::Settings>] =
    &[&Table::new(check::test::ROWS, |it: &mut check::test::Settings| it)];

/// Every row of the program.
#[must_use]
pub fn catalog() -> Catalog {
    let http = Catalog::default().with(MAIN).with(EVENTS).with(HTTP).with(SERVER).with(LOCATION);
    let http = http.with(UPSTREAM).with(MATCH).with(stream::MATCH);
    http.with(stream::STREAM).with(stream::SERVER).with(stream::UPSTREAM)
}

const MAIN_ROWS: &[Row<MainBlock>] = &[
    Row {
        name: "events",
        within: &[Block::Main],
        arguments: 0..=0,
        effect: Effect::Open(|main, directive, reading| {
            let is_second = std::mem::replace(&mut main.has_events, true);
            once(is_second, directive)?;
            reading.apply(Block::Events, directive.children(), EVENTS, main);
            Ok(())
        }),
    },
    Row {
        name: "http",
        within: &[Block::Main],
        arguments: 0..=0,
        effect: Effect::Open(|main, directive, reading| {
            once(main.http.is_some(), directive)?;
            let http = main.http.get_or_insert_default();
            http.close = Some(directive.close.clone());
            reading.apply(Block::Http, directive.children(), HTTP, http);
            Ok(())
        }),
    },
];

fn once(is_second: bool, directive: &Directive) -> Result<(), ConfError> {
    let name = directive.name();
    if is_second {
        return Err(name.refuse(format!("\"{name}\" directive is duplicate")));
    }
    Ok(())
}

const HTTP_ROWS: &[Row<HttpBlock>] = &[
    Row {
        name: "server",
        within: &[Block::Http],
        arguments: 0..=0,
        effect: Effect::Open(|http, directive, reading| {
            let mut server = ServerBlock {
                scope: Scope::default(),
                entrance: server::EntranceSettings::default(),
                listen: listen::Settings::default(),
                names: server::Names::default(),
                own: Own::default(),
                locations: Vec::new(),
                span: directive.span.clone(),
            };
            reading.apply(Block::Server, directive.children(), SERVER, &mut server);
            http.servers.push(server);
            Ok(())
        }),
    },
    Row {
        name: "upstream",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Open(|http, directive, reading| {
            let name = directive.text().clone();
            let is_taken = |it: &upstream::Settings| it.name.eq_ignore_ascii_case(&name);
            if http.upstreams.iter().any(is_taken) {
                return Err(name.refuse(format!("duplicate upstream \"{name}\"")));
            }
            let mut upstream = upstream::Settings::new(name, directive.close.clone());
            let found = reading.problems.len();
            reading.apply(Block::Upstream, directive.children(), UPSTREAM, &mut upstream);
            // A line that was refused may be the one whose absence would be told.
            if found == reading.problems.len() {
                upstream.check()?;
            }
            http.upstreams.push(upstream);
            Ok(())
        }),
    },
    Row {
        name: "match",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Open(|http, directive, reading| {
            let name = directive.text().clone();
            if http.tests.iter().any(|(it, _)| **it == *name) {
                return Err(name.refuse(format!("duplicate match \"{name}\"")));
            }
            let mut test = check::test::Settings::default();
            reading.apply(Block::Match, directive.children(), MATCH, &mut test);
            http.tests.push((name, test));
            Ok(())
        }),
    },
];

const SERVER_ROWS: &[Row<ServerBlock>] = &[Row {
    name: "location",
    within: &[Block::Server],
    arguments: 1..=2,
    effect: Effect::Open(|server, directive, reading| {
        let location = blocks::location(directive, None, reading)?;
        server.locations.push(location);
        Ok(())
    }),
}];

const LOCATION_ROWS: &[Row<LocationBlock>] = &[
    Row {
        name: "location",
        within: &[Block::Location],
        arguments: 1..=2,
        effect: Effect::Open(|outer, directive, reading| {
            let location = blocks::location(directive, Some(&outer.pattern), reading)?;
            outer.locations.push(location);
            Ok(())
        }),
    },
    Row {
        name: "limit_except",
        within: &[Block::Location],
        arguments: 1..=MANY,
        effect: Effect::Open(blocks::limit_except),
    },
];

const OWN_ROWS: &[Row<Own>] = &[
    Row {
        name: "stub_status",
        within: &[Block::Server, Block::Location],
        arguments: 0..=1,
        effect: Effect::Set(|own, _| {
            own.stub_status = true;
            Ok(())
        }),
    },
    Row {
        name: "internal",
        within: &[Block::Location],
        arguments: 0..=0,
        effect: Effect::Add(|own, _| {
            own.is_internal = true;
            Ok(())
        }),
    },
    Row {
        name: "if",
        within: &[Block::Server, Block::Location],
        arguments: 1..=MANY,
        effect: Effect::Open(blocks::condition),
    },
];
