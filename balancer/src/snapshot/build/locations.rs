//! Servers and their locations: settings merged, variables looked up, groups found.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::checks::check;
use super::folders;
use super::formats::{self, Logs};
use super::upstreams::Groups;
use crate::conf::{ConfError, Span};
use crate::engine::exchange::Exchange;
use crate::http::escape;
use crate::http::filter::Filters;
use crate::http::guard::Guards;
use crate::http::limit_zone::Zone;
use crate::http::location::{Content, Entry, Kind, Location, Locations, RegexEntry};
use crate::http::proxy_pass::Goal;
use crate::http::proxy_pass::dynamic::Dynamic;
use crate::http::rewrite::{Line, Op};
use crate::http::server::{Counters, Names as ServerNames, Server};
use crate::http::static_file::Files;
use crate::http::variable::{Template, compile};
use crate::modules::{HttpBlock, LocationBlock, Own, Scope, ServerBlock};
use crate::otel::Exporter;
use crate::regex::Matcher;
use crate::snapshot::Snapshot;
use crate::snapshot::build::Paths;
use crate::upstream::check::{Check, rows::Line as CheckLine, test::Test};
use crate::variable::{Definitions, Names, has_variables};

/// Compiles the servers of a configuration.
pub(super) struct Compiler<'a> {
    http: &'a HttpBlock,
    previous: Option<&'a Snapshot>,
    names: &'a Names<Exchange>,
    definitions: Arc<Definitions<Exchange>>,
    logs: Logs<'a>,
    prefix: &'a Path,
    /// The main file.
    conf: &'a Path,
    /// Whom folders are given that are made; `None` for nobody else.
    pub(super) owner: Option<u32>,
    /// Who takes the spans of requests.
    pub(super) exporter: Option<Arc<Exporter>>,
    /// The zones that limits name.
    pub(super) zones: Vec<Arc<Zone>>,
    /// The groups asked for.
    pub(super) groups: Groups<'a>,
    /// The health checks of the groups.
    pub(super) checks: Vec<Arc<Check>>,
    /// Those of the server that is compiled, each with the number of its location.
    asked: Vec<(usize, CheckLine)>,
    /// What is wrong.
    pub(super) problems: Vec<ConfError>,
    /// Locations with a `proxy_pass` so far.
    proxies: u32,
    /// Those of the server that is compiled.
    server_names: ServerNames,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        http: &'a HttpBlock,
        groups: Groups<'a>,
        previous: Option<&'a Snapshot>,
        names: &'a Names<Exchange>,
        definitions: Arc<Definitions<Exchange>>,
        paths: &'a Paths,
    ) -> Self {
        let (prefix, conf) = (paths.prefix.as_path(), paths.conf.as_path());
        let mut problems = Vec::new();
        let logs = Logs::new(&http.formats.formats, names, prefix, &mut problems);
        let before = previous.map_or(&[][..], |it| &it.zones);
        let zones = http.zones.compile(before, names);
        let zones = zones.map_err(|it| problems.push(it)).unwrap_or_default();
        Self {
            http,
            previous,
            names,
            definitions,
            logs,
            prefix,
            conf,
            owner: None,
            exporter: None,
            zones,
            groups,
            checks: Vec::new(),
            asked: Vec::new(),
            problems,
            proxies: 0,
            server_names: ServerNames::default(),
        }
    }

    /// The servers, in the order of the file.
    pub(super) fn servers(&mut self) -> Vec<Arc<Server>> {
        let http = self.http;
        // What no server inherits is judged all the same.
        let mut scope = http.scope.clone();
        scope.logs = scope.logs.as_written();
        self.location(String::new(), &scope, &Own::default(), 0);
        let tests = http.tests.iter().filter_map(|(name, test)| {
            let test = test.compile(self.names);
            Some((name.to_string(), Arc::new(self.kept(test)?)))
        });
        let tests: HashMap<String, Arc<Test>> = tests.collect();
        let mut servers = Vec::new();
        for block in &http.servers {
            let server = Arc::new(self.server(block));
            for (location, line) in std::mem::take(&mut self.asked) {
                let check = check(&server, location, &line, &tests);
                let check = self.kept(check);
                self.checks.extend(check);
            }
            servers.push(server);
        }
        servers
    }

    fn server(&mut self, block: &ServerBlock) -> Server {
        let scope = block.scope.clone().within(&self.http.scope);
        if let Err(text) = block.entrance.clone().within(&self.http.entrance).check() {
            self.tell_of_merging(text);
        }
        self.server_names.clone_from(&block.names);
        let mut locations = Vec::new();
        let tree = self.level(&block.locations, &scope, &block.span, &mut locations);
        let rewrite = self.lines(&block.own, None, &mut locations);
        let fallback = self.location(String::new(), &scope, &block.own, 0);
        for (number, location) in locations.iter_mut().enumerate() {
            location.number = Some(number);
        }
        let is_named = |it: &&LocationBlock| it.pattern.kind == Kind::Named;
        let names = block.locations.iter().filter(is_named).map(|it| it.pattern.path.clone());
        let mut named = HashMap::new();
        for name in names {
            let text = String::from_utf8_lossy(&name).into_owned();
            if let Some(at) = locations.iter().position(|it| it.name == text) {
                named.entry(name).or_insert(at);
            }
        }
        let reads_early = scope.client_body.early(self.names);
        let reads_early = self.kept(reads_early).unwrap_or_default();
        let name = block.names.first();
        let counters = self.counters(&name);
        let definitions = Arc::clone(&self.definitions);
        Server {
            name,
            locations,
            tree,
            named,
            fallback,
            reads_early,
            rewrite,
            definitions,
            counters,
        }
    }

    /// nginx merges settings, and sees what does not fit together, at the end of `http`.
    fn tell_of_merging(&mut self, text: impl Into<String>) {
        let place = self.http.close.clone();
        self.problems.extend(place.map(|it| ConfError::new(text, it)));
    }

    /// Those of the server of this name in the configuration before this one.
    fn counters(&self, name: &str) -> Arc<Counters> {
        let listeners = self.previous.into_iter().flat_map(|it| &it.listeners);
        let mut servers = listeners.flat_map(|it| &it.servers.servers);
        let same = servers.find(|it| it.name == name);
        same.map(|it| Arc::clone(&it.counters)).unwrap_or_default()
    }

    /// The locations of one level; each is added to `all` under its number.
    fn level(
        &mut self,
        blocks: &[LocationBlock],
        outer: &Scope,
        around: &Span,
        all: &mut Vec<Location>,
    ) -> Locations {
        let (mut exact, mut prefixes, mut regexes) = (Vec::new(), Vec::new(), Vec::new());
        for (at, block) in blocks.iter().enumerate() {
            let pattern = &block.pattern;
            let is_exact = pattern.kind == Kind::Exact;
            let same = |it: &LocationBlock| {
                it.pattern.regex.is_none()
                    && it.pattern.path == pattern.path
                    && (it.pattern.kind == Kind::Named) == (pattern.kind == Kind::Named)
                    && (it.pattern.kind == Kind::Exact) == is_exact
            };
            let name = String::from_utf8_lossy(&pattern.path).into_owned();
            if pattern.kind != Kind::Regex && blocks[..at].iter().any(same) {
                let text = format!("duplicate location \"{name}\"");
                let problem = ConfError::new(text, pattern.span.clone());
                self.problems.push(problem.noticed_at(around));
            }
            let mut scope = block.scope.clone().within(outer);
            scope.proxy.place.clone_from(&pattern.path);
            let length = pattern.path.len();
            let location = all.len();
            all.push(self.location(name, &scope, &block.own, length));
            self.asked.extend(block.own.checks.lines.iter().map(|it| (location, it.clone())));
            let ops = self.lines(&block.own, Some((&scope, &block.own, length)), all);
            all[location].rewrite = ops;
            if let Some(limit) = &block.limit_except {
                let (methods, within) = &**limit;
                let at = self.within(within, &scope, &block.own, length, all);
                all[location].limit_except = Some((methods.clone(), at));
            }
            // As in nginx, what stands within goes by the name of the location around it.
            let (outer, inner) = all.split_at_mut(location + 1);
            inner.iter_mut().for_each(|it| it.name.clone_from(&outer[location].name));
            let nested = self.level(&block.locations, &scope, &block.close, all);
            let path = pattern.path.clone();
            if pattern.kind == Kind::Named {
                continue;
            }
            if let Some(regex) = &pattern.regex {
                let regex = Matcher::new(regex, self.names);
                regexes.push(RegexEntry { regex, location, nested });
            } else if is_exact {
                exact.push((path, location));
            } else {
                let shields = pattern.kind == Kind::Shield;
                prefixes.push(Entry { path, location, shields, nested });
            }
        }
        self.slashes(blocks, outer, all, &mut exact);
        Locations::new(exact, prefixes, regexes)
    }

    /// A location that ends in `/` and has a `proxy_pass` is where its name without it leads.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `auto_redirect`.
    fn slashes(
        &mut self,
        blocks: &[LocationBlock],
        outer: &Scope,
        all: &mut Vec<Location>,
        exact: &mut Vec<(Vec<u8>, usize)>,
    ) {
        let leads = |it: &&LocationBlock| {
            !matches!(it.pattern.kind, Kind::Regex | Kind::Named) && it.scope.proxy.target.is_some()
        };
        for block in blocks.iter().filter(leads) {
            let Some(path) = block.pattern.path.strip_suffix(b"/") else { continue };
            if path.is_empty() || exact.iter().any(|(it, _)| it == path) {
                continue;
            }
            let scope = block.scope.clone().within(outer);
            let name = String::from_utf8_lossy(path).into_owned();
            let mut location = self.location(name, &scope, &Own::default(), path.len());
            let mut escaped = Vec::new();
            escape::path(&block.pattern.path, &mut escaped);
            let query = Template::compile("$is_args$args", self.names);
            let query = query.expect("both are nginx's variables");
            location.content = Content::Slash(Template::text(&escaped).then(query));
            exact.push((path.to_vec(), all.len()));
            all.push(location);
        }
    }

    /// One location; `prefix` is the length of the path it is written with.
    fn location(&mut self, name: String, scope: &Scope, own: &Own, prefix: usize) -> Location {
        let content = self.content(scope, own, prefix);
        let filters = Filters::compile(scope, self.names);
        let answers = self.groups.answers;
        let answer = |name: &str| answers.get(name).cloned().unwrap_or_default();
        let guards = Guards::compile(scope, &self.zones, self.names, self.conf, &answer);
        if scope.otel.needs_exporter() && self.exporter.is_none() {
            self.tell_of_merging("\"otel_exporter\" block is missing");
        }
        let tracing = scope.otel.compile(self.exporter.as_ref(), self.names);
        let referers = scope.referer.compile(&self.server_names);
        let error_pages = scope.error_page.compile(self.names);
        let files = Files::compile(scope, own, self.names, self.prefix);
        let files = self.kept(files).unwrap_or_else(|| Files::none(self.prefix));
        let error_logs = formats::errors(&scope.logs.errors, self.prefix);
        let core = scope.core.compile();
        let mut body_files = scope.client_body.compile();
        if let Some(folder) = body_files.folder.take() {
            let folder = folders::make(self.prefix, &folder, self.owner);
            body_files.folder = self.kept(folder).map(Arc::new);
        }
        let access_logs = self.logs.access(&scope.logs, &mut self.problems);
        Location {
            name,
            number: None,
            core,
            body_files,
            is_internal: own.is_internal,
            limit_except: None,
            rewrite: Vec::new(),
            logs_rewrites: scope.rewrite_log.logs(),
            warns_of_unset: scope.rewrite_log.warns_of_unset(),
            error_pages: self.kept(error_pages).unwrap_or_default(),
            content: self.kept(content).unwrap_or(Content::Files),
            files,
            closing: scope.closing.compile(),
            browsers: scope.browser.compile(),
            redirects: scope.redirect.compile(),
            mirror: scope.mirror.compile(),
            tracing: self.kept(tracing).flatten(),
            guards: self.kept(guards).flatten(),
            referers: self.kept(referers).flatten(),
            filters: self.kept(filters).unwrap_or_default(),
            access_logs,
            error_logs: self.kept(error_logs).unwrap_or_default(),
        }
    }

    fn content(&mut self, scope: &Scope, own: &Own, prefix: usize) -> Result<Content, ConfError> {
        if let Err(text) = scope.proxy.check_buffers() {
            self.tell_of_merging(text);
        }
        let resolver = self.groups.resolvers.of(&scope.resolver)?;
        if let Some(target) = &scope.proxy.target {
            let goal = match has_variables(target.word.as_bytes()) {
                true => Goal::Dynamic(Box::new(Dynamic {
                    url: compile(&target.word, self.names)?,
                    directory: Arc::clone(&self.groups.directory),
                    resolver,
                    patience: scope.resolver.patience(),
                })),
                false => {
                    let upstream = self.groups.of_target(target)?;
                    let name = upstream.name.as_str().into();
                    Goal::Fixed(upstream, name)
                }
            };
            self.proxies += 1;
            let mut proxy = scope.proxy.compile(target, goal, self.proxies, prefix, self.names)?;
            if let Some(folder) = &mut proxy.ahead.folder {
                *folder = Arc::new(folders::make(self.prefix, folder, self.owner)?);
            }
            return Ok(Content::Proxy(Box::new(proxy)));
        }
        Ok(if own.stub_status { Content::StubStatus } else { Content::Files })
    }

    /// The lines of a block; those of an `if` in a location bring settings of their own.
    fn lines(
        &mut self,
        own: &Own,
        around: Option<(&Scope, &Own, usize)>,
        all: &mut Vec<Location>,
    ) -> Vec<Op> {
        let mut ops = Vec::new();
        for line in &own.rewrite.lines {
            let op = self.line(line, around, all);
            ops.extend(self.kept(op));
        }
        ops
    }

    fn line(
        &mut self,
        line: &Line,
        around: Option<(&Scope, &Own, usize)>,
        all: &mut Vec<Location>,
    ) -> Result<Op, ConfError> {
        let names = self.names;
        line.compile(names, &mut |block| {
            let location =
                around.map(|(scope, own, prefix)| self.within(block, scope, own, prefix, all));
            (self.lines(&block.own, None, all), location)
        })
    }

    /// A location that stands within another and is found by no path; who answers is handed on.
    fn within(
        &mut self,
        block: &LocationBlock,
        outer: &Scope,
        own: &Own,
        prefix: usize,
        all: &mut Vec<Location>,
    ) -> usize {
        let mut scope = block.scope.clone().within(outer);
        if scope.proxy.target.is_none() {
            scope.proxy.target.clone_from(&outer.proxy.target);
        }
        let own = Own {
            stub_status: own.stub_status || block.own.stub_status,
            is_internal: own.is_internal,
            ..Own::default()
        };
        let location = self.location(String::new(), &scope, &own, prefix);
        all.push(location);
        all.len() - 1
    }

    /// The value, or nothing and one problem more.
    fn kept<T>(&mut self, result: Result<T, ConfError>) -> Option<T> {
        result.map_err(|it| self.problems.push(it)).ok()
    }
}
