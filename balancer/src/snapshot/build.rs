//! Text → settings → snapshot: all that is opened and looked up, and all refusals.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use self::listeners::listeners;
use self::locations::Compiler;
use self::upstreams::Groups;
use super::Snapshot;
use crate::conf::address::Host;
use crate::conf::error::sort;
use crate::conf::{self, Block, ConfError, Dialect, Judgement, Level, Reader, Reading, Sources};
use crate::modules::{self, HttpBlock, LocationBlock, MainBlock};
use crate::process::rows::Settings;
use crate::upstream::resolve::look_up_now;

mod formats;
mod listeners;
mod locations;
mod upstreams;

/// Everything a configuration says, typed and merged, nothing opened yet.
#[derive(Debug)]
pub struct Configuration {
    /// Workers, files and limits.
    pub process: Settings,
    /// The `http` block, `None` when there is none.
    pub http: Option<HttpBlock>,
    /// The files it was read from.
    pub sources: Sources,
    /// What the operator is told; it does not stand in the way.
    pub warnings: Vec<ConfError>,
    /// What became of each directive.
    pub judgements: Vec<Judgement>,
    /// Where relative paths begin.
    pub paths: Paths,
    /// Whether only what nginx accepts is accepted.
    pub is_strict: bool,
}

/// Where files are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Relative names of logs and of the pid file begin here.
    pub prefix: PathBuf,
    /// The main file; names to include begin in its directory.
    pub conf: PathBuf,
}

/// The files of this machine.
struct Files;

impl Reader for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let names = |directory: &Path| -> io::Result<Vec<OsString>> {
            std::fs::read_dir(directory)?.map(|it| Ok(it?.file_name())).collect()
        };
        Ok(conf::pattern::glob(pattern, &names))
    }
}

/// Text → settings; all problems at once.
///
/// `globals` is what `-g` gave.
pub fn read(
    paths: &Paths,
    globals: Option<&str>,
    is_strict: bool,
) -> Result<Configuration, Vec<ConfError>> {
    let syntax = conf::read(&paths.conf, globals.unwrap_or_default(), &Files);
    let catalog = modules::catalog();
    let dialect = if is_strict { Dialect::Strict } else { Dialect::Extended };
    let mut reading = Reading::new(&catalog, dialect);
    reading.problems = syntax.problems;
    let mut main = MainBlock::default();
    reading.apply(Block::Main, &syntax.directives, modules::MAIN, &mut main);
    if !main.has_events && !reading.is_refused() {
        reading.tell(ConfError::unplaced("no \"events\" section in configuration"));
    }
    let is_refused = reading.is_refused();
    let mut problems = reading.problems;
    sort(&mut problems);
    if is_refused {
        return Err(problems);
    }
    Ok(Configuration {
        process: main.process.below(&paths.prefix),
        http: main.http,
        sources: syntax.sources,
        warnings: problems,
        judgements: reading.judgements,
        paths: paths.clone(),
        is_strict,
    })
}

/// Settings → snapshot: names are looked up, files opened, counts taken over from `previous`.
///
/// A name that cannot be resolved is a warning of the snapshot, and its servers are not there
/// until [`crate::upstream::resolve::follow`] finds them.
pub fn build(
    configuration: &Configuration,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, Vec<ConfError>> {
    let generation = previous.map_or(0, |it| it.generation) + 1;
    let Some(http) = &configuration.http else {
        return Ok(Snapshot { generation, ..Snapshot::default() });
    };
    let answers = look_up_now(names(http));
    let mut problems = Vec::new();
    let groups = Groups::new(http, &answers, previous, configuration.is_strict);
    let mut compiler = Compiler::new(http, groups, previous, &configuration.paths.prefix);
    let servers = compiler.servers();
    problems.append(&mut compiler.problems);
    let listeners = listeners(http, &servers, &answers, &mut problems);
    let groups = compiler.groups;
    problems.extend(groups.problems);
    sort(&mut problems);
    if problems.iter().any(|it| it.level == Level::Emerg) {
        return Err(problems);
    }
    Ok(Snapshot {
        generation,
        listeners,
        upstreams: groups.upstreams,
        unresolved: groups.unresolved,
        warnings: problems,
    })
}

/// Every name that has to be looked up.
fn names(http: &HttpBlock) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |host: &Host| {
        if let Host::Name(name) = host {
            names.insert(name.clone());
        }
    };
    http.upstreams.iter().flat_map(|it| &it.servers).for_each(|it| add(&it.address.host));
    http.servers.iter().flat_map(|it| &it.listen.lines).for_each(|it| add(&it.address.host));
    let is_group = |host: &Host| match host {
        Host::Name(name) => http.upstreams.iter().any(|it| it.name.eq_ignore_ascii_case(name)),
        _ => false,
    };
    let mut add_target = |host: &Host| {
        if !is_group(host) {
            add(host);
        }
    };
    let locations = http.servers.iter().flat_map(|it| &it.locations);
    locations.for_each(|it| targets(it, &mut add_target));
    names
}

/// Shows the host of each `proxy_pass`, nested locations included.
fn targets(location: &LocationBlock, show: &mut dyn FnMut(&Host)) {
    if let Some(target) = &location.scope.proxy.target {
        show(&target.address.host);
    }
    location.locations.iter().for_each(|it| targets(it, show));
}
