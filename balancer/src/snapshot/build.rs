//! Text → settings → snapshot: all that is opened and looked up, and all refusals.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::listeners::listeners;
use self::locations::Compiler;
use self::upstreams::Groups;
use super::Snapshot;
use crate::client::Trusted;
use crate::conf::address::Host;
use crate::conf::error::sort;
use crate::conf::{
    self, Block, ConfError, Dialect, Directive, Judgement, Level, Reader, Reading, Sources,
};
use crate::http::rewrite::unset;
use crate::modules::stream::StreamBlock;
use crate::modules::{self, HttpBlock, LocationBlock, MainBlock, Scope};
use crate::process::rows::Settings;
use crate::upstream::resolve::look_up_now;
use crate::upstream::state;
use crate::variable::Names;

mod checks;
mod exporter;
mod folders;
mod formats;
mod listeners;
mod locations;
mod resolvers;
mod stream;
mod upstreams;

/// Everything a configuration says, typed and merged, nothing opened yet.
#[derive(Debug)]
pub struct Configuration {
    /// Workers, files and limits.
    pub process: Settings,
    /// Whether there is an `events` block, without which nothing is served.
    pub has_events: bool,
    /// The `http` block, `None` when there is none.
    pub http: Option<HttpBlock>,
    /// The `stream` block, `None` when there is none.
    pub stream: Option<StreamBlock>,
    /// The files it was read from.
    pub sources: Sources,
    /// What the operator is told; it does not stand in the way.
    pub warnings: Vec<ConfError>,
    /// Names of variables it defines, of HTTP and of streams.
    pub names: [BTreeSet<String>; 2],
    /// Those of HTTP that `set` gives a value.
    pub assigned: BTreeSet<String>,
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

/// What was found in a text, whether or not it can be used.
#[derive(Debug)]
pub struct Examined {
    /// What was found, in the order in which nginx would have found it.
    pub problems: Vec<ConfError>,
    /// What became of each directive, in the order of reading; without lines of `include`.
    pub judgements: Vec<Judgement>,
    /// Names of variables it defines, of HTTP and of streams.
    pub names: [BTreeSet<String>; 2],
    /// Those of HTTP that `set` gives a value.
    pub assigned: BTreeSet<String>,
    /// The lines of `include` that were followed.
    pub includes: Vec<Directive>,
    main: MainBlock,
    sources: Sources,
}

/// What is told of a configuration whose syntax is all right and that cannot be used.
const NO_EVENTS: &str = "no \"events\" section in configuration";

/// Text → settings; all problems at once.
///
/// `globals` is what `-g` gave.
pub fn read(
    paths: &Paths,
    globals: Option<&str>,
    is_strict: bool,
) -> Result<Configuration, Vec<ConfError>> {
    examine(paths, globals, is_strict).configuration(paths, is_strict)
}

/// Text → verdicts and settings.
#[must_use]
pub fn examine(paths: &Paths, globals: Option<&str>, is_strict: bool) -> Examined {
    let syntax = conf::read(&paths.conf, globals.unwrap_or_default(), &Files);
    let catalog = modules::catalog();
    let dialect = if is_strict { Dialect::Strict } else { Dialect::Extended };
    let mut reading = Reading::new(&catalog, dialect);
    reading.problems = syntax.problems;
    let mut main = MainBlock::default();
    reading.apply(Block::Main, &syntax.directives, modules::MAIN, &mut main);
    let Reading { mut problems, judgements, names, assigned, .. } = reading;
    let http = main.http.iter_mut().flat_map(|it| &mut it.upstreams).map(|it| (it, false));
    let stream = main.stream.iter_mut().flat_map(|it| &mut it.upstreams).map(|it| (it, true));
    for (block, is_stream) in http.chain(stream) {
        problems.extend(state::read(block, is_stream, &paths.prefix).err().unwrap_or_default());
    }
    sort(&mut problems);
    let (includes, sources) = (syntax.includes, syntax.sources);
    Examined { problems, judgements, names, assigned, includes, main, sources }
}

impl Examined {
    /// The settings, unless something refuses them.
    pub fn configuration(
        self,
        paths: &Paths,
        is_strict: bool,
    ) -> Result<Configuration, Vec<ConfError>> {
        if self.problems.iter().any(|it| it.level == Level::Emerg) {
            return Err(self.problems);
        }
        Ok(Configuration {
            process: self.main.process.below(&paths.prefix),
            has_events: self.main.has_events,
            http: self.main.http,
            stream: self.main.stream,
            sources: self.sources,
            warnings: self.problems,
            names: self.names,
            assigned: self.assigned,
            judgements: self.judgements,
            paths: paths.clone(),
            is_strict,
        })
    }
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
    let (no_http, no_stream) = (HttpBlock::default(), StreamBlock::default());
    let http = configuration.http.as_ref().unwrap_or(&no_http);
    let stream = configuration.stream.as_ref().unwrap_or(&no_stream);
    let mut names = names(http);
    stream::names(stream, &mut |host| {
        if let Host::Name(name) = host {
            names.insert(name.clone());
        }
    });
    let answers = look_up_now(names);
    let mut problems = Vec::new();
    let variables = Names::new(&configuration.names[0]);
    let mut definitions = http.variables.compile(&variables, &mut problems);
    unset::define(&configuration.assigned, &variables, &mut definitions);
    let definitions = Arc::new(definitions);
    let is_strict = configuration.is_strict;
    let resolver = &stream.scope.resolver;
    let groups = Groups::of_stream(&stream.upstreams, &answers, previous, is_strict, resolver);
    let stream_names = Names::new(&configuration.names[1]);
    let prefix = &configuration.paths.prefix;
    let mut streams = stream::Compiler::new(stream, &stream_names, groups, previous, prefix);
    let stream_listeners = streams.listeners(&answers);
    problems.append(&mut streams.problems);
    let mut checks = streams.checks;
    let (streams, stream_zones) = (streams.groups, streams.zones);
    streams.fill_directory();
    problems.extend(streams.problems);
    let resolver = &http.scope.resolver;
    let groups =
        Groups::of_http(&http.upstreams, &answers, previous, is_strict, resolver, &variables);
    let mut compiler =
        Compiler::new(http, groups, previous, &variables, definitions, &configuration.paths);
    match configuration.process.serves_as() {
        Ok(user) => compiler.owner = user.map(|it| it.uid.as_raw()),
        Err(text) => problems.push(ConfError::unplaced(text)),
    }
    match exporter::open(
        http,
        previous,
        &configuration.paths,
        configuration.process.workers.count(),
    ) {
        Ok(exporter) => compiler.exporter = exporter,
        Err(problem) => problems.push(problem),
    }
    let servers = compiler.servers();
    problems.append(&mut compiler.problems);
    checks.append(&mut compiler.checks);
    let listeners = listeners(http, &servers, &answers, &variables, &mut problems);
    for stream in &stream_listeners {
        if listeners.iter().any(|it| it.bind == stream.bind) {
            let text = format!("a duplicate listen {}", stream.bind);
            problems.push(ConfError::unplaced(text));
        }
    }
    let (groups, zones, exporter) = (compiler.groups, compiler.zones, compiler.exporter);
    groups.fill_directory();
    problems.extend(groups.problems);
    let error_logs = [&http.scope.logs.errors, &stream.scope.logs.errors].map(|lines| {
        let opened = formats::errors(lines, &configuration.paths.prefix);
        opened.map_err(|it| problems.push(it)).unwrap_or_default()
    });
    if !configuration.has_events {
        problems.push(ConfError::of_the_whole(NO_EVENTS));
    }
    sort(&mut problems);
    // What several blocks inherit fails for each of them.
    let mut told = HashSet::new();
    problems.retain(|it| told.insert(it.line()));
    if problems.iter().any(|it| it.level == Level::Emerg) {
        return Err(problems);
    }
    Ok(Snapshot {
        generation,
        listeners,
        upstreams: groups.upstreams,
        streams: stream_listeners,
        stream_upstreams: streams.upstreams,
        checks,
        error_logs,
        exporter,
        zones,
        stream_zones,
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
    let lines = http.upstreams.iter().flat_map(|it| &it.servers);
    // Names that are followed are not the system's to know.
    lines.filter(|it| !it.resolve).for_each(|it| add(&it.address.host));
    let of_groups = http.upstreams.iter().map(|it| &it.resolver);
    let resolvers = of_groups.chain([&http.scope.resolver]);
    let resolvers = resolvers.chain(http.servers.iter().map(|it| &it.scope.resolver));
    let resolvers = resolvers.filter_map(|it| it.resolver.as_ref());
    resolvers.flat_map(|it| &it.servers).for_each(|(it, _)| add(&it.host));
    http.servers.iter().flat_map(|it| &it.listen.lines).for_each(|it| add(&it.address.host));
    let scopes = http.servers.iter().map(|it| &it.scope).chain([&http.scope]);
    scopes.for_each(|it| trusted(it, &mut add));
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

/// Shows each name of `set_real_ip_from`.
fn trusted(scope: &Scope, show: &mut dyn FnMut(&Host)) {
    let names = scope.real_ip.trusted.iter().filter_map(Trusted::name);
    names.for_each(|it| show(&Host::Name(it.to_owned())));
}

/// Shows the host of each `proxy_pass`, nested locations included.
fn targets(location: &LocationBlock, show: &mut dyn FnMut(&Host)) {
    if let Some(target) = &location.scope.proxy.target {
        show(&target.address.host);
    }
    if let Some(resolver) = &location.scope.resolver.resolver {
        resolver.servers.iter().for_each(|(it, _)| show(&it.host));
    }
    trusted(&location.scope, show);
    location.locations.iter().for_each(|it| targets(it, show));
}
